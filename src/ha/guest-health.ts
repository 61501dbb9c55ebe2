/**
 * Machines whose guests hang: those that do not feed their watchdog any more, and stand still from
 * then on, and those whose agents do not answer any more. They are reset, a few times within an
 * hour. One that hangs again and again is left as it is, so that somebody can look at it, and the
 * record says why.
 */
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import type { RunningVm } from "../ports/index.ts";
import { STARTED } from "./vm-start.ts";
import type { TellOfVm, VmWorld } from "./vm-world.ts";

const RESETS_MAX = 3;
const WITHIN_MS = 3600_000;
/** In a machine's history. */
const RESET = "reset";
const GIVEN_UP = "waits for help";
const GOES_ON = "goes on";
const TOLD: ReadonlySet<string> = new Set([RESET, GIVEN_UP, GOES_ON, STARTED]);

export interface HealthHooks {
  /** False if the record has changed since it was read. */
  readonly decide: (
    stored: StoredVm,
    change: Partial<VmRecord>,
    what: string,
    because: string,
  ) => Promise<boolean>;
  readonly event: TellOfVm;
}

export class GuestHealth {
  readonly #world: VmWorld;
  readonly #hooks: HealthHooks;

  constructor(world: VmWorld, hooks: HealthHooks) {
    this.#world = world;
    this.#hooks = hooks;
  }

  /** True if its guest hangs, and was dealt with. */
  async hasHung(vm: RunningVm, stored: StoredVm): Promise<boolean> {
    if (vm.isHung === true) await this.#hangs(stored, "has not fed the watchdog");
    else if (vm.isSilent === true) await this.#hangs(stored, "has an agent that answers no more");
    else return false;
    return true;
  }

  async #hangs(stored: StoredVm, how: string): Promise<void> {
    const { name } = stored.record;
    if (isGivenUp(stored.record)) return;
    const wallMs = Math.round(this.#world.clock.wallMs());
    const resetsMs = resetsOf(stored.record, wallMs);
    const count = resetsMs.length;
    if (count >= RESETS_MAX) {
      const because = `its guest hangs again after ${count} resets within an hour`;
      if (!(await this.#hooks.decide(stored, {}, GIVEN_UP, because))) return;
      this.#hooks.event("error", "vm-failed", name, `is not reset any more: ${because}`);
      return;
    }
    // Said first: a reset that nobody knows of would not be counted.
    const which = `reset ${count + 1} of ${RESETS_MAX} an hour`;
    const because = `its guest ${how}; ${which}`;
    const change = { resetsMs: [...resetsMs, wallMs] };
    if (!(await this.#hooks.decide(stored, change, RESET, because))) return;
    this.#hooks.event("error", "vm-failed", name, "hangs and is reset");
    await this.#world.hypervisor.reset(name);
  }

  /** It executes and is not silent: somebody may have reset it. */
  async executes(stored: StoredVm): Promise<void> {
    if (!isGivenUp(stored.record)) return;
    await this.#hooks.decide(stored, {}, GOES_ON, "it was reset, or goes on by itself");
  }
}

/** Whatever else was said of it since, such as a change of its priority. */
function isGivenUp({ history }: VmRecord): boolean {
  return history.findLast(({ what }) => TOLD.has(what))?.what === GIVEN_UP;
}

/** Within the last hour. */
function resetsOf({ resetsMs = [] }: VmRecord, wallMs: number): readonly number[] {
  return resetsMs.filter((timeMs) => Math.abs(wallMs - timeMs) < WITHIN_MS).slice(-RESETS_MAX);
}
