/**
 * Memory that the lives of a host borrow from the depot, one after the other. What a life had goes
 * back some events after its end, when none of its code can still be in the middle of something:
 * hosts that die often would fill gigabytes before the trial is over.
 */
import type { Simulation } from "../sim/index.ts";
import type { Depot } from "./depot.ts";

/**
 * Code of a dead machine ends in the turn in which it dies, or as soon as it waits for anything.
 */
const EVENTS_UNTIL_QUIET = 200;

interface EndedLife {
  readonly memory: readonly Uint8Array[];
  readonly endedAtEvent: number;
}

export class LifeMemory {
  readonly #depot: Depot;
  readonly #simulation: Simulation;
  #borrowed: Uint8Array[] = [];
  #ended: EndedLife[] = [];

  constructor(depot: Depot, simulation: Simulation) {
    this.#depot = depot;
    this.#simulation = simulation;
  }

  borrow(lengthBytes: number): Uint8Array {
    const bytes = this.#depot.lend(lengthBytes);
    this.#borrowed.push(bytes);
    return bytes;
  }

  /** The machine that borrowed has no power any more. */
  lifeEnded(): void {
    this.#ended.push({ memory: this.#borrowed, endedAtEvent: this.#simulation.eventCount });
    this.#borrowed = [];
  }

  /** Before the next life. Nothing is scheduled for it: trials go the way they would without. */
  giveBackOld(): void {
    const now = this.#simulation.eventCount;
    const isOld = (life: EndedLife): boolean => now >= life.endedAtEvent + EVENTS_UNTIL_QUIET;
    for (const { memory } of this.#ended.filter(isOld))
      for (const bytes of memory) this.#depot.giveBack(bytes);
    this.#ended = this.#ended.filter((life) => !isOld(life));
  }
}
