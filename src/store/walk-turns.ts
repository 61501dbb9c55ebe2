/**
 * Turns of the event loop for long walks over a device's maps: what one turn takes is bounded for
 * all of them together, and clients' requests run between two turns.
 */
import { CodedError } from "../base/index.ts";
import type { Clock } from "../ports/index.ts";

/** About a millisecond. A step is what it takes to find a page that is not there. */
export const STEPS_PER_TURN = 2048;

interface Waiter {
  go(): void;
  giveUp(error: CodedError): void;
}

export class WalkTurns {
  readonly #clock: Clock;
  readonly #waiting: Waiter[] = [];
  #stepsLeft = STEPS_PER_TURN;
  #isTurnDue = false;
  #isClosed = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether a walk that begins has to wait for its turn. */
  get isTaken(): boolean {
    return this.isOver || this.#waiting.length > 0 || this.#isClosed;
  }

  /** Whether the walk that has the turn must give it to others. */
  get isOver(): boolean {
    return this.#stepsLeft <= 0;
  }

  spend(steps: number): void {
    this.#stepsLeft -= steps;
    this.#scheduleTurn();
  }

  /** Resolves in a later turn, which then is the caller's. Fails with `unreachable` at the end. */
  next(): Promise<void> {
    if (this.#isClosed) return Promise.reject(closedError());
    this.#scheduleTurn();
    return new Promise((go, giveUp) => void this.#waiting.push({ go, giveUp }));
  }

  /** The maps cannot be read any more. */
  close(): void {
    this.#isClosed = true;
    for (const waiter of this.#waiting.splice(0)) waiter.giveUp(closedError());
  }

  #scheduleTurn(): void {
    if (this.#isTurnDue) return;
    this.#isTurnDue = true;
    this.#clock.after(0, this.#begin);
  }

  /** One walk for each turn: it may take all of the steps. */
  readonly #begin = (): void => {
    this.#isTurnDue = false;
    this.#stepsLeft = STEPS_PER_TURN;
    this.#waiting.shift()?.go();
    if (this.#waiting.length > 0) this.#scheduleTurn();
  };
}

/** What walks fail with when the maps cannot be read any more. */
export function closedError(): CodedError {
  return new CodedError({ code: "unreachable", message: "the device is being closed" });
}
