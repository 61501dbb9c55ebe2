/**
 * The rules of the page cache said in the plainest way, with arrays that are searched from end to
 * end: the model that tests hold the real one against, step by step. Far too slow for anything
 * else.
 */
import type { CacheMode } from "./cache-parameters.ts";
import { parametersOf } from "./cache-parameters.ts";
import type { CacheParameters } from "./cache-parameters.ts";
import { hashOf, highOf, mixOf } from "./key-hash.ts";

interface Item {
  readonly key: number;
  since: number;
  /** Cold: hits after the window. Hot: rounds of the hand with hits. */
  count: number;
  used: boolean;
  graced: boolean;
  newcomer: boolean;
  pins: number;
  dirty: boolean;
  flushing: boolean;
}

interface Ghost {
  readonly key: number;
  readonly since: number;
}

export class NaiveCache {
  readonly capacity: number;
  readonly cold: Item[] = [];
  /** The hand stands at the front. */
  readonly hot: Item[] = [];
  readonly ghosts: NaiveGhosts;
  /** Removed while pinned: they take up room until the last unpin. */
  readonly limbo: Item[] = [];
  promotions = 0;
  evictedKey = -1;
  readonly #parameters: CacheParameters;
  #border: number;
  #idle = 0;
  #gracedHitShare = 0.5;
  #newHitShare = 0.5;
  #graceRefusals = 0;
  #hitCount = 0;
  #ticks = 0;
  #filledSlots = 0;

  constructor(capacity: number, mode: CacheMode) {
    this.capacity = capacity;
    this.#parameters = parametersOf(mode);
    this.#border = Math.max(1, Math.floor(capacity * this.#parameters.coldFraction));
    this.ghosts = new NaiveGhosts(capacity, this.#parameters);
  }

  get #coldTarget(): number {
    return Math.floor(this.#border);
  }

  get #window(): number {
    return Math.floor(this.#coldTarget * this.#parameters.windowFraction);
  }

  get #margin(): number {
    return Math.max(1, Math.floor(this.capacity * 0.15));
  }

  get #now(): number {
    return this.#ticks + Math.floor(this.#hitCount * this.#parameters.ticksPerHit);
  }

  get #steadiness(): number {
    const wanted = this.#newHitShare * 0.5;
    return this.#gracedHitShare >= wanted ? 1 : this.#gracedHitShare / wanted;
  }

  #moveBorder(step: number): void {
    const min = Math.max(1, this.capacity * 0.05);
    const max = Math.max(1, this.capacity * 0.7);
    this.#border = Math.min(max, Math.max(min, this.#border + step));
  }

  find(key: number): Item | undefined {
    return [...this.cold, ...this.hot].find((item) => item.key === key);
  }

  lookup(key: number): boolean {
    const item = this.find(key);
    if (item === undefined) return false;
    this.#hitCount++;
    if (this.hot.includes(item)) this.#hitHot(item);
    else if (item.count < 3 && this.#now - item.since >= this.#window) item.count++;
    return true;
  }

  #hitHot(item: Item): void {
    const wasArmed = !item.used && item.count < 2;
    item.used = true;
    if (!wasArmed || !this.#parameters.adaptive || this.hot.length <= this.#margin) return;
    const idle = this.#idle * (1 - this.#margin / this.hot.length);
    if (idle > 0 && this.#now - item.since > idle) this.#moveBorder(-0.2 * this.#steadiness);
  }

  insert(key: number): boolean {
    this.evictedKey = -1;
    if (this.find(key) !== undefined) return true;
    const ghost = this.ghosts.take(key);
    const isHot = ghost !== undefined && this.#ghostIsHot(this.#now - ghost.since);
    const wasWarmingUp = this.#filledSlots < this.capacity;
    if (!this.#makeRoom()) {
      if (ghost !== undefined) this.ghosts.remember(ghost);
      return false;
    }
    const enterHot = isHot || (wasWarmingUp && this.cold.length >= this.#coldTarget);
    if (this.#parameters.adaptive || !enterHot) this.#ticks++;
    const fresh = { count: 0, used: false, graced: false, newcomer: true };
    const idle = { pins: 0, dirty: false, flushing: false };
    const item = { key, since: this.#now, ...fresh, ...idle };
    if (ghost !== undefined && !isHot) item.since -= this.#window;
    (enterHot ? this.hot : this.cold).push(item);
    return true;
  }

  #ghostIsHot(age: number): boolean {
    if (!this.#parameters.adaptive) return true;
    if (age < this.#coldTarget + this.#margin) {
      this.#moveBorder(0.2 * (1 + 19 * (1 - this.#steadiness)));
    }
    return this.#idle === 0 || age <= this.#idle;
  }

  remove(key: number): boolean {
    this.ghosts.take(key);
    const item = this.find(key);
    if (item === undefined) return false;
    this.#drop(item);
    item.dirty = false;
    if (isHeld(item)) this.limbo.push(item);
    return true;
  }

  unpin(item: Item): void {
    item.pins--;
    this.#leaveLimbo(item);
  }

  endFlush(item: Item, succeeded: boolean): void {
    item.flushing = false;
    if (!succeeded && !this.limbo.includes(item)) item.dirty = true;
    this.#leaveLimbo(item);
  }

  #leaveLimbo(item: Item): void {
    const at = this.limbo.indexOf(item);
    if (at >= 0 && !isHeld(item)) this.limbo.splice(at, 1);
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
    const size = this.cold.length + this.hot.length;
    const coldTarget = (this.#coldTarget * size) / this.capacity;
    const hotFirst = this.cold.length === 0 || this.hot.length > size - coldTarget;
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
      if (isHeld(item)) {
        if (++skipped === 10) return false;
      } else if (item.count === 0 || !this.#parameters.promotes) {
        return this.#evict(item);
      } else {
        this.promotions++;
        this.#drop(item);
        item.count = 0;
        item.since = this.#now;
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
      if (!isHeld(item) && (!this.#meet(item) || skipped >= limit)) return this.#evict(item);
      this.hot.push(this.hot.shift()!);
      if (++skipped > limit + 10) return false;
    }
    return false;
  }

  #meet(item: Item): boolean {
    const { used, graced, newcomer } = item;
    if (this.#parameters.adaptive) {
      const hit = used ? 1 : 0;
      if (graced) this.#gracedHitShare += (hit - this.#gracedHitShare) * 0.01;
      if (newcomer) this.#newHitShare += (hit - this.#newHitShare) * 0.01;
      if (used) item.count = Math.min(3, item.count + 1);
    }
    if (!used) {
      if (item.count < 2) return false;
      if (this.#steadiness < 1 && ++this.#graceRefusals % 16 !== 0) return false;
      item.count--;
    }
    item.graced = !used;
    item.used = false;
    item.newcomer = false;
    item.since = this.#now;
    return true;
  }

  #evictAny(ring: readonly Item[]): boolean {
    const item = ring.find((candidate) => !isHeld(candidate));
    return item !== undefined && this.#evict(item);
  }

  #evict(item: Item): boolean {
    this.evictedKey = item.key;
    const wasCold = this.cold.includes(item);
    this.#drop(item);
    if (wasCold) this.ghosts.remember(item);
    else if (this.#parameters.adaptive) this.#noteVictim(this.#now - item.since);
    return true;
  }

  #noteVictim(age: number): void {
    this.#idle = this.#idle === 0 ? age : this.#idle + (age - this.#idle) / 128;
  }
}

/** One queue, or in the adaptive mode sets of seven; both with holes where a key was asked for. */
class NaiveGhosts {
  readonly #sets: (Ghost | undefined)[][] = [];
  readonly #sizeMax: number;
  readonly #circle: number;
  readonly #isQueue: boolean;

  constructor(capacity: number, parameters: CacheParameters) {
    this.#sizeMax = Math.floor(capacity * parameters.ghostFraction);
    this.#circle = Math.ceil(this.#sizeMax * parameters.ghostCircle);
    this.#isQueue = !parameters.adaptive;
    const setCount = this.#isQueue ? 1 : Math.max(1, Math.ceil(this.#circle / 7));
    for (let i = 0; i < setCount; i++) this.#sets.push([]);
  }

  has(key: number): boolean {
    return this.#sets.flat().some((ghost) => ghost?.key === key);
  }

  take(key: number): Ghost | undefined {
    for (const set of this.#sets) {
      const at = set.findIndex((ghost) => ghost?.key === key);
      if (at >= 0) return set.splice(at, 1, undefined)[0];
    }
    return undefined;
  }

  remember({ key, since }: Ghost): void {
    if (this.#isQueue) {
      const queue = this.#sets[0]!;
      if (this.#sizeMax === 0) return;
      const live = (): number => queue.filter((ghost) => ghost !== undefined).length;
      while (live() >= this.#sizeMax || queue.length >= this.#circle) queue.shift();
      queue.push({ key, since });
    } else {
      const hash = hashOf(mixOf(key | 0, highOf(key))) >>> 0;
      const set = this.#sets[Math.floor((hash / 2 ** 32) * this.#sets.length)]!;
      if (set.length === 7) set.shift();
      set.push({ key, since });
    }
  }
}

function isHeld(item: Item): boolean {
  return item.pins > 0 || item.dirty || item.flushing;
}
