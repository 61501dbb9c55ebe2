import { assert } from "../base/index.ts";
import type { Clock, Timer } from "../ports/index.ts";
import type { SimScope } from "./event-queue.ts";
import type { Simulation } from "./simulation.ts";

/** 2026-01-01T00:00:00Z: the day on which every simulation begins. */
const WALL_START_MS = 1_767_225_600_000;

/** Virtual time. Timers of a machine's clock die with the machine. */
export class SimClock implements Clock {
  /** For tests of code that must not trust people's clocks: added to `wallMs`. */
  wallOffsetMs = 0;
  readonly #simulation: Simulation;
  readonly #scope: SimScope | undefined;
  #rate = 1;
  #sinceMs: number;
  #baseMs: number;

  constructor(simulation: Simulation, scope: SimScope | undefined) {
    this.#simulation = simulation;
    this.#scope = scope;
    this.#sinceMs = simulation.nowMs;
    this.#baseMs = simulation.nowMs;
  }

  /** Fault: from now on this clock runs so much faster or slower than the others. */
  setRate(rate: number): void {
    assert(rate > 0, "a clock does not run backwards");
    this.#baseMs = this.nowMs();
    this.#sinceMs = this.#simulation.nowMs;
    this.#rate = rate;
  }

  nowMs(): number {
    return this.#baseMs + (this.#simulation.nowMs - this.#sinceMs) * this.#rate;
  }

  wallMs(): number {
    return WALL_START_MS + this.#simulation.nowMs + this.wallOffsetMs;
  }

  after(delayMs: number, callback: () => void): Timer {
    const realMs = Math.max(0, delayMs) / this.#rate;
    const event = this.#simulation.scheduleTimer(realMs, callback, this.#scope);
    return { cancel: () => this.#simulation.cancel(event) };
  }
}
