/**
 * The slots' entries, 1 to entryCount, and the hash index over them, in memory fixed at creation.
 *
 * An entry is four words side by side, so that a look-up touches one cache line for the bucket and
 * one for each entry it passes, and finds there all that a hit needs:
 *
 *   low half of the key | link to the next entry of the bucket | since | high half << 8 + status
 *
 * Each entry owns its link, so removal unlinks it and leaves no tombstone. Buckets are a power of
 * two from three quarters of the entries up: a walk passes 1.3 to 1.7 entries for a key that is
 * there when every entry is in use, fewer if keys are neighbours.
 */
import { assert } from "../base/index.ts";
import { indexArray } from "./index-array.ts";
import type { IndexArray } from "./index-array.ts";
import { bucketCountOf, hashOf, hashShift, highOf, mixOf } from "./key-hash.ts";

const BUCKETS_PER_ENTRY_MIN = 0.75;
const LOW = 0;
const LINK = 1;
/** When a cold slot was filled, or the hand last met a hot one; the link of the free list. */
const SINCE = 2;
const STATUS = 3;
const STATUS_BITS = 8;
const STATUS_MASK = 0xff;
const WORDS_SHIFT = 2;
const HIGH_LIMIT = 2 ** 21;
const NO_MISS = -1;

export class EntryTable {
  readonly #words: Int32Array;
  readonly #buckets: IndexArray;
  readonly #bucketShift: number;
  #missedLow = 0;
  #missedHigh: number = NO_MISS;

  constructor(entryCount: number) {
    this.#bucketShift = hashShift(Math.ceil(entryCount * BUCKETS_PER_ENTRY_MIN));
    this.#words = new Int32Array((entryCount + 1) << WORDS_SHIFT);
    this.#buckets = indexArray(bucketCountOf(this.#bucketShift), entryCount);
  }

  get sizeBytes(): number {
    return this.#words.byteLength + this.#buckets.byteLength;
  }

  /**
   * The entry of a key, or 0. What is no key has none. That a key has none is remembered until one
   * is added, for an insert mostly follows a miss.
   */
  find(key: number): number {
    const low = key | 0;
    let high = 0;
    if (low !== key || low < 0) {
      high = highOf(key);
      if (high < 0 || high >= HIGH_LIMIT || high * 2 ** 32 + (low >>> 0) !== key) {
        this.#missedHigh = NO_MISS;
        return 0;
      }
    }
    if (low === this.#missedLow && high === this.#missedHigh) return 0;
    const words = this.#words;
    let entry = this.#buckets[hashOf(mixOf(low, high)) >>> this.#bucketShift]!;
    while (entry !== 0) {
      const at = entry << WORDS_SHIFT;
      if (words[at + LOW] === low && words[at + STATUS]! >> STATUS_BITS === high) return entry;
      entry = words[at + LINK]!;
    }
    this.#missedLow = low;
    this.#missedHigh = high;
    return 0;
  }

  /** High half of the key that `find` missed last; -1 if that was no key. */
  get missedHigh(): number {
    return this.#missedHigh;
  }

  /** The key must not be in the index yet; the caller has looked. */
  add(entry: number, low: number, high: number): void {
    this.#missedHigh = NO_MISS;
    const words = this.#words;
    const at = entry << WORDS_SHIFT;
    const bucket = this.#bucketOf(low, high);
    words[at + LOW] = low;
    words[at + STATUS] = high << STATUS_BITS;
    words[at + LINK] = this.#buckets[bucket]!;
    this.#buckets[bucket] = entry;
  }

  /** Takes an entry out of the index. What its key was can still be asked. */
  remove(entry: number): void {
    const words = this.#words;
    const bucket = this.#bucketOf(this.lowOf(entry), this.highOf(entry));
    const link = words[(entry << WORDS_SHIFT) + LINK]!;
    let other = this.#buckets[bucket]!;
    if (other === entry) {
      this.#buckets[bucket] = link;
      return;
    }
    while (words[(other << WORDS_SHIFT) + LINK] !== entry) {
      other = words[(other << WORDS_SHIFT) + LINK]!;
      assert(other !== 0, "the entry is not in its bucket");
    }
    words[(other << WORDS_SHIFT) + LINK] = link;
  }

  lowOf(entry: number): number {
    return this.#words[(entry << WORDS_SHIFT) + LOW]!;
  }

  highOf(entry: number): number {
    return this.#words[(entry << WORDS_SHIFT) + STATUS]! >> STATUS_BITS;
  }

  keyOf(entry: number): number {
    return this.highOf(entry) * 2 ** 32 + (this.lowOf(entry) >>> 0);
  }

  since(entry: number): number {
    return this.#words[(entry << WORDS_SHIFT) + SINCE]!;
  }

  setSince(entry: number, since: number): void {
    this.#words[(entry << WORDS_SHIFT) + SINCE] = since;
  }

  status(entry: number): number {
    return this.#words[(entry << WORDS_SHIFT) + STATUS]! & STATUS_MASK;
  }

  /** Status and time at once, as an entry goes into a queue. */
  enter(entry: number, status: number, since: number): void {
    const words = this.#words;
    const at = entry << WORDS_SHIFT;
    words[at + SINCE] = since;
    words[at + STATUS] = (words[at + STATUS]! & ~STATUS_MASK) | status;
  }

  setStatus(entry: number, status: number): void {
    const at = (entry << WORDS_SHIFT) + STATUS;
    this.#words[at] = (this.#words[at]! & ~STATUS_MASK) | status;
  }

  #bucketOf(low: number, high: number): number {
    return hashOf(mixOf(low, high)) >>> this.#bucketShift;
  }
}
