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
   * called again. Afterwards they are listed as paused until `resume`.
   */
  allow(ms: number): void;
  /** Asks the machine to shut down. It ends by itself, or it does not. */
  shutDown(vmId: string): Promise<void>;
  /** Ends the machine at once. Does nothing if it does not run. */
  kill(vmId: string): Promise<void>;
  /** The machine stands still until `resume`; its memory is kept. */
  pause(vmId: string): Promise<void>;
  resume(vmId: string): Promise<void>;
  close(): Promise<void>;
}

export interface RunningVm {
  readonly vmId: string;
  /** Of its placement, as it was started. */
  readonly epoch: number;
  /** "ended": the guest has shut itself down. It is listed until `kill`. */
  readonly state: "running" | "paused" | "ended";
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
}

/**
 * "user": the guest reaches what its host reaches, and nobody reaches the guest. "tap" is an
 * interface that somebody has made on each host; "bridge" has one made in a bridge that is there.
 */
export type VmNetwork =
  | { readonly kind: "user"; readonly mac: string }
  | {
      readonly kind: "tap" | "bridge";
      readonly interfaceName: string;
      readonly mac: string;
    };

export interface VmDisk {
  readonly name: string;
  /** A unix socket that speaks vhost-user-blk. */
  readonly vhostSocket: string;
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
