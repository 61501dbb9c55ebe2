/**
 * Virtual time: a queue of events, run one after the other, from one seed.
 *
 * Promises. Product code awaits, so after each event its microtasks must run before the next
 * event does. JavaScript cannot ask whether microtasks are left. Two ways are offered:
 * - With `turn`, a function that resolves in a macrotask of the environment (`() => new
 *   Promise(setImmediate)`): exact, since the environment empties its microtask queue before it
 *   gets there.
 * - Without: turns of the microtask queue are awaited until `QUIET_TURNS` in a row have
 *   scheduled nothing. A chain of awaits that is longer continues after the next event: time
 *   passes while it works, as it does on a real machine. The same seed still gives the same
 *   run. Before the simulation calls itself idle it waits `IDLE_TURNS`, so that such a chain is
 *   not mistaken for a standstill.
 *
 * Determinism: nothing here depends on anything but the seed and on what product code does.
 */
import { assert, CodedError, Prng } from "../base/index.ts";
import { Buggify } from "./buggify.ts";
import { EventQueue } from "./event-queue.ts";
import type { SimEvent, SimScope } from "./event-queue.ts";
import { SimClock } from "./sim-clock.ts";

const QUIET_TURNS = 12;
const IDLE_TURNS = 4096;
const EVENT_COUNT_MAX = 20_000_000;
const START_MS = 1000;
const ONE_TURN: Promise<void> = Promise.resolve();

assert(IDLE_TURNS > QUIET_TURNS, "idleness takes more proof than a pause between events");

export interface SimulationOptions {
  readonly seed: number;
  /** Events of equal time run in random order ("shuffled", the default) or as scheduled. */
  readonly order?: "shuffled" | "as-scheduled";
  /** Makes adapters behave oddly now and then, within what the ports promise. Off by default. */
  readonly buggify?: boolean;
  /** Resolves in a macrotask; see the head of this file. */
  readonly turn?: () => Promise<void>;
  /** A run that takes more events than this is taken for one that never comes to rest. */
  readonly eventCountMax?: number;
}

/** Milliseconds that a request takes: uniform between the two. */
export interface Latency {
  readonly minMs: number;
  readonly maxMs: number;
}

type Stop = "condition" | "idle" | "deadline";

export class Simulation {
  readonly seed: number;
  /** The source of all chance here. Consumers should `fork()` their own. */
  readonly prng: Prng;
  /** A clock that survives every machine; a machine's own timers die with it. */
  readonly clock: SimClock;
  /** Undefined unless asked for. */
  readonly buggify: Buggify | undefined;
  readonly #queue = new EventQueue();
  readonly #ties: Prng | undefined;
  readonly #turn: (() => Promise<void>) | undefined;
  readonly #eventCountMax: number;
  #nowMs = START_MS;
  #scheduledCount = 0;
  #workCount = 0;
  #eventCount = 0;
  #isRunning = false;
  /** Of the rest that is under way. */
  #quietTurns = 0;
  #turnsLeft = 0;
  #seenCount = 0;
  #rested: (() => void) | undefined;

  constructor(options: SimulationOptions) {
    this.seed = options.seed;
    this.prng = new Prng(options.seed);
    this.#ties = options.order === "as-scheduled" ? undefined : this.prng.fork();
    this.buggify = options.buggify === true ? new Buggify(this.prng.fork()) : undefined;
    this.#turn = options.turn;
    this.#eventCountMax = options.eventCountMax ?? EVENT_COUNT_MAX;
    this.clock = new SimClock(this, undefined);
  }

  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events that have happened so far. */
  get eventCount(): number {
    return this.#eventCount;
  }

  /** Events that are to happen. */
  countWaiting(): number {
    return this.#queue.countLive();
  }

  /** How long a request at this site takes, now and then far longer or nothing. */
  drawLatencyMs(site: string, latency: Latency, prng: Prng): number {
    const { minMs, maxMs } = latency;
    const delayMs = minMs + (prng.u32() / 2 ** 32) * (maxMs - minMs);
    if (this.buggify === undefined) return delayMs;
    if (this.buggify.fires(`${site} takes long`, 0.03)) return delayMs * 50;
    return this.buggify.fires(`${site} takes no time`, 0.3) ? 0 : delayMs;
  }

  /** Runs `callback` `delayMs` from now, unless `scope` has lost power by then. */
  schedule(delayMs: number, callback: () => void, scope?: SimScope): SimEvent {
    return this.#push(delayMs, callback, scope, false);
  }

  /** As `schedule`, but does not count as work: `runUntilIdle` does not wait for it. */
  scheduleTimer(delayMs: number, callback: () => void, scope?: SimScope): SimEvent {
    return this.#push(delayMs, callback, scope, true);
  }

  cancel(event: SimEvent): void {
    event.isCancelled = true;
  }

  /** For a scope that goes on: what it held happens now, or when it was to happen. */
  putBack(event: SimEvent): void {
    if (event.isCancelled) return;
    event.timeMs = Math.max(event.timeMs, this.#nowMs);
    if (!event.isTimer) this.#workCount++;
    this.#queue.push(event);
  }

  /**
   * Runs until the promise settles and passes its outcome on. Fails with code `standstill` if
   * nothing is left to happen.
   */
  async run<T>(work: Promise<T> | (() => Promise<T>)): Promise<T> {
    const promise = typeof work === "function" ? work() : work;
    let isSettled = false;
    const settle = (): void => {
      isSettled = true;
    };
    promise.then(settle, settle);
    await this.runUntil(() => isSettled);
    return await promise;
  }

  /** Runs until the condition holds, asked after each event. Fails with code `standstill`. */
  async runUntil(condition: () => boolean): Promise<void> {
    const stop = await this.#loop(condition, Infinity, false);
    if (stop === "condition") return;
    throw new CodedError({
      code: "standstill",
      message: `nothing is left to happen at ${this.#nowMs} ms (seed ${this.seed}), and what was waited for did not come`,
      hint: "look for a request that was never completed or a promise that nobody resolves",
    });
  }

  /** Runs until nothing is under way but timers of clocks. */
  async runUntilIdle(): Promise<void> {
    await this.#loop(() => false, Infinity, true);
  }

  /** Lets `ms` of virtual time pass. */
  async runForMs(ms: number): Promise<void> {
    assert(ms >= 0, "time does not run backwards");
    const deadlineMs = this.#nowMs + ms;
    await this.#loop(() => false, deadlineMs, false);
    this.#nowMs = Math.max(this.#nowMs, deadlineMs);
  }

  #push(
    delayMs: number,
    callback: () => void,
    scope: SimScope | undefined,
    isTimer: boolean,
  ): SimEvent {
    assert(delayMs >= 0 && delayMs < Infinity, "an event needs a finite delay of 0 or more");
    const event: SimEvent = {
      timeMs: this.#nowMs + delayMs,
      tie: this.#ties === undefined ? 0 : this.#ties.u32(),
      order: this.#scheduledCount++,
      callback,
      scope,
      isTimer,
      isCancelled: false,
    };
    if (!isTimer) this.#workCount++;
    this.#queue.push(event);
    return event;
  }

  async #loop(condition: () => boolean, deadlineMs: number, workOnly: boolean): Promise<Stop> {
    assert(!this.#isRunning, "the simulation is already running");
    this.#isRunning = true;
    const lastEvent = this.#eventCount + this.#eventCountMax;
    try {
      for (;;) {
        await this.#rest(QUIET_TURNS);
        if (condition()) return "condition";
        if (this.#isAtRest(workOnly, deadlineMs)) {
          await this.#rest(IDLE_TURNS);
          if (condition()) return "condition";
          if (this.#isAtRest(workOnly, deadlineMs)) {
            return this.#queue.size === 0 ? "idle" : "deadline";
          }
        }
        this.#runNext();
        assert(
          this.#eventCount < lastEvent,
          `no rest after ${this.#eventCountMax} events (seed ${this.seed})`,
        );
      }
    } finally {
      this.#isRunning = false;
    }
  }

  /** Waits until microtasks have had `quietTurns` turns in a row without scheduling anything. */
  #rest(quietTurns: number): Promise<void> {
    if (this.#turn !== undefined) return this.#turn();
    this.#turnsLeft = quietTurns;
    this.#quietTurns = quietTurns;
    this.#seenCount = this.#scheduledCount;
    return new Promise(this.#beginRest);
  }

  readonly #beginRest = (resolve: () => void): void => {
    this.#rested = resolve;
    void ONE_TURN.then(this.#turned);
  };

  /** By hand, since this is the most frequent thing of all and an `await` makes three objects. */
  readonly #turned = (): void => {
    if (this.#scheduledCount !== this.#seenCount) {
      this.#seenCount = this.#scheduledCount;
      this.#turnsLeft = this.#quietTurns;
    }
    if (--this.#turnsLeft > 0) void ONE_TURN.then(this.#turned);
    else this.#rested?.();
  };

  #isAtRest(workOnly: boolean, deadlineMs: number): boolean {
    let next = this.#queue.peek();
    while (next !== undefined && (next.isCancelled || next.scope?.isOn === false)) {
      this.#take();
      next = this.#queue.peek();
    }
    if (workOnly && this.#workCount === 0) return true;
    return next === undefined || next.timeMs > deadlineMs;
  }

  #runNext(): void {
    const event = this.#take();
    if (event === undefined || event.isCancelled || event.scope?.isOn === false) return;
    assert(event.timeMs >= this.#nowMs, "an event lies in the past");
    this.#nowMs = event.timeMs;
    this.#eventCount++;
    if (event.scope?.holds(event) === true) return;
    event.callback();
  }

  #take(): SimEvent | undefined {
    const event = this.#queue.pop();
    if (event !== undefined && !event.isTimer) this.#workCount--;
    return event;
  }
}
