/** Policies with one list: LRU, FIFO, CLOCK (Corbato 1968), SIEVE (Zhang et al., NSDI 2024). */
import { KeyLists, NONE, NO_LIST } from "./key-lists.ts";
import type { Policy, PolicySetting } from "./policy.ts";

const RESIDENT = 1;

export class Lru implements Policy {
  readonly #lists: KeyLists;
  readonly #capacity: number;

  constructor({ capacity, uniqueCount }: PolicySetting) {
    this.#capacity = capacity;
    this.#lists = new KeyLists(uniqueCount, 1);
  }

  access(key: number): boolean {
    const lists = this.#lists;
    const hit = lists.listOf[key] !== NO_LIST;
    if (!hit && lists.size(RESIDENT) === this.#capacity) lists.pop(RESIDENT);
    lists.push(RESIDENT, key);
    return hit;
  }
}

export class Fifo implements Policy {
  readonly #lists: KeyLists;
  readonly #capacity: number;

  constructor({ capacity, uniqueCount }: PolicySetting) {
    this.#capacity = capacity;
    this.#lists = new KeyLists(uniqueCount, 1);
  }

  access(key: number): boolean {
    const lists = this.#lists;
    if (lists.listOf[key] !== NO_LIST) return true;
    if (lists.size(RESIDENT) === this.#capacity) lists.pop(RESIDENT);
    lists.push(RESIDENT, key);
    return false;
  }
}

export class Clock implements Policy {
  readonly #lists: KeyLists;
  readonly #used: Uint8Array;
  readonly #capacity: number;

  constructor({ capacity, uniqueCount }: PolicySetting) {
    this.#capacity = capacity;
    this.#lists = new KeyLists(uniqueCount, 1);
    this.#used = new Uint8Array(uniqueCount);
  }

  access(key: number): boolean {
    const lists = this.#lists;
    if (lists.listOf[key] !== NO_LIST) {
      this.#used[key] = 1;
      return true;
    }
    if (lists.size(RESIDENT) === this.#capacity) this.#evict();
    this.#used[key] = 0;
    lists.push(RESIDENT, key);
    return false;
  }

  #evict(): void {
    for (;;) {
      const key = this.#lists.pop(RESIDENT);
      if (this.#used[key] === 0) return;
      this.#used[key] = 0;
      this.#lists.push(RESIDENT, key);
    }
  }
}

export class Sieve implements Policy {
  readonly #lists: KeyLists;
  readonly #visited: Uint8Array;
  readonly #capacity: number;
  #hand = NONE;

  constructor({ capacity, uniqueCount }: PolicySetting) {
    this.#capacity = capacity;
    this.#lists = new KeyLists(uniqueCount, 1);
    this.#visited = new Uint8Array(uniqueCount);
  }

  access(key: number): boolean {
    const lists = this.#lists;
    if (lists.listOf[key] !== NO_LIST) {
      this.#visited[key] = 1;
      return true;
    }
    if (lists.size(RESIDENT) === this.#capacity) this.#evict();
    this.#visited[key] = 0;
    lists.push(RESIDENT, key);
    return false;
  }

  #evict(): void {
    let key = this.#hand === NONE ? this.#lists.oldest(RESIDENT) : this.#hand;
    while (this.#visited[key] === 1) {
      this.#visited[key] = 0;
      key = this.#lists.newer(key);
      if (key === NONE) key = this.#lists.oldest(RESIDENT);
    }
    this.#hand = this.#lists.newer(key);
    this.#lists.remove(key);
  }
}
