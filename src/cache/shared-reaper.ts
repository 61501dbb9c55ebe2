/**
 * Gives back what a worker of a shared cache held when it died: locks, slots it was filling or
 * evicting, flushes, pins, its place, and the reaping of others that it had begun.
 *
 * Each step is whole by itself and may be repeated, so a reaper may die, or give up because it
 * needs a lock of another one who died. Of several that come for the same worker one is let in: the
 * others would take what the next worker at that place has by then. All words of the cache are
 * right at any instant that a worker can die at, but for what the states say; so nothing is
 * searched for but states that name the dead.
 */
import { COLD, LIMBO, QUEUE_MASK } from "./slot-status.ts";
import * as at from "./shared-layout.ts";
import type { SharedParts } from "./shared-parts.ts";
import type { SharedRetirement } from "./shared-retirement.ts";
import { DIRTY, FLUSHING, OWNED, OWNER_MASK, ownerBits, ownerOf, SHADOW } from "./shared-state.ts";

const RECOUNTS_MAX = 4;

export class SharedReaper {
  readonly #parts: SharedParts;
  readonly #retirement: SharedRetirement;
  readonly #words: Int32Array;

  constructor(parts: SharedParts, retirement: SharedRetirement) {
    this.#parts = parts;
    this.#retirement = retirement;
    this.#words = parts.words;
  }

  /**
   * The number of slots that the dead worker owned or was flushing; 0 if it is not there any more,
   * or another worker reaps it. Fails with `cache-worker-stuck`; it may be called again then.
   */
  reap(worker: number): number {
    const { pins } = this.#parts;
    const before = pins.beginReaping(worker);
    if (before === 0) return 0;
    const place = pins.placeOf(worker);
    try {
      let count = this.#giveBack(place);
      for (const other of pins.beingReapedBy(place)) count += this.reap(other);
      this.#recountCold();
      pins.free(place);
      return count;
    } catch (error) {
      // Somebody else may have to do it.
      pins.endReaping(place, before);
      throw error;
    }
  }

  #giveBack(dead: number): number {
    const { index, pins, layout } = this.#parts;
    index.takeOverLocks(ownerOf(dead), (bucket) => this.#settleVersions(bucket));
    pins.clear(dead);
    let count = 0;
    for (let entry = 1; entry <= layout.capacity; entry++) {
      const state = Atomics.load(this.#words, this.#stateAt(entry));
      if ((state & OWNER_MASK) !== ownerBits(dead)) continue;
      if (this.#takeOver(entry, state, dead)) count++;
    }
    return count;
  }

  #stateAt(entry: number): number {
    return this.#parts.layout.slotsAt + entry * at.SLOT_WORDS + at.STATE;
  }

  #takeOver(entry: number, state: number, dead: number): boolean {
    const { index, pins } = this.#parts;
    const queue = state & QUEUE_MASK;
    if ((state & FLUSHING) !== 0 && queue !== LIMBO) return this.#endFlush(entry, dead);
    // The lock first: without it the slot must stay as it is, for the next attempt to find.
    const bucket = index.bucketOfEntry(entry);
    index.lock(bucket);
    const mine = LIMBO | OWNED | ownerBits(pins.place);
    const taken = Atomics.compareExchange(this.#words, this.#stateAt(entry), state, mine) === state;
    if (taken) index.unlink(bucket, entry);
    index.unlock(bucket);
    if (taken) this.#retirement.releaseOwned(entry);
    return taken;
  }

  /** Whether its flush got through is not known, so the page is dirty as before. */
  #endFlush(entry: number, dead: number): boolean {
    const stateAt = this.#stateAt(entry);
    for (;;) {
      const state = Atomics.load(this.#words, stateAt);
      if ((state & OWNER_MASK) !== ownerBits(dead)) return false;
      // It was retired meanwhile.
      if ((state & QUEUE_MASK) === LIMBO) return this.#takeOver(entry, state, dead);
      const next = (state & ~(FLUSHING | OWNER_MASK)) | DIRTY;
      if (Atomics.compareExchange(this.#words, stateAt, state, next) === state) return true;
    }
  }

  /**
   * If the dead worker had committed a newer version and not yet retired the older, both are in the
   * chain, the newer one first, and the older one is pinned by the dead still.
   */
  #settleVersions(bucket: number): void {
    const words = this.#words;
    let entry = Atomics.load(words, bucket);
    while (entry !== 0) {
      const slot = this.#parts.layout.slotsAt + entry * at.SLOT_WORDS;
      const next = Atomics.load(words, slot + at.NEXT);
      const older = this.#isCommitted(entry) ? this.#parts.index.findBehind(entry) : 0;
      if (older === 0) {
        entry = next;
      } else {
        this.#retirement.retirePinned(bucket, older);
        this.#retirement.finish(older);
      }
    }
  }

  #isCommitted(entry: number): boolean {
    const state = Atomics.load(this.#words, this.#stateAt(entry));
    // A shadow in a chain is another dead worker's, that had locked this bucket before.
    return (state & QUEUE_MASK) !== LIMBO && (state & SHADOW) === 0;
  }

  /**
   * A worker that died between a change of a slot and the count of it left that wrong by one. A
   * count is worth something only if nothing moved meanwhile; if there is no such moment, the next
   * reaper will find one.
   */
  #recountCold(): void {
    const words = this.#words;
    for (let tries = 0; tries < RECOUNTS_MAX; tries++) {
      const counted = Atomics.load(words, at.COLD_SIZE);
      const ticks = Atomics.load(words, at.TICKS);
      let count = 0;
      for (let entry = 1; entry <= this.#parts.layout.capacity; entry++) {
        const state = Atomics.load(words, this.#stateAt(entry));
        if ((state & (QUEUE_MASK | OWNED)) === COLD) count++;
      }
      if (Atomics.load(words, at.TICKS) !== ticks) continue;
      if (Atomics.compareExchange(words, at.COLD_SIZE, counted, count) === counted) return;
    }
  }
}
