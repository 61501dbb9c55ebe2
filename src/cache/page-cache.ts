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
import type { CacheMode, CacheParameters, PageCacheOptions } from "./cache-parameters.ts";
import { capacityTooLarge, checkCapacity, checkHandLimit, checkKey } from "./cache-checks.ts";
import {
  COUNTER_COUNT,
  EVICTIONS,
  GHOST_HITS,
  HITS,
  MISSES,
  PROMOTIONS,
  SKIPPED_SLOTS,
  statsOf,
} from "./cache-stats.ts";
import type { CacheStats } from "./cache-stats.ts";
import { EntryRing, RingLinks } from "./entry-ring.ts";
import { EntryTable } from "./entry-table.ts";
import { FreeSlots } from "./free-slots.ts";
import { GhostSets } from "./ghost-sets.ts";
import { GhostQueue } from "./ghost-queue.ts";
import { highOf, mixOf } from "./key-hash.ts";
import { QueueBalance } from "./queue-balance.ts";
import { SlotHolds } from "./slot-holds.ts";
import {
  COLD,
  COUNT_MASK,
  FREE,
  GRACE_ROUNDS_MIN,
  HOT,
  LIMBO,
  NEWCOMER,
  QUEUE_MASK,
  statusAfterHand,
  USED,
} from "./slot-status.ts";

// Entries are numbered from 1, so that 0 means none; slots, as the caller sees them, from 0.
/** Held cold slots that one search steps over before it turns to the hot ring. */
const COLD_SKIPS_MAX = 10;
/** Cold slots that one insert makes hot before it takes its slot from the hot ring. */
const PROMOTIONS_PER_INSERT_MAX = 64;

const NO_KEY = -1;

export class PageCache {
  readonly capacity: number;
  readonly mode: CacheMode;
  readonly #handLimit: number;
  #balance: QueueBalance;
  #slotsMax: number;
  readonly #parameters: CacheParameters;
  readonly #adaptive: boolean;
  readonly #ticksPerHit: number;
  readonly #table: EntryTable;
  readonly #links: RingLinks;
  readonly #cold: EntryRing;
  readonly #hot: EntryRing;
  readonly #ghosts: GhostQueue | GhostSets;
  readonly #freeSlots: FreeSlots;
  readonly #holds: SlotHolds;
  readonly #counters: Float64Array = new Float64Array(COUNTER_COUNT);
  /** Admissions, in the adaptive mode all inserts, modulo 2^32: the cache's own time. */
  #ticks = 0;
  #limboSize = 0;
  #evictedEntry = 0;
  #evictedLow = 0;
  #evictedHigh = 0;

  /** Fails with `cache-capacity-invalid` or `cache-capacity-too-large`. */
  constructor(options: PageCacheOptions) {
    const { capacity, mode = "best" } = options;
    checkCapacity(capacity);
    const parameters = parametersOf(mode);
    this.capacity = capacity;
    this.mode = mode;
    this.#handLimit = options.handLimit ?? parameters.handLimit;
    checkHandLimit(this.#handLimit);
    this.#balance = new QueueBalance(capacity, parameters);
    this.#slotsMax = capacity;
    this.#parameters = parameters;
    this.#adaptive = parameters.adaptive;
    this.#ticksPerHit = parameters.ticksPerHit;
    const ghostKeys = Math.floor(capacity * parameters.ghostFraction);
    const ghosts = { keys: ghostKeys, circle: Math.ceil(ghostKeys * parameters.ghostCircle) };
    try {
      this.#table = new EntryTable(capacity);
      this.#ghosts = parameters.adaptive ? GhostSets.of(ghosts.circle) : new GhostQueue(ghosts);
      this.#links = new RingLinks(capacity);
      this.#holds = new SlotHolds(capacity);
    } catch (cause) {
      throw capacityTooLarge(capacity, cause);
    }
    this.#cold = new EntryRing(this.#links);
    this.#hot = new EntryRing(this.#links);
    this.#freeSlots = new FreeSlots(this.#table, capacity);
  }

  /** Number of keys that have a slot. */
  get size(): number {
    return this.#cold.size + this.#hot.size;
  }

  /** The key that lost its slot to the last `insert`, or -1 if none did. */
  get evictedKey(): number {
    if (this.#evictedEntry === 0) return NO_KEY;
    return this.#evictedHigh * 2 ** 32 + (this.#evictedLow >>> 0);
  }

  /** A new object each time: for reports, not for hot paths. */
  get stats(): CacheStats {
    return statsOf(this.#counters);
  }

  /** Bytes of the arrays that this cache holds, all of them allocated at construction. */
  get overheadBytes(): number {
    const slots = this.#links.sizeBytes + this.#holds.sizeBytes;
    return this.#table.sizeBytes + this.#ghosts.sizeBytes + slots;
  }

  /** The slot of a key, or -1. Counts as a use of it. */
  lookup(key: number): number {
    const entry = this.#table.find(key);
    if (entry === 0) {
      this.#counters[MISSES]!++;
      return -1;
    }
    this.#counters[HITS]!++;
    const status = this.#table.status(entry);
    if ((status & USED) === 0) this.#touch(entry, status);
    return entry - 1;
  }

  /** The slot of a key, or -1, without counting as a use. */
  peek(key: number): number {
    return this.#table.find(key) - 1;
  }

  /**
   * Gives a key a slot after a miss; -1 if every slot is pinned, dirty or being flushed. The
   * slot's contents are whatever `evictedKey` left there. A key that has a slot already keeps it.
   * Fails with `cache-key-out-of-range`.
   */
  insert(key: number): number {
    this.#evictedEntry = 0;
    const known = this.#table.find(key);
    if (known !== 0) return known - 1;
    const low = key | 0;
    const high = low === key ? 0 : highOf(key);
    // What is no key is no missed one.
    if (high !== this.#table.missedHigh) checkKey(key);
    const ghost = this.#ghosts.find(mixOf(low, high));
    return ghost === 0 ? this.#admit(low, high, false) - 1 : this.#insertGhost(ghost, low, high);
  }

  #insertGhost(ghost: number, low: number, high: number): number {
    const admitted = this.#ghosts.admittedAt(ghost);
    const isHot = this.#balance.ghostIsHot(this.#age(admitted));
    this.#ghosts.remove(ghost);
    const entry = this.#admit(low, high, isHot);
    if (entry === 0) {
      this.#ghosts.push(mixOf(low, high), admitted);
      return -1;
    }
    this.#counters[GHOST_HITS]!++;
    // It was away for longer than any burst.
    if (!isHot) {
      this.#table.setSince(entry, (this.#table.since(entry) - this.#balance.window) | 0);
    }
    return entry - 1;
  }

  /**
   * Takes the slot from the key that the algorithm would give up next, which `evictedKey` then
   * names. The slot, now free, or -1 if every slot is held.
   */
  evict(): number {
    this.#evictedEntry = 0;
    const entry = this.#evict();
    if (entry !== 0) this.#free(entry);
    return entry - 1;
  }

  /** How many of the slots may be in use: the capacity unless `resize` changed it. */
  get slotsMax(): number {
    return this.#slotsMax;
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
    this.#slotsMax = slotsMax;
    this.#balance = new QueueBalance(slotsMax, this.#parameters);
    const ghostKeys = Math.floor(slotsMax * this.#parameters.ghostFraction);
    const { adaptive, ghostCircle } = this.#parameters;
    this.#ghosts.resize(adaptive ? Math.ceil(ghostKeys * ghostCircle) : ghostKeys);
  }

  /**
   * Forgets a key, and what is dirty in its slot. The slot is reused once it is neither pinned nor
   * being flushed. False if the key has no slot.
   */
  remove(key: number): boolean {
    const entry = this.#table.find(key);
    if (entry === 0) {
      const ghost = this.#findGhost(key);
      if (ghost !== 0) this.#ghosts.remove(ghost);
      return false;
    }
    const queue = this.#table.status(entry) & QUEUE_MASK;
    (queue === COLD ? this.#cold : this.#hot).remove(entry);
    this.#table.remove(entry);
    this.#holds.discardDirty(entry);
    if (!this.#holds.isHeld(entry)) {
      this.#free(entry);
    } else {
      this.#table.setStatus(entry, LIMBO);
      this.#limboSize++;
    }
    return true;
  }

  /** Keeps a slot from being reused until as many calls of `unpin`. */
  pin(slot: number): void {
    assert(this.#table.status(slot + 1) >= COLD, "only a slot in use can be pinned");
    this.#holds.pin(slot + 1);
  }

  unpin(slot: number): void {
    this.#holds.unpin(slot + 1);
    this.#leaveLimbo(slot + 1);
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
    const count = this.#gatherDirty(this.#cold, slots, 0);
    return this.#gatherDirty(this.#hot, slots, count);
  }

  /** The flush of a slot is durable, or it failed and the slot is dirty still. */
  endFlush(slot: number, succeeded: boolean): void {
    const entry = slot + 1;
    this.#holds.endFlush(entry);
    if (!succeeded && this.keyOf(slot) !== NO_KEY) this.#holds.markDirty(entry);
    this.#leaveLimbo(entry);
  }

  /** The key that a slot belongs to, or -1. */
  keyOf(slot: number): number {
    assert(slot >= 0 && slot < this.capacity, "no such slot");
    return this.#hasKey(slot + 1) ? this.#table.keyOf(slot + 1) : NO_KEY;
  }

  /**
   * Visits every key that has a slot, in the order of slots. Must not insert or remove meanwhile.
   */
  forEach(visit: (key: number, slot: number) => void): void {
    for (let entry = 1; entry <= this.capacity; entry++) {
      if (this.#hasKey(entry)) visit(this.#table.keyOf(entry), entry - 1);
    }
  }

  /** Which queue holds a key: for tests and for people, it counts as no use. */
  queueOf(key: number): "cold" | "hot" | "ghost" | undefined {
    const entry = this.#table.find(key);
    if (entry === 0) return this.#findGhost(key) === 0 ? undefined : "ghost";
    return (this.#table.status(entry) & QUEUE_MASK) === COLD ? "cold" : "hot";
  }

  #findGhost(key: number): number {
    return Number.isSafeInteger(key) && key >= 0
      ? this.#ghosts.find(mixOf(key | 0, highOf(key)))
      : 0;
  }

  #hasKey(entry: number): boolean {
    const queue = this.#table.status(entry) & QUEUE_MASK;
    return queue === COLD || queue === HOT;
  }

  /** A hit on a slot that was not hit since the hand met it, or, if it is cold, in its window. */
  #touch(entry: number, status: number): void {
    const table = this.#table;
    if ((status & QUEUE_MASK) === HOT) {
      table.setStatus(entry, status | USED);
      if ((status & COUNT_MASK) >= GRACE_ROUNDS_MIN) return;
      this.#balance.noteArmedHit(this.#age(table.since(entry)), this.#hot.size);
      return;
    }
    // With a window of W, strictly, a hit counts once W others were admitted after this one.
    if (this.#age(table.since(entry)) < this.#balance.window) return;
    table.setStatus(entry, status | USED);
  }

  #now(): number {
    return (this.#ticks + this.#counters[HITS]! * this.#ticksPerHit) | 0;
  }

  #age(since: number): number {
    return (this.#now() - since) >>> 0;
  }

  /** The entry that the key got, or 0. */
  #admit(low: number, high: number, hot: boolean): number {
    const size = this.#cold.size + this.#hot.size;
    let enterHot = hot;
    let entry = 0;
    if (size + this.#limboSize < this.#slotsMax) {
      const warmingUp = this.#freeSlots.hasUntouched && size < this.#slotsMax;
      enterHot ||= warmingUp && this.#cold.size >= this.#balance.coldTarget;
      entry = this.#freeSlots.take();
    }
    if (entry === 0) entry = this.#evict();
    if (entry === 0) return 0;
    this.#table.add(entry, low, high);
    if (this.#adaptive || !enterHot) this.#ticks = (this.#ticks + 1) | 0;
    if (enterHot) {
      this.#enterHot(entry);
    } else {
      this.#table.enter(entry, COLD, this.#now());
      this.#cold.add(entry);
    }
    return entry;
  }

  #enterHot(entry: number): void {
    this.#table.enter(entry, HOT | NEWCOMER, this.#now());
    this.#hot.add(entry);
  }

  /** A slot that was removed while it was held is free once it is held no more. */
  #leaveLimbo(entry: number): void {
    if (this.#table.status(entry) !== LIMBO || this.#holds.isHeld(entry)) return;
    this.#limboSize--;
    this.#free(entry);
  }

  #gatherDirty(ring: EntryRing, slots: Uint32Array, already: number): number {
    let count = already;
    let entry = ring.first;
    for (let left = ring.size; left > 0; left--) {
      if (count === slots.length || this.#holds.dirtyCount === 0) break;
      if (this.#holds.beginFlush(entry)) slots[count++] = entry - 1;
      entry = ring.after(entry);
    }
    return count;
  }

  #free(entry: number): void {
    this.#table.setStatus(entry, FREE);
    this.#freeSlots.give(entry);
  }

  #evict(): number {
    const coldSize = this.#cold.size;
    const size = coldSize + this.#hot.size;
    let { coldTarget } = this.#balance;
    if (size !== this.#slotsMax) coldTarget *= size / this.#slotsMax;
    const hotFirst = coldSize === 0 || coldSize < coldTarget;
    let entry = hotFirst ? this.#evictHot() : this.#evictCold();
    if (entry === 0) entry = hotFirst ? this.#evictCold() : this.#evictHot();
    return entry || this.#evictAny(this.#cold) || this.#evictAny(this.#hot);
  }

  #evictCold(): number {
    let skipped = 0;
    let promoted = 0;
    let entry = this.#cold.first;
    for (let left = this.#cold.size; left > 0; left--) {
      const next = this.#cold.after(entry);
      if (this.#holds.isHeld(entry)) {
        this.#counters[SKIPPED_SLOTS]!++;
        if (++skipped === COLD_SKIPS_MAX) return 0;
      } else if ((this.#table.status(entry) & USED) === 0 || !this.#parameters.promotes) {
        return this.#releaseCold(entry);
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
    // Three rounds with hits earn two of grace, so the fourth finds the first unpinned slot armed.
    const stepsMax = this.#hot.size * (COUNT_MASK + 1);
    for (let step = 0; step < stepsMax; step++) {
      const entry = this.#hot.first;
      if (!this.#holds.isHeld(entry)) {
        const mayStay = this.#meet(entry);
        if (!mayStay || skipped >= this.#handLimit) return this.#releaseHot(entry);
      }
      this.#hot.advance();
      this.#counters[SKIPPED_SLOTS]!++;
      if (++skipped > this.#handLimit + COLD_SKIPS_MAX) return 0;
    }
    return 0;
  }

  /** The hand comes to a slot: false if it is armed and free to take; arms it otherwise. */
  #meet(entry: number): boolean {
    const status = statusAfterHand(this.#table.status(entry), this.#balance);
    if (status === FREE) return false;
    this.#table.setStatus(entry, status);
    this.#table.setSince(entry, this.#now());
    return true;
  }

  /** When pins defeated the bounded searches: whatever can be had at all. */
  #evictAny(ring: EntryRing): number {
    let entry = ring.first;
    for (let left = ring.size; left > 0; left--) {
      if (!this.#holds.isHeld(entry)) {
        return ring === this.#cold ? this.#releaseCold(entry) : this.#releaseHot(entry);
      }
      entry = ring.after(entry);
    }
    return 0;
  }

  #releaseCold(entry: number): number {
    this.#cold.remove(entry);
    this.#release(entry);
    this.#ghosts.push(mixOf(this.#evictedLow, this.#evictedHigh), this.#table.since(entry));
    return entry;
  }

  #releaseHot(entry: number): number {
    this.#balance.noteVictim(this.#age(this.#table.since(entry)));
    this.#hot.remove(entry);
    this.#release(entry);
    return entry;
  }

  #release(entry: number): void {
    this.#counters[EVICTIONS]!++;
    this.#evictedEntry = entry;
    this.#evictedLow = this.#table.lowOf(entry);
    this.#evictedHigh = this.#table.highOf(entry);
    this.#table.remove(entry);
  }
}
