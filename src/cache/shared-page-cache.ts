/**
 * The page cache shared by threads: the rules of `page-cache.ts` on memory that several workers use
 * at the same time, each through an instance of its own. `docs/internals/cache.md` has the protocol
 * and why it is right.
 *
 * What a worker may rely on:
 * - The slot that `lookup` or `insert` returned last keeps its contents until this worker's next
 *   call of either; `pin` keeps a slot for longer. Nothing else holds it: no lock is kept.
 * - A published page never changes. To write, fill a new version (`update`, `publish`) that takes
 *   the old one's place at once; whoever looks at the old one may go on doing so.
 * - A page published as dirty is kept until a flush of it, or of a newer version, ended well; two
 *   versions of a page are never being flushed at the same time.
 * - What a worker that died held is given back by `reap`; what it was filling is forgotten.
 *
 * A hit writes nothing that another worker writes, but for one bit of a slot that the hand has
 * armed. Insertions and evictions lock one bucket of the index for some dozen instructions. No call
 * waits for anything else, and the work of each is bounded.
 */
import { assert } from "../base/index.ts";
import { checkKey } from "./cache-checks.ts";
import { COUNTER_COUNT, GHOST_HITS, HITS, MISSES, statsOf } from "./cache-stats.ts";
import type { CacheStats } from "./cache-stats.ts";
import { highOf, mixOf } from "./key-hash.ts";
import { takeCensus } from "./shared-census.ts";
import type { SharedCensus } from "./shared-census.ts";
import { SharedFlushes } from "./shared-flushes.ts";
import type { SharedIndex } from "./shared-index.ts";
import * as at from "./shared-layout.ts";
import type { SharedCacheMemory } from "./shared-layout.ts";
import { joinParts } from "./shared-parts.ts";
import type { SharedParts } from "./shared-parts.ts";
import type { SharedPins } from "./shared-pins.ts";
import { SharedReaper } from "./shared-reaper.ts";
import { SharedRetirement } from "./shared-retirement.ts";
import { SharedSlots } from "./shared-slots.ts";
import {
  DIRTY,
  FLUSHING,
  OWNED,
  OWNER_MASK,
  ownerBits,
  SHADOW,
  STATUS_MASK,
} from "./shared-state.ts";
import { COLD, COUNT_MASK, GRACE_ROUNDS_MIN, HOT, LIMBO } from "./slot-status.ts";
import { NEWCOMER, QUEUE_MASK, USED } from "./slot-status.ts";

/** The key has no slot. */
export const MISS: number = -1;
/** Another worker is filling or moving the page: look it up again. */
export const BUSY: number = -2;
/** Every slot that could be had is pinned, dirty, or being filled. */
export const FULL: number = -3;

const QUEUE_OR_OWNED: number = QUEUE_MASK | OWNED;
const TRIES_MAX = 16;
/** So many hits of one worker move the time on by TICKS_PER_HITS admissions: 0.05 for each. */
const HITS_PER_TICKS = 60;
const TICKS_PER_HITS = 3;

export class SharedPageCache {
  readonly capacity: number;
  readonly pageBytes: number;
  /** Which of the cache's places for workers this one has: 0 to workersMax - 1. */
  readonly place: number;
  /** Which worker this is, of all that have ever joined. */
  readonly worker: number;
  /** All pages: slot s has the bytes from `pageAt(s)` on. */
  readonly pages: Uint8Array;
  readonly #parts: SharedParts;
  readonly #words: Int32Array;
  readonly #index: SharedIndex;
  readonly #pins: SharedPins;
  readonly #slots: SharedSlots;
  readonly #retirement: SharedRetirement;
  readonly #flushes: SharedFlushes;
  readonly #reaper: SharedReaper;
  readonly #counters: Float64Array;
  readonly #slotsAt: number;
  readonly #owner: number;
  /** What this worker looks at: its own copy of what the others see. */
  #current = 0;
  #hitsUntilTick = HITS_PER_TICKS;

  /**
   * Joins the workers of a cache that `formatSharedCache` made. Fails with `cache-memory-unknown`,
   * `cache-memory-version-unknown`, `cache-memory-damaged`, `cache-memory-misaligned`,
   * `cache-workers-exhausted`.
   */
  constructor(memory: SharedCacheMemory) {
    const parts = joinParts(memory);
    const { layout, words, pins } = parts;
    this.capacity = layout.capacity;
    this.pageBytes = layout.pageBytes;
    this.place = pins.place;
    this.worker = pins.worker;
    this.pages = parts.bytes.subarray(layout.pagesAtBytes, layout.sizeBytes);
    this.#parts = parts;
    this.#words = words;
    this.#index = parts.index;
    this.#pins = pins;
    this.#slots = new SharedSlots(parts);
    this.#retirement = new SharedRetirement(parts, this.#slots);
    this.#flushes = new SharedFlushes(parts, this.#retirement);
    this.#reaper = new SharedReaper(parts, this.#retirement);
    this.#counters = pins.counters;
    this.#slotsAt = layout.slotsAt;
    this.#owner = ownerBits(pins.place);
  }

  /** Where the page of a slot begins in `pages`. */
  pageAt(slot: number): number {
    return slot * this.pageBytes;
  }

  /** The slot of a key; MISS; or BUSY. Counts as a use. */
  lookup(key: number): number {
    const low = key | 0;
    let high = 0;
    if (low !== key || low < 0) {
      high = highOf(key);
      if (high * 4294967296 + (low >>> 0) !== key) return MISS;
    }
    const bucket = this.#index.bucketOf(low, high);
    const entry = this.#index.guess(bucket, low, high);
    if (entry !== 0 && this.#hold(entry, low, high)) return entry - 1;
    return this.#lookupSlowly(bucket, low, high);
  }

  /**
   * Gives a key a slot after a miss: this worker's alone to fill, until `publish` or `abandon`.
   * BUSY if the key has one already, FULL if none can be had. Fails with `cache-key-out-of-range`
   * or `cache-worker-stuck`.
   */
  insert(key: number): number {
    checkKey(key);
    const low = key | 0;
    const high = highOf(key);
    const bucket = this.#index.bucketOf(low, high);
    this.#look(0);
    if (this.#index.confirm(bucket, low, high) !== 0) return BUSY;
    const entry = this.#slots.take();
    if (entry === 0) return FULL;
    const words = this.#words;
    const slot = this.#slotsAt + entry * at.SLOT_WORDS;
    words[slot + at.KEY_LOW] = low;
    words[slot + at.KEY_HIGH] = high;
    try {
      if (this.#enter(bucket, entry)) return entry - 1;
    } catch (error) {
      this.#slots.release(entry);
      throw error;
    }
    this.#slots.release(entry);
    return BUSY;
  }

  /**
   * Makes what this worker has filled the page of its key, for all to see; `dirty` if it is newer
   * than what is stored. The slot stays held as after a look-up. False if it was a version to
   * replace another (`update`), and that has been replaced or removed meanwhile: the slot is given
   * back, look the key up again.
   */
  publish(slot: number, dirty: boolean): boolean {
    const entry = slot + 1;
    const state = this.#ownedState(entry);
    this.#look(entry);
    if ((state & SHADOW) !== 0) return this.#publishVersion(entry, dirty);
    this.#commit(entry, state & STATUS_MASK, dirty);
    return true;
  }

  /** Gives back a slot that this worker was to fill. */
  abandon(slot: number): void {
    const entry = slot + 1;
    const state = this.#ownedState(entry);
    if ((state & SHADOW) !== 0) this.#pins.unpin(this.#words[this.#wordsAt(entry) + at.NEXT]!);
    else this.#retirement.unlink(entry);
    this.#look(0);
    this.#slots.release(entry);
  }

  /**
   * A slot for a newer version of a page that this worker holds, with a copy of its contents: this
   * worker's alone until `publish` or `abandon`. FULL if none can be had. The older version stays
   * pinned until then. Fails with `cache-pins-exhausted`.
   */
  update(slot: number): number {
    const older = slot + 1;
    assert(this.#pins.holds(older), "only a slot that this worker holds can be updated");
    this.#pins.pin(older);
    const entry = this.#slots.take();
    if (entry === 0) {
      this.#pins.unpin(older);
      return FULL;
    }
    const words = this.#words;
    const from = this.#wordsAt(older);
    const to = this.#wordsAt(entry);
    words[to + at.KEY_LOW] = words[from + at.KEY_LOW]!;
    words[to + at.KEY_HIGH] = words[from + at.KEY_HIGH]!;
    this.#slots.setSince(entry, this.#slots.since(older));
    words[to + at.NEXT] = older;
    Atomics.store(words, to + at.STATE, OWNED | SHADOW | this.#owner);
    this.pages.copyWithin(this.pageAt(entry - 1), this.pageAt(slot), this.pageAt(slot + 1));
    return entry - 1;
  }

  /**
   * Forgets a key, and what is dirty in its slot, which it returns; MISS; or BUSY while another
   * worker fills it. Workers that hold the slot may go on looking at it. Fails with
   * `cache-worker-stuck`.
   */
  remove(key: number): number {
    checkKey(key);
    const low = key | 0;
    const high = highOf(key);
    const bucket = this.#index.bucketOf(low, high);
    this.#index.lock(bucket);
    const ghost = this.#parts.ghosts.find(mixOf(low, high));
    if (ghost !== 0) this.#parts.ghosts.remove(ghost);
    const entry = this.#index.find(bucket, low, high);
    const retired = entry !== 0 && this.#retirement.tryRetire(bucket, entry);
    this.#index.unlock(bucket);
    if (entry === 0) return MISS;
    if (!retired) return BUSY;
    this.#look(0);
    this.#retirement.finish(entry);
    return entry - 1;
  }

  /** Looks at no slot any more. */
  release(): void {
    this.#look(0);
  }

  /**
   * Keeps a slot that this worker holds from being reused until as many calls of `unpin`. Fails
   * with `cache-pins-exhausted`.
   */
  pin(slot: number): void {
    assert(this.#pins.holds(slot + 1), "only a slot that this worker holds can be pinned");
    this.#pins.pin(slot + 1);
  }

  unpin(slot: number): void {
    this.#pins.unpin(slot + 1);
  }

  /** The key of a slot that this worker holds or flushes. */
  keyOf(slot: number): number {
    const words = this.#wordsAt(slot + 1);
    const low = this.#words[words + at.KEY_LOW]! >>> 0;
    return this.#words[words + at.KEY_HIGH]! * 4294967296 + low;
  }

  isDirty(slot: number): boolean {
    return (this.#stateOf(slot + 1) & DIRTY) !== 0;
  }

  /** The key that lost its slot to the last `insert` or `update`, or -1 if none did. */
  get evictedKey(): number {
    if (!this.#slots.hasVictim) return -1;
    return this.#slots.victim[1]! * 4294967296 + (this.#slots.victim[0]! >>> 0);
  }

  /**
   * Uses so many slots, at most the capacity, from now on. Nothing is given up at once: `trim`
   * does. Fails with `cache-capacity-invalid` or `cache-capacity-too-large`.
   */
  resize(slotsMax: number): void {
    this.#parts.layout.checkSlotsMax(slotsMax);
    const before = Atomics.exchange(this.#words, at.SLOTS_MAX, slotsMax);
    // Those that are added are looked at one by one, as slots that never had a key are.
    const untouched = Atomics.load(this.#words, at.UNTOUCHED);
    if (before < Math.min(slotsMax, untouched)) Atomics.store(this.#words, at.UNTOUCHED, before);
  }

  /**
   * Empties the slots beyond the limit that `resize` set, but for those that are pinned, dirty or
   * being filled: their number. It looks at all of them.
   */
  trim(): number {
    let left = 0;
    for (let entry = Atomics.load(this.#words, at.SLOTS_MAX) + 1; entry <= this.capacity; entry++) {
      if (!this.#slots.vacate(entry)) left++;
    }
    return left;
  }

  /**
   * Begins the flush of as many dirty slots as fit into `slots`, and returns how many; each is kept
   * until this worker's `endFlush`. Those of the cold queue come first. A page of which an older
   * version is being flushed is left for later. Looks at every slot if few are dirty.
   */
  beginFlush(slots: Uint32Array): number {
    return this.#flushes.begin(slots);
  }

  /** The flush of a slot is durable, or it failed and the slot is dirty still. */
  endFlush(slot: number, succeeded: boolean): void {
    this.#flushes.end(slot + 1, succeeded);
  }

  /** Dirty slots, of those whose flush no one has begun. Looks at every slot. */
  get dirtyCount(): number {
    return this.#flushes.dirtyCount;
  }

  /** Gives the place up. The worker must have nothing left to publish, and no flush to end. */
  leave(): void {
    this.#current = 0;
    this.#pins.clear(this.place);
    this.#pins.free(this.place);
  }

  /** Says that this worker lives, to those that ask `silent`. */
  beat(): void {
    this.#pins.beat();
  }

  /** Other workers that have not beaten since this worker asked last. */
  silent(): number[] {
    return this.#pins.silent();
  }

  /**
   * Gives back what another worker held when it died: what it was filling is forgotten, what it was
   * flushing is dirty again. The number of such slots; 0 if another worker does it or has done it.
   * Only for a worker that is surely gone and whose writes to the store are over; others may go on
   * working meanwhile. Looks at every slot. Fails with `cache-worker-stuck` if it needs what yet
   * another one died with: reap that one, and then this one again.
   */
  reap(worker: number): number {
    assert(this.#pins.placeOf(worker) < this.#parts.layout.workersMax, "there was no such worker");
    assert(worker !== this.worker, "a worker that died reaps nobody");
    return this.#reaper.reap(worker);
  }

  /** Sums over all workers, also those that left. A new object each time. */
  get stats(): CacheStats {
    const sums = new Float64Array(COUNTER_COUNT);
    for (let place = 0; place < this.#parts.layout.workersMax; place++) {
      const counters = this.#pins.countersOf(place);
      for (let i = 0; i < sums.length; i++) sums[i]! += counters[i]!;
    }
    return statsOf(sums);
  }

  /** Of the workers at one place, one after the other. */
  statsOf(place: number): CacheStats {
    assert(place >= 0 && place < this.#parts.layout.workersMax, "no such place");
    return statsOf(this.#pins.countersOf(place));
  }

  /** Slots by what they are at this moment. Looks at every slot. */
  census(): SharedCensus {
    return takeCensus(this.#parts);
  }

  #wordsAt(entry: number): number {
    assert(entry >= 1 && entry <= this.capacity, "no such slot");
    return this.#slotsAt + entry * at.SLOT_WORDS;
  }

  #stateOf(entry: number): number {
    return Atomics.load(this.#words, this.#wordsAt(entry) + at.STATE);
  }

  #ownedState(entry: number): number {
    const state = this.#stateOf(entry);
    const mine = OWNED | this.#owner;
    assert((state & (OWNED | OWNER_MASK)) === mine, "the slot is not this worker's to fill");
    return state;
  }

  #look(entry: number): void {
    if (this.#current === entry) return;
    this.#current = entry;
    this.#pins.current = entry;
  }

  /** Holds an entry and then sees whether it is what it was taken for. */
  #hold(entry: number, low: number, high: number): boolean {
    const words = this.#words;
    const slot = this.#slotsAt + entry * at.SLOT_WORDS;
    this.#look(entry);
    const state = Atomics.load(words, slot + at.STATE);
    const queue = state & QUEUE_OR_OWNED;
    if (queue !== HOT && queue !== COLD) return false;
    // Whoever gave the slot to another key did so before the state was read: see it now.
    if (words[slot + at.KEY_LOW] !== low || words[slot + at.KEY_HIGH] !== high) return false;
    this.#touch(entry, state);
    return true;
  }

  #touch(entry: number, state: number): void {
    this.#counters[HITS]!++;
    if (--this.#hitsUntilTick === 0) {
      this.#hitsUntilTick = HITS_PER_TICKS;
      Atomics.add(this.#words, at.TICKS, TICKS_PER_HITS);
    }
    if ((state & USED) !== 0) return;
    this.#use(entry, state);
  }

  /** A hit on a slot that was not hit since the hand met it, or, if it is cold, in its window. */
  #use(entry: number, state: number): void {
    const { balance } = this.#slots;
    const stateAt = this.#wordsAt(entry) + at.STATE;
    const age = this.#slots.age(this.#slots.since(entry));
    if ((state & QUEUE_MASK) === HOT) {
      Atomics.compareExchange(this.#words, stateAt, state, state | USED);
      if ((state & COUNT_MASK) >= GRACE_ROUNDS_MIN) return;
      const hotSize = this.#words[at.SLOTS_MAX]! - this.#words[at.COLD_SIZE]!;
      balance.noteArmedHit(age, hotSize);
    } else if (age >= balance.window) {
      Atomics.compareExchange(this.#words, stateAt, state, state | USED);
    }
  }

  #lookupSlowly(bucket: number, low: number, high: number): number {
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const entry = this.#index.confirm(bucket, low, high);
      if (entry === 0) {
        this.#counters[MISSES]!++;
        return MISS;
      }
      if (this.#hold(entry, low, high)) return entry - 1;
    }
    return BUSY;
  }

  /** Links a new entry in the state that it will be published in; false if the key has one. */
  #enter(bucket: number, entry: number): boolean {
    const words = this.#words;
    const { ghosts } = this.#parts;
    const slot = this.#slotsAt + entry * at.SLOT_WORDS;
    const low = words[slot + at.KEY_LOW]!;
    const high = words[slot + at.KEY_HIGH]!;
    this.#index.lock(bucket);
    if (this.#index.find(bucket, low, high) !== 0) {
      this.#index.unlock(bucket);
      return false;
    }
    const ghost = ghosts.find(mixOf(low, high));
    const age = ghost === 0 ? -1 : this.#slots.age(ghosts.admittedAt(ghost));
    if (ghost !== 0) ghosts.remove(ghost);
    const isHot = age >= 0 && this.#slots.balance.ghostIsHot(age);
    const status = isHot || this.#slots.warmsUpHot ? HOT | NEWCOMER : COLD;
    const now = Atomics.add(words, at.TICKS, 1) + 1;
    // A ghost was away for longer than any burst.
    const { window } = this.#slots.balance;
    this.#slots.setSince(entry, (age >= 0 && !isHot ? now - window : now) | 0);
    Atomics.store(words, slot + at.STATE, OWNED | this.#owner | status);
    this.#index.link(bucket, entry);
    this.#index.unlock(bucket);
    if (age >= 0) this.#counters[GHOST_HITS]!++;
    this.#look(entry);
    return true;
  }

  /** The end of being owned: what the slot holds is the page of its key. */
  #commit(entry: number, status: number, dirty: boolean): void {
    if ((status & QUEUE_MASK) === COLD) {
      this.#slots.pushCold(entry);
      this.#slots.changeColdSize(1);
    }
    const state = dirty ? status | DIRTY : status;
    Atomics.store(this.#words, this.#slotsAt + entry * at.SLOT_WORDS + at.STATE, state);
  }

  #publishVersion(entry: number, dirty: boolean): boolean {
    const words = this.#words;
    const slot = this.#wordsAt(entry);
    const older = words[slot + at.NEXT]!;
    const bucket = this.#index.bucketOf(words[slot + at.KEY_LOW]!, words[slot + at.KEY_HIGH]!);
    this.#index.lock(bucket);
    const olderState = this.#stateOf(older);
    if ((olderState & QUEUE_MASK) === LIMBO) {
      this.#index.unlock(bucket);
      this.abandon(entry - 1);
      return false;
    }
    // Searches find the newer version, which is nearer, from the moment of its commit on.
    this.#index.link(bucket, entry);
    const wasDirty = (olderState & (DIRTY | FLUSHING)) !== 0;
    this.#commit(entry, olderState & STATUS_MASK, dirty || wasDirty);
    this.#retirement.retirePinned(bucket, older);
    this.#index.unlock(bucket);
    this.#pins.unpin(older);
    this.#retirement.finish(older);
    return true;
  }
}
