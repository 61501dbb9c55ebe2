/**
 * Policies with a probationary queue and ghosts: 2Q (Johnson, Shasha 1994), S3-FIFO (Yang et al.
 * 2023).
 */
import { KeyLists } from "./key-lists.ts";
import type { Policy, PolicyFactory, PolicySetting } from "./policy.ts";

const YOUNG = 1;
const MAIN = 2;
const GHOST = 3;

export class TwoQ implements Policy {
  readonly #lists: KeyLists;
  readonly #capacity: number;
  readonly #youngMax: number;
  readonly #ghostMax: number;

  constructor({ capacity, uniqueCount }: PolicySetting) {
    this.#capacity = capacity;
    this.#youngMax = Math.max(1, Math.floor(capacity * 0.25));
    this.#ghostMax = Math.floor(capacity * 0.5);
    this.#lists = new KeyLists(uniqueCount, 3);
  }

  access(key: number): boolean {
    const lists = this.#lists;
    const list = lists.listOf[key]!;
    if (list === YOUNG) return true;
    if (list === MAIN) {
      lists.push(MAIN, key);
      return true;
    }
    if (list === GHOST) lists.remove(key);
    if (lists.size(YOUNG) + lists.size(MAIN) === this.#capacity) this.#evict();
    lists.push(list === GHOST ? MAIN : YOUNG, key);
    return false;
  }

  #evict(): void {
    const lists = this.#lists;
    if (lists.size(YOUNG) <= this.#youngMax && lists.size(MAIN) > 0) {
      lists.pop(MAIN);
      return;
    }
    lists.push(GHOST, lists.pop(YOUNG));
    if (lists.size(GHOST) > this.#ghostMax) lists.pop(GHOST);
  }
}

/** Where the hit counter of S3-FIFO saturates. */
const COUNT_MAX = 3;

class S3Fifo implements Policy {
  readonly #lists: KeyLists;
  readonly #counts: Uint8Array;
  readonly #capacity: number;
  readonly #youngMax: number;
  readonly #ghostMax: number;
  readonly #threshold: number;

  /** A young key becomes a main one if it was hit `threshold` times. */
  constructor({ capacity, uniqueCount }: PolicySetting, threshold: number) {
    this.#capacity = capacity;
    this.#threshold = threshold;
    this.#youngMax = Math.max(1, Math.floor(capacity * 0.1));
    this.#ghostMax = Math.floor(capacity * 0.9);
    this.#lists = new KeyLists(uniqueCount, 3);
    this.#counts = new Uint8Array(uniqueCount);
  }

  access(key: number): boolean {
    const lists = this.#lists;
    const list = lists.listOf[key]!;
    if (list === YOUNG || list === MAIN) {
      if (this.#counts[key]! < COUNT_MAX) this.#counts[key]!++;
      return true;
    }
    if (list === GHOST) lists.remove(key);
    if (lists.size(YOUNG) + lists.size(MAIN) === this.#capacity) this.#evict();
    this.#counts[key] = 0;
    lists.push(list === GHOST ? MAIN : YOUNG, key);
    return false;
  }

  #evict(): void {
    const lists = this.#lists;
    const mainMax = this.#capacity - this.#youngMax;
    if (lists.size(MAIN) <= mainMax && this.#evictYoung()) return;
    this.#evictMain();
  }

  #evictYoung(): boolean {
    const lists = this.#lists;
    while (lists.size(YOUNG) > 0) {
      const key = lists.pop(YOUNG);
      if (this.#counts[key]! < this.#threshold) {
        lists.push(GHOST, key);
        if (lists.size(GHOST) > this.#ghostMax) lists.pop(GHOST);
        return true;
      }
      this.#counts[key] = 0;
      lists.push(MAIN, key);
    }
    return false;
  }

  #evictMain(): void {
    for (;;) {
      const key = this.#lists.pop(MAIN);
      if (this.#counts[key] === 0) return;
      this.#counts[key]!--;
      this.#lists.push(MAIN, key);
    }
  }
}

export const s3FifoOneBit: PolicyFactory = (setting) => new S3Fifo(setting, 1);
export const s3FifoTwoBit: PolicyFactory = (setting) => new S3Fifo(setting, 2);
