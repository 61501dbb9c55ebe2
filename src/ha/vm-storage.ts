/** What HA asks of the storage layer, here and on other hosts. */
import type { VmRecord } from "../cluster/index.ts";

/** What one host reaches over the storage network. */
export interface VmReach {
  /** Hosts that it reaches, itself among them. */
  readonly reaches: readonly string[];
  /** Machines of which it does not reach all objects, with the reason. */
  readonly inaccessible: readonly { readonly vm: string; readonly reason: string }[];
}

/** What a host has for machines. */
export interface VmCapacity {
  readonly memoryBytes: number;
  readonly cpuCount: number;
}

/** What the home of a machine in the object store says. */
export interface ProtectionState {
  readonly vm: string;
  readonly sequence: number;
  readonly isProtected: boolean;
}

/** The storage layer of this host. */
export interface VmStorage {
  reach(vms: readonly VmRecord[]): Promise<VmReach>;
  /**
   * Writes what is wanted for the machine into its home: an older sequence than what is there
   * changes nothing. Fails if this host does not reach it.
   */
  persist(vm: VmRecord): Promise<void>;
  /** Of those machines whose homes this host reaches. */
  retrieve(vms: readonly string[]): Promise<readonly ProtectionState[]>;
}

/** The HA modules of other hosts, over the management network. Each call fails if they do not. */
export interface HaPeers {
  /** Whether that host reaches all objects of the machine. */
  isAccessible(hostId: string, vm: string): Promise<boolean>;
  /** Has that host's storage layer persist what is wanted for the machine. */
  persist(hostId: string, vm: string, sequence: number): Promise<void>;
  retrieve(hostId: string, vms: readonly string[]): Promise<readonly ProtectionState[]>;
}
