/**
 * Finds slots for a shared cache: free ones first, then victims of the cold queue and the hot ring,
 * by the rules of `page-cache.ts` as several workers can follow them at once.
 *
 * The cold queue is a ring of entry numbers with an atomic head and tail. What is in the ring is a
 * hint; what counts is the slot's own state: a hint that the state contradicts is dropped, and a
 * cold slot without a hint (its worker died, or the ring was full) is found by the hand.
 *
 * The hot ring is the slots themselves, in the order of their numbers, and the hand an atomic
 * counter. No link can therefore be left half changed, whoever dies when.
 *
 * Every worker learns for itself how long the cold queue should be, and what deserves grace.
 *
 * Nothing here waits: a slot that is held, or whose bucket is locked, is stepped over. The steps
 * are bounded by constants.
 */
import { parametersOf } from "./cache-parameters.ts";
import type { CacheParameters } from "./cache-parameters.ts";
import { EVICTIONS, PROMOTIONS, SKIPPED_SLOTS } from "./cache-stats.ts";
import { mixOf } from "./key-hash.ts";
import { QueueBalance } from "./queue-balance.ts";
import * as at from "./shared-layout.ts";
import type { SharedParts } from "./shared-parts.ts";
import { HELD, OWNED, ownerBits, STATUS_MASK } from "./shared-state.ts";
import {
  COLD,
  COUNT_MASK,
  FREE,
  HOT,
  LIMBO,
  NEWCOMER,
  QUEUE_MASK,
  statusAfterHand,
  USED,
} from "./slot-status.ts";

/** Held cold slots that one search steps over before it turns to the hot ring. */
const COLD_SKIPS_MAX = 10;
/** Places of the cold ring that one search looks at, holes included. */
const COLD_STEPS_MAX = 256;
/** Further from the head than this, the search moves what holds the head up to the tail. */
const COLD_HOLES_MAX = 64;
const PROMOTIONS_PER_SEARCH_MAX = 64;
/** Slots of any kind that the hand passes in one search. */
const HAND_STEPS_MAX = 512;
/** Slots that are looked at regardless of use when all else failed. */
const LAST_STEPS_MAX = 1024;
/** Slots that may never have had a key that one search looks at. */
const UNTOUCHED_TRIES_MAX = 8;
/** Slots above a smaller limit that one search may come by and set free. */
const BEYOND_MAX = 64;

export class SharedSlots {
  readonly #parts: SharedParts;
  readonly #words: Int32Array;
  readonly #counters: Float64Array;
  readonly #slotsAt: number;
  readonly #timesAt: number;
  readonly #ringAt: number;
  readonly #ringMask: number;
  readonly #freeRingAt: number;
  readonly #owned: number;
  readonly #parameters: CacheParameters = parametersOf("best");
  #slotsMax: number;
  #balance: QueueBalance;
  /** Low and high half of the key that the last victim had. */
  readonly victim: Int32Array = new Int32Array(2);
  hasVictim = false;

  constructor(parts: SharedParts) {
    const { words, layout, pins } = parts;
    this.#parts = parts;
    this.#words = words;
    this.#counters = pins.counters;
    this.#slotsAt = layout.slotsAt;
    this.#timesAt = layout.timesAt;
    this.#ringAt = layout.coldRingAt;
    this.#ringMask = layout.coldRingSize - 1;
    this.#freeRingAt = layout.freeRingAt;
    this.#owned = OWNED | ownerBits(pins.place);
    this.#slotsMax = words[at.SLOTS_MAX]!;
    this.#balance = new QueueBalance(this.#slotsMax, this.#parameters);
  }

  get balance(): QueueBalance {
    return this.#balance;
  }

  get now(): number {
    return this.#words[at.TICKS]!;
  }

  /** When a slot was admitted, promoted or armed. */
  since(entry: number): number {
    return this.#words[this.#timesAt + entry]!;
  }

  setSince(entry: number, time: number): void {
    this.#words[this.#timesAt + entry] = time;
  }

  /** 0 for what another worker dated later than this one's latest look at the time. */
  age(since: number): number {
    return Math.max(0, (this.now - since) | 0);
  }

  /** While there are slots that never had a key, hot takes what is beyond the cold share. */
  get warmsUpHot(): boolean {
    return (
      this.#words[at.UNTOUCHED]! < this.#slotsMax &&
      this.#words[at.COLD_SIZE]! >= this.#balance.coldTarget
    );
  }

  /** A slot that is this worker's alone, has no key and is in no chain; 0 if none can be had. */
  take(): number {
    this.hasVictim = false;
    this.#followResize();
    for (let beyond = 0; beyond < BEYOND_MAX; beyond++) {
      const entry = this.#takeFree() || this.#evict();
      if (entry <= this.#slotsMax) return entry;
      // The cache was made smaller: this one is not used any more.
      Atomics.store(this.#words, this.#stateAt(entry), FREE);
    }
    return 0;
  }

  /** Gives back a slot that is this worker's alone and in no chain, and that nobody holds. */
  release(entry: number): void {
    Atomics.store(this.#words, this.#stateAt(entry), FREE);
    this.#hint(entry);
  }

  /** As `release`, for a slot that is held: it is free once it is held no more. */
  releaseHeld(entry: number): void {
    Atomics.store(this.#words, this.#stateAt(entry), LIMBO);
    this.#hint(entry);
  }

  #hint(entry: number): void {
    const words = this.#words;
    const tail = Atomics.load(words, at.FREE_TAIL);
    // A hint, no more: the hand finds free slots as well.
    if (((tail - words[at.FREE_HEAD]!) | 0) >= at.FREE_RING_SIZE) return;
    const place = Atomics.add(words, at.FREE_TAIL, 1) & (at.FREE_RING_SIZE - 1);
    Atomics.store(words, this.#freeRingAt + place, entry);
  }

  /**
   * Makes a slot this worker's alone if its state is still the one given and no worker holds it.
   * The status stays in the state: whoever replaces the page, and so has it pinned, need not wait
   * for the claim to be taken back.
   */
  claim(entry: number, state: number): boolean {
    const claimed = state | this.#owned;
    const stateAt = this.#stateAt(entry);
    if (Atomics.compareExchange(this.#words, stateAt, state, claimed) !== state) return false;
    // Whoever had it pinned took it from its key before it took the pin away.
    const isFree = !this.#parts.pins.isHeld(entry);
    if (isFree && Atomics.load(this.#words, stateAt) === claimed) return true;
    this.#unclaim(entry, state);
    return false;
  }

  /** Not if it was taken from its key meanwhile, by one who has it pinned. */
  #unclaim(entry: number, state: number): void {
    Atomics.compareExchange(this.#words, this.#stateAt(entry), state | this.#owned, state);
  }

  /** Puts a slot of the cold queue at its young end. */
  pushCold(entry: number): void {
    const words = this.#words;
    const tail = Atomics.add(words, at.COLD_TAIL, 1);
    const head = Atomics.load(words, at.COLD_HEAD);
    if (((tail - head) | 0) > this.#ringMask) {
      Atomics.compareExchange(words, at.COLD_HEAD, head, (head + 1) | 0);
    }
    Atomics.store(words, this.#ringAt + (tail & this.#ringMask), entry);
  }

  changeColdSize(by: number): void {
    Atomics.add(this.#words, at.COLD_SIZE, by);
  }

  /** Empties a slot beyond the limit if it is clean and unused. True if it is free then. */
  vacate(entry: number): boolean {
    const words = this.#words;
    const state = Atomics.load(words, this.#stateAt(entry));
    if (state === FREE) return true;
    if ((state & HELD) !== 0 || !this.claim(entry, state)) return false;
    if (state !== LIMBO && !this.#unlinkClaimed(entry, state)) return false;
    Atomics.store(words, this.#stateAt(entry), FREE);
    return true;
  }

  #stateAt(entry: number): number {
    return this.#slotsAt + entry * at.SLOT_WORDS + at.STATE;
  }

  #followResize(): void {
    const slotsMax = Atomics.load(this.#words, at.SLOTS_MAX);
    if (slotsMax === this.#slotsMax) return;
    this.#slotsMax = slotsMax;
    this.#balance = new QueueBalance(slotsMax, this.#parameters);
  }

  #takeFree(): number {
    const words = this.#words;
    const head = Atomics.load(words, at.FREE_HEAD);
    if (head !== Atomics.load(words, at.FREE_TAIL)) {
      const hint = this.#freeRingAt + (head & (at.FREE_RING_SIZE - 1));
      const entry = Atomics.exchange(words, hint, 0);
      Atomics.compareExchange(words, at.FREE_HEAD, head, (head + 1) | 0);
      if (entry !== 0 && this.#takeHinted(entry)) return entry;
    }
    for (let tries = 0; tries < UNTOUCHED_TRIES_MAX; tries++) {
      if (words[at.UNTOUCHED]! >= this.#slotsMax) return 0;
      const entry = Atomics.add(words, at.UNTOUCHED, 1) + 1;
      if (entry <= this.#slotsMax && this.#takeIfFree(entry)) return entry;
    }
    return 0;
  }

  #takeHinted(entry: number): boolean {
    if (this.#takeIfFree(entry)) return true;
    if (Atomics.load(this.#words, this.#stateAt(entry)) !== LIMBO) return false;
    if (this.claim(entry, LIMBO)) return true;
    this.#hint(entry);
    return false;
  }

  #takeIfFree(entry: number): boolean {
    const stateAt = this.#stateAt(entry);
    return Atomics.compareExchange(this.#words, stateAt, FREE, this.#owned) === FREE;
  }

  #evict(): number {
    const hotFirst = this.#words[at.COLD_SIZE]! < this.#balance.coldTarget;
    const entry = hotFirst ? this.#evictHot() : this.#evictCold();
    return entry || (hotFirst ? this.#evictCold() : this.#evictHot()) || this.#evictAny();
  }

  #evictCold(): number {
    const words = this.#words;
    const head = Atomics.load(words, at.COLD_HEAD);
    const count = (Atomics.load(words, at.COLD_TAIL) - head) | 0;
    let skipped = 0;
    let promoted = 0;
    let step = 0;
    for (; step < count && step < COLD_STEPS_MAX; step++) {
      const position = (head + step) | 0;
      const entry = Atomics.load(words, this.#ringAt + (position & this.#ringMask));
      const state = entry === 0 ? FREE : Atomics.load(words, this.#stateAt(entry));
      if ((state & QUEUE_MASK) !== COLD) {
        this.#dropHint(position, entry);
      } else if ((state & HELD) !== 0) {
        if (++skipped === COLD_SKIPS_MAX) break;
      } else if ((state & USED) !== 0) {
        if (this.#promote(entry, state)) this.#dropHint(position, entry);
        if (++promoted === PROMOTIONS_PER_SEARCH_MAX) break;
      } else if (this.claim(entry, state) && this.#unlinkClaimed(entry, state)) {
        this.#dropHint(position, entry);
        if (step > COLD_HOLES_MAX) this.#moveHead(head);
        this.#counters[SKIPPED_SLOTS]! += skipped;
        return entry;
      } else if (++skipped === COLD_SKIPS_MAX) {
        break;
      }
    }
    this.#counters[SKIPPED_SLOTS]! += skipped;
    if (step > COLD_HOLES_MAX) this.#moveHead(head);
    return 0;
  }

  /** The head goes on over holes; one in the middle stays until the head comes to it. */
  #dropHint(position: number, entry: number): void {
    const words = this.#words;
    const place = this.#ringAt + (position & this.#ringMask);
    if (entry !== 0) Atomics.compareExchange(words, place, entry, 0);
    Atomics.compareExchange(words, at.COLD_HEAD, position, (position + 1) | 0);
  }

  /** A slot held for long at the head of the ring would make every search longer. */
  #moveHead(head: number): void {
    const words = this.#words;
    const place = this.#ringAt + (head & this.#ringMask);
    const entry = Atomics.load(words, place);
    if (Atomics.load(words, at.COLD_HEAD) !== head) return;
    this.#dropHint(head, entry);
    if (entry !== 0) this.pushCold(entry);
  }

  #promote(entry: number, state: number): boolean {
    const stateAt = this.#stateAt(entry);
    const promoted = HOT | NEWCOMER;
    if (Atomics.compareExchange(this.#words, stateAt, state, promoted) !== state) return false;
    this.setSince(entry, this.now);
    this.changeColdSize(-1);
    this.#counters[PROMOTIONS]!++;
    return true;
  }

  #evictHot(): number {
    const words = this.#words;
    const limit = this.#parameters.handLimit;
    const stepsMax = Math.min(HAND_STEPS_MAX, this.#slotsMax * (COUNT_MASK + 2));
    let skipped = 0;
    for (let step = 0; step < stepsMax && skipped <= limit + COLD_SKIPS_MAX; step++) {
      const entry = this.#advanceHand();
      const state = Atomics.load(words, this.#stateAt(entry));
      const queue = state & QUEUE_MASK;
      if (state === FREE) {
        if (this.#takeIfFree(entry)) return entry;
      } else if (queue === COLD) {
        this.#findLost(entry, state);
      } else if (queue === LIMBO) {
        if (state === LIMBO && this.claim(entry, state)) return entry;
      } else if ((state & HELD) === 0 && this.#meet(entry, state, skipped >= limit)) {
        this.#counters[SKIPPED_SLOTS]! += skipped;
        return entry;
      } else {
        skipped++;
      }
    }
    this.#counters[SKIPPED_SLOTS]! += skipped;
    return 0;
  }

  #advanceHand(): number {
    return ((Atomics.add(this.#words, at.HAND, 1) >>> 0) % this.#slotsMax) + 1;
  }

  /** The hand comes to a hot slot: true if it was armed and is this worker's now. */
  #meet(entry: number, state: number, regardless: boolean): boolean {
    const since = this.since(entry);
    const next = statusAfterHand(state & STATUS_MASK, this.#balance);
    if (next !== FREE && !regardless) {
      const stateAt = this.#stateAt(entry);
      const { now } = this;
      const met = Atomics.compareExchange(this.#words, stateAt, state, next) === state;
      if (met) this.setSince(entry, now);
      return false;
    }
    if (!this.claim(entry, state) || !this.#unlinkClaimed(entry, state)) return false;
    this.#balance.noteVictim(this.age(since));
    return true;
  }

  /** A cold slot that is older than the cold queue can be is not in the ring any more. */
  #findLost(entry: number, state: number): void {
    if ((state & HELD) !== 0 || this.age(this.since(entry)) < 2 * this.#slotsMax) return;
    this.setSince(entry, this.now);
    this.pushCold(entry);
  }

  /** When pins defeated the other searches: whatever the hand can have at all. */
  #evictAny(): number {
    const stepsMax = Math.min(LAST_STEPS_MAX, 2 * this.#slotsMax);
    for (let step = 0; step < stepsMax; step++) {
      const entry = this.#advanceHand();
      const state = Atomics.load(this.#words, this.#stateAt(entry));
      if (state === FREE) {
        if (this.#takeIfFree(entry)) return entry;
      } else if ((state & HELD) === 0 && this.claim(entry, state)) {
        if (state === LIMBO || this.#unlinkClaimed(entry, state)) return entry;
      }
    }
    return 0;
  }

  /** Takes a claimed slot from its key; restores its state if the bucket cannot be locked. */
  #unlinkClaimed(entry: number, state: number): boolean {
    const words = this.#words;
    const { index, ghosts } = this.#parts;
    const slot = this.#slotsAt + entry * at.SLOT_WORDS;
    const low = words[slot + at.KEY_LOW]!;
    const high = words[slot + at.KEY_HIGH]!;
    const bucket = index.bucketOf(low, high);
    if (!index.tryLock(bucket)) {
      this.#unclaim(entry, state);
      return false;
    }
    const isCold = (state & QUEUE_MASK) === COLD;
    index.unlink(bucket, entry);
    if (isCold) ghosts.push(mixOf(low, high), this.since(entry));
    index.unlock(bucket);
    if (isCold) this.changeColdSize(-1);
    this.#counters[EVICTIONS]!++;
    this.victim[0] = low;
    this.victim[1] = high;
    this.hasVictim = true;
    return true;
  }
}
