/**
 * LIRS (Jiang and Zhang, SIGMETRICS 2002): a key whose last two uses lie closer together than the
 * longest unused of the protected ones takes its place. One hundredth of the room is for the
 * others; of keys that are not resident, at most twice the capacity is remembered.
 */
import { KeyLists, NO_LIST } from "./key-lists.ts";
import type { Policy, PolicySetting } from "./policy.ts";

const STACK = 1;
const QUEUE = 1;
const GONE = 2;

const UNKNOWN = 0;
/** Low inter-reference recency: protected. */
const LOW = 1;
const HIGH_RESIDENT = 2;
const HIGH_GONE = 3;

export class Lirs implements Policy {
  readonly #stack: KeyLists;
  /** Resident keys with high recency, in order of eviction, and those that are gone. */
  readonly #high: KeyLists;
  readonly #states: Uint8Array;
  readonly #lowMax: number;
  readonly #highMax: number;
  readonly #goneMax: number;
  #lowCount = 0;

  constructor({ capacity, uniqueCount }: PolicySetting) {
    this.#highMax = Math.max(1, Math.floor(capacity * 0.01));
    this.#lowMax = capacity - this.#highMax;
    this.#goneMax = 2 * capacity;
    this.#stack = new KeyLists(uniqueCount, 1);
    this.#high = new KeyLists(uniqueCount, 2);
    this.#states = new Uint8Array(uniqueCount);
  }

  access(key: number): boolean {
    const state = this.#states[key];
    if (state === LOW) {
      this.#stack.push(STACK, key);
      this.#prune();
      return true;
    }
    if (state === HIGH_RESIDENT) {
      this.#hitHigh(key);
      return true;
    }
    this.#miss(key);
    return false;
  }

  #hitHigh(key: number): void {
    const wasInStack = this.#stack.listOf[key] !== NO_LIST;
    this.#stack.push(STACK, key);
    if (wasInStack) {
      this.#high.remove(key);
      this.#makeLow(key);
    } else {
      this.#high.push(QUEUE, key);
    }
  }

  #miss(key: number): void {
    const wasInStack = this.#stack.listOf[key] !== NO_LIST;
    if (this.#states[key] === HIGH_GONE) this.#high.remove(key);
    if (this.#lowCount < this.#lowMax && this.#high.size(QUEUE) === 0) {
      this.#stack.push(STACK, key);
      this.#states[key] = LOW;
      this.#lowCount++;
      return;
    }
    if (this.#high.size(QUEUE) >= this.#highMax) this.#evict();
    this.#stack.push(STACK, key);
    if (wasInStack) {
      this.#makeLow(key);
    } else {
      this.#states[key] = HIGH_RESIDENT;
      this.#high.push(QUEUE, key);
    }
  }

  #makeLow(key: number): void {
    if (this.#lowMax === 0) {
      this.#states[key] = HIGH_RESIDENT;
      this.#high.push(QUEUE, key);
      return;
    }
    this.#states[key] = LOW;
    this.#lowCount++;
    if (this.#lowCount <= this.#lowMax) return;
    const lowest = this.#stack.pop(STACK);
    this.#lowCount--;
    this.#states[lowest] = HIGH_RESIDENT;
    this.#high.push(QUEUE, lowest);
    this.#prune();
  }

  #evict(): void {
    const key = this.#high.pop(QUEUE);
    if (this.#stack.listOf[key] === NO_LIST) {
      this.#states[key] = UNKNOWN;
      return;
    }
    this.#states[key] = HIGH_GONE;
    this.#high.push(GONE, key);
    if (this.#high.size(GONE) > this.#goneMax) this.#forget(this.#high.oldest(GONE));
  }

  /** The bottom of the stack is always a protected key. */
  #prune(): void {
    for (;;) {
      const key = this.#stack.oldest(STACK);
      if (key < 0 || this.#states[key] === LOW) return;
      if (this.#states[key] === HIGH_GONE) this.#forget(key);
      else this.#stack.remove(key);
    }
  }

  #forget(key: number): void {
    this.#high.remove(key);
    this.#stack.remove(key);
    this.#states[key] = UNKNOWN;
  }
}
