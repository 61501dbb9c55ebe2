/**
 * The keys that lately left the cold queue, without data, oldest first out. It uses the entry
 * numbers above those of the slots, in a circle: a key that is asked for again leaves a hole, so
 * the circle is larger than the number of keys it keeps, or the holes would shorten its memory.
 */
import { assert } from "../base/index.ts";
import { NO_KEY } from "./key-index.ts";
import type { KeyIndex } from "./key-index.ts";

/** How many keys to remember, and how many entries of the index to do that in. */
export interface GhostSizes {
  readonly keys: number;
  readonly circle: number;
}

export class GhostQueue {
  readonly #index: KeyIndex;
  readonly #entryFirst: number;
  readonly #circleSize: number;
  #sizeMax: number;
  /** When each key was last admitted, in the cache's own time. */
  readonly #admitted: Int32Array;
  #oldest = 0;
  #span = 0;
  #size = 0;

  constructor(index: KeyIndex, entryFirst: number, sizes: GhostSizes) {
    this.#index = index;
    this.#entryFirst = entryFirst;
    this.#circleSize = sizes.circle;
    this.#sizeMax = sizes.keys;
    this.#admitted = new Int32Array(this.#circleSize);
  }

  get sizeBytes(): number {
    return this.#admitted.byteLength;
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

  admittedAt(entry: number): number {
    return this.#admitted[entry - this.#entryFirst]!;
  }

  push(key: number, admitted: number): void {
    if (this.#sizeMax === 0) return;
    while (this.#size >= this.#sizeMax || this.#span >= this.#circleSize) this.#dropOldest();
    const at = (this.#oldest + this.#span) % this.#circleSize;
    this.#span++;
    this.#size++;
    this.#admitted[at] = admitted;
    this.#index.add(key, this.#entryFirst + at);
  }

  remove(entry: number): void {
    this.#index.remove(entry);
    this.#size--;
  }

  /** Holes are passed over once each, by the push that reaches them. */
  #dropOldest(): void {
    const entry = this.#entryFirst + this.#oldest;
    if (this.#index.keys[entry] !== NO_KEY) this.remove(entry);
    this.#oldest = (this.#oldest + 1) % this.#circleSize;
    this.#span--;
  }
}
