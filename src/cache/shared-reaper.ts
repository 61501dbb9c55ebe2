/**
 * Gives back what a worker of a shared cache held when it died: locks, slots it was filling or
 * evicting, flushes, pins, its place.
 *
 * Each step is whole by itself and may be repeated, so a reaper may die, and two may meet. All
 * words of the cache are right at any instant that a worker can die at, but for what the states
 * say; so nothing is searched for but states that name the dead.
 */
import { COLD, LIMBO, QUEUE_MASK } from "./slot-status.ts";
import * as at from "./shared-layout.ts";
import type { SharedParts } from "./shared-parts.ts";
import type { SharedRetirement } from "./shared-retirement.ts";
import { DIRTY, FLUSHING, OWNED, OWNER_MASK, ownerBits, ownerOf } from "./shared-state.ts";

export class SharedReaper {
  readonly #parts: SharedParts;
  readonly #retirement: SharedRetirement;
  readonly #words: Int32Array;
  readonly #dead: number;

  constructor(parts: SharedParts, retirement: SharedRetirement, place: number) {
    this.#parts = parts;
    this.#retirement = retirement;
    this.#words = parts.words;
    this.#dead = place;
  }

  /** The number of slots that the dead worker owned or was flushing. */
  run(): number {
    const { index, pins } = this.#parts;
    index.takeOverLocks(ownerOf(this.#dead), (bucket) => this.#settleVersions(bucket));
    pins.clear(this.#dead);
    let count = 0;
    let coldCount = 0;
    for (let entry = 1; entry <= this.#parts.layout.capacity; entry++) {
      const state = Atomics.load(this.#words, this.#stateAt(entry));
      if ((state & OWNER_MASK) === ownerBits(this.#dead) && this.#takeOver(entry, state)) count++;
      else if ((state & (QUEUE_MASK | OWNED)) === COLD) coldCount++;
    }
    Atomics.store(this.#words, at.COLD_SIZE, coldCount);
    pins.free(this.#dead);
    return count;
  }

  #stateAt(entry: number): number {
    return this.#parts.layout.slotsAt + entry * at.SLOT_WORDS + at.STATE;
  }

  #takeOver(entry: number, state: number): boolean {
    const queue = state & QUEUE_MASK;
    if ((state & FLUSHING) !== 0 && queue !== LIMBO) return this.#endFlush(entry);
    const mine = LIMBO | OWNED | ownerBits(this.#parts.pins.place);
    if (Atomics.compareExchange(this.#words, this.#stateAt(entry), state, mine) !== state) {
      return false;
    }
    this.#retirement.unlink(entry);
    this.#retirement.releaseOwned(entry);
    return true;
  }

  /** Whether its flush got through is not known, so the page is dirty as before. */
  #endFlush(entry: number): boolean {
    const stateAt = this.#stateAt(entry);
    for (;;) {
      const state = Atomics.load(this.#words, stateAt);
      if ((state & OWNER_MASK) !== ownerBits(this.#dead)) return false;
      // It was retired meanwhile.
      if ((state & QUEUE_MASK) === LIMBO) return this.#takeOver(entry, state);
      const next = (state & ~(FLUSHING | OWNER_MASK)) | DIRTY;
      if (Atomics.compareExchange(this.#words, stateAt, state, next) === state) return true;
    }
  }

  /**
   * If the dead worker had committed a newer version and not yet retired the older, both are in the
   * chain, the newer one first.
   */
  #settleVersions(bucket: number): void {
    const words = this.#words;
    let entry = Atomics.load(words, bucket + at.HEAD);
    while (entry !== 0) {
      const slot = this.#parts.layout.slotsAt + entry * at.SLOT_WORDS;
      const next = Atomics.load(words, slot + at.NEXT);
      if (!this.#isUncommitted(entry)) {
        const older = this.#parts.index.findBehind(entry);
        if (older !== 0 && this.#retirement.retire(bucket, older, "long")) {
          this.#retirement.finish(older);
          continue;
        }
      }
      entry = next;
    }
  }

  #isUncommitted(entry: number): boolean {
    const state = Atomics.load(this.#words, this.#stateAt(entry));
    if ((state & QUEUE_MASK) === LIMBO) return true;
    return (state & OWNED) !== 0 && (state & OWNER_MASK) === ownerBits(this.#dead);
  }
}
