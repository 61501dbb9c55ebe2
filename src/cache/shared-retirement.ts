/**
 * How an entry of a shared cache loses its key other than by eviction: because a newer version of
 * the page took its place, because the key was removed, or because its worker died.
 *
 * It goes into limbo under the lock of its bucket. If a flush of it is under way it stays in its
 * chain until that ends, so that no newer version is flushed at the same time; otherwise it is
 * owned while it is taken out of the chain, so that, should its worker die between the two, it is
 * found and nobody reuses it before.
 */
import { stuck } from "./shared-index.ts";
import * as at from "./shared-layout.ts";
import type { SharedParts } from "./shared-parts.ts";
import { waitAMoment } from "./shared-patience.ts";
import type { SharedSlots } from "./shared-slots.ts";
import { FLUSHING, OWNED, OWNER_MASK, ownerBits, placeOf } from "./shared-state.ts";
import { COLD, LIMBO, QUEUE_MASK } from "./slot-status.ts";

/** A claim that finds its slot pinned is taken back within so many looks, or seldom. */
const BRIEF_ROUNDS_MAX = 16;
/** For how long to wait for the owner of a slot: "long" is until it must be dead. */
export type RetirementPatience = "brief" | "long" | "endless";

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
   * The state of a slot once no one owns it, or it has lost its key, for the holder of its bucket's
   * lock. Fails with `cache-worker-stuck`, after giving the lock back.
   */
  settledState(bucket: number, entry: number): number {
    const stateAt = this.#slotsAt + entry * at.SLOT_WORDS + at.STATE;
    let state = Atomics.load(this.#words, stateAt);
    // In limbo it may be owned by a reaper, and that waits for the lock.
    for (let rounds = 0; (state & OWNED) !== 0 && (state & QUEUE_MASK) !== LIMBO; rounds++) {
      if (!waitAMoment(this.#words, stateAt, state, rounds)) {
        this.#parts.index.unlock(bucket);
        throw stuck(placeOf(state));
      }
      state = Atomics.load(this.#words, stateAt);
    }
    return state;
  }

  /**
   * Takes an entry from its key, for the holder of the lock. False if it is owned, and stays so for
   * as long as the patience lasts. `finish` it when the lock is given back.
   */
  retire(bucket: number, entry: number, patience: RetirementPatience = "brief"): boolean {
    const stateAt = this.#slotsAt + entry * at.SLOT_WORDS + at.STATE;
    for (let rounds = 0; ; rounds++) {
      const state = Atomics.load(this.#words, stateAt);
      // Its owner died, and a reaper is about to do the same.
      if ((state & QUEUE_MASK) === LIMBO) return true;
      if ((state & OWNED) === 0) {
        if (this.#retireFrom(bucket, entry, state)) return true;
      } else {
        if (patience === "brief" && rounds >= BRIEF_ROUNDS_MAX) return false;
        if (!waitAMoment(this.#words, stateAt, state, rounds) && patience === "long") return false;
      }
    }
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

  /** After `retire`: makes the slot free, or leaves it in limbo for as long as it is held. */
  finish(entry: number): void {
    const state = Atomics.load(this.#words, this.#slotsAt + entry * at.SLOT_WORDS + at.STATE);
    if (state === (LIMBO | this.#owned)) this.releaseOwned(entry);
  }

  /** Gives back a slot that this worker owns and that others may hold still. */
  releaseOwned(entry: number): void {
    if (this.#parts.pins.isHeld(entry)) this.#slots.releaseHeld(entry);
    else this.#slots.release(entry);
  }

  /** Takes an entry out of its chain, if it is in it. */
  unlink(entry: number): void {
    const slot = this.#slotsAt + entry * at.SLOT_WORDS;
    const { index } = this.#parts;
    const bucket = index.bucketOf(
      this.#words[slot + at.KEY_LOW]!,
      this.#words[slot + at.KEY_HIGH]!,
    );
    index.lock(bucket);
    index.unlink(bucket, entry);
    index.unlock(bucket);
  }
}
