/**
 * Machines with a watchdog whose guests do not feed it any more: they stand still from then on, and
 * are reset, a few times within an hour. One that hangs again and again is left as it is, so that
 * somebody can look at it, and the record says why.
 */
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import type { TellOfVm, VmWorld } from "./vm-world.ts";

const RESETS_MAX = 3;
const WITHIN_MS = 3600_000;
/** In a machine's history. */
const RESET = "reset";
const GIVEN_UP = "waits for help";

export interface HealthHooks {
  readonly decide: (stored: StoredVm, what: string, because: string) => Promise<void>;
  readonly event: TellOfVm;
}

export class GuestHealth {
  readonly #world: VmWorld;
  readonly #hooks: HealthHooks;

  constructor(world: VmWorld, hooks: HealthHooks) {
    this.#world = world;
    this.#hooks = hooks;
  }

  /** Its guest hangs, and it stands still. */
  async hangs(stored: StoredVm): Promise<void> {
    const { name } = stored.record;
    if (isGivenUp(stored.record)) return;
    const count = resetsOf(stored.record, Math.round(this.#world.clock.wallMs()));
    if (count >= RESETS_MAX) {
      const because = `its guest hangs again after ${count} resets within an hour`;
      await this.#hooks.decide(stored, GIVEN_UP, because);
      this.#hooks.event("error", "vm-failed", name, `is not reset any more: ${because}`);
      return;
    }
    // Said first: a reset that nobody knows of would not be counted.
    const which = `reset ${count + 1} of ${RESETS_MAX} an hour`;
    const because = `its guest has not fed the watchdog; ${which}`;
    await this.#hooks.decide(stored, RESET, because);
    this.#hooks.event("error", "vm-failed", name, "hangs and is reset");
    await this.#world.hypervisor.reset(name);
  }

  /** It executes: somebody may have reset it. */
  async executes(stored: StoredVm): Promise<void> {
    if (isGivenUp(stored.record)) await this.#hooks.decide(stored, "goes on", "it was reset");
  }
}

function isGivenUp({ history }: VmRecord): boolean {
  return history.at(-1)?.what === GIVEN_UP;
}

function resetsOf({ history }: VmRecord, wallMs: number): number {
  const isRecent = (timeMs: number): boolean => Math.abs(wallMs - timeMs) < WITHIN_MS;
  return history.filter(({ what, timeMs }) => what === RESET && isRecent(timeMs)).length;
}
