/** What is asked and answered about virtual machines. */
export type VmState = "running" | "starting" | "waiting" | "stopping" | "stopped";

export interface VmView {
  readonly name: string;
  readonly state: VmState;
  /** The host that runs it, or is about to. */
  readonly host?: string;
  readonly cpuCount: number;
  readonly memoryBytes: number;
  readonly volumes: readonly string[];
  /** `user`, `tap:NAME` or `bridge:NAME`. */
  readonly networks: readonly string[];
  /** Started on another host when its own has failed: in force, not only wanted. */
  readonly isProtected: boolean;
  /** "pending": wanted, and not yet written into the machine's home in the object store. */
  readonly protection: "protected" | "pending" | "unprotected";
  readonly priority: VmPriority;
  /** Machines of one group are kept on different hosts. */
  readonly antiAffinity?: string;
  /** A guest that hangs is noticed and reset. */
  readonly hasWatchdog?: boolean;
  /** A guest whose agent answers no more is reset. */
  readonly hasAgent?: boolean;
  /** A file of each host. */
  readonly firmware?: string;
  readonly isolation: VmIsolationView;
  readonly storageLoss: VmStorageLossView;
  /** Starts in a row that failed. */
  readonly failureCount: number;
  /** Why it does not run although it should, and what would help. */
  readonly waitsBecause?: string;
  /** The host that it moves to at the moment. */
  readonly movesTo?: string;
  /** Counts its placements. */
  readonly epoch: number;
  /** What was decided about it and why, oldest first. */
  readonly history: readonly VmDecisionView[];
}

/** What becomes of it when its host is cut off from the directory. */
export type VmIsolationView = "stand-still" | "shut-down" | "power-off" | "leave";

/** What becomes of it when its host reaches its objects no more, and another one does. */
export type VmStorageLossView = "move" | "leave";

export type VmSwitch = "on" | "off";

export type VmPriority = "highest" | "high" | "medium" | "low" | "lowest";

export interface VmDecisionView {
  readonly timeMs: number;
  readonly host: string;
  readonly what: string;
  readonly because: string;
}

export interface VmCreateRequest {
  readonly name: string;
  readonly volumes: readonly string[];
  readonly cpuCount?: number;
  readonly memoryBytes?: number;
  readonly kernel?: string;
  readonly initrd?: string;
  readonly append?: string;
  readonly networks?: readonly string[];
  readonly unprotected?: boolean;
  readonly priority?: VmPriority;
  readonly antiAffinity?: string;
  readonly isolation?: VmIsolationView;
  readonly storageLoss?: VmStorageLossView;
  readonly watchdog?: VmSwitch;
  readonly agent?: VmSwitch;
  /** "none": what the hypervisor comes with. */
  readonly firmware?: string;
}

export interface VmSetRequest {
  readonly name: string;
  readonly priority?: VmPriority;
  /** "none": it belongs to no group any more. */
  readonly antiAffinity?: string;
  readonly isolation?: VmIsolationView;
  readonly storageLoss?: VmStorageLossView;
  readonly watchdog?: VmSwitch;
  readonly agent?: VmSwitch;
  /** "none": what the hypervisor comes with. */
  readonly firmware?: string;
}

export interface VmMigrateRequest {
  readonly name: string;
  /** Default: the one with the most room. */
  readonly host?: string;
  /** It stays where it is, if it has not moved yet. */
  readonly cancel?: boolean;
}

export type Admission = "refuse" | "warn" | "off";

export interface HaSetRequest {
  readonly toleratedHosts?: number;
  readonly admission?: Admission;
}

export interface HaRoomView {
  readonly host: string;
  readonly memoryBytes: number;
  readonly cpuCount: number;
}

export interface HaView {
  readonly isArmed: boolean;
  readonly toleratedHosts: number;
  readonly admission: Admission;
  /** The host that decides; absent while nobody does. */
  readonly master?: string;
  /** Hosts that look after machines. */
  readonly hosts: readonly string[];
  /** What each of them has for machines, for all together. */
  readonly rooms: readonly HaRoomView[];
  /** What is lacking for so many hosts to fail. */
  readonly problem?: string;
  /**
   * Hosts that have not said yet that they know that it is armed: until they do, or are removed,
   * their machines are not started elsewhere.
   */
  readonly unaware?: readonly string[];
}

export interface VmHereRequest {
  readonly name: string;
  /** Asked by another host: refused if the machine runs elsewhere. */
  readonly here?: boolean;
}

export interface VmConsoleRequest extends VmHereRequest {
  /** Bytes of output to leave out; default: all but the last part. */
  readonly from?: number;
  /** For the command line: keep printing. */
  readonly follow?: boolean;
  /** For the command line: and type what is typed. */
  readonly interactive?: boolean;
}

export interface VmTypeRequest extends VmHereRequest {
  readonly text: string;
  /** As if Enter were pressed afterwards. */
  readonly enter?: boolean;
}

export interface VmConsoleView {
  readonly name: string;
  /** The host that runs it, and the placement: output of another one counts from 0 again. */
  readonly host: string;
  readonly epoch: number;
  readonly from: number;
  /** What comes next is had by asking from here. */
  readonly next: number;
  readonly text: string;
}

/** Where a machine could run, as each host says and the directory knows. */
export interface VmPlaceView {
  readonly host: string;
  /** It looks after machines: its lease lives. */
  readonly isAlive: boolean;
  /** It reaches all objects of the machine over the storage network. */
  readonly isAccessible: boolean;
  /** Why not. */
  readonly reason?: string;
  /** Hosts that it reaches over the storage network. */
  readonly reaches: readonly string[];
}

export interface VmWhyView {
  readonly vm: VmView;
  /** Who decides; absent while nobody does. */
  readonly master?: string;
  readonly places: readonly VmPlaceView[];
}

export interface UnreadableVmView {
  readonly name: string;
  readonly reason: string;
}

export interface VmList {
  readonly vms: readonly VmView[];
  /** Absent if all records can be read. */
  readonly unreadable?: readonly UnreadableVmView[];
}
