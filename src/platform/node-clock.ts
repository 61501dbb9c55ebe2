import { assert } from "../base/index.ts";
import type { Clock, Timer } from "../ports/index.ts";
import { sinceStartMs } from "./sys.ts";

/** The longest delay that a timer of Node takes; longer ones would fire at once. */
const DELAY_MS_MAX = 2 ** 31 - 1;

/** Of this process or worker. */
const loadedMs = sinceStartMs();

/**
 * The clocks of the machine. `nowMs` counts from the start of the process or worker, and goes on
 * while the machine is suspended: a lease ends meanwhile. Timers do not, and come later then.
 */
export class NodeClock implements Clock {
  readonly #sinceStartMs: () => number;

  constructor(readMs: () => number = sinceStartMs) {
    this.#sinceStartMs = readMs;
  }

  nowMs(): number {
    return this.#sinceStartMs() - loadedMs;
  }

  wallMs(): number {
    return Date.now();
  }

  after(delayMs: number, callback: () => void): Timer {
    assert(delayMs >= 0, "a delay is not negative");
    if (delayMs === 0) return new NextTurn(callback);
    return new NodeTimer(performance.now() + delayMs, callback);
  }
}

/**
 * Node's timers take a millisecond at least: too long for who only lets others go first. Not
 * unreferenced: the loop would wait for something else to happen before it called.
 */
class NextTurn implements Timer {
  readonly #immediate: NodeJS.Immediate;

  constructor(callback: () => void) {
    this.#immediate = setImmediate(callback);
  }

  cancel(): void {
    clearImmediate(this.#immediate);
  }
}

/**
 * Node's timers round to whole milliseconds and may come up to one early: what is missing is waited
 * for.
 */
class NodeTimer implements Timer {
  readonly #dueMs: number;
  readonly #callback: () => void;
  #timeout: NodeJS.Timeout | undefined;

  constructor(dueMs: number, callback: () => void) {
    this.#dueMs = dueMs;
    this.#callback = callback;
    this.#wait();
  }

  cancel(): void {
    clearTimeout(this.#timeout);
    this.#timeout = undefined;
  }

  #wait(): void {
    const remainingMs = Math.ceil(this.#dueMs - performance.now());
    this.#timeout = setTimeout(this.#expired, Math.min(remainingMs, DELAY_MS_MAX)).unref();
  }

  readonly #expired = (): void => {
    if (performance.now() < this.#dueMs) return this.#wait();
    this.#timeout = undefined;
    this.#callback();
  };
}
