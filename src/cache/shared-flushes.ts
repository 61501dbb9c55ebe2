/**
 * Write-back of a shared cache, outside every search for a victim. A flush is begun under the lock
 * of the page's bucket, and only for the newest version, and only if no older one is being flushed:
 * so what is stored never goes back to an older version, however long a flush takes.
 */
import { assert } from "../base/index.ts";
import * as at from "./shared-layout.ts";
import type { SharedParts } from "./shared-parts.ts";
import type { SharedRetirement } from "./shared-retirement.ts";
import { DIRTY, FLUSHING, OWNED, OWNER_MASK, ownerBits } from "./shared-state.ts";
import { LIMBO, QUEUE_MASK } from "./slot-status.ts";

export class SharedFlushes {
  readonly #parts: SharedParts;
  readonly #retirement: SharedRetirement;
  readonly #words: Int32Array;
  readonly #owner: number;

  constructor(parts: SharedParts, retirement: SharedRetirement) {
    this.#parts = parts;
    this.#retirement = retirement;
    this.#words = parts.words;
    this.#owner = ownerBits(parts.pins.place);
  }

  /**
   * Begins the flush of as many dirty slots as fit into `slots`, and returns how many; each is kept
   * until this worker's `endFlush`. Those of the cold queue come first. A page of which an older
   * version is being flushed is left for later. Looks at every slot if few are dirty.
   */
  begin(slots: Uint32Array): number {
    const words = this.#words;
    const { layout } = this.#parts;
    let count = 0;
    const head = Atomics.load(words, at.COLD_HEAD);
    const inRing = Math.min((Atomics.load(words, at.COLD_TAIL) - head) | 0, layout.coldRingSize);
    for (let i = 0; i < inRing && count < slots.length; i++) {
      const place = layout.coldRingAt + ((head + i) & (layout.coldRingSize - 1));
      const entry = Atomics.load(words, place);
      if (entry !== 0 && this.#begin(entry)) slots[count++] = entry - 1;
    }
    const hand = Atomics.load(words, at.HAND) >>> 0;
    for (let i = 0; i < layout.capacity && count < slots.length; i++) {
      const entry = ((hand + i) % layout.capacity) + 1;
      if (this.#begin(entry)) slots[count++] = entry - 1;
    }
    return count;
  }

  /** The flush of a slot is durable, or it failed and the slot is dirty still. */
  end(entry: number, succeeded: boolean): void {
    const words = this.#words;
    const stateAt = this.#wordsAt(entry) + at.STATE;
    for (;;) {
      const state = Atomics.load(words, stateAt);
      const isOurs = (state & FLUSHING) !== 0 && (state & OWNER_MASK) === this.#owner;
      assert(isOurs, "this worker has begun no flush of the slot");
      if ((state & QUEUE_MASK) === LIMBO) {
        // A retired version is of no use any more, flushed or not; it leaves its chain first.
        this.#retirement.unlink(entry);
        Atomics.store(words, stateAt, LIMBO | OWNED | this.#owner);
        this.#retirement.finish(entry);
        return;
      }
      const clean = state & ~(FLUSHING | OWNER_MASK);
      const next = succeeded ? clean : clean | DIRTY;
      if (Atomics.compareExchange(words, stateAt, state, next) === state) return;
    }
  }

  /** Dirty slots, of those whose flush no one has begun. Looks at every slot. */
  get dirtyCount(): number {
    let count = 0;
    for (let entry = 1; entry <= this.#parts.layout.capacity; entry++) {
      if ((Atomics.load(this.#words, this.#wordsAt(entry) + at.STATE) & DIRTY) !== 0) count++;
    }
    return count;
  }

  #wordsAt(entry: number): number {
    assert(entry >= 1 && entry <= this.#parts.layout.capacity, "no such slot");
    return this.#parts.layout.slotsAt + entry * at.SLOT_WORDS;
  }

  /** Under the lock of the bucket: no version of a page is begun before the one before it ended. */
  #begin(entry: number): boolean {
    const words = this.#words;
    const { index } = this.#parts;
    const slot = this.#wordsAt(entry);
    if ((Atomics.load(words, slot + at.STATE) & (DIRTY | FLUSHING | OWNED)) !== DIRTY) return false;
    const bucket = index.bucketOf(words[slot + at.KEY_LOW]!, words[slot + at.KEY_HIGH]!);
    if (!index.tryLock(bucket)) return false;
    const isNewest =
      index.find(bucket, words[slot + at.KEY_LOW]!, words[slot + at.KEY_HIGH]!) === entry;
    const mayBegin = isNewest && !index.hasRetired(entry);
    const begun = mayBegin && this.#markFlushing(slot + at.STATE);
    index.unlock(bucket);
    return begun;
  }

  #markFlushing(stateAt: number): boolean {
    for (;;) {
      const state = Atomics.load(this.#words, stateAt);
      if ((state & (DIRTY | FLUSHING | OWNED)) !== DIRTY) return false;
      const flushing = (state & ~DIRTY) | FLUSHING | this.#owner;
      // Only a hit may come between.
      if (Atomics.compareExchange(this.#words, stateAt, state, flushing) === state) return true;
    }
  }
}
