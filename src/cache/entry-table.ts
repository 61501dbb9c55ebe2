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
import { bucketCountOf, hashOf, hashShift } from "./key-hash.ts";

const BUCKETS_PER_ENTRY_MIN = 0.75;
const LOW = 0;
const LINK = 1;
/** When a cold slot was filled, or the hand last met a hot one; the link of the free list. */
const SINCE = 2;
const STATUS = 3;
const STATUS_BITS = 8;
const STATUS_MASK = 0xff;
const WORDS_SHIFT = 2;

export class EntryTable {
  readonly #words: Int32Array;
  readonly #buckets: IndexArray;
  readonly #bucketShift: number;

  constructor(entryCount: number) {
    this.#bucketShift = hashShift(Math.ceil(entryCount * BUCKETS_PER_ENTRY_MIN));
    this.#words = new Int32Array((entryCount + 1) << WORDS_SHIFT);
    this.#buckets = indexArray(bucketCountOf(this.#bucketShift), entryCount);
  }

  get sizeBytes(): number {
    return this.#words.byteLength + this.#buckets.byteLength;
  }

  /** The entry of a key, or 0. */
  find(low: number, high: number): number {
    const words = this.#words;
    let entry = this.#buckets[this.#bucketOf(low, high)]!;
    while (entry !== 0) {
      const at = entry << WORDS_SHIFT;
      if (words[at + LOW] === low && words[at + STATUS]! >> STATUS_BITS === high) return entry;
      entry = words[at + LINK]!;
    }
    return 0;
  }

  /** The key must not be in the index yet; the caller has looked. */
  add(entry: number, low: number, high: number): void {
    const at = entry << WORDS_SHIFT;
    const bucket = this.#bucketOf(low, high);
    this.#words[at + LOW] = low;
    this.#words[at + STATUS] = high << STATUS_BITS;
    this.#words[at + LINK] = this.#buckets[bucket]!;
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

  setStatus(entry: number, status: number): void {
    const at = (entry << WORDS_SHIFT) + STATUS;
    this.#words[at] = (this.#words[at]! & ~STATUS_MASK) | status;
  }

  #bucketOf(low: number, high: number): number {
    return hashOf(low, high) >>> this.#bucketShift;
  }
}
