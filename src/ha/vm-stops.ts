/** Machines that are to stop: their guests are asked to shut down, and ended if they do not. */
import type { TellOfVm, VmWorld } from "./vm-world.ts";

/** A guest that has not shut down by then is ended. */
const SHUT_DOWN_MS_MAX = 60_000;

export interface StopHooks {
  /** Something has changed that the host should look at. */
  readonly wake: () => void;
  readonly event: TellOfVm;
}

export class VmStops {
  readonly #world: VmWorld;
  readonly #hooks: StopHooks;
  /** Machines that were asked to shut down, and since when. */
  readonly #sinceMs = new Map<string, number>();

  constructor(world: VmWorld, hooks: StopHooks) {
    this.#world = world;
    this.#hooks = hooks;
  }

  /** It has stopped, or is to run. */
  forget(name: string): void {
    this.#sinceMs.delete(name);
  }

  /** To be called again until it has ended; without asking the guest if that is to be at once. */
  async shutDown(name: string, isAtOnce: boolean): Promise<void> {
    const { hypervisor, clock } = this.#world;
    const sinceMs = this.#sinceMs.get(name);
    if (isAtOnce) {
      await hypervisor.kill(name);
      this.#hooks.wake();
    } else if (sinceMs === undefined) {
      this.#sinceMs.set(name, clock.nowMs());
      await hypervisor.shutDown(name);
    } else if (clock.nowMs() - sinceMs > SHUT_DOWN_MS_MAX) {
      await hypervisor.kill(name);
      this.forget(name);
      this.#hooks.event("warning", "vm-ended", name, "did not shut down in time and was ended");
    }
  }
}
