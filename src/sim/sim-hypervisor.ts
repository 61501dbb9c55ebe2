import { CodedError } from "../base/index.ts";
import type { Clock, Hypervisor, RunningVm, Timer, VmStart } from "../ports/index.ts";

/** The memory of a machine takes as long from one host to another. */
const SEND_MS = 500;

/**
 * Machines in memory. They live on when the process that started them dies, and end with the power
 * of their machine: then make a new one.
 */
export class SimHypervisor implements Hypervisor {
  readonly #vms = new Map<string, RunningVm>();
  /** Called for every machine that begins or ceases to execute. */
  readonly #onChange: (vmId: string, isExecuting: boolean) => void;
  /** Fault: so many of the next starts fail. */
  startsToFail = 0;

  /** Machines that were started here, from their disks. */
  startCount = 0;
  resetCount = 0;
  /** Fault: so many of the next sends fail when all but the last of the memory is there. */
  sendsToFail = 0;
  readonly #arrivals: Map<string, SimHypervisor>;
  readonly #whole = new Set<string>();
  readonly #cancelled = new Set<string>();

  /** Of the guard, which outlives the process that says how long machines may execute. */
  readonly #clock: Clock;
  #guard: Timer | undefined;

  /** Hypervisors that share `arrivals` reach each other's machines. */
  constructor(
    clock: Clock,
    onChange: (vmId: string, isExecuting: boolean) => void = () => {},
    arrivals: Map<string, SimHypervisor> = new Map(),
  ) {
    this.#clock = clock;
    this.#onChange = onChange;
    this.#arrivals = arrivals;
  }

  allow(ms: number, left?: ReadonlySet<string>): void {
    this.#guard?.cancel();
    this.#guard = this.#clock.after(Math.max(0, ms), () => {
      for (const vm of this.#vms.values())
        if (vm.state === "running" && left?.has(vm.vmId) !== true) this.#change(vm.vmId, "paused");
    });
  }

  async list(): Promise<readonly RunningVm[]> {
    return [...this.#vms.values()];
  }

  async prepare(): Promise<void> {}

  async start({ vmId, epoch }: VmStart): Promise<void> {
    if (this.startsToFail > 0) {
      this.startsToFail--;
      throw new CodedError({ code: "vm-not-started", message: `${vmId} does not start` });
    }
    this.startCount++;
    this.#set({ vmId, epoch, state: "running" });
  }

  has(vmId: string): boolean {
    return this.#vms.has(vmId);
  }

  async receive({ vmId, epoch }: VmStart, migration: number): Promise<string> {
    if (this.startsToFail > 0) {
      this.startsToFail--;
      throw new CodedError({ code: "vm-not-started", message: `${vmId} does not start` });
    }
    await this.kill(vmId);
    this.#whole.delete(vmId);
    this.#set({ vmId, epoch, state: "arriving", migration });
    const socket = `${vmId}/${epoch}/${migration}`;
    this.#arrivals.set(socket, this);
    return socket;
  }

  async accept(vmId: string): Promise<void> {
    const vm = this.#vms.get(vmId);
    if (vm?.state !== "arriving" || !this.#whole.delete(vmId)) throw notSent(vmId, "is not whole");
    this.#set({ vmId, epoch: vm.epoch, state: "paused" });
  }

  async send(vmId: string, socket: string): Promise<void> {
    this.#cancelled.delete(vmId);
    await new Promise<void>((resolve) => void this.#clock.after(SEND_MS, resolve));
    const target = this.#arrivals.get(socket);
    if (target === undefined || target.#vms.get(vmId)?.state !== "arriving")
      throw notSent(vmId, "nobody waits for it");
    if (this.#cancelled.delete(vmId)) throw notSent(vmId, "it was cancelled");
    if (this.#vms.get(vmId)?.state === "ended" || !this.#vms.has(vmId))
      throw notSent(vmId, "it has ended");
    if (this.sendsToFail > 0) {
      this.sendsToFail--;
      throw notSent(vmId, "the connection broke");
    }
    this.#change(vmId, "paused");
    target.#whole.add(vmId);
  }

  async cancelSend(vmId: string): Promise<void> {
    this.#cancelled.add(vmId);
  }

  async shutDown(vmId: string, isCutOff = false): Promise<void> {
    const vm = this.#vms.get(vmId);
    if (vm !== undefined && isCutOff) this.#set({ ...vm, isCutOff });
    this.#change(vmId, "ended");
  }

  async kill(vmId: string): Promise<void> {
    const vm = this.#vms.get(vmId);
    this.#vms.delete(vmId);
    if (vm?.state === "running") this.#onChange(vmId, false);
  }

  async pause(vmId: string): Promise<void> {
    this.#change(vmId, "paused");
  }

  async resume(vmId: string): Promise<void> {
    if (this.#vms.get(vmId)?.isHung !== true) this.#change(vmId, "running");
  }

  /** Fault: its guest hangs. */
  hang(vmId: string): void {
    const vm = this.#vms.get(vmId);
    if (vm?.state === "running") this.#set({ ...vm, state: "paused", isHung: true });
  }

  /** Fault: its guest's agent does not answer any more. */
  silence(vmId: string): void {
    const vm = this.#vms.get(vmId);
    if (vm !== undefined) this.#set({ ...vm, isSilent: true });
  }

  async reset(vmId: string): Promise<void> {
    const vm = this.#vms.get(vmId);
    if (vm === undefined) return;
    this.resetCount++;
    this.#set({ ...vm, state: "running", isHung: false, isSilent: false });
  }

  async close(): Promise<void> {}

  /** The power of the machine is cut. */
  end(): void {
    this.#guard?.cancel();
    for (const vm of this.#vms.values()) if (vm.state === "running") this.#onChange(vm.vmId, false);
    this.#vms.clear();
  }

  #change(vmId: string, state: RunningVm["state"]): void {
    const vm = this.#vms.get(vmId);
    if (vm !== undefined && vm.state !== "arriving") this.#set({ ...vm, state });
  }

  #set(vm: RunningVm): void {
    const wasExecuting = this.#vms.get(vm.vmId)?.state === "running";
    this.#vms.set(vm.vmId, vm);
    const isExecuting = vm.state === "running";
    if (isExecuting !== wasExecuting) this.#onChange(vm.vmId, isExecuting);
  }
}

function notSent(vmId: string, why: string): CodedError {
  return new CodedError({ code: "vm-migration-failed", message: `${vmId} is not sent: ${why}` });
}
