import { CodedError } from "../base/index.ts";
import type { Clock, Hypervisor, RunningVm, Timer, VmStart } from "../ports/index.ts";

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

  /** Of the guard, which outlives the process that says how long machines may execute. */
  readonly #clock: Clock;
  #guard: Timer | undefined;

  constructor(clock: Clock, onChange: (vmId: string, isExecuting: boolean) => void = () => {}) {
    this.#clock = clock;
    this.#onChange = onChange;
  }

  allow(ms: number): void {
    this.#guard?.cancel();
    this.#guard = this.#clock.after(Math.max(0, ms), () => {
      for (const vm of this.#vms.values())
        if (vm.state === "running") this.#change(vm.vmId, "paused");
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
    this.#set({ vmId, epoch, state: "running" });
  }

  async shutDown(vmId: string): Promise<void> {
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
    this.#change(vmId, "running");
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
    if (vm !== undefined) this.#set({ ...vm, state });
  }

  #set(vm: RunningVm): void {
    const wasExecuting = this.#vms.get(vm.vmId)?.state === "running";
    this.#vms.set(vm.vmId, vm);
    const isExecuting = vm.state === "running";
    if (isExecuting !== wasExecuting) this.#onChange(vm.vmId, isExecuting);
  }
}
