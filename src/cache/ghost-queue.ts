/**
 * The keys that lately left the cold queue, without data, oldest first out. It uses the entry numbers
 * above those of the slots, in a circle: a key that is asked for again leaves a hole, so the circle is a
 * quarter larger than the number of keys it keeps, or the holes would shorten its memory.
 */
import { NO_KEY } from "./key-index.ts";
import type { KeyIndex } from "./key-index.ts";

const CIRCLE_PER_KEY = 1.25;

export class GhostQueue {
  readonly #index: KeyIndex;
  readonly #entryFirst: number;
  readonly #circleSize: number;
  readonly #sizeMax: number;
  #oldest = 0;
  #span = 0;
  #size = 0;

  /** How many entries of the index a queue of this size takes. */
  static entryCount(sizeMax: number): number {
    return Math.ceil(sizeMax * CIRCLE_PER_KEY);
  }

  constructor(index: KeyIndex, entryFirst: number, sizeMax: number) {
    this.#index = index;
    this.#entryFirst = entryFirst;
    this.#circleSize = GhostQueue.entryCount(sizeMax);
    this.#sizeMax = sizeMax;
  }

  get size(): number {
    return this.#size;
  }

  push(key: number): void {
    if (this.#sizeMax === 0) return;
    while (this.#size >= this.#sizeMax || this.#span >= this.#circleSize) this.#dropOldest();
    const at = (this.#oldest + this.#span) % this.#circleSize;
    this.#span++;
    this.#size++;
    this.#index.add(key, this.#entryFirst + at);
  }

  remove(entry: number): void {
    this.#index.remove(entry);
    this.#size--;
  }

  clear(): void {
    while (this.#span > 0) this.#dropOldest();
  }

  /** Holes are passed over once each, by the push that reaches them. */
  #dropOldest(): void {
    const entry = this.#entryFirst + this.#oldest;
    if (this.#index.keys[entry] !== NO_KEY) this.remove(entry);
    this.#oldest = (this.#oldest + 1) % this.#circleSize;
    this.#span--;
  }
}
