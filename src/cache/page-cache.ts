/**
 * Decides which pages stay in memory: maps keys to slots of an arena that the caller owns.
 *
 * Three queues. New keys enter the *cold* FIFO. What leaves it unused is remembered by key alone in the
 * *ghost* FIFO. What was used there, after a window in which repeated hits count as one burst, and what
 * is asked for again while a ghost, goes to the *hot* ring, where a hand turns. A scan therefore passes
 * through cold and ghost and leaves the hot ring alone.
 *
 * Eviction has two phases. A hit only sets status bits, and none if they are set already. The hand of the
 * hot ring takes bits back as it comes by (hit -> armed), and takes the slot only if it finds it
 * still armed on a later round. Pinned slots are stepped over where they are. The hand's steps are bounded.
 *
 * Promises: no memory is allocated after construction; a key has at most one slot; a key is never resident
 * and a ghost at once; a pinned slot is never reused; without removals, a slot is lost only by `insert`,
 * one at most each time, and `evictedKey` names it. For one thread.
 *
 * After US 9,760,493 and US 11,080,189 (the queues, the two phases) and "Clock2Q+", arXiv 2511.21958
 * (the correlation window); the idea that a scan must prove itself before it displaces anything is
 * Johnson and Shasha's 2Q (VLDB 1994).
 */
import { CodedError, assert } from "../base/index.ts";
import { parametersOf } from "./cache-parameters.ts";
import type { CacheMode, CacheParameters } from "./cache-parameters.ts";
import { EntryRing, RingLinks } from "./entry-ring.ts";
import { GhostQueue } from "./ghost-queue.ts";
import { KeyIndex, NO_KEY } from "./key-index.ts";

export interface PageCacheOptions {
  /** Number of slots. */
  readonly capacity: number;
  /** Default "best". */
  readonly mode?: CacheMode;
  /** Overrides the mode's limit on how many slots in use the hand steps over per eviction. */
  readonly handLimit?: number;
}

/** Counted since construction. */
export interface CacheStats {
  readonly hits: number;
  readonly misses: number;
  /** Slots that went from the cold queue to the hot ring. */
  readonly promotions: number;
  /** Inserts of a key that was a ghost: straight into the hot ring. */
  readonly ghostHits: number;
  /** Slots that a search for a victim stepped over because they were in use or pinned. */
  readonly skippedSlots: number;
  readonly evictions: number;
}

/** Entry numbers, counters of both rings and the ghosts must fit into 31 bits. */
export const CACHE_CAPACITY_MAX: number = 2 ** 29;

// Entries are numbered from 1, so that 0 means none; slots, as the caller sees them, from 0.
const FREE = 0;
const COLD = 4;
const HOT = 8;
/** Removed while pinned: has no key any more, and becomes free with the last unpin. */
const LIMBO = 12;
const QUEUE_MASK = 12;
const HITS_MASK = 3;

const PINS_MAX = 0xffff;
/** Pinned cold slots that one search steps over before it turns to the hot ring. */
const COLD_SKIPS_MAX = 10;
/** Cold slots that one insert makes hot before it takes its slot from the hot ring. */
const PROMOTIONS_PER_INSERT_MAX = 64;

const HITS = 0;
const MISSES = 1;
const PROMOTIONS = 2;
const GHOST_HITS = 3;
const SKIPPED_SLOTS = 4;
const EVICTIONS = 5;
const COUNTER_COUNT = 6;

export class PageCache {
  readonly capacity: number;
  readonly mode: CacheMode;
  readonly #parameters: CacheParameters;
  readonly #coldHits: number;
  readonly #handLimit: number;
  readonly #coldTarget: number;
  readonly #window: number;
  readonly #index: KeyIndex;
  readonly #links: RingLinks;
  readonly #cold: EntryRing;
  readonly #hot: EntryRing;
  readonly #ghosts: GhostQueue;
  /** Queue and hit count of each slot. */
  readonly #status: Uint8Array;
  readonly #pins: Uint16Array;
  /** Value of `#admissions` when a cold slot was filled; the link of the free list for a free one. */
  readonly #admitted: Int32Array;
  readonly #counters: Float64Array = new Float64Array(COUNTER_COUNT);
  /** Inserts into the cold queue, modulo 2^32. */
  #admissions = 0;
  #untouchedSlots: number;
  #freeFirst = 0;
  #limboSize = 0;
  #evictedKey = NO_KEY;

  /** Fails with `cache-capacity-invalid` or `cache-capacity-too-large`. */
  constructor(options: PageCacheOptions) {
    const { capacity, mode = "best" } = options;
    checkCapacity(capacity);
    const parameters = parametersOf(mode);
    this.capacity = capacity;
    this.mode = mode;
    this.#parameters = parameters;
    this.#handLimit = options.handLimit ?? parameters.handLimit;
    if (!(this.#handLimit >= 1)) throw invalidHandLimit(this.#handLimit);
    // Hits saturate in two bits, so a count beyond them is one that is never reached.
    this.#coldHits = Math.min(parameters.coldHits, HITS_MASK + 1);
    this.#coldTarget = Math.max(1, Math.floor(capacity * parameters.coldFraction));
    this.#window = Math.floor(this.#coldTarget * parameters.windowFraction);
    const ghostCount = Math.floor(capacity * parameters.ghostFraction);
    try {
      this.#index = new KeyIndex(capacity + GhostQueue.entryCount(ghostCount));
      this.#links = new RingLinks(capacity);
      this.#status = new Uint8Array(capacity + 1);
      this.#pins = new Uint16Array(capacity + 1);
      this.#admitted = new Int32Array(capacity + 1);
    } catch (cause) {
      throw capacityTooLarge(capacity, cause);
    }
    this.#cold = new EntryRing(this.#links);
    this.#hot = new EntryRing(this.#links);
    this.#ghosts = new GhostQueue(this.#index, capacity + 1, ghostCount);
    this.#untouchedSlots = capacity;
  }

  /** Number of keys that have a slot. */
  get size(): number {
    return this.#cold.size + this.#hot.size;
  }

  /** The key that lost its slot to the last `insert`, or -1 if none did. */
  get evictedKey(): number {
    return this.#evictedKey;
  }

  /** A new object each time: for reports, not for hot paths. */
  get stats(): CacheStats {
    const c = this.#counters;
    return {
      hits: c[HITS]!,
      misses: c[MISSES]!,
      promotions: c[PROMOTIONS]!,
      ghostHits: c[GHOST_HITS]!,
      skippedSlots: c[SKIPPED_SLOTS]!,
      evictions: c[EVICTIONS]!,
    };
  }

  /** Bytes of the arrays that this cache holds, all of them allocated at construction. */
  get overheadBytes(): number {
    const slots = this.#status.byteLength + this.#pins.byteLength + this.#admitted.byteLength;
    return this.#index.sizeBytes + this.#links.sizeBytes + slots;
  }

  /** The slot of a key, or -1. Counts as a use of it. */
  lookup(key: number): number {
    const entry = this.#index.find(key);
    if (entry === 0 || entry > this.capacity) {
      this.#counters[MISSES]!++;
      return -1;
    }
    this.#counters[HITS]!++;
    this.#touch(entry);
    return entry - 1;
  }

  /** The slot of a key, or -1, without counting as a use. */
  peek(key: number): number {
    const entry = this.#index.find(key);
    return entry > this.capacity ? -1 : entry - 1;
  }

  /**
   * Gives a key a slot after a miss; -1 if every slot is pinned. The slot's contents are whatever
   * `evictedKey` left there. A key that has a slot already keeps it. Fails with `cache-key-out-of-range`.
   */
  insert(key: number): number {
    checkKey(key);
    this.#evictedKey = NO_KEY;
    const known = this.#index.find(key);
    if (known !== 0 && known <= this.capacity) return known - 1;
    if (known !== 0) this.#ghosts.remove(known);
    const warmingUp = this.#untouchedSlots > 0;
    const entry = this.#takeSlot();
    if (entry === 0) {
      if (known !== 0) this.#ghosts.push(key);
      return -1;
    }
    this.#index.add(key, entry);
    if (known !== 0) {
      this.#counters[GHOST_HITS]!++;
      this.#enterHot(entry);
    } else if (warmingUp && this.#cold.size >= this.#coldTarget) {
      this.#enterHot(entry);
    } else {
      this.#enterCold(entry);
    }
    return entry - 1;
  }

  /** Forgets a key. Its slot is reused once it is not pinned. False if the key has no slot. */
  remove(key: number): boolean {
    const entry = this.#index.find(key);
    if (entry === 0) return false;
    if (entry > this.capacity) {
      this.#ghosts.remove(entry);
      return false;
    }
    this.#index.remove(entry);
    this.#leaveQueue(entry);
    if (this.#pins[entry] === 0) {
      this.#free(entry);
    } else {
      this.#status[entry] = LIMBO;
      this.#limboSize++;
    }
    return true;
  }

  /** Keeps a slot from being reused until as many calls of `unpin`. */
  pin(slot: number): void {
    const entry = slot + 1;
    assert(this.#status[entry]! >= COLD, "only a slot in use can be pinned");
    assert(this.#pins[entry]! < PINS_MAX, "a slot is pinned too often");
    this.#pins[entry]!++;
  }

  unpin(slot: number): void {
    const entry = slot + 1;
    assert(this.#pins[entry]! > 0, "the slot is not pinned");
    this.#pins[entry]!--;
    if (this.#pins[entry] === 0 && this.#status[entry] === LIMBO) {
      this.#limboSize--;
      this.#free(entry);
    }
  }

  isPinned(slot: number): boolean {
    return this.#pins[slot + 1]! > 0;
  }

  /** The key that a slot belongs to, or -1. */
  keyOf(slot: number): number {
    assert(slot >= 0 && slot < this.capacity, "no such slot");
    return this.#index.keys[slot + 1]!;
  }

  /** Visits every key that has a slot, in the order of slots. Must not insert or remove meanwhile. */
  forEach(visit: (key: number, slot: number) => void): void {
    for (let entry = 1; entry <= this.capacity; entry++) {
      const key = this.#index.keys[entry]!;
      if (key !== NO_KEY) visit(key, entry - 1);
    }
  }

  /** Which queue holds a key: for tests and for people, it counts as no use. */
  queueOf(key: number): "cold" | "hot" | "ghost" | undefined {
    const entry = this.#index.find(key);
    if (entry === 0) return undefined;
    if (entry > this.capacity) return "ghost";
    return (this.#status[entry]! & QUEUE_MASK) === COLD ? "cold" : "hot";
  }

  #touch(entry: number): void {
    const status = this.#status[entry]!;
    const hits = status & HITS_MASK;
    if ((status & QUEUE_MASK) === HOT) {
      if (hits < this.#parameters.hotHitsMax) this.#status[entry] = status + 1;
    } else if (hits < HITS_MASK && !this.#inWindow(entry)) {
      this.#status[entry] = status + 1;
    }
  }

  /** Strictly: with a window of W, the hit counts once W others were admitted after this one. */
  #inWindow(entry: number): boolean {
    return ((this.#admissions - this.#admitted[entry]!) | 0) < this.#window;
  }

  #enterCold(entry: number): void {
    this.#admissions = (this.#admissions + 1) | 0;
    this.#admitted[entry] = this.#admissions;
    this.#status[entry] = COLD;
    this.#cold.add(entry);
  }

  #enterHot(entry: number): void {
    this.#status[entry] = HOT;
    this.#hot.add(entry);
  }

  #leaveQueue(entry: number): void {
    const ring = (this.#status[entry]! & QUEUE_MASK) === COLD ? this.#cold : this.#hot;
    ring.remove(entry);
  }

  #free(entry: number): void {
    this.#status[entry] = FREE;
    this.#admitted[entry] = this.#freeFirst;
    this.#freeFirst = entry;
  }

  #takeSlot(): number {
    if (this.#freeFirst !== 0) {
      const entry = this.#freeFirst;
      this.#freeFirst = this.#admitted[entry]!;
      return entry;
    }
    if (this.#untouchedSlots > 0) return this.capacity - --this.#untouchedSlots;
    return this.#evict();
  }

  #evict(): number {
    const hotFirst =
      this.#cold.size === 0 || this.#hot.size > this.capacity - this.#limboSize - this.#coldTarget;
    let entry = hotFirst ? this.#evictHot() : this.#evictCold();
    if (entry === 0) entry = hotFirst ? this.#evictCold() : this.#evictHot();
    if (entry === 0) entry = this.#evictAny(this.#cold);
    if (entry === 0) entry = this.#evictAny(this.#hot);
    return entry;
  }

  #evictCold(): number {
    let skipped = 0;
    let promoted = 0;
    let entry = this.#cold.first;
    for (let left = this.#cold.size; left > 0; left--) {
      const next = this.#cold.after(entry);
      if (this.#pins[entry] !== 0) {
        this.#counters[SKIPPED_SLOTS]!++;
        if (++skipped === COLD_SKIPS_MAX) return 0;
      } else if ((this.#status[entry]! & HITS_MASK) < this.#coldHits) {
        return this.#release(entry, true);
      } else {
        this.#counters[PROMOTIONS]!++;
        this.#cold.remove(entry);
        this.#enterHot(entry);
        if (++promoted === PROMOTIONS_PER_INSERT_MAX) return 0;
      }
      entry = next;
    }
    return 0;
  }

  #evictHot(): number {
    let skipped = 0;
    // Two bits of hits: the fourth round finds the first slot that is not pinned armed.
    const stepsMax = this.#hot.size * (HITS_MASK + 1);
    for (let step = 0; step < stepsMax; step++) {
      const entry = this.#hot.first;
      const status = this.#status[entry]!;
      const pinned = this.#pins[entry] !== 0;
      if (!pinned && ((status & HITS_MASK) === 0 || skipped >= this.#handLimit)) {
        return this.#release(entry, false);
      }
      if ((status & HITS_MASK) !== 0) this.#status[entry] = status - 1;
      this.#hot.advance();
      this.#counters[SKIPPED_SLOTS]!++;
      if (++skipped > this.#handLimit + COLD_SKIPS_MAX) return 0;
    }
    return 0;
  }

  /** When pins defeated the bounded searches: whatever can be had at all. */
  #evictAny(ring: EntryRing): number {
    let entry = ring.first;
    for (let left = ring.size; left > 0; left--) {
      if (this.#pins[entry] === 0) return this.#release(entry, ring === this.#cold);
      entry = ring.after(entry);
    }
    return 0;
  }

  #release(entry: number, toGhost: boolean): number {
    const key = this.#index.keys[entry]!;
    this.#counters[EVICTIONS]!++;
    this.#evictedKey = key;
    this.#leaveQueue(entry);
    this.#index.remove(entry);
    if (toGhost) this.#ghosts.push(key);
    return entry;
  }
}

function checkCapacity(capacity: number): void {
  if (!Number.isSafeInteger(capacity) || capacity < 1) {
    throw new CodedError({
      code: "cache-capacity-invalid",
      message: `A cache cannot have ${String(capacity)} slots`,
      hint: "Give a whole number of at least 1.",
    });
  }
  if (capacity > CACHE_CAPACITY_MAX) throw capacityTooLarge(capacity, undefined);
}

function capacityTooLarge(capacity: number, cause: unknown): CodedError {
  return new CodedError(
    {
      code: "cache-capacity-too-large",
      message: `There is no memory for the tables of a cache of ${String(capacity)} slots`,
      hint: `Use fewer slots: about 50 bytes go to each, and ${String(CACHE_CAPACITY_MAX)} is the limit.`,
      details: { capacity, capacityMax: CACHE_CAPACITY_MAX },
    },
    { cause },
  );
}

function invalidHandLimit(handLimit: number): CodedError {
  return new CodedError({
    code: "cache-hand-limit-invalid",
    message: `The hand cannot be limited to ${String(handLimit)} steps`,
    hint: "Give a number of at least 1, or leave it out.",
  });
}

function checkKey(key: number): void {
  if (Number.isSafeInteger(key) && key >= 0) return;
  throw new CodedError({
    code: "cache-key-out-of-range",
    message: `${String(key)} cannot be a key of a page cache`,
    hint: "Use integers from 0 to 2^53 - 1.",
  });
}
