/**
 * The index, the queues and the search for victims of a page cache for one thread; what they
 * promise is told in `page-cache.ts`.
 *
 * Entries are numbered from 1, so that 0 means none. An entry is four words side by side, so that a
 * look-up touches one cache line for the bucket and one for each entry it passes, and finds there
 * all that a hit needs:
 *
 *   low half of the key | link to the next entry of the bucket | since | high half << 8 + status
 *
 * Each entry owns its link, so removal unlinks it and leaves no tombstone. Buckets are a power of
 * two from three quarters of the entries up: a walk passes 1.3 to 1.7 entries for a key that is
 * there when every entry is in use, fewer if keys are neighbours. The cold queue and the hot ring
 * are rings through two more links of each entry, which is in one of them at a time: `coldFirst` is
 * the oldest of the queue, `hotFirst` is where the hand is.
 *
 * All of this is in one object, with few and long methods and without `#` on what they read, since
 * this is the path of every miss: the same code in a class for each of its parts took half as much
 * time again, most of it for calls that the compiler did not inline and for checks that it is the
 * right object that a field is read of.
 */
import { assert } from "../base/index.ts";
import type { CacheParameters } from "./cache-parameters.ts";
import { hitRatioOf } from "./cache-stats.ts";
import type { CacheStats } from "./cache-stats.ts";
import { GhostQueue } from "./ghost-queue.ts";
import { GhostSets } from "./ghost-sets.ts";
import { indexArray } from "./index-array.ts";
import type { IndexArray } from "./index-array.ts";
import { bucketCountOf, hashOf, hashShift, highOf, mixOf } from "./key-hash.ts";
import { QueueBalance } from "./queue-balance.ts";
import type { SlotHolds } from "./slot-holds.ts";
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

const BUCKETS_PER_ENTRY_MIN = 0.75;
const LOW = 0;
const LINK = 1;
/** When a cold slot was filled, or the hand last met a hot one; the link of the free list. */
const SINCE = 2;
const STATUS = 3;
const STATUS_BITS = 8;
const STATUS_MASK = 0xff;
const WORDS_SHIFT = 2;
const HIGH_LIMIT = 2 ** 21;
const NO_MISS = -1;

/** Held cold slots that one search steps over before it turns to the hot ring. */
const COLD_SKIPS_MAX = 10;
/** Cold slots that one insert makes hot before it takes its slot from the hot ring. */
const PROMOTIONS_PER_INSERT_MAX = 64;

export class PageQueues {
  private readonly words: Int32Array;
  private readonly buckets: IndexArray;
  private readonly bucketShift: number;
  private readonly next: IndexArray;
  private readonly previous: IndexArray;
  /** Not 0: pinned, dirty or being flushed. */
  private readonly held: Uint16Array;
  private readonly ghosts: GhostQueue | GhostSets;
  private readonly entryCount: number;
  private readonly parameters: CacheParameters;
  private readonly handLimit: number;
  private readonly promotes: boolean;
  private readonly adaptive: boolean;
  private readonly ticksPerHit: number;
  private balance: QueueBalance;
  coldFirst = 0;
  coldSize = 0;
  hotFirst = 0;
  hotSize = 0;
  slotsMax: number;
  /** The key that was last looked for in vain, if none was added since. */
  private missed: number = NO_MISS;
  /** Admissions, in the adaptive mode all inserts, modulo 2^32: the cache's own time. */
  private ticks = 0;
  private limboSize = 0;
  /** Entries up to this one have had a key; those that were given back are in a list. */
  private touchedCount = 0;
  private freeFirst = 0;
  private hits = 0;
  private misses = 0;
  private promotions = 0;
  private ghostHits = 0;
  private skippedSlots = 0;
  private evictions = 0;
  /** The entry that was taken from a key last, and the key. */
  evicted = 0;
  evictedLow = 0;
  evictedHigh = 0;

  constructor(entryCount: number, parameters: CacheParameters, handLimit: number, held: SlotHolds) {
    const ghostKeys = Math.floor(entryCount * parameters.ghostFraction);
    const ghosts = { keys: ghostKeys, circle: Math.ceil(ghostKeys * parameters.ghostCircle) };
    this.bucketShift = hashShift(Math.ceil(entryCount * BUCKETS_PER_ENTRY_MIN));
    this.words = new Int32Array((entryCount + 1) << WORDS_SHIFT);
    this.buckets = indexArray(bucketCountOf(this.bucketShift), entryCount);
    this.next = indexArray(entryCount + 1, entryCount);
    this.previous = indexArray(entryCount + 1, entryCount);
    this.held = held.words;
    this.ghosts = parameters.adaptive ? GhostSets.of(ghosts.circle) : new GhostQueue(ghosts);
    this.entryCount = entryCount;
    this.parameters = parameters;
    this.handLimit = handLimit;
    this.promotes = parameters.promotes;
    this.adaptive = parameters.adaptive;
    this.ticksPerHit = parameters.ticksPerHit;
    this.balance = new QueueBalance(entryCount, parameters);
    this.slotsMax = entryCount;
  }

  get size(): number {
    return this.coldSize + this.hotSize;
  }

  get sizeBytes(): number {
    const links = this.next.byteLength + this.previous.byteLength;
    return this.words.byteLength + this.buckets.byteLength + links + this.ghosts.sizeBytes;
  }

  get stats(): CacheStats {
    const { hits, misses, promotions, ghostHits, skippedSlots, evictions } = this;
    const hitRatio = hitRatioOf(hits, misses);
    return { hits, misses, hitRatio, promotions, ghostHits, skippedSlots, evictions };
  }

  /** The entry of a key, or 0. Counts as a use of it. */
  lookup(key: number): number {
    const entry = this.find(key);
    if (entry === 0) {
      this.misses++;
      return 0;
    }
    this.hits++;
    const status = this.words[(entry << WORDS_SHIFT) + STATUS]!;
    if ((status & USED) === 0) this.touch(entry << WORDS_SHIFT, status);
    return entry;
  }

  /**
   * The entry of a key, or 0. What is no key has none. That a key has none is remembered until one
   * is added (`hasMissed`), for an insert mostly follows a miss.
   */
  find(key: number): number {
    const low = key | 0;
    if (low !== key || low < 0) return this.findWide(key, low);
    const { words } = this;
    let entry = this.buckets[hashOf(low) >>> this.bucketShift]!;
    while (entry !== 0) {
      const at = entry << WORDS_SHIFT;
      if (words[at + LOW] === low && words[at + STATUS]! >> STATUS_BITS === 0) return entry;
      entry = words[at + LINK]!;
    }
    this.missed = key;
    return 0;
  }

  private findWide(key: number, low: number): number {
    const high = highOf(key);
    if (high < 0 || high >= HIGH_LIMIT || high * 2 ** 32 + (low >>> 0) !== key) return 0;
    const { words } = this;
    let entry = this.buckets[hashOf(mixOf(low, high)) >>> this.bucketShift]!;
    while (entry !== 0) {
      const at = entry << WORDS_SHIFT;
      if (words[at + LOW] === low && words[at + STATUS]! >> STATUS_BITS === high) return entry;
      entry = words[at + LINK]!;
    }
    this.missed = key;
    return 0;
  }

  /** Whether this, which is a key then, was looked for in vain and nothing was added since. */
  hasMissed(key: number): boolean {
    return key === this.missed && key >= 0;
  }

  /** A hit on a slot that was not hit since the hand met it, or, if it is cold, in its window. */
  private touch(at: number, status: number): void {
    const { words, balance } = this;
    const age = (this.now() - words[at + SINCE]!) >>> 0;
    if ((status & QUEUE_MASK) === HOT) {
      words[at + STATUS] = status | USED;
      if ((status & COUNT_MASK) < GRACE_ROUNDS_MIN) balance.noteArmedHit(age, this.hotSize);
      return;
    }
    // With a window of W, strictly, a hit counts once W others were admitted after this one.
    if (age >= balance.window) words[at + STATUS] = status | USED;
  }

  private now(): number {
    return (this.ticks + this.hits * this.ticksPerHit) | 0;
  }

  /** Gives a key that has none an entry; 0 if every slot is held. */
  insert(low: number, high: number): number {
    const { ghosts } = this;
    const mix = mixOf(low, high);
    const ghost = ghosts.find(mix);
    if (ghost === 0) return this.admit(low, high, false, 0);
    const admitted = ghosts.admittedAt(ghost);
    const isHot = this.balance.ghostIsHot((this.now() - admitted) >>> 0);
    ghosts.remove(ghost);
    // It was away for longer than any burst.
    const entry = this.admit(low, high, isHot, isHot ? 0 : this.balance.window);
    if (entry === 0) ghosts.push(mix, admitted);
    else this.ghostHits++;
    return entry;
  }

  private admit(low: number, high: number, hot: boolean, age: number): number {
    const { words, next, previous } = this;
    let enterHot = hot;
    let entry = 0;
    const size = this.coldSize + this.hotSize;
    if (size + this.limboSize < this.slotsMax) {
      const warmingUp = this.touchedCount < this.entryCount && size < this.slotsMax;
      enterHot ||= warmingUp && this.coldSize >= this.balance.coldTarget;
      entry = this.takeFree();
    }
    if (entry === 0) entry = this.evict();
    if (entry === 0) return 0;
    this.missed = NO_MISS;
    const at = entry << WORDS_SHIFT;
    const bucket = hashOf(mixOf(low, high)) >>> this.bucketShift;
    words[at + LOW] = low;
    words[at + LINK] = this.buckets[bucket]!;
    this.buckets[bucket] = entry;
    if (this.adaptive || !enterHot) this.ticks = (this.ticks + 1) | 0;
    words[at + SINCE] = (this.now() - age) | 0;
    if (enterHot) {
      words[at + STATUS] = (high << STATUS_BITS) | HOT | NEWCOMER;
      this.addHot(entry);
      return entry;
    }
    words[at + STATUS] = (high << STATUS_BITS) | COLD;
    const first = this.coldFirst;
    if (first === 0) {
      this.coldFirst = next[entry] = previous[entry] = entry;
    } else {
      const last = previous[first]!;
      next[entry] = first;
      previous[entry] = last;
      next[last] = previous[first] = entry;
    }
    this.coldSize++;
    return entry;
  }

  /** Adds behind the hand: it is the last that the hand comes to. */
  private addHot(entry: number): void {
    const { next, previous } = this;
    const first = this.hotFirst;
    if (first === 0) {
      this.hotFirst = next[entry] = previous[entry] = entry;
    } else {
      const last = previous[first]!;
      next[entry] = first;
      previous[entry] = last;
      next[last] = previous[first] = entry;
    }
    this.hotSize++;
  }

  /** An entry whose key was taken from it, or 0 if every slot is held. */
  evict(): number {
    const { coldSize, slotsMax } = this;
    const size = coldSize + this.hotSize;
    let { coldTarget } = this.balance;
    if (size !== slotsMax) coldTarget = Math.ceil((coldTarget * size) / slotsMax);
    const hotFirst = coldSize === 0 || coldSize < coldTarget;
    let entry = hotFirst ? this.evictHot() : this.evictCold();
    if (entry === 0) entry = hotFirst ? this.evictCold() : this.evictHot();
    return (
      entry ||
      this.evictAny(this.coldFirst, this.coldSize) ||
      this.evictAny(this.hotFirst, this.hotSize)
    );
  }

  private evictCold(): number {
    const { words, next, previous, held, ghosts } = this;
    let skipped = 0;
    let promoted = 0;
    let entry = this.coldFirst;
    for (let left = this.coldSize; left > 0; left--) {
      const after = next[entry]!;
      if (held[entry] !== 0) {
        this.skippedSlots++;
        if (++skipped === COLD_SKIPS_MAX) return 0;
        entry = after;
        continue;
      }
      const before = previous[entry]!;
      next[before] = after;
      previous[after] = before;
      if (--this.coldSize === 0) this.coldFirst = 0;
      else if (this.coldFirst === entry) this.coldFirst = after;
      const at = entry << WORDS_SHIFT;
      const status = words[at + STATUS]!;
      if ((status & USED) === 0 || !this.promotes) {
        const mix = this.forget(entry, at, status);
        ghosts.push(mix, words[at + SINCE]!);
        return entry;
      }
      this.promotions++;
      words[at + SINCE] = this.now();
      words[at + STATUS] = (status & ~STATUS_MASK) | HOT | NEWCOMER;
      this.addHot(entry);
      if (++promoted === PROMOTIONS_PER_INSERT_MAX) return 0;
      entry = after;
    }
    return 0;
  }

  private evictHot(): number {
    const { words, next, held } = this;
    let skipped = 0;
    // Three rounds with hits earn two of grace, so the fourth finds the first unpinned slot armed.
    for (let left = this.hotSize * (COUNT_MASK + 1); left > 0; left--) {
      const entry = this.hotFirst;
      if (held[entry] === 0) {
        const at = entry << WORDS_SHIFT;
        const status = words[at + STATUS]!;
        const met = statusAfterHand(status & STATUS_MASK, this.balance);
        // It was hit, or is given grace: from now on it is armed.
        if (met !== FREE) {
          words[at + STATUS] = (status & ~STATUS_MASK) | met;
          words[at + SINCE] = this.now();
        }
        if (met === FREE || skipped >= this.handLimit) {
          this.removeHot(entry);
          this.balance.noteVictim((this.now() - words[at + SINCE]!) >>> 0);
          this.forget(entry, at, status);
          return entry;
        }
      }
      this.hotFirst = next[entry]!;
      this.skippedSlots++;
      if (++skipped > this.handLimit + COLD_SKIPS_MAX) return 0;
    }
    return 0;
  }

  /** When pins defeated the bounded searches: whatever can be had at all of one ring. */
  private evictAny(first: number, size: number): number {
    let entry = first;
    for (let left = size; left > 0; left--, entry = this.next[entry]!) {
      if (this.held[entry] !== 0) continue;
      const at = entry << WORDS_SHIFT;
      const since = this.words[at + SINCE]!;
      const wasCold = this.queueOf(entry) === COLD;
      this.leaveRing(entry);
      const mix = this.forget(entry, at, this.words[at + STATUS]!);
      if (wasCold) this.ghosts.push(mix, since);
      else this.balance.noteVictim((this.now() - since) >>> 0);
      return entry;
    }
    return 0;
  }

  /** An entry loses its key. Returns the mix of that. */
  private forget(entry: number, at: number, status: number): number {
    const low = this.words[at + LOW]!;
    const high = status >> STATUS_BITS;
    const mix = mixOf(low, high);
    this.evictions++;
    this.evicted = entry;
    this.evictedLow = low;
    this.evictedHigh = high;
    this.unlink(entry, mix);
    return mix;
  }

  /** Takes an entry out of the index. What its key was can still be asked. */
  private unlink(entry: number, mix: number): void {
    const { words, buckets } = this;
    const link = words[(entry << WORDS_SHIFT) + LINK]!;
    const bucket = hashOf(mix) >>> this.bucketShift;
    let other = buckets[bucket]!;
    if (other === entry) {
      buckets[bucket] = link;
      return;
    }
    for (;;) {
      assert(other !== 0, "the entry is not in its bucket");
      const at = (other << WORDS_SHIFT) + LINK;
      other = words[at]!;
      if (other !== entry) continue;
      words[at] = link;
      return;
    }
  }

  private leaveRing(entry: number): void {
    if (this.queueOf(entry) === HOT) {
      this.removeHot(entry);
      return;
    }
    this.linkOver(entry);
    if (--this.coldSize === 0) this.coldFirst = 0;
    else if (this.coldFirst === entry) this.coldFirst = this.next[entry]!;
  }

  private removeHot(entry: number): void {
    this.linkOver(entry);
    if (--this.hotSize === 0) this.hotFirst = 0;
    else if (this.hotFirst === entry) this.hotFirst = this.next[entry]!;
  }

  private linkOver(entry: number): void {
    const after = this.next[entry]!;
    const before = this.previous[entry]!;
    this.next[before] = after;
    this.previous[after] = before;
  }

  /** Takes its key from an entry, whose slot is reused once nothing holds it any more. */
  remove(entry: number): void {
    this.leaveRing(entry);
    const at = entry << WORDS_SHIFT;
    this.unlink(entry, mixOf(this.words[at + LOW]!, this.words[at + STATUS]! >> STATUS_BITS));
    this.words[at + STATUS] = LIMBO;
    this.limboSize++;
    this.leaveLimbo(entry);
  }

  /** A slot that was removed while it was held is free once it is held no more. */
  leaveLimbo(entry: number): void {
    if (this.queueOf(entry) !== LIMBO || this.held[entry] !== 0) return;
    this.limboSize--;
    this.free(entry);
  }

  /** Lets another key have an entry that has none. */
  free(entry: number): void {
    const at = entry << WORDS_SHIFT;
    this.words[at + STATUS] = FREE;
    this.words[at + SINCE] = this.freeFirst;
    this.freeFirst = entry;
  }

  /** What was given back last, first; then what never had a key, in order; 0 if there is none. */
  private takeFree(): number {
    const entry = this.freeFirst;
    if (entry !== 0) this.freeFirst = this.words[(entry << WORDS_SHIFT) + SINCE]!;
    else if (this.touchedCount < this.entryCount) return ++this.touchedCount;
    return entry;
  }

  /** Uses so many slots from now on; what was learned about the queues starts anew. */
  resize(slotsMax: number): void {
    const { ghostFraction, adaptive, ghostCircle } = this.parameters;
    this.slotsMax = slotsMax;
    this.balance = new QueueBalance(slotsMax, this.parameters);
    const ghostKeys = Math.floor(slotsMax * ghostFraction);
    this.ghosts.resize(adaptive ? Math.ceil(ghostKeys * ghostCircle) : ghostKeys);
  }

  /** What comes after an entry in its ring. */
  after(entry: number): number {
    return this.next[entry]!;
  }

  keyOf(entry: number): number {
    const at = entry << WORDS_SHIFT;
    const high = this.words[at + STATUS]! >> STATUS_BITS;
    return high * 2 ** 32 + (this.words[at + LOW]! >>> 0);
  }

  /** COLD, HOT, LIMBO or FREE. */
  queueOf(entry: number): number {
    return this.words[(entry << WORDS_SHIFT) + STATUS]! & QUEUE_MASK;
  }

  isGhost(key: number): boolean {
    return this.ghostOf(key) !== 0;
  }

  forgetGhost(key: number): void {
    const ghost = this.ghostOf(key);
    if (ghost !== 0) this.ghosts.remove(ghost);
  }

  private ghostOf(key: number): number {
    if (!Number.isSafeInteger(key) || key < 0) return 0;
    return this.ghosts.find(mixOf(key | 0, highOf(key)));
  }
}
