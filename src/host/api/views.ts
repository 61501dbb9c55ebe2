/**
 * What the API answers and takes, as types: the words of requests and responses. Their shapes stand
 * in `view-shapes.ts`; the operation table joins both. Sizes are bytes, times milliseconds since
 * 1970.
 */

export type * from "../peers/sight-views.ts";
export type * from "../machines/vm-views.ts";
import type { EncryptionRequest, VolumeEncryptionView } from "../keys/key-views.ts";
import type { RotationView } from "../certificates/certificate-views.ts";
import type { LatencyView } from "../../base/index.ts";
import type { ServiceMode } from "../../cluster/index.ts";
import type { DirectoryView } from "../directory/directory-views.ts";
import type { ResyncView } from "../upkeep/repair-views.ts";
import type { HostConditionView, NetworkHostView } from "../peers/sight-views.ts";

export type HealthWord = "healthy" | "degraded" | "failed";

/** One reason why the health word is what it is, and what to do about it. */
export interface HealthReason {
  readonly code: string;
  readonly message: string;
  readonly action: string;
}

/** A note is worth knowing, and no reason to call the cluster degraded. */
export type HealthSeverity = "failed" | "degraded" | "note";

export interface HealthFindingView {
  /** What it is about: a host, device, volume, machine, or the host that judges ("self"). */
  readonly subject: string;
  readonly message: string;
  readonly action: string;
  /** Absent for a moment, until the host has noted it. */
  readonly sinceMs?: number;
}

export interface HealthCheckView {
  readonly id: string;
  readonly severity: HealthSeverity;
  readonly meaning: string;
  readonly action: string;
  /** None: all is well. */
  readonly findings: readonly HealthFindingView[];
}

export interface HealthListView {
  readonly health: HealthWord;
  readonly checks: readonly HealthCheckView[];
}

export interface HealthChangeView {
  readonly timeMs: number;
  readonly change: "raised" | "cleared";
  readonly subject: string;
  readonly message: string;
}

export interface HealthShowView {
  readonly check: HealthCheckView;
  /** Oldest first. */
  readonly history: readonly HealthChangeView[];
}

export interface HealthShowRequest {
  readonly check: string;
}

export interface CapacityView {
  readonly capacityBytes: number;
  readonly freeBytes: number;
  readonly usedBytes: number;
}

export interface StatusView {
  readonly health: HealthWord;
  readonly reasons: readonly HealthReason[];
  readonly version: string;
  readonly clusterId: string;
  readonly uptimeMs: number;
  readonly hosts: readonly HostView[];
  readonly devices: readonly DeviceView[];
  readonly capacity: CapacityView;
  readonly volumeCount: number;
  readonly attachments: readonly AttachmentView[];
  /** What is being repaired, moved or caught up. */
  readonly resyncs: readonly ResyncView[];
  /** Where hosts of the cluster run the directory's members. */
  readonly directory?: DirectoryView;
  /** What is the matter with hosts and networks, by all that answer. */
  readonly conditions: readonly HostConditionView[];
  /** What each host sees of the others; absent while nothing is the matter. */
  readonly views?: readonly NetworkHostView[];
  /** Which formats and messages the cluster uses; absent until the directory has told. */
  readonly clusterVersion?: number;
  /** While the cluster's authority is replaced. */
  readonly rotation?: RotationView;
}

export type HostState = "up" | "storage-unreachable" | "management-unreachable" | "down";

export interface HostView {
  readonly name: string;
  readonly hostId: string;
  /**
   * As seen from the host that answers: "storage-unreachable" while it is reached over the
   * management network alone, "management-unreachable" the other way round.
   */
  readonly state: HostState;
  /** Why it is not up, as seen from the host that answers. */
  readonly reason?: string;
  readonly apiAddress: string;
  /** Where other hosts reach its components; absent on a host that is alone. */
  readonly storageAddress?: string;
  /** Whether it is reached there; absent on a host that is alone. */
  readonly storage?: "up" | "down";
  /** Whether its links there are up; absent where the management network is not a second one. */
  readonly management?: "up" | "down";
  /**
   * Whether it holds its lease in the directory; unknown while that cannot be asked, absent on a
   * host that is alone.
   */
  readonly lease?: "held" | "lost" | "unknown";
  /** What fails together with it. */
  readonly faultDomain: string;
  /** Of its program, if it has told when it started last. */
  readonly version?: string;
  /** The newest version of a cluster that it knows. */
  readonly clusterVersion?: number;
  /** While it answers. */
  readonly deviceCount?: number;
  readonly attachedCount: number;
  /** While it is in maintenance: what has to leave it first. */
  readonly maintenance?: ServiceMode;
}

export type DeviceState = "online" | "failed";

export interface DeviceView {
  readonly deviceId: string;
  readonly host: string;
  readonly path: string;
  readonly state: DeviceState;
  /** Why it is not online. */
  readonly reason?: string;
  /** How its I/O is done: "io_uring" or "node-fs". */
  readonly adapter: string;
  readonly capacityBytes: number;
  readonly freeBytes: number;
  readonly logicalBytes: number;
  readonly uniqueBytes: number;
  readonly physicalBytes: number;
  readonly reclaimableBytes: number;
  readonly checksumErrors: number;
  readonly readErrors: number;
  /** Stored blocks that are known to be damaged; a write of the same content repairs them. */
  readonly damagedBlocks: number;
  readonly componentCount: number;
  /** It was told to be removed: everything moves off it. */
  readonly isLeaving?: boolean;
  /** While it is scrubbed: how much of it is done, 0 to 1. */
  readonly scrubShare?: number;
}

/** A unix socket for one virtual machine. */
export interface VhostUserView {
  readonly socket: string;
  readonly queues: number;
  readonly connected: boolean;
  /** Arguments of QEMU for a machine with this disk. */
  readonly qemu: string;
}

export interface AttachmentView {
  readonly volume: string;
  readonly host: string;
  readonly kind: "nbd";
  /** A socket's path, or `address:port`. */
  readonly address: string;
  readonly uri: string;
  /** Clients have to prove who they are. */
  readonly tls: boolean;
  readonly readOnly: boolean;
  readonly vhostUser?: VhostUserView;
  /**
   * "holding" while the host cannot serve the volume and requests wait; "failed" when the host
   * could not offer the address again after a restart.
   */
  readonly state: "online" | "holding" | "failed";
  readonly reason?: string;
}

/** How an object is spread over components. */
export interface TreeView {
  readonly kind: "component" | "mirror" | "stripe" | "witness";
  readonly componentId?: string;
  readonly children?: readonly TreeView[];
}

export interface ComponentView {
  readonly componentId: string;
  readonly host: string;
  readonly device: string;
  readonly state: string;
  /** The newest committed transaction; absent while nobody on this host has opened the object. */
  readonly sequence?: number;
  /** Why it is not good, made anew, or away from where it has to leave; and what would help. */
  readonly reason?: string;
}

export interface PolicyView {
  readonly failuresToTolerate: number;
  readonly stripes: number;
}

export interface VolumeView {
  readonly name: string;
  readonly objectId: string;
  readonly sizeBytes: number;
  /** Bytes that hold data, before deduplication; absent while it cannot be told. */
  readonly logicalBytes?: number;
  readonly failuresToTolerate: number;
  readonly stripes: number;
  /** Set while another policy is being brought about. */
  readonly change?: PolicyView;
  readonly accessible: boolean;
  /** Why it is not accessible. */
  readonly reason?: string;
  readonly epoch: number;
  readonly owner?: string;
  readonly tree: TreeView;
  readonly components: readonly ComponentView[];
  readonly attachment?: AttachmentView;
  /** Set while the directory cannot be asked: it was so that long ago. */
  readonly ageMs?: number;
  /** Absent if it is not encrypted at rest. */
  readonly encryption?: VolumeEncryptionView;
}

export interface TrafficView {
  readonly bytesNeeded: number;
  readonly bytesSent: number;
  readonly bytesSkipped: number;
  /** Fingerprints and what they are of, as they went between hosts; older hosts do not say it. */
  readonly metadataBytes?: number;
}

/** Requests of one kind since the volume was attached where it is. */
export interface IoCountView {
  readonly count: number;
  readonly bytes: number;
  /** From call to answer, added up. */
  readonly totalMs: number;
  /** Answered with an error. */
  readonly faults: number;
  /** How many took at most as long as the bound in `latencyBoundsMs`; the last one: longer. */
  readonly buckets: readonly number[];
}

/** What clients of an attached volume ask for. */
export interface VolumeIoView {
  readonly reads: IoCountView;
  readonly writes: IoCountView;
}

export interface VolumeStatsView {
  readonly name: string;
  readonly sizeBytes: number;
  readonly logicalBytes?: number;
  /** Absent while it is not attached, or its host does not answer. */
  readonly io?: VolumeIoView;
}

/** One cache of one device. */
export interface CacheStatsView {
  readonly deviceId: string;
  /** What it keeps: pages of the logical maps, or blocks of data. */
  readonly kind: "pages" | "blocks";
  /** Hits for each look-up: 0 to 1; 0 before the first one. */
  readonly hitRatio: number;
  readonly hits: number;
  readonly misses: number;
  readonly promotions: number;
  readonly ghostHits: number;
  readonly skippedSlots: number;
  readonly evictions: number;
}

export interface StatsView {
  readonly logicalBytes: number;
  readonly uniqueBytes: number;
  readonly physicalBytes: number;
  readonly capacityBytes: number;
  readonly freeBytes: number;
  readonly reclaimableBytes: number;
  /** logicalBytes / uniqueBytes; 1 for an empty store. */
  readonly dedupRatio: number;
  /** Of all devices: names begin with what is kept, `page` or `block`. */
  readonly cache: Readonly<Record<string, number>>;
  readonly caches: readonly CacheStatsView[];
  readonly journal: Readonly<Record<string, number>>;
  readonly destage: Readonly<Record<string, number>>;
  /** Machines' memory: sections mapped, maps, hits, bytes copied and bytes put there by devices. */
  readonly sharedMemory: Readonly<Record<string, number>>;
  /** Blocks of other hosts that are kept in memory for reads: hits, misses, what was removed. */
  readonly farCache: Readonly<Record<string, number>>;
  /** What the processes plan to have in memory, what they have, and what of it has budgets. */
  readonly memory: Readonly<Record<string, number>>;
  readonly rebuild: TrafficView;
  readonly catchUp: TrafficView;
  /** What was looked through for damage since the hosts started. */
  readonly scrub: Readonly<Record<string, number>>;
  readonly volumes: readonly VolumeStatsView[];
  /** Of the host that answers: how long its pings to the others and back take. */
  readonly networks?: readonly NetworkLatencyView[];
  /** Upper bounds of the buckets of latencies, in milliseconds. */
  readonly latencyBoundsMs: readonly number[];
}

export interface NetworkLatencyView extends LatencyView {
  /** The host at the other end. */
  readonly host: string;
  readonly network: "storage" | "management";
}

export interface ScrubView {
  readonly deviceId: string;
  readonly problemCount: number;
  readonly report: Readonly<Record<string, number>>;
  readonly problems: readonly string[];
}

export type EventLevel = "info" | "warning" | "error";

export interface EventView {
  /** Whose event it is, where all hosts were asked. */
  readonly host?: string;
  readonly sequence: number;
  readonly timeMs: number;
  readonly level: EventLevel;
  /** Kebab-case: "volume-created", "checksum-mismatch". */
  readonly kind: string;
  readonly message: string;
  readonly details: Readonly<Record<string, string | number | boolean>>;
}

export interface HostList {
  readonly hosts: readonly HostView[];
}

export interface VolumeList {
  readonly volumes: readonly VolumeView[];
  /** Set while the directory cannot be asked: they were so that long ago. */
  readonly ageMs?: number;
}

export interface DeviceList {
  readonly devices: readonly DeviceView[];
}

export interface EventList {
  /** Names of hosts that did not answer, where all were asked. */
  readonly silentHosts?: readonly string[];
  readonly events: readonly EventView[];
  /** The newest sequence there is: ask for what comes after it. */
  readonly lastSequence: number;
}

export interface Done {
  readonly done: true;
}

export type Nothing = Readonly<Record<never, never>>;

export interface NameRequest {
  readonly name: string;
}

export interface VolumeCreateRequest extends EncryptionRequest {
  readonly name: string;
  readonly sizeBytes: number;
  readonly failuresToTolerate?: number;
  readonly stripes?: number;
}

export interface VolumeResizeRequest {
  readonly name: string;
  readonly sizeBytes: number;
}

export interface VolumeAttachRequest {
  readonly name: string;
  readonly nbd?: string;
  /** Also on this machine. */
  readonly tls?: boolean;
  /** Without TLS, also for other machines. */
  readonly plain?: boolean;
  /** The path of a socket for a virtual machine, beside the NBD address. */
  readonly vhostUser?: string;
  readonly vhostQueues?: number;
  /** `UID:GID` of that socket. */
  readonly vhostOwner?: string;
  readonly readOnly?: boolean;
  readonly host?: string;
}

export interface VolumeMoveRequest {
  readonly name: string;
  /** The host that is to offer it. */
  readonly host: string;
  readonly nbd?: string;
  readonly tls?: boolean;
  readonly plain?: boolean;
}

export interface DeviceScrubRequest {
  readonly device: string;
}

export interface TokenCreateRequest {
  readonly ttlMinutes?: number;
}

export interface TokenView {
  /** To be given to drystone join, once. */
  readonly token: string;
  readonly expiresMs: number;
}

export type AccessRole = "viewer" | "operator" | "admin";

export interface AccessCreateRequest {
  readonly name: string;
  readonly role: AccessRole;
  readonly days?: number;
  readonly scopes?: readonly string[];
}

export interface AccessView {
  readonly id: string;
  readonly name: string;
  readonly role: AccessRole;
  /** None: all. */
  readonly scopes: readonly string[];
  readonly createdMs: number;
  readonly expiresMs: number;
}

export interface AccessCreatedView extends AccessView {
  /** Shown this once. */
  readonly token: string;
}

export interface AccessList {
  readonly tokens: readonly AccessView[];
}

export interface AccessRevokeRequest {
  readonly id: string;
}

export interface AuditRequest {
  readonly after?: number;
  readonly limit?: number;
  readonly allHosts?: boolean;
}

export interface AuditEntryView {
  /** Whose entry it is, where all hosts were asked. */
  readonly host?: string;
  readonly sequence: number;
  readonly timeMs: number;
  readonly who: string;
  readonly remote: string;
  readonly operation: string;
  readonly target: string;
  /** "done", "dry-run" where it was only asked what would happen, or the code of the refusal. */
  readonly outcome: string;
}

export interface AuditList {
  /** Names of hosts that did not answer, where all were asked. */
  readonly silentHosts?: readonly string[];
  readonly entries: readonly AuditEntryView[];
}

export interface EventsRequest {
  readonly after?: number;
  readonly limit?: number;
  readonly follow?: boolean;
  readonly allHosts?: boolean;
}
