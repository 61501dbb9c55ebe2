/**
 * The handlers of the operation table: what a host answers, made of the data plane, the events and
 * time.
 */
import { CodedError } from "../base/index.ts";
import type { Clock, Directory } from "../ports/index.ts";
import type { AccessDesk } from "./api/access-desk.ts";
import type { AuditLog } from "./api/audit-log.ts";
import type { BootFiles } from "./machines/boot-files.ts";
import type { RotationView } from "./certificates/certificate-views.ts";
import type { CertificateHandlers } from "./certificates/certificate-control.ts";
import { listServices, readClusterVersion } from "../cluster/index.ts";
import { ClusterStatus } from "./peers/cluster-status.ts";
import type { DataPlaneMethods, PeerView } from "./data/data-plane-port.ts";
import type { DirectoryView } from "./directory/directory-views.ts";
import type { EventRing } from "./api/event-ring.ts";
import type { ManagementPeer } from "../plane/index.ts";
import type { MachineFacts } from "./health/health-check.ts";
import { HealthWatch } from "./health/health-watch.ts";
import type { RaisedCheck } from "./health/health.ts";
import type { Handlers } from "./api/http-api.ts";
import type { JoinDesk } from "./certificates/join-desk.ts";
import type { NetworkViews } from "./peers/network-views.ts";
import { hostUnknown } from "./peers/find-peer.ts";
import { KnownVolumes } from "./volumes/known-volumes.ts";
import { clientHandlers } from "./volumes/nbd-client-desk.ts";
import { upgradeHandlers } from "./upkeep/upgrade-control.ts";
import { serviceHandlers } from "./upkeep/service-control.ts";
import { whatIfHandlers } from "./upkeep/what-if-control.ts";
import type { ServiceControlWorld } from "./upkeep/service-control.ts";
import type { RpcPeer } from "./data/rpc.ts";
import type {
  HostView,
  NetworkLatencyView,
  StatsView,
  TokenView,
  VolumeView,
} from "./api/views.ts";
import { snapshotHandlers } from "./volumes/snapshot-control.ts";
import { ClusterLedgers } from "./api/cluster-ledgers.ts";
import type { OtherHosts } from "./peers/other-hosts.ts";
import { haHandlers } from "./machines/ha-control.ts";
import { vmHandlers } from "./machines/vm-control.ts";
import type { VmControlWorld } from "./machines/vm-control.ts";
import type { VmMachineHandlers } from "./machines/vm-machine.ts";

/** Who may use the API, and who has changed what. */
export interface AccessDesks {
  readonly access: AccessDesk;
  readonly audit: AuditLog;
}

export interface HostFacts {
  readonly name: string;
  readonly hostId: string;
  readonly clusterId: string;
  /** As the API's listener was told, with the port that was chosen. */
  readonly apiAddress: () => string;
  readonly networks: NetworkViews;
  /** As `ManagementNetwork.peer`. */
  readonly managementPeer: (hostId: string) => ManagementPeer | undefined;
  /** Undefined where no host runs a member; the names are those of hosts by their ids. */
  readonly directoryView: (names: ReadonlyMap<string, string>) => DirectoryView | undefined;
  readonly certificates: CertificateHandlers;
  /** Undefined while the cluster's authority is not replaced. */
  readonly rotation: () => RotationView | undefined;
  readonly vmMachine: VmMachineHandlers;
  readonly machine: () => MachineFacts;
  readonly bootFiles: Pick<BootFiles, "check">;
  readonly desks: AccessDesks;
  readonly others: Pick<OtherHosts, "callAt">;
  /** Of the cluster's authority; undefined where hosts have no certificates. */
  readonly caPem: () => string | undefined;
  readonly addDevice: ServiceControlWorld["addDevice"];
  readonly onBug: (error: unknown) => void;
}

type VolumeHandlers = Pick<
  Handlers,
  "volume.list" | "volume.show" | "volume.create" | "volume.resize" | "volume.set" | "volume.delete"
>;

type Plane = Pick<RpcPeer<object, DataPlaneMethods>, "call">;

export class HostControl {
  readonly handlers: Handlers;
  readonly #facts: HostFacts;
  readonly #plane: Plane;
  readonly #events: EventRing;
  readonly #desk: JoinDesk | undefined;
  readonly #clock: Clock;
  readonly #directory: Directory;
  readonly #status: ClusterStatus;
  readonly #watch: HealthWatch;
  readonly #volumes: KnownVolumes;

  constructor(
    facts: HostFacts,
    plane: Plane,
    events: EventRing,
    clock: Clock,
    directory: Directory,
    desk: JoinDesk | undefined,
  ) {
    this.#directory = directory;
    this.#desk = desk;
    this.#facts = facts;
    this.#plane = plane;
    this.#events = events;
    this.#clock = clock;
    const { hostId, clusterId, managementPeer, machine, directoryView, onBug, networks } = facts;
    const { rotation } = facts;
    const volumes = new KnownVolumes(plane, clock);
    this.#volumes = volumes;
    this.#status = new ClusterStatus({
      ...{
        networks,
        hostId,
        clusterId,
        managementPeer,
        machine,
        rotation,
        plane,
        volumes,
        events,
        clock,
        directoryView,
      },
      listVms: async () => await this.handlers["vm.list"]({}),
      readClusterVersion: () => readClusterVersion(directory, clusterId),
      listServices: () => listServices(directory, clusterId),
    });
    const look = (): Promise<readonly RaisedCheck[]> => this.#status.raised();
    this.#watch = new HealthWatch({ events, clock, look, onBug });
    this.handlers = this.#makeHandlers();
  }

  /** From now on the history of its health is kept. */
  start(): void {
    this.#watch.start();
  }

  stop(): void {
    this.#watch.stop();
  }

  get desks(): AccessDesks {
    return this.#facts.desks;
  }

  /** The host's. */
  get name(): string {
    return this.#facts.name;
  }

  /** Why nothing should be sent here, or undefined. */
  async unhealthyReason(): Promise<string | undefined> {
    const { health, reasons } = await this.#status.status();
    return health === "failed" ? reasons.map(({ message }) => message).join("; ") : undefined;
  }

  /** Why this host cannot take on work, or undefined; the cluster may be well without it. */
  async unreadyReason(): Promise<string | undefined> {
    const own = (await this.#status.hosts()).find(({ hostId }) => hostId === this.#facts.hostId);
    if (own?.lease === "lost") return "this host has no lease in the directory";
    return own?.lease === "unknown" ? "the directory cannot be asked from this host" : undefined;
  }

  #makeHandlers(): Handlers {
    const plane = this.#plane;
    const done = { done: true } as const;
    const { hostId, others, desks } = this.#facts;
    const hosts = (): Promise<readonly PeerView[]> => plane.call("listHosts", undefined);
    const ledgers = new ClusterLedgers({
      ...{ hostId, others, hosts, events: this.#events, audit: desks.audit },
    });
    return {
      status: () => this.#status.status(),
      "health.list": async () => this.#watch.list(await this.#status.raised()),
      "health.show": async ({ check }) => this.#watch.show(check, await this.#status.raised()),
      "host.list": async () => ({ hosts: await this.#status.hosts() }),
      "host.show": ({ name }) => this.#showHost(name),
      "network.show": () => this.#facts.networks.view(),
      "device.list": async () => ({ devices: await plane.call("listDevices", undefined) }),
      "device.scrub": ({ device }) => this.#scrub(device),
      ...volumeHandlers(plane, this.#volumes),
      "volume.attach": async (request) => {
        if (request.host !== undefined) await this.#showHost(request.host);
        return await plane.call("attach", request);
      },
      "volume.detach": async ({ name }) => {
        await plane.call("detach", name);
        return done;
      },
      "volume.move": async (request) => {
        await this.#showHost(request.host);
        return await plane.call("moveVolume", request);
      },
      ...snapshotHandlers(plane),
      ...vmHandlers(this.#vmWorld()),
      ...haHandlers(this.#vmWorld()),
      ...whatIfHandlers({ ...this.#vmWorld(), plane }),
      ...this.#facts.vmMachine,
      ...this.#facts.certificates,
      ...accessHandlers(this.#facts.desks),
      ...clientHandlers({
        directory: this.#directory,
        clock: this.#clock,
        clusterId: this.#facts.clusterId,
        caPem: this.#facts.caPem,
      }),
      ...upgradeHandlers({
        directory: this.#directory,
        clusterId: this.#facts.clusterId,
        events: this.#events,
      }),
      ...serviceHandlers({
        addDevice: this.#facts.addDevice,
        directory: this.#directory,
        clusterId: this.#facts.clusterId,
        plane,
      }),
      "key.show": () => plane.call("clusterKey", undefined),
      "key.rotate": (request) => plane.call("rotateClusterKey", request),
      "key-domain.list": async () => ({ domains: await plane.call("listKeyDomains", undefined) }),
      "key-domain.destroy": async (request) => {
        await plane.call("destroyKeyDomain", request);
        return done;
      },
      "token.create": ({ ttlMinutes }) => this.#createToken(ttlMinutes),
      stats: () => this.#stats(),
      events: (request) => ledgers.events(request),
      "audit.list": (request) => ledgers.audit(request),
    };
  }

  #vmWorld(): VmControlWorld {
    const plane = this.#plane;
    return {
      directory: this.#directory,
      clock: this.#clock,
      clusterId: this.#facts.clusterId,
      hostId: this.#facts.hostId,
      hostNames: async () => {
        const peers = await plane.call("listHosts", undefined);
        return new Map(peers.map((peer) => [peer.hostId, peer.name]));
      },
      forget: (name) => plane.call("vmForget", name),
      checkVolume: async (name) => void (await plane.call("showVolume", name)),
      checkBootFile: (file) => this.#facts.bootFiles.check(file),
    };
  }

  /** Of this host alone, without volumes. */
  async ownStats(): Promise<StatsView> {
    return await this.#plane.call("ownStats", undefined);
  }

  async #stats(): Promise<StatsView> {
    const [stats, peers] = await Promise.all([
      this.#plane.call("stats", undefined),
      this.#plane.call("listHosts", undefined),
    ]);
    const networks = peers.flatMap(({ hostId, name: host, roundTrips }): NetworkLatencyView[] => {
      const management = this.#facts.managementPeer(hostId)?.roundTrips;
      return [
        ...(roundTrips === undefined ? [] : [{ host, network: "storage" as const, ...roundTrips }]),
        ...(management === undefined
          ? []
          : [{ host, network: "management" as const, ...management }]),
      ];
    });
    return { ...stats, networks };
  }

  async #createToken(ttlMinutes: number | undefined): Promise<TokenView> {
    if (this.#desk !== undefined) return await this.#desk.createToken(ttlMinutes);
    throw new CodedError({
      code: "not-supported",
      message: "this host is not part of a cluster that others can join",
      hint: "drystone init makes a cluster",
    });
  }

  async #scrub(device: string): Promise<Awaited<ReturnType<Handlers["device.scrub"]>>> {
    const scrub = await this.#plane.call("scrubDevice", device);
    if (scrub.problemCount > 0) return scrub;
    this.#status.forgetFaults(scrub.deviceId);
    return scrub;
  }

  async #showHost(name: string): Promise<HostView> {
    const hosts = await this.#status.hosts();
    const found = hosts.find((host) => host.name === name || host.hostId === name);
    if (found !== undefined) return found;
    throw hostUnknown(
      name,
      hosts.map((host) => host.name),
    );
  }
}

function volumeHandlers(plane: Plane, volumes: KnownVolumes): VolumeHandlers {
  const changed = (volume: VolumeView): VolumeView => {
    volumes.changed(volume);
    return volume;
  };
  return {
    "volume.list": () => volumes.list(),
    "volume.show": ({ name }) => volumes.show(name),
    "volume.create": async (request) => changed(await plane.call("createVolume", request)),
    "volume.resize": async (request) => changed(await plane.call("resizeVolume", request)),
    "volume.set": async (request) => changed(await plane.call("setPolicy", request)),
    "volume.delete": async ({ name }) => {
      await plane.call("deleteVolume", name);
      volumes.deleted(name);
      return { done: true };
    },
  };
}

function accessHandlers({
  access,
}: AccessDesks): Pick<Handlers, "access.create" | "access.list" | "access.revoke"> {
  return {
    "access.create": (request) => access.create(request),
    "access.list": async () => ({ tokens: await access.list() }),
    "access.revoke": async ({ id }) => {
      await access.revoke(id);
      return { done: true };
    },
  };
}
