/**
 * Hash index from keys to entry numbers 1..entryCount, in memory fixed at creation.
 *
 * Each entry owns one link, so removal unlinks it and leaves no tombstone, and one index serves
 * resident entries and ghosts alike: a look-up learns in one walk which of the two a key is, and a
 * key can never be both. Buckets are not fewer than three quarters of the entries, so that a walk
 * stays short: about 1.7 entries for a key that is there when every entry is in use.
 */
import { assert } from "../base/index.ts";
import { indexArray } from "./index-array.ts";
import type { IndexArray } from "./index-array.ts";
import { hashOf, highOf } from "./key-hash.ts";

const BUCKETS_PER_ENTRY = 0.75;
/** Marks an entry without a key. Never equal to a key, which is at least zero. */
export const NO_KEY = -1;

export class KeyIndex {
  /** Key of each entry, or NO_KEY. Read by the owner, written here alone. */
  readonly keys: Float64Array;
  readonly #links: IndexArray;
  readonly #buckets: IndexArray;
  readonly #bucketScale: number;

  constructor(entryCount: number) {
    const bucketCount = Math.max(4, Math.ceil(entryCount * BUCKETS_PER_ENTRY));
    this.keys = new Float64Array(entryCount + 1).fill(NO_KEY);
    this.#links = indexArray(entryCount + 1, entryCount);
    this.#buckets = indexArray(bucketCount, entryCount);
    this.#bucketScale = bucketCount / 2 ** 32;
  }

  get sizeBytes(): number {
    return this.keys.byteLength + this.#links.byteLength + this.#buckets.byteLength;
  }

  /** The entry of a key, or 0. */
  find(key: number): number {
    let entry = this.#buckets[this.#bucketOf(key)]!;
    while (entry !== 0 && this.keys[entry] !== key) entry = this.#links[entry]!;
    return entry;
  }

  /** The key must not be in the index yet; the caller has looked. */
  add(key: number, entry: number): void {
    assert(this.keys[entry] === NO_KEY, "the entry already has a key");
    const bucket = this.#bucketOf(key);
    this.keys[entry] = key;
    this.#links[entry] = this.#buckets[bucket]!;
    this.#buckets[bucket] = entry;
  }

  remove(entry: number): void {
    const key = this.keys[entry]!;
    assert(key !== NO_KEY, "the entry has no key");
    const bucket = this.#bucketOf(key);
    let at = this.#buckets[bucket]!;
    if (at === entry) {
      this.#buckets[bucket] = this.#links[entry]!;
    } else {
      while (this.#links[at] !== entry) {
        at = this.#links[at]!;
        assert(at !== 0, "the entry is not in its bucket");
      }
      this.#links[at] = this.#links[entry]!;
    }
    this.keys[entry] = NO_KEY;
  }

  #bucketOf(key: number): number {
    return ((hashOf(key | 0, highOf(key)) >>> 0) * this.#bucketScale) | 0;
  }
}
