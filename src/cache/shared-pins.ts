/**
 * Who uses a shared cache, and which slots each of them keeps from being reused.
 *
 * A worker writes the slots it looks at into words of its own, which no other writes; whoever wants
 * to reuse a slot claims it first and then asks all workers' words. So a hit writes nothing that
 * another thread writes, and the pins of a worker that died are all in one place. This is the
 * method of hazard pointers (Michael, IEEE TPDS 15:6, 2004).
 *
 * Why it is safe: a user stores its pin and then loads the slot's state; a claimant changes the
 * state and then loads the pins; all four are sequentially consistent. Whatever the order, the user
 * sees the claim, or the claimant sees the pin, or both.
 */
import { assert, CodedError } from "../base/index.ts";
import { COUNTER_COUNT } from "./cache-stats.ts";
import { BEAT, CURRENT, LIFE, PINS, PINS_TOP, PLACES_TOP } from "./shared-layout.ts";
import type { SharedLayout } from "./shared-layout.ts";

/**
 * The word that says who is at a place: how many workers were there, and in its low byte nobody, a
 * worker, or one that a reaper (its place plus REAPED) is clearing away.
 */
const PHASE_MASK = 0xff;
const NOBODY = 0;
const LIVES = 1;
const REAPED = 2;
const GENERATION_STEP = 0x100;

export class SharedPins {
  /** Where its words are: 0 to workersMax - 1. */
  readonly place: number;
  /** Which worker this is, of all that have ever joined: never 0. */
  readonly worker: number;
  /** Of this worker. */
  readonly counters: Float64Array;
  readonly #words: Int32Array;
  readonly #layout: SharedLayout;
  readonly #at: number;
  /** Beats of all workers when `silent` was last asked. */
  readonly #beats: Int32Array;

  /** Takes a place. Fails with `cache-workers-exhausted`. */
  constructor(words: Int32Array, layout: SharedLayout) {
    this.#words = words;
    this.#layout = layout;
    this.#beats = new Int32Array(layout.workersMax).fill(-1);
    this.place = this.#takePlace();
    this.#at = this.#wordsOf(this.place);
    this.worker = this.#workerAt(this.place);
    this.counters = this.countersOf(this.place);
  }

  /** What this worker looks at, or 0. */
  get current(): number {
    return this.#words[this.#at + CURRENT]!;
  }

  set current(entry: number) {
    Atomics.store(this.#words, this.#at + CURRENT, entry);
  }

  /** Of any worker that is there or was. */
  countersOf(place: number): Float64Array {
    const { buffer, byteOffset } = this.#words;
    const at = byteOffset + (this.#wordsOf(place) + this.#layout.countersAt) * 4;
    return new Float64Array(buffer, at, COUNTER_COUNT);
  }

  /** The entry must be held already. Fails with `cache-pins-exhausted`. */
  pin(entry: number): void {
    const words = this.#words;
    const top = words[this.#at + PINS_TOP]!;
    let pin = 0;
    while (pin < top && words[this.#at + PINS + pin] !== 0) pin++;
    if (pin === this.#layout.pinsMax) throw pinsExhausted(pin);
    // Whoever does not see the new top yet has claimed its slot after this pin was needed.
    if (pin === top) Atomics.store(words, this.#at + PINS_TOP, top + 1);
    Atomics.store(words, this.#at + PINS + pin, entry);
  }

  unpin(entry: number): void {
    const words = this.#words;
    let pin = words[this.#at + PINS_TOP]! - 1;
    while (pin >= 0 && words[this.#at + PINS + pin] !== entry) pin--;
    assert(pin >= 0, "this worker has not pinned the slot");
    Atomics.store(words, this.#at + PINS + pin, 0);
  }

  /** Whether this worker looks at the entry or has pinned it. */
  holds(entry: number): boolean {
    return this.#isHeldAt(this.#at, entry);
  }

  /** Whether any worker does. */
  isHeld(entry: number): boolean {
    const top = Atomics.load(this.#words, PLACES_TOP);
    for (let place = 0; place < top; place++) {
      if (this.#isHeldAt(this.#wordsOf(place), entry)) return true;
    }
    return false;
  }

  /** The place at which a worker is or was. */
  placeOf(worker: number): number {
    return worker % GENERATION_STEP;
  }

  beat(): void {
    this.#beatAt(this.place);
  }

  #beatAt(place: number): void {
    Atomics.add(this.#words, this.#wordsOf(place) + BEAT, 1);
  }

  /** Other workers that have not beaten since this was last asked. */
  silent(): number[] {
    const workers: number[] = [];
    for (let place = 0; place < this.#layout.workersMax; place++) {
      const worker = this.#workerAt(place);
      if (place === this.place || worker === 0) {
        this.#beats[place] = -1;
        continue;
      }
      const beat = Atomics.load(this.#words, this.#wordsOf(place) + BEAT) & 0x7fffffff;
      if (beat === this.#beats[place]) workers.push(worker);
      this.#beats[place] = beat;
    }
    return workers;
  }

  /** Takes all pins from a worker that is gone. */
  clear(place: number): void {
    const at = this.#wordsOf(place);
    Atomics.store(this.#words, at + CURRENT, 0);
    for (let pin = 0; pin < this.#layout.pinsMax; pin++) {
      Atomics.store(this.#words, at + PINS + pin, 0);
    }
    Atomics.store(this.#words, at + PINS_TOP, 0);
  }

  /** Lets another worker have the place. */
  free(place: number): void {
    const at = this.#wordsOf(place) + LIFE;
    Atomics.store(this.#words, at, (this.#words[at]! & ~PHASE_MASK) | NOBODY);
  }

  /**
   * Makes the reaping of a worker this one's alone. What must be given to `endReaping` if it cannot
   * be ended; 0 if the worker is not there any more, or another one reaps it.
   */
  beginReaping(worker: number): number {
    const place = this.placeOf(worker);
    const at = this.#wordsOf(place) + LIFE;
    const life = Atomics.load(this.#words, at);
    if (this.#workerAt(place) !== worker) return 0;
    const phase = life & PHASE_MASK;
    const reaped = (life & ~PHASE_MASK) | (REAPED + this.place);
    // What a worker reaped that is being reaped itself is for the same reaper.
    const isFree = phase === LIVES || this.#isReapedByThis(phase - REAPED);
    if (!isFree || Atomics.compareExchange(this.#words, at, life, reaped) !== life) return 0;
    return life;
  }

  /** Gives the reaping up. */
  endReaping(place: number, before: number): void {
    Atomics.store(this.#words, this.#wordsOf(place) + LIFE, before);
  }

  /** Workers whose reaping the one at a place had begun. */
  beingReapedBy(place: number): number[] {
    const workers: number[] = [];
    for (let other = 0; other < this.#layout.workersMax; other++) {
      const life = Atomics.load(this.#words, this.#wordsOf(other) + LIFE);
      if ((life & PHASE_MASK) === REAPED + place) workers.push(this.#workerAt(other));
    }
    return workers;
  }

  #isReapedByThis(place: number): boolean {
    if (place < 0 || place >= this.#layout.workersMax) return false;
    const life = Atomics.load(this.#words, this.#wordsOf(place) + LIFE);
    return (life & PHASE_MASK) === REAPED + this.place;
  }

  /** The worker at a place, or 0. */
  #workerAt(place: number): number {
    const life = Atomics.load(this.#words, this.#wordsOf(place) + LIFE);
    return (life & PHASE_MASK) === NOBODY ? 0 : ((life >>> 8) + 1) * GENERATION_STEP + place;
  }

  #isHeldAt(at: number, entry: number): boolean {
    const words = this.#words;
    if (Atomics.load(words, at + CURRENT) === entry) return true;
    const top = Atomics.load(words, at + PINS_TOP);
    for (let pin = 0; pin < top; pin++) {
      if (Atomics.load(words, at + PINS + pin) === entry) return true;
    }
    return false;
  }

  #wordsOf(place: number): number {
    return this.#layout.workersAt + place * this.#layout.workerWords;
  }

  #takePlace(): number {
    const words = this.#words;
    for (let place = 0; place < this.#layout.workersMax; place++) {
      const at = this.#wordsOf(place) + LIFE;
      const life = Atomics.load(words, at);
      if ((life & PHASE_MASK) !== NOBODY) continue;
      const next = (life + GENERATION_STEP) | LIVES;
      if (Atomics.compareExchange(words, at, life, next) !== life) continue;
      // Nobody shall take it for the one before, that fell silent.
      this.#beatAt(place);
      for (;;) {
        const top = Atomics.load(words, PLACES_TOP);
        if (top > place) return place;
        if (Atomics.compareExchange(words, PLACES_TOP, top, place + 1) === top) return place;
      }
    }
    throw new CodedError({
      code: "cache-workers-exhausted",
      message: `All ${this.#layout.workersMax} places for workers of the shared cache are taken`,
      hint: "Let a worker leave, reap the dead ones, or format the cache with more places.",
    });
  }
}

function pinsExhausted(pinsMax: number): CodedError {
  return new CodedError({
    code: "cache-pins-exhausted",
    message: `This worker has pinned ${pinsMax} slots of the shared cache, and may not pin more`,
    hint: "Unpin some, or format the cache with more pins for each worker.",
  });
}
