/**
 * Looks at a queue a little longer before its thread goes to sleep: a driver that asks again within
 * a few microseconds is served without a system call on either side.
 *
 * Looking is worth it only where the driver runs meanwhile, on a core of its own. Whether it does
 * is found out by trying: after a look in vain the queue is left alone for twice as many turns as
 * before. Others on this thread wait no longer than one turn, and where several queues are at work
 * nobody looks. Without requests nothing is done.
 */
import type { Clock } from "../../ports/index.ts";

/** What a driver that sleeps until it is called takes to wake, look, and ask again. */
const LOOK_MS = 0.02;
/** After so long the thread's other work gets its turn. */
const TURN_MS = 0.06;
const SKIP_MAX = 1024;
/** Looks between two glances at the clock. */
const LOOKS = 32;

export interface PolledQueue {
  /** Whether there is something to take. */
  readonly hasMore: boolean;
}

/** One for all queues that a thread serves. */
export class ShortPoll {
  readonly #clock: Pick<Clock, "nowMs">;
  #queue: PolledQueue | undefined;
  #isAlone = false;
  #turnEndMs = 0;
  /** Turns until the next try, and how many after the next one in vain. */
  #skip = 0;
  #skipNext = 1;

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  /** A queue's turn begins. */
  begin(queue: PolledQueue): void {
    this.#isAlone = queue === this.#queue;
    this.#queue = queue;
    this.#turnEndMs = 0;
  }

  /** Looks for more, at the end of a turn; true if it came. */
  awaits(queue: PolledQueue): boolean {
    if (!this.#isAlone) return false;
    if (this.#skip > 0) {
      this.#skip--;
      return false;
    }
    const startMs = this.#clock.nowMs();
    if (this.#turnEndMs === 0) this.#turnEndMs = startMs + TURN_MS;
    if (startMs >= this.#turnEndMs) return false;
    const endMs = startMs + LOOK_MS;
    do {
      for (let i = 0; i < LOOKS; i++) if (queue.hasMore) return this.#came(endMs);
    } while (this.#clock.nowMs() < endMs);
    this.#inVain();
    return queue.hasMore;
  }

  /** Later than we would have looked: this thread has slept meanwhile, and the driver has run. */
  #came(endMs: number): true {
    if (this.#clock.nowMs() < endMs) this.#skipNext = 1;
    else this.#inVain();
    return true;
  }

  #inVain(): void {
    this.#skip = this.#skipNext;
    this.#skipNext = Math.min(2 * this.#skipNext, SKIP_MAX);
  }
}
