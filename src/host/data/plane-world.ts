/** What the data plane is built over: ports, and ways to open what they stand on. */
import type { HostVerdict } from "../../link/index.ts";
import type {
  Clock,
  Digests,
  Directory,
  Disk,
  Log,
  MetadataStore,
  Network,
  SharedMemory,
} from "../../ports/index.ts";
import type { MetadataLogOptions, TlsCredentials, TlsTrustState } from "../../platform/index.ts";
import type { NewEvent } from "../api/event-ring.ts";
import type { MemoryPlan } from "./memory-plan.ts";
import type { SeenHostView } from "../api/views.ts";

export interface PlaneWorld {
  readonly clock: Clock;
  readonly log: Log;
  /** To other hosts. */
  readonly network: Network;
  /** Where clients reach volumes. */
  readonly clientNetwork: Network;
  /** What the host proves itself with to clients, as it is now; undefined if it has nothing. */
  readonly credentials: () => TlsCredentials | undefined;
  readonly shared: SharedMemory;
  readonly digests: Digests;
  readonly directory: Directory;
  readonly identity: PlaneIdentity;
  /** A new random identity, 32 hexadecimal digits. */
  readonly newId: () => string;
  readonly openDisk: (path: string, options: DiskOpening) => Disk;
  /** `path` is a file. Makes the store if it is not there, unless it must be. */
  readonly openMetadata: (path: string, options: MetadataOpening) => Promise<MetadataStore>;
  readonly addEvent: (event: NewEvent) => void;
  /** As `HostPlaneWorld.elsewhere`. */
  readonly elsewhere: (hostId: string) => Promise<HostVerdict>;
  /** What this host sees of the others, for them to ask. */
  readonly seenHosts: () => Promise<readonly SeenHostView[]>;
}

export interface MetadataOpening {
  readonly mustExist: boolean;
  /** Of the log in front of the store, if it gets one. */
  readonly log?: MetadataLogOptions;
}

export interface PlaneIdentity {
  readonly clusterId: string;
  readonly hostId: string;
  readonly hostName: string;
  /** Where metadata of block devices is kept. */
  readonly devicesPath: string;
  /** Where sockets of volumes attached without an address are made. */
  readonly socketsPath: string;
  /** Counts the starts of the host. */
  readonly incarnation: number;
  readonly faultDomain: string;
  /** As in `HostRecord`. */
  readonly clusterVersion?: number;
  readonly programVersion?: string;
  /** `host:port` where components are served to other hosts; undefined on a host that is alone. */
  readonly storageAddress: string | undefined;
  /** How long requests of attached volumes are held; undefined on a host that is alone. */
  readonly holdMs: number | undefined;
  /** What the host proves itself with to other hosts; undefined where all is on one machine. */
  readonly trust: TlsTrustState | undefined;
  /** Where the cluster key is, if this host may serve encrypted volumes. */
  readonly keyFile: string;
  /** As `HostStart.cut`. */
  readonly cut: readonly string[] | undefined;
  readonly memory: MemoryPlan;
}

export interface DiskOpening {
  readonly createSizeBytes?: number;
  /** Write past the page cache, read through it. */
  readonly directWrites?: boolean;
  /** A second file for everything below its size. */
  readonly head?: { readonly path: string; readonly createSizeBytes?: number };
}
