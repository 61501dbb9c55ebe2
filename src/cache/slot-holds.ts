/**
 * What keeps slots from being reused: pins, contents newer than what is stored, flushes under way.
 * All in one number a slot, so that a search for a victim learns with one look whether a slot is
 * held.
 */
import { assert } from "../base/index.ts";

const PINS_MASK = 0x3fff;
const FLUSHING = 0x4000;
const DIRTY = 0x8000;

export class SlotHolds {
  /** 0 for a slot that nothing holds; for reading alone. */
  readonly words: Uint16Array;
  #dirtyCount = 0;

  constructor(slotCount: number) {
    this.words = new Uint16Array(slotCount + 1);
  }

  get sizeBytes(): number {
    return this.words.byteLength;
  }

  /** Dirty slots that no flush has been begun for, or that became dirty again meanwhile. */
  get dirtyCount(): number {
    return this.#dirtyCount;
  }

  isPinned(entry: number): boolean {
    return (this.words[entry]! & PINS_MASK) !== 0;
  }

  isDirty(entry: number): boolean {
    return (this.words[entry]! & DIRTY) !== 0;
  }

  pin(entry: number): void {
    assert((this.words[entry]! & PINS_MASK) < PINS_MASK, "a slot is pinned too often");
    this.words[entry]!++;
  }

  unpin(entry: number): void {
    assert(this.isPinned(entry), "the slot is not pinned");
    this.words[entry]!--;
  }

  markDirty(entry: number): void {
    if (this.isDirty(entry)) return;
    this.words[entry]! |= DIRTY;
    this.#dirtyCount++;
  }

  /** The slot's contents are not wanted any more. */
  discardDirty(entry: number): void {
    if (!this.isDirty(entry)) return;
    this.words[entry]! &= ~DIRTY;
    this.#dirtyCount--;
  }

  /** True if the slot is dirty and no flush of it was under way: now one is. */
  beginFlush(entry: number): boolean {
    if ((this.words[entry]! & (DIRTY | FLUSHING)) !== DIRTY) return false;
    this.words[entry]! ^= DIRTY | FLUSHING;
    this.#dirtyCount--;
    return true;
  }

  endFlush(entry: number): void {
    assert((this.words[entry]! & FLUSHING) !== 0, "no flush of the slot is under way");
    this.words[entry]! &= ~FLUSHING;
  }
}
