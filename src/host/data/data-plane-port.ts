/**
 * What the main thread and the data worker ask of each other. Every argument and answer can be
 * copied between threads; nothing here knows that there are any.
 */
import type { HostVerdict } from "../../link/index.ts";
import type { LatencyView } from "../../base/index.ts";
import type { DirectoryCondition, DirectoryOutcome, DirectoryRecord } from "../../ports/index.ts";
import type { DirectoryStamp } from "../../ports/index.ts";
import type { DirectoryEvent, DirectoryWrite, LogFields, LogLevel } from "../../ports/index.ts";
import type { TlsTrustState } from "../../platform/index.ts";
import type { NamespaceState } from "../../plane/index.ts";
import type { ServiceMode } from "../../cluster/index.ts";
import type { NewEvent } from "../api/event-ring.ts";
import type {
  ClusterKeyView,
  KeyDomainRequest,
  KeyDomainView,
  KeyRotateRequest,
} from "../keys/key-views.ts";
import type { ResyncView, ServicePlanView, VolumeSetRequest } from "../upkeep/repair-views.ts";
import type { CloneRequest, SnapshotListRequest, SnapshotView } from "../volumes/snapshot-views.ts";
import type { VolumeChangesRequest, VolumeChangesView } from "../volumes/snapshot-views.ts";
import type { AttachmentView, DeviceView, ScrubView, SeenHostView } from "../api/views.ts";
import type { StatsView, VolumeMoveRequest, VolumeView } from "../api/views.ts";
import type { VmObjects, VmPersistRequest, VmReachReport } from "../../plane/index.ts";
import type {
  VolumeAttachRequest,
  VolumeCreateRequest,
  VolumeResizeRequest,
} from "../api/views.ts";

export interface OpenDeviceRequest {
  readonly path: string;
  readonly sizeBytes?: number;
  /** Take it although it holds something else. */
  readonly wipe: boolean;
  /** Refuse even what this host has used before: whether it is current is found out at a start. */
  readonly mustBeEmpty?: boolean;
}

/** A volume as it is offered to one machine. */
export interface OfferOfVm {
  readonly name: string;
  /** Over vhost-user; there may be older ones. */
  readonly sockets: readonly string[];
}

export interface TakeOutRequest {
  readonly kind: "host" | "device";
  /** The name of a host, or the beginning of a device's id. */
  readonly name: string;
  readonly mode: ServiceMode;
  readonly isDryRun: boolean;
}

export interface PeerView {
  readonly hostId: string;
  readonly name: string;
  readonly managementAddress: string;
  readonly storageAddress: string;
  readonly managementLinkAddress: string;
  readonly faultDomain: string;
  /** As in `HostRecord`. */
  readonly clusterVersion?: number;
  readonly programVersion?: string;
  /** Over the storage network, from here. */
  readonly isUp: boolean;
  readonly reason?: string;
  /** Of pings there; absent for this host itself. */
  readonly roundTrips?: LatencyView;
  /** Whether the host keeps its lease in the directory. */
  readonly lease: "held" | "lost" | "unknown";
}

/** Of this host on the management network, with the ports that were chosen. */
export interface OwnAddresses {
  readonly api: string;
  /** Empty where the management network is not a second one. */
  readonly managementLink: string;
}

export interface RecoverReport {
  readonly attachedCount: number;
  readonly failedCount: number;
}

/** Asked of the data plane. Names of volumes are the users'. */
export interface DataPlaneMethods {
  openDevice(request: OpenDeviceRequest): Promise<DeviceView>;
  /** While others are in use. */
  addDevice(request: OpenDeviceRequest): Promise<DeviceView>;
  /** Resolves while the data plane works. */
  ping(argument: undefined): Promise<void>;
  /** Tells the cluster that this host is there. */
  join(addresses: OwnAddresses): Promise<void>;
  /** Finishes what a crash interrupted, and offers again what was attached. */
  recover(argument: undefined): Promise<RecoverReport>;
  /** The hosts of the cluster as seen from here. */
  listHosts(argument: undefined): Promise<readonly PeerView[]>;
  /** What another host sees of the others. Fails with `host-unreachable`. */
  askSeen(hostId: string): Promise<readonly SeenHostView[]>;
  /** Of every host that answers. */
  listDevices(argument: undefined): Promise<readonly DeviceView[]>;
  scrubDevice(device: string): Promise<ScrubView>;
  /** What is being repaired, moved or caught up. */
  listResyncs(argument: undefined): Promise<readonly ResyncView[]>;
  /** Takes a host or a device out of service, or says what would happen. */
  takeOut(request: TakeOutRequest): Promise<ServicePlanView>;
  createVolume(request: VolumeCreateRequest): Promise<VolumeView>;
  listVolumes(argument: undefined): Promise<readonly VolumeView[]>;
  /** Names of snapshots are VOLUME@SNAPSHOT. */
  createSnapshot(name: string): Promise<SnapshotView>;
  listSnapshots(request: SnapshotListRequest): Promise<readonly SnapshotView[]>;
  deleteSnapshot(name: string): Promise<void>;
  rollBack(name: string): Promise<VolumeView>;
  volumeChanges(request: VolumeChangesRequest): Promise<VolumeChangesView>;
  cloneVolume(request: CloneRequest): Promise<VolumeView>;
  showVolume(name: string): Promise<VolumeView>;
  setPolicy(request: VolumeSetRequest): Promise<VolumeView>;
  resizeVolume(request: VolumeResizeRequest): Promise<VolumeView>;
  deleteVolume(name: string): Promise<void>;
  attach(request: VolumeAttachRequest): Promise<AttachmentView>;
  detach(name: string): Promise<void>;
  /** As the method of `VolumeMover`. */
  moveVolume(request: VolumeMoveRequest): Promise<AttachmentView>;
  /**
   * Of this host alone, if it is offered at one of the sockets: one that offers it by now keeps it,
   * and so does who attached it otherwise. Fails with `volume-not-attached`.
   */
  detachOf(wanted: OfferOfVm): Promise<void>;
  /** As the methods of `Attachments`. */
  expect(request: VolumeAttachRequest): Promise<void>;
  /** Does nothing if it is not expected at one of the sockets. */
  expectNoMore(wanted: OfferOfVm): Promise<void>;
  /** As the methods of `VmHomes`. */
  vmReach(vms: readonly VmObjects[]): Promise<VmReachReport>;
  vmPersist(request: VmPersistRequest): Promise<void>;
  vmRetrieve(vms: readonly string[]): Promise<readonly NamespaceState[]>;
  vmForget(vm: string): Promise<void>;
  clusterKey(argument: undefined): Promise<ClusterKeyView>;
  rotateClusterKey(request: KeyRotateRequest): Promise<ClusterKeyView>;
  listKeyDomains(argument: undefined): Promise<readonly KeyDomainView[]>;
  destroyKeyDomain(request: KeyDomainRequest): Promise<void>;
  /** Of the cluster, as far as hosts answer. */
  stats(argument: undefined): Promise<StatsView>;
  /** Of this host alone, without volumes. */
  ownStats(argument: undefined): Promise<StatsView>;
  /** No new connections; answers what is in flight, closes volumes and devices. */
  close(argument: undefined): Promise<void>;
}

export interface LogLine {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

/** Asked of the main thread by the data plane. */
export interface ControlMethods {
  addEvent(event: NewEvent): Promise<void>;
  /** What the management network tells of a host. */
  verdictOn(hostId: string): Promise<HostVerdict>;
  /** What this host sees of the others, on both networks. */
  seenHosts(argument: undefined): Promise<readonly SeenHostView[]>;
  log(line: LogLine): Promise<void>;
  directoryGet(key: string): Promise<DirectoryRecord | undefined>;
  directoryList(prefix: string): Promise<DirectoryListing>;
  directoryStamp(prefix: string): Promise<DirectoryStamp>;
  directoryTransact(request: TransactRequest): Promise<DirectoryOutcome>;
  directoryWatch(request: WatchRequest): Promise<void>;
  directoryUnwatch(watchId: number): Promise<void>;
  directoryGrantLease(ttlMs: number): Promise<string>;
  directoryKeepAlive(lease: string): Promise<number>;
  directoryRevokeLease(lease: string): Promise<void>;
}

/** The data plane's side of watches. */
export interface WatchMethods {
  watchEvent(request: { readonly watchId: number; readonly event: DirectoryEvent }): Promise<void>;
  watchLost(watchId: number): Promise<void>;
}

/** The data worker's part in trying out partitions. */
export interface CutMethods {
  /** From now on these addresses cannot be reached; only in a host that can be cut off. */
  cutOff(addresses: readonly string[]): Promise<void>;
}

/** What the storage network shows and believes. */
export interface TrustMethods {
  setTrust(state: TlsTrustState): Promise<void>;
}

export interface DirectoryListing {
  readonly records: readonly DirectoryRecord[];
  readonly revision: number;
}

export interface TransactRequest {
  readonly conditions: readonly DirectoryCondition[];
  readonly writes: readonly DirectoryWrite[];
}

export interface WatchRequest {
  readonly watchId: number;
  readonly prefix: string;
  readonly fromRevision: number;
}
