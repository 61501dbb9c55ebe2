/**
 * The keys that lately left the cold queue, without data, oldest first out, with an index of its
 * own.
 *
 * Of a key only its mix is kept. That another key has the same one happens once in
 * billions of misses, and makes one key hot too early.
 *
 * The queue is a circle. A key that is asked for again leaves a hole in it, so the circle is larger
 * than the number of keys it keeps, or the holes would shorten its memory.
 */
import { assert } from "../base/index.ts";
import { indexArray } from "./index-array.ts";
import type { IndexArray } from "./index-array.ts";
import { bucketCountOf, hashOf, hashShift, MIX_OF_ZERO } from "./key-hash.ts";

const BUCKETS_PER_GHOST_MIN = 0.5;
const WORDS = 2;
const MIX = 0;
/** When the key was last admitted, in the cache's own time. */
const ADMITTED = 1;

/** How many keys to remember, and how many places to do that in. */
export interface GhostSizes {
  readonly keys: number;
  readonly circle: number;
}

export class GhostQueue {
  readonly #circleSize: number;
  #sizeMax: number;
  /** The mix (0: a hole) and admission of each place. */
  readonly #places: Int32Array;
  /** From each place, one-based, to the next one of its bucket. */
  readonly #links: IndexArray;
  readonly #buckets: IndexArray;
  readonly #bucketShift: number;
  #oldest = 0;
  #span = 0;
  #size = 0;

  constructor(sizes: GhostSizes) {
    this.#circleSize = sizes.circle;
    this.#sizeMax = sizes.keys;
    this.#bucketShift = hashShift(Math.ceil(sizes.circle * BUCKETS_PER_GHOST_MIN));
    this.#places = new Int32Array(sizes.circle * WORDS);
    this.#links = indexArray(sizes.circle + 1, sizes.circle);
    this.#buckets = indexArray(bucketCountOf(this.#bucketShift), sizes.circle);
  }

  get sizeBytes(): number {
    return this.#places.byteLength + this.#links.byteLength + this.#buckets.byteLength;
  }

  get size(): number {
    return this.#size;
  }

  /** Remembers so many keys from now on, at most as many as at first. */
  resize(sizeMax: number): void {
    assert(sizeMax <= this.#circleSize, "more ghosts than there is room for");
    this.#sizeMax = sizeMax;
    while (this.#size > sizeMax) this.#dropOldest();
  }

  /** A number for the ghost of a key until the queue changes, or 0. */
  find(mix: number): number {
    const wanted = mix || MIX_OF_ZERO;
    let ghost = this.#buckets[this.#bucketOf(wanted)]!;
    while (ghost !== 0 && this.#places[(ghost - 1) * WORDS + MIX] !== wanted) {
      ghost = this.#links[ghost]!;
    }
    return ghost;
  }

  admittedAt(ghost: number): number {
    return this.#places[(ghost - 1) * WORDS + ADMITTED]!;
  }

  push(mix: number, admitted: number): void {
    if (this.#sizeMax === 0) return;
    while (this.#size >= this.#sizeMax || this.#span >= this.#circleSize) this.#dropOldest();
    const end = this.#oldest + this.#span;
    const place = end < this.#circleSize ? end : end - this.#circleSize;
    const wanted = mix || MIX_OF_ZERO;
    const bucket = this.#bucketOf(wanted);
    this.#span++;
    this.#size++;
    this.#places[place * WORDS + MIX] = wanted;
    this.#places[place * WORDS + ADMITTED] = admitted;
    this.#links[place + 1] = this.#buckets[bucket]!;
    this.#buckets[bucket] = place + 1;
  }

  remove(ghost: number): void {
    const mixAt = (ghost - 1) * WORDS + MIX;
    const bucket = this.#bucketOf(this.#places[mixAt]!);
    let other = this.#buckets[bucket]!;
    if (other === ghost) {
      this.#buckets[bucket] = this.#links[ghost]!;
    } else {
      while (this.#links[other] !== ghost) {
        other = this.#links[other]!;
        assert(other !== 0, "the ghost is not in its bucket");
      }
      this.#links[other] = this.#links[ghost]!;
    }
    this.#places[mixAt] = 0;
    this.#size--;
  }

  /** Holes are passed over once each, by the push that reaches them. */
  #dropOldest(): void {
    if (this.#places[this.#oldest * WORDS + MIX] !== 0) this.remove(this.#oldest + 1);
    this.#oldest = this.#oldest + 1 === this.#circleSize ? 0 : this.#oldest + 1;
    this.#span--;
  }

  #bucketOf(wanted: number): number {
    return hashOf(wanted) >>> this.#bucketShift;
  }
}
