/**
 * The hash index of a shared cache: chains of entries, read without a lock, changed under the lock
 * of their bucket.
 *
 * A change is one store of one word, so a chain is whole at every instant, whoever dies when. A
 * reader may stand on an entry while that is unlinked and linked elsewhere, and go astray: what it
 * finds it must check after a pin, and that it found nothing counts only if the bucket's version is
 * the same before and after (`confirm`). A lock says who holds it, so that it can be taken from the
 * dead.
 *
 * A retired entry, the older version of a page whose flush is under way, stays in its chain behind
 * the newer one until the flush ends: searches for a key pass over it.
 */
import { CodedError } from "../base/index.ts";
import { hashOf, mixOf } from "./key-hash.ts";
import { KEY_HIGH, KEY_LOW, NEXT, SLOT_WORDS, STATE } from "./shared-layout.ts";
import type { SharedLayout } from "./shared-layout.ts";
import { waitAMoment } from "./shared-patience.ts";
import { LIMBO, QUEUE_MASK } from "./slot-status.ts";

const OWNER_MASK = 0xff;
const VERSION_STEP = 0x100;
const TRIES_MAX = 8;
/** No chain is this long: the reader has gone astray. */
const CHAIN_MAX = 1000;

export class SharedIndex {
  readonly #words: Int32Array;
  readonly #bucketsAt: number;
  readonly #bucketCount: number;
  readonly #bucketShift: number;
  /** From the head of a bucket to its lock. */
  readonly #toLock: number;
  readonly #slotsAt: number;
  readonly #owner: number;

  /** `owner` marks this worker's locks: 1 to 255. */
  constructor(words: Int32Array, layout: SharedLayout, owner: number) {
    this.#words = words;
    this.#bucketsAt = layout.bucketsAt;
    this.#bucketCount = layout.bucketCount;
    this.#bucketShift = layout.bucketShift;
    this.#toLock = layout.locksAt - layout.bucketsAt;
    this.#slotsAt = layout.slotsAt;
    this.#owner = owner;
  }

  /** Where the head of a key's bucket is. */
  bucketOf(low: number, high: number): number {
    return this.#bucketsAt + (hashOf(mixOf(low, high)) >>> this.#bucketShift);
  }

  /** Of the key that an entry has, or had last. */
  bucketOfEntry(entry: number): number {
    const at = this.#slotsAt + entry * SLOT_WORDS;
    return this.bucketOf(this.#words[at + KEY_LOW]!, this.#words[at + KEY_HIGH]!);
  }

  /** A guess without a lock: an entry that had the key a moment ago, or 0. */
  guess(bucket: number, low: number, high: number): number {
    const words = this.#words;
    let entry = words[bucket]!;
    for (let steps = 0; entry !== 0 && steps < CHAIN_MAX; steps++) {
      const at = this.#slotsAt + entry * SLOT_WORDS;
      if (words[at + KEY_LOW] === low && words[at + KEY_HIGH] === high) return entry;
      entry = words[at + NEXT]!;
    }
    return 0;
  }

  /** The entry that has the key, or 0. Exact at some moment during the call. */
  confirm(bucket: number, low: number, high: number): number {
    const words = this.#words;
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const before = Atomics.load(words, bucket + this.#toLock);
      if ((before & OWNER_MASK) !== 0) continue;
      const entry = this.find(bucket, low, high);
      if (Atomics.load(words, bucket + this.#toLock) === before) return entry;
    }
    this.lock(bucket);
    const entry = this.find(bucket, low, high);
    this.unlock(bucket);
    return entry;
  }

  /** As `confirm`, for the holder of the lock. */
  find(bucket: number, low: number, high: number): number {
    return this.#findFrom(Atomics.load(this.#words, bucket), low, high, false);
  }

  /** Whether a retired entry of the same key is behind this one. For the holder of the lock. */
  hasRetired(entry: number): boolean {
    return this.#findBehind(entry, true) !== 0;
  }

  /** An entry of the same key behind this one that is not retired. For the holder of the lock. */
  findBehind(entry: number): number {
    return this.#findBehind(entry, false);
  }

  #findBehind(entry: number, retired: boolean): number {
    const words = this.#words;
    const at = this.#slotsAt + entry * SLOT_WORDS;
    const next = Atomics.load(words, at + NEXT);
    return this.#findFrom(next, words[at + KEY_LOW]!, words[at + KEY_HIGH]!, retired);
  }

  #findFrom(first: number, low: number, high: number, retired: boolean): number {
    const words = this.#words;
    let entry = first;
    for (let steps = 0; entry !== 0 && steps < CHAIN_MAX; steps++) {
      const at = this.#slotsAt + entry * SLOT_WORDS;
      if (
        Atomics.load(words, at + KEY_LOW) === low &&
        Atomics.load(words, at + KEY_HIGH) === high
      ) {
        const isRetired = (Atomics.load(words, at + STATE) & QUEUE_MASK) === LIMBO;
        if (isRetired === retired) return entry;
      }
      entry = Atomics.load(words, at + NEXT);
    }
    return 0;
  }

  /** Puts an entry, which has its key, first into its chain. For the holder of the lock. */
  link(bucket: number, entry: number): void {
    const words = this.#words;
    Atomics.store(words, this.#slotsAt + entry * SLOT_WORDS + NEXT, words[bucket]!);
    Atomics.store(words, bucket, entry);
  }

  /** False if the entry is not in this chain. For the holder of the lock. */
  unlink(bucket: number, entry: number): boolean {
    const words = this.#words;
    let at = bucket;
    for (let next = Atomics.load(words, at); next !== 0; next = Atomics.load(words, at)) {
      const nextAt = this.#slotsAt + next * SLOT_WORDS + NEXT;
      if (next === entry) {
        Atomics.store(words, at, Atomics.load(words, nextAt));
        return true;
      }
      at = nextAt;
    }
    return false;
  }

  tryLock(bucket: number): boolean {
    const words = this.#words;
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const lock = Atomics.load(words, bucket + this.#toLock);
      if ((lock & OWNER_MASK) !== 0) continue;
      const locked = lock | this.#owner;
      if (Atomics.compareExchange(words, bucket + this.#toLock, lock, locked) === lock) return true;
    }
    return false;
  }

  /** Fails with `cache-worker-stuck` if its holder does not give it back. */
  lock(bucket: number): void {
    const words = this.#words;
    for (let rounds = 0; !this.tryLock(bucket); rounds++) {
      const lock = Atomics.load(words, bucket + this.#toLock);
      if ((lock & OWNER_MASK) === 0) continue;
      if (!waitAMoment(words, bucket + this.#toLock, lock, rounds))
        throw stuck((lock & OWNER_MASK) - 1);
    }
  }

  unlock(bucket: number): void {
    const version = this.#words[bucket + this.#toLock]! & ~OWNER_MASK;
    Atomics.store(this.#words, bucket + this.#toLock, (version + VERSION_STEP) | 0);
  }

  /**
   * Takes every lock over that a dead worker holds, lets `repair` see to its chain, and gives it
   * back.
   */
  takeOverLocks(owner: number, repair: (bucket: number) => void): void {
    const words = this.#words;
    const end = this.#bucketsAt + this.#bucketCount;
    for (let bucket = this.#bucketsAt; bucket < end; bucket++) {
      const lockAt = bucket + this.#toLock;
      const lock = Atomics.load(words, lockAt);
      if ((lock & OWNER_MASK) !== owner) continue;
      const taken = (lock & ~OWNER_MASK) | this.#owner;
      if (Atomics.compareExchange(words, lockAt, lock, taken) !== lock) continue;
      repair(bucket);
      this.unlock(bucket);
    }
  }
}

export function stuck(place: number): CodedError {
  return new CodedError({
    code: "cache-worker-stuck",
    message: `The worker at place ${place} of the shared cache stopped in the middle of a change`,
    hint: "If it died, call reap for it: that gives back what it held.",
    details: { place },
  });
}
