/**
 * A ring of entry numbers through two link arrays that several rings share (an entry is in one ring
 * at a time). `first` is the oldest entry of a FIFO, or the place of the hand of a clock: entries
 * are added behind it, and a clock steps over an entry by advancing, which moves nothing.
 */
import { assert } from "../base/index.ts";
import { indexArray } from "./index-array.ts";
import type { IndexArray } from "./index-array.ts";

export class RingLinks {
  readonly next: IndexArray;
  readonly previous: IndexArray;

  constructor(entryCount: number) {
    this.next = indexArray(entryCount + 1, entryCount);
    this.previous = indexArray(entryCount + 1, entryCount);
  }

  get sizeBytes(): number {
    return this.next.byteLength + this.previous.byteLength;
  }
}

export class EntryRing {
  readonly #next: IndexArray;
  readonly #previous: IndexArray;
  #first = 0;
  #size = 0;

  constructor(links: RingLinks) {
    this.#next = links.next;
    this.#previous = links.previous;
  }

  get size(): number {
    return this.#size;
  }

  /** 0 if the ring is empty. */
  get first(): number {
    return this.#first;
  }

  after(entry: number): number {
    return this.#next[entry]!;
  }

  advance(): void {
    this.#first = this.#next[this.#first]!;
  }

  /** Adds behind `first`: it is the last that `advance` comes to. */
  add(entry: number): void {
    const first = this.#first;
    if (first === 0) {
      this.#next[entry] = entry;
      this.#previous[entry] = entry;
      this.#first = entry;
    } else {
      const last = this.#previous[first]!;
      this.#next[entry] = first;
      this.#previous[entry] = last;
      this.#next[last] = entry;
      this.#previous[first] = entry;
    }
    this.#size++;
  }

  remove(entry: number): void {
    assert(this.#size > 0, "the ring is empty");
    this.#size--;
    if (this.#size === 0) {
      assert(entry === this.#first, "the entry is in another ring");
      this.#first = 0;
      return;
    }
    const next = this.#next[entry]!;
    const previous = this.#previous[entry]!;
    this.#next[previous] = next;
    this.#previous[next] = previous;
    if (this.#first === entry) this.#first = next;
  }
}
