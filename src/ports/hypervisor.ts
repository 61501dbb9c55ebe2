/**
 * What runs virtual machines on a host. Machines live on when the process that started them ends:
 * the next one finds them with `list`.
 */
export interface Hypervisor {
  /** Machines that this host runs, whoever started them. */
  list(): Promise<readonly RunningVm[]>;
  /** Does ahead what would hold up the first start. */
  prepare(): Promise<void>;
  /** Fails with `vm-not-started`; nothing is left running then. */
  start(vm: VmStart): Promise<void>;
  /**
   * Machines may execute for so long from now on, whatever becomes of this process, unless this is
   * called again; those of `left` for as long as they like. Afterwards they are listed as paused
   * until `resume`.
   */
  allow(ms: number, left?: ReadonlySet<string>): void;
  /**
   * Asks the machine to shut down. It ends by itself, or it does not. `isCutOff`: because its host
   * is, which is known of it as long as it is listed, also to the next process.
   */
  shutDown(vmId: string, isCutOff?: boolean): Promise<void>;
  /** Ends the machine at once. Does nothing if it does not run. */
  kill(vmId: string): Promise<void>;
  /** The machine stands still until `resume`; its memory is kept. */
  pause(vmId: string): Promise<void>;
  /** Does nothing to one that hangs or has ended. */
  resume(vmId: string): Promise<void>;
  /** As if the machine's reset button were pressed: it executes from its start on. */
  reset(vmId: string): Promise<void>;
  /**
   * Starts a machine that waits for the memory of one that runs elsewhere, and stands still
   * afterwards, until `accept`. Resolves with the socket at which it waits. Fails as `start`.
   */
  receive(vm: VmStart, migration: number): Promise<string>;
  /** It is this host's from now on; it stands still until `resume`. Fails if it is not whole. */
  accept(vmId: string): Promise<void>;
  /**
   * Sends the machine's memory to a socket at which one waits that is made alike, while it runs on
   * if processors are not emulated; resolves when all of it is there, and the machine stands still
   * here. Fails with `vm-migration-failed`; the machine may stand still then, until `resume`.
   */
  send(vmId: string, socket: string): Promise<void>;
  /** `send` fails, if it is not done. */
  cancelSend(vmId: string): Promise<void>;
  close(): Promise<void>;
}

export interface RunningVm {
  readonly vmId: string;
  /** Of its placement, as it was started. */
  readonly epoch: number;
  /**
   * "arriving": from `receive` to `accept`. "ended": the guest has shut itself down. It is listed
   * until `kill`.
   */
  readonly state: "running" | "paused" | "ended" | "arriving";
  /** It stands still because its guest has not fed the watchdog: until `reset`. */
  readonly isHung?: boolean;
  /** It executes, and its guest's agent has answered and does not any more: until `reset`. */
  readonly isSilent?: boolean;
  /** It was asked to shut down because its host was cut off: it is to run. */
  readonly isCutOff?: boolean;
  /** By which migration it is arriving. */
  readonly migration?: number;
}

export interface VmStart {
  readonly vmId: string;
  readonly name: string;
  readonly epoch: number;
  readonly cpuCount: number;
  readonly memoryBytes: number;
  readonly boot: VmBoot;
  readonly disks: readonly VmDisk[];
  readonly networks: readonly VmNetwork[];
  /** A guest that begins to feed it, and then does not, hangs. */
  readonly hasWatchdog: boolean;
  /** It has a port at which its guest's agent may be spoken to. */
  readonly hasAgent: boolean;
  /** A file of the host; undefined: what the hypervisor comes with. */
  readonly firmwarePath: string | undefined;
}

/**
 * "user": the guest is given an address, reaches nobody, and nobody reaches it. "tap" is an
 * interface that somebody has made on each host; "bridge" has one made in a bridge that is there.
 */
export type VmNetwork =
  | { readonly kind: "user"; readonly mac: string }
  | {
      readonly kind: "tap" | "bridge";
      readonly interfaceName: string;
      readonly mac: string;
    };

export interface DiskSockets {
  /** A unix socket that speaks vhost-user-blk. */
  readonly vhostSocket: string;
  /** One that speaks NBD, with the disk's name for an export; undefined before it is served. */
  readonly nbdSocket?: string;
}

export interface VmDisk extends DiskSockets {
  readonly name: string;
}

/** "disk" boots from the first disk; "kernel" loads files of the host. */
export type VmBoot =
  | { readonly kind: "disk" }
  | {
      readonly kind: "kernel";
      readonly kernelPath: string;
      readonly initrdPath: string | undefined;
      readonly commandLine: string;
    };
