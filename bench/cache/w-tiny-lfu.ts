/**
 * W-TinyLFU (Einziger, Friedman, Manes, ACM ToS 2017) with a fixed window of a hundredth: an LRU
 * window, a segmented LRU behind it, and a sketch of frequencies that decides who may enter.
 */
import { KeyLists } from "./key-lists.ts";
import type { Policy, PolicySetting } from "./policy.ts";

const WINDOW = 1;
const PROBATION = 2;
const PROTECTED = 3;

const ROWS = 4;
const COUNT_MAX = 15;
const SAMPLE_PER_SLOT = 10;

export class WTinyLfu implements Policy {
  readonly #lists: KeyLists;
  readonly #sketch: FrequencySketch;
  readonly #windowMax: number;
  readonly #mainMax: number;
  readonly #protectedMax: number;

  constructor({ capacity, uniqueCount }: PolicySetting) {
    this.#windowMax = Math.max(1, Math.floor(capacity * 0.01));
    this.#mainMax = capacity - this.#windowMax;
    this.#protectedMax = Math.floor(this.#mainMax * 0.8);
    this.#lists = new KeyLists(uniqueCount, 3);
    this.#sketch = new FrequencySketch(capacity);
  }

  access(key: number): boolean {
    this.#sketch.count(key);
    const lists = this.#lists;
    const list = lists.listOf[key];
    if (list === WINDOW || list === PROTECTED) {
      lists.push(list, key);
      return true;
    }
    if (list === PROBATION) {
      lists.push(PROTECTED, key);
      if (lists.size(PROTECTED) > this.#protectedMax) lists.push(PROBATION, lists.pop(PROTECTED));
      return true;
    }
    lists.push(WINDOW, key);
    if (lists.size(WINDOW) > this.#windowMax) this.#leaveWindow();
    return false;
  }

  #leaveWindow(): void {
    const lists = this.#lists;
    const candidate = lists.pop(WINDOW);
    if (lists.size(PROBATION) + lists.size(PROTECTED) < this.#mainMax) {
      lists.push(PROBATION, candidate);
      return;
    }
    const from = lists.size(PROBATION) > 0 ? PROBATION : PROTECTED;
    const victim = lists.oldest(from);
    if (victim < 0 || this.#sketch.estimate(candidate) <= this.#sketch.estimate(victim)) return;
    lists.remove(victim);
    lists.push(PROBATION, candidate);
  }
}

/** Count-min sketch of small counters that are all halved once the sample is full. */
class FrequencySketch {
  readonly #counts: Uint8Array;
  readonly #mask: number;
  readonly #sampleMax: number;
  #sample = 0;

  constructor(capacity: number) {
    const width = 2 ** Math.ceil(Math.log2(Math.max(16, 2 * capacity)));
    this.#mask = width - 1;
    this.#counts = new Uint8Array(width * ROWS);
    this.#sampleMax = capacity * SAMPLE_PER_SLOT;
  }

  count(key: number): void {
    for (let row = 0; row < ROWS; row++) {
      const at = this.#at(key, row);
      if (this.#counts[at]! < COUNT_MAX) this.#counts[at]!++;
    }
    if (++this.#sample < this.#sampleMax) return;
    this.#sample >>>= 1;
    for (let at = 0; at < this.#counts.length; at++) this.#counts[at]! >>>= 1;
  }

  estimate(key: number): number {
    let least = COUNT_MAX;
    for (let row = 0; row < ROWS; row++) {
      least = Math.min(least, this.#counts[this.#at(key, row)]!);
    }
    return least;
  }

  #at(key: number, row: number): number {
    let hash = Math.imul(key + 1, 0x9e3779b1) ^ Math.imul(row + 1, 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
    hash = Math.imul(hash ^ (hash >>> 12), 0x297a2d39);
    return row * (this.#mask + 1) + ((hash ^ (hash >>> 15)) & this.#mask);
  }
}
