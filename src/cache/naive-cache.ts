/**
 * The rules of the page cache said in the plainest way, with arrays that are searched from end to end:
 * the model that tests hold the real one against, step by step. Far too slow for anything else.
 */
import type { CacheMode } from "./cache-parameters.ts";
import { parametersOf } from "./cache-parameters.ts";
import type { CacheParameters } from "./cache-parameters.ts";

interface Item {
  readonly key: number;
  readonly admission: number;
  hits: number;
  pins: number;
}

export class NaiveCache {
  readonly capacity: number;
  readonly cold: Item[] = [];
  /** The hand stands at the front. */
  readonly hot: Item[] = [];
  /** Oldest first; undefined is the hole that a key leaves when it is asked for again. */
  readonly ghosts: (number | undefined)[] = [];
  /** Removed while pinned: they take up room until the last unpin. */
  readonly limbo: Item[] = [];
  promotions = 0;
  evictedKey = -1;
  readonly #parameters: CacheParameters;
  readonly #coldTarget: number;
  readonly #window: number;
  readonly #ghostsMax: number;
  #admissions = 0;
  #filledSlots = 0;

  constructor(capacity: number, mode: CacheMode) {
    this.capacity = capacity;
    this.#parameters = parametersOf(mode);
    this.#coldTarget = Math.max(1, Math.floor(capacity * this.#parameters.coldFraction));
    this.#window = Math.floor(this.#coldTarget * this.#parameters.windowFraction);
    this.#ghostsMax = Math.floor(capacity * this.#parameters.ghostFraction);
  }

  find(key: number): Item | undefined {
    return [...this.cold, ...this.hot].find((item) => item.key === key);
  }

  lookup(key: number): boolean {
    const item = this.find(key);
    if (item === undefined) return false;
    const isHot = this.hot.includes(item);
    const max = isHot ? this.#parameters.hotHitsMax : 3;
    const counts = isHot || this.#admissions - item.admission >= this.#window;
    if (counts && item.hits < max) item.hits++;
    return true;
  }

  insert(key: number): boolean {
    this.evictedKey = -1;
    if (this.find(key) !== undefined) return true;
    const ghostAt = this.ghosts.indexOf(key);
    if (ghostAt >= 0) this.ghosts[ghostAt] = undefined;
    const warmingUp = this.#filledSlots < this.capacity;
    if (!this.#makeRoom()) {
      if (ghostAt >= 0) this.#remember(key);
      return false;
    }
    const coldIsFull = this.cold.length >= this.#coldTarget;
    const isHot = ghostAt >= 0 || (warmingUp && coldIsFull);
    if (!isHot) this.#admissions++;
    const item = { key, admission: this.#admissions, hits: 0, pins: 0 };
    (isHot ? this.hot : this.cold).push(item);
    return true;
  }

  remove(key: number): boolean {
    const ghostAt = this.ghosts.indexOf(key);
    if (ghostAt >= 0) this.ghosts[ghostAt] = undefined;
    const item = this.find(key);
    if (item === undefined) return false;
    this.#drop(item);
    if (item.pins > 0) this.limbo.push(item);
    return true;
  }

  unpin(item: Item): void {
    item.pins--;
    const at = this.limbo.indexOf(item);
    if (at >= 0 && item.pins === 0) this.limbo.splice(at, 1);
  }

  #drop(item: Item): void {
    const ring = this.hot.includes(item) ? this.hot : this.cold;
    ring.splice(ring.indexOf(item), 1);
  }

  #makeRoom(): boolean {
    const used = this.cold.length + this.hot.length + this.limbo.length;
    if (used < this.capacity) {
      this.#filledSlots = Math.max(this.#filledSlots, used + 1);
      return true;
    }
    const hotTarget = this.capacity - this.limbo.length - this.#coldTarget;
    const hotFirst = this.cold.length === 0 || this.hot.length > hotTarget;
    return (
      (hotFirst ? this.#evictHot() : this.#evictCold()) ||
      (hotFirst ? this.#evictCold() : this.#evictHot()) ||
      this.#evictAny(this.cold) ||
      this.#evictAny(this.hot)
    );
  }

  #evictCold(): boolean {
    let skipped = 0;
    let promoted = 0;
    for (const item of this.cold.slice()) {
      if (item.pins > 0) {
        if (++skipped === 10) return false;
      } else if (item.hits < this.#parameters.coldHits) {
        return this.#evict(item);
      } else {
        this.promotions++;
        this.#drop(item);
        item.hits = 0;
        this.hot.push(item);
        if (++promoted === 64) return false;
      }
    }
    return false;
  }

  #evictHot(): boolean {
    const limit = this.#parameters.handLimit;
    let skipped = 0;
    for (let step = 0; step < this.hot.length * 4; step++) {
      const item = this.hot[0]!;
      if (item.pins === 0 && (item.hits === 0 || skipped >= limit)) return this.#evict(item);
      if (item.hits > 0) item.hits--;
      this.hot.push(this.hot.shift()!);
      if (++skipped > limit + 10) return false;
    }
    return false;
  }

  #evictAny(ring: readonly Item[]): boolean {
    const item = ring.find((candidate) => candidate.pins === 0);
    return item !== undefined && this.#evict(item);
  }

  #evict(item: Item): boolean {
    this.evictedKey = item.key;
    const wasCold = this.cold.includes(item);
    this.#drop(item);
    if (wasCold) this.#remember(item.key);
    return true;
  }

  #remember(key: number): void {
    if (this.#ghostsMax === 0) return;
    const live = (): number => this.ghosts.filter((ghost) => ghost !== undefined).length;
    const circle = Math.ceil(this.#ghostsMax * 1.25);
    while (live() >= this.#ghostsMax || this.ghosts.length >= circle) this.ghosts.shift();
    this.ghosts.push(key);
  }
}
