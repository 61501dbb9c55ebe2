/**
 * How an entry of a shared cache loses its key other than by eviction: because a newer version of
 * the page took its place, because the key was removed, or because its worker died.
 *
 * It goes into limbo under the lock of its bucket. If a flush of it is under way it stays in its
 * chain until that ends, so that no newer version is flushed at the same time; otherwise it is
 * owned while it is taken out of the chain, so that, should its worker die between the two, it is
 * found and nobody reuses it before.
 *
 * Nothing is waited for here under a lock: the one waited for might need that lock, or be dead.
 */
import { assert } from "../base/index.ts";
import * as at from "./shared-layout.ts";
import type { SharedParts } from "./shared-parts.ts";
import type { SharedSlots } from "./shared-slots.ts";
import { FLUSHING, OWNED, OWNER_MASK, ownerBits, SHADOW } from "./shared-state.ts";
import { COLD, LIMBO, QUEUE_MASK } from "./slot-status.ts";

/** A claim that finds its slot pinned is taken back within so many looks, or seldom. */
const ROUNDS_MAX = 16;

export class SharedRetirement {
  readonly #parts: SharedParts;
  readonly #slots: SharedSlots;
  readonly #words: Int32Array;
  readonly #slotsAt: number;
  readonly #owned: number;

  constructor(parts: SharedParts, slots: SharedSlots) {
    this.#parts = parts;
    this.#slots = slots;
    this.#words = parts.words;
    this.#slotsAt = parts.layout.slotsAt;
    this.#owned = OWNED | ownerBits(parts.pins.place);
  }

  /**
   * Takes an entry from its key, for the holder of the lock. False if it is owned: being filled, or
   * claimed and not given back within some looks. `finish` it when the lock is given back.
   */
  tryRetire(bucket: number, entry: number): boolean {
    for (let rounds = 0; rounds < ROUNDS_MAX; rounds++) {
      const state = this.#stateOf(entry);
      // Its owner died, and a reaper is about to do the same.
      if ((state & QUEUE_MASK) === LIMBO) return true;
      if ((state & OWNED) === 0 && this.#retireFrom(bucket, entry, state)) return true;
    }
    return false;
  }

  /**
   * As `tryRetire`, for an entry that the publisher of a newer version has pinned. Whoever owns it
   * can but find the pin and take its claim back, if it lives: so it is taken from it.
   */
  retirePinned(bucket: number, entry: number): void {
    for (;;) {
      const state = this.#stateOf(entry);
      if ((state & QUEUE_MASK) === LIMBO) return;
      assert((state & SHADOW) === 0, "a version that is not published is not replaced");
      if (this.#retireFrom(bucket, entry, state)) return;
    }
  }

  #stateOf(entry: number): number {
    return Atomics.load(this.#words, this.#slotsAt + entry * at.SLOT_WORDS + at.STATE);
  }

  /** False if the state has changed meanwhile. */
  #retireFrom(bucket: number, entry: number, state: number): boolean {
    const stateAt = this.#slotsAt + entry * at.SLOT_WORDS + at.STATE;
    const isFlushing = (state & FLUSHING) !== 0;
    const kept = isFlushing ? FLUSHING | (state & OWNER_MASK) : this.#owned;
    if (Atomics.compareExchange(this.#words, stateAt, state, LIMBO | kept) !== state) return false;
    if (!isFlushing) this.#parts.index.unlink(bucket, entry);
    if ((state & QUEUE_MASK) === COLD) this.#slots.changeColdSize(-1);
    return true;
  }

  /** After it was retired: makes the slot free, or leaves it in limbo for as long as it is held. */
  finish(entry: number): void {
    if (this.#stateOf(entry) === (LIMBO | this.#owned)) this.releaseOwned(entry);
  }

  /** Gives back a slot that this worker owns and that others may hold still. */
  releaseOwned(entry: number): void {
    if (this.#parts.pins.isHeld(entry)) this.#slots.releaseHeld(entry);
    else this.#slots.release(entry);
  }

  /** Takes an entry out of its chain, if it is in it. */
  unlink(entry: number): void {
    const { index } = this.#parts;
    const bucket = index.bucketOfEntry(entry);
    index.lock(bucket);
    index.unlink(bucket, entry);
    index.unlock(bucket);
  }
}
