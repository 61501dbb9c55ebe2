/** What a host's part in running virtual machines needs of the rest of the host. */
import type { Clock, Directory, DiskSockets, Hypervisor, Log } from "../ports/index.ts";
import type { UnderRules } from "./ha-rules.ts";
import type { MigrationWays } from "./vm-migration.ts";
import type { HaPeers, VmCapacity, VmStorage } from "./vm-storage.ts";

export interface VmWorld extends UnderRules {
  readonly directory: Directory;
  readonly hypervisor: Hypervisor;
  readonly clock: Clock;
  readonly log: Log;
  readonly clusterId: string;
  readonly hostId: string;
  /** Counts the starts of the host. */
  readonly incarnation: number;
  /**
   * Offers a volume to that machine of this host alone; resolves with the sockets. Doing it twice
   * is fine.
   */
  readonly attach: (volume: string, vm: string) => Promise<DiskSockets>;
  /**
   * As `attach`, for a machine that has not arrived: its requests wait for `attach`, and the volume
   * stays with whoever has it.
   */
  readonly expect: (volume: string, vm: string) => Promise<DiskSockets>;
  readonly ways: MigrationWays;
  /** Does nothing if this host neither offers it to that machine nor expects it to come. */
  readonly detach: (volume: string, vm: string) => Promise<void>;
  readonly storage: VmStorage;
  /** Of this host, for all its machines together. */
  readonly capacity: VmCapacity;
  readonly peers: HaPeers;
  readonly nameOf: (hostId: string) => string;
  readonly addEvent: (event: VmEvent) => void;
}

export interface VmEvent {
  readonly kind: "vm-started" | "vm-ended" | "vm-failed" | "vm-moved" | "vm-paused" | "vm-resumed";
  readonly level: "info" | "warning" | "error";
  readonly message: string;
  readonly details: Readonly<Record<string, string | number>>;
}

/** Has it told to whoever looks after machines. */
export type TellOfVm = (
  level: VmEvent["level"],
  kind: VmEvent["kind"],
  name: string,
  what: string,
) => void;
