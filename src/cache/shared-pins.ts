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
import { ALIVE, BEAT, CURRENT, PINS, PINS_TOP, PLACES_TOP } from "./shared-layout.ts";
import type { SharedLayout } from "./shared-layout.ts";

export class SharedPins {
  /** Which worker this is: 0 to workersMax - 1. */
  readonly place: number;
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

  isAlive(place: number): boolean {
    return Atomics.load(this.#words, this.#wordsOf(place) + ALIVE) !== 0;
  }

  beat(): void {
    Atomics.add(this.#words, this.#at + BEAT, 1);
  }

  /** Other workers that have not beaten since this was last asked. */
  silent(): number[] {
    const places: number[] = [];
    for (let place = 0; place < this.#layout.workersMax; place++) {
      if (place === this.place || !this.isAlive(place)) {
        this.#beats[place] = -1;
        continue;
      }
      const beat = Atomics.load(this.#words, this.#wordsOf(place) + BEAT) & 0x7fffffff;
      if (beat === this.#beats[place]) places.push(place);
      this.#beats[place] = beat;
    }
    return places;
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
    Atomics.store(this.#words, this.#wordsOf(place) + ALIVE, 0);
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
      if (Atomics.compareExchange(words, this.#wordsOf(place) + ALIVE, 0, 1) !== 0) continue;
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
