/**
 * Decides which pages stay in memory: maps keys to slots of an arena that the caller owns.
 *
 * Three queues. New keys enter the *cold* FIFO. What leaves it unused is remembered by key alone
 * in the *ghost* FIFO. What was used there, after a window in which repeated hits count as one
 * burst, and what is asked for again while a ghost, goes to the *hot* ring, where a hand turns. A
 * scan therefore passes through cold and ghost and leaves the hot ring alone.
 *
 * Eviction has two phases. A hit only sets a status bit, and writes nothing if it is set already.
 * The hand of the hot ring takes the bit back as it comes by (hit -> armed), and takes the slot
 * only if it finds it still armed on a later round. Slots that are pinned, dirty or being flushed
 * are stepped over where they are; write-back goes on outside the search, in batches of the
 * caller's. The hand's steps are bounded.
 *
 * Promises: no memory is allocated after construction; a key has at most one slot; a key is never
 * resident and a ghost at once; a slot that is pinned, or dirty and not flushed, is never reused;
 * without removals, a slot is lost only by `insert`, one at most each time, and `evictedKey` names
 * it. For one thread.
 *
 * The published algorithms are modes. The default mode lets what it measures decide about the
 * border between cold and hot, about ghosts and about grace: `queue-balance.ts` says how and why.
 *
 * After US 9,760,493 and US 11,080,189 (the queues, the two phases) and "Clock2Q+", arXiv
 * 2511.21958 (the correlation window); the idea that a scan must prove itself before it displaces
 * anything is Johnson and Shasha's 2Q (VLDB 1994).
 */
import { assert } from "../base/index.ts";
import { parametersOf } from "./cache-parameters.ts";
import type { CacheMode, PageCacheOptions } from "./cache-parameters.ts";
import { capacityTooLarge, checkCapacity, checkHandLimit, checkKey } from "./cache-checks.ts";
import type { CacheStats } from "./cache-stats.ts";
import { highOf } from "./key-hash.ts";
import { PageQueues } from "./page-queues.ts";
import { SlotHolds } from "./slot-holds.ts";
import { COLD, FREE, HOT } from "./slot-status.ts";

const NO_KEY = -1;

export class PageCache {
  readonly capacity: number;
  readonly mode: CacheMode;
  readonly #queues: PageQueues;
  readonly #holds: SlotHolds;

  /** Fails with `cache-capacity-invalid` or `cache-capacity-too-large`. */
  constructor(options: PageCacheOptions) {
    const { capacity, mode = "best" } = options;
    checkCapacity(capacity);
    const parameters = parametersOf(mode);
    const { handLimit = parameters.handLimit } = options;
    checkHandLimit(handLimit);
    this.capacity = capacity;
    this.mode = mode;
    try {
      this.#holds = new SlotHolds(capacity);
      this.#queues = new PageQueues(capacity, parameters, handLimit, this.#holds);
    } catch (cause) {
      throw capacityTooLarge(capacity, cause);
    }
  }

  /** Number of keys that have a slot. */
  get size(): number {
    return this.#queues.size;
  }

  /** The key that lost its slot to the last `insert`, or -1 if none did. */
  get evictedKey(): number {
    const { evicted, evictedLow, evictedHigh } = this.#queues;
    return evicted === 0 ? NO_KEY : evictedHigh * 2 ** 32 + (evictedLow >>> 0);
  }

  /** A new object each time: for reports, not for hot paths. */
  get stats(): CacheStats {
    return this.#queues.stats;
  }

  /** Bytes of the arrays that this cache holds, all of them allocated at construction. */
  get overheadBytes(): number {
    return this.#queues.sizeBytes + this.#holds.sizeBytes;
  }

  /** The slot of a key, or -1. Counts as a use of it. */
  lookup(key: number): number {
    return this.#queues.lookup(key) - 1;
  }

  /** The slot of a key, or -1, without counting as a use. */
  peek(key: number): number {
    return this.#queues.find(key) - 1;
  }

  /**
   * Gives a key a slot after a miss; -1 if every slot is pinned, dirty or being flushed. The
   * slot's contents are whatever `evictedKey` left there. A key that has a slot already keeps it.
   * Fails with `cache-key-out-of-range`.
   */
  insert(key: number): number {
    const queues = this.#queues;
    queues.evicted = 0;
    if (!queues.hasMissed(key)) {
      const known = queues.find(key);
      if (known !== 0) return known - 1;
      checkKey(key);
    }
    const low = key | 0;
    return queues.insert(low, low === key ? 0 : highOf(key)) - 1;
  }

  /**
   * Takes the slot from the key that the algorithm would give up next, which `evictedKey` then
   * names. The slot, now free, or -1 if every slot is held.
   */
  evict(): number {
    this.#queues.evicted = 0;
    const entry = this.#queues.evict();
    if (entry !== 0) this.#queues.free(entry);
    return entry - 1;
  }

  /** How many of the slots may be in use: the capacity unless `resize` changed it. */
  get slotsMax(): number {
    return this.#queues.slotsMax;
  }

  /**
   * Uses so many slots, at most the capacity, from now on. What it learned about its queues starts
   * anew. Nothing is given up at once: call `evict` as long as `size` is greater, in steps that
   * suit. Until then, inserts do not grow it. Fails with `cache-capacity-invalid` or
   * `cache-capacity-too-large`.
   */
  resize(slotsMax: number): void {
    checkCapacity(slotsMax);
    if (slotsMax > this.capacity) throw capacityTooLarge(slotsMax, undefined);
    this.#queues.resize(slotsMax);
  }

  /**
   * Forgets a key, and what is dirty in its slot. The slot is reused once it is neither pinned nor
   * being flushed. False if the key has no slot.
   */
  remove(key: number): boolean {
    const entry = this.#queues.find(key);
    if (entry === 0) {
      this.#queues.forgetGhost(key);
      return false;
    }
    this.#holds.discardDirty(entry);
    this.#queues.remove(entry);
    return true;
  }

  /** Keeps a slot from being reused until as many calls of `unpin`. */
  pin(slot: number): void {
    assert(this.#queues.queueOf(slot + 1) !== FREE, "only a slot in use can be pinned");
    this.#holds.pin(slot + 1);
  }

  unpin(slot: number): void {
    this.#holds.unpin(slot + 1);
    this.#queues.leaveLimbo(slot + 1);
  }

  isPinned(slot: number): boolean {
    return this.#holds.isPinned(slot + 1);
  }

  /** The slot holds newer contents than the store: it is not reused before they are flushed. */
  markDirty(slot: number): void {
    assert(this.keyOf(slot) !== NO_KEY, "only a slot with a key can be dirty");
    this.#holds.markDirty(slot + 1);
  }

  isDirty(slot: number): boolean {
    return this.#holds.isDirty(slot + 1);
  }

  /** Dirty slots that no flush has been begun for. */
  get dirtyCount(): number {
    return this.#holds.dirtyCount;
  }

  /**
   * Begins the flush of as many dirty slots as fit into `slots`, those nearest to eviction first,
   * and returns how many. Each of them is held until `endFlush`. A slot whose flush is under way is
   * not begun again; if it becomes dirty meanwhile, its turn comes after that.
   */
  beginFlush(slots: Uint32Array): number {
    const { coldFirst, coldSize, hotFirst, hotSize } = this.#queues;
    const count = this.#gatherDirty(coldFirst, coldSize, slots, 0);
    return this.#gatherDirty(hotFirst, hotSize, slots, count);
  }

  /** The flush of a slot is durable, or it failed and the slot is dirty still. */
  endFlush(slot: number, succeeded: boolean): void {
    const entry = slot + 1;
    this.#holds.endFlush(entry);
    if (!succeeded && this.keyOf(slot) !== NO_KEY) this.#holds.markDirty(entry);
    this.#queues.leaveLimbo(entry);
  }

  /** The key that a slot belongs to, or -1. */
  keyOf(slot: number): number {
    assert(slot >= 0 && slot < this.capacity, "no such slot");
    return this.#hasKey(slot + 1) ? this.#queues.keyOf(slot + 1) : NO_KEY;
  }

  /**
   * Visits every key that has a slot, in the order of slots. Must not insert or remove meanwhile.
   */
  forEach(visit: (key: number, slot: number) => void): void {
    for (let entry = 1; entry <= this.capacity; entry++) {
      if (this.#hasKey(entry)) visit(this.#queues.keyOf(entry), entry - 1);
    }
  }

  /** Which queue holds a key: for tests and for people, it counts as no use. */
  queueOf(key: number): "cold" | "hot" | "ghost" | undefined {
    const entry = this.#queues.find(key);
    if (entry === 0) return this.#queues.isGhost(key) ? "ghost" : undefined;
    return this.#queues.queueOf(entry) === COLD ? "cold" : "hot";
  }

  #hasKey(entry: number): boolean {
    const queue = this.#queues.queueOf(entry);
    return queue === COLD || queue === HOT;
  }

  #gatherDirty(first: number, size: number, slots: Uint32Array, already: number): number {
    let count = already;
    let entry = first;
    for (let left = size; left > 0; left--) {
      if (count === slots.length || this.#holds.dirtyCount === 0) break;
      if (this.#holds.beginFlush(entry)) slots[count++] = entry - 1;
      entry = this.#queues.after(entry);
    }
    return count;
  }
}
