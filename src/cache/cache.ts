/**
 * A map that forgets what is least worth keeping: the page cache with values of any kind.
 *
 * Integers from 0 to 2^52 - 1 are keys as they are. Any other key, told apart as `Map` does, gets
 * a number of its own, which is kept as long as the key is resident or a ghost, so that a key that
 * returns is known.
 *
 * The capacity is a number of entries and, if wanted, a sum of sizes in bytes. It is exact: it is
 * never exceeded when a call returns.
 */
import { assert, CodedError } from "../base/index.ts";
import { checkCapacity } from "./cache-checks.ts";
import type { CacheMode } from "./cache-parameters.ts";
import type { CacheStats } from "./cache-stats.ts";
import { PageCache } from "./page-cache.ts";

export interface CacheOptions<K, V> {
  /** Entries at most. */
  readonly capacity: number;
  /** Bytes at most, as `sizeOf` counts them. */
  readonly capacityBytes?: number;
  /** Needed with `capacityBytes`: a whole number of at least 0. */
  readonly sizeOf?: (value: V, key: K) => number;
  /** Default "best". */
  readonly mode?: CacheMode;
}

/** Integers below are keys as they are, and the numbers given to other keys start here. */
const NUMBERED_FROM = 2 ** 52;

export class Cache<K, V> {
  readonly #pages: PageCache;
  /** Of slots whose keys have numbers; empty as long as there are none, which saves memory. */
  #keys: (K | undefined)[] = [];
  readonly #values: (V | undefined)[];
  readonly #sizes: Float64Array;
  readonly #numbers: Map<K, number> = new Map<K, number>();
  readonly #numbersMax: number;
  readonly #sizeOf: ((value: V, key: K) => number) | undefined;
  #capacityBytes: number;
  #sizeBytes = 0;
  #nextNumber = NUMBERED_FROM;

  /**
   * Fails with `cache-capacity-invalid`, `cache-capacity-too-large`, or `cache-size-missing` if
   * there is a capacity in bytes and nothing to measure values with.
   */
  constructor(options: CacheOptions<K, V>) {
    const { capacity, capacityBytes, mode = "best" } = options;
    if (capacityBytes !== undefined) checkCapacity(capacityBytes, "bytes");
    if (capacityBytes !== undefined && options.sizeOf === undefined) throw sizeMissing();
    this.#pages = new PageCache({ capacity, mode });
    this.#values = emptyArray<V>(capacity);
    this.#sizes = new Float64Array(options.sizeOf === undefined ? 0 : capacity);
    this.#numbersMax = 4 * capacity + 64;
    this.#sizeOf = options.sizeOf;
    this.#capacityBytes = capacityBytes ?? Infinity;
  }

  /** Entries at most, now. */
  get capacity(): number {
    return this.#pages.slotsMax;
  }

  /** Bytes at most, now; Infinity if there is no such limit. */
  get capacityBytes(): number {
    return this.#capacityBytes;
  }

  /**
   * Holds so many entries, at most as many as it was made for, and bytes from now on: what is too
   * much leaves at once. Fails with `cache-capacity-invalid`, `cache-capacity-too-large`, or
   * `cache-size-missing`.
   */
  resize(capacity: number, capacityBytes: number = this.#capacityBytes): void {
    if (capacityBytes !== Infinity) checkCapacity(capacityBytes, "bytes");
    if (capacityBytes !== Infinity && this.#sizeOf === undefined) throw sizeMissing();
    this.#pages.resize(capacity);
    this.#capacityBytes = capacityBytes;
    while (this.size > capacity || this.#sizeBytes > capacityBytes) this.#evict();
  }

  get size(): number {
    return this.#pages.size;
  }

  /** Sum of the sizes of all entries; 0 without `sizeOf`. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get stats(): CacheStats {
    return this.#pages.stats;
  }

  /** Counts as a use of the key. */
  get(key: K): V | undefined {
    const slot = this.#pages.lookup(isPlain(key) ? key : this.#numberOf(key));
    return slot < 0 ? undefined : this.#values[slot];
  }

  /** Counts as no use. */
  has(key: K): boolean {
    return this.#pages.peek(this.#numberOf(key)) >= 0;
  }

  /**
   * False if the value is larger than the whole cache: it is not kept, and neither is what the key
   * had. Fails with `cache-value-size-invalid`.
   */
  set(key: K, value: V): boolean {
    if (this.#sizeOf !== undefined || !isPlain(key)) return this.#setOther(key, value);
    const slot = this.#pages.insert(key);
    assert(slot >= 0, "nothing is pinned, so there is always a slot");
    if (this.#keys.length > 0) this.#keys[slot] = undefined;
    this.#values[slot] = value;
    return true;
  }

  #setOther(key: K, value: V): boolean {
    const sizeBytes = this.#measure(value, key);
    if (sizeBytes > this.#capacityBytes) {
      this.delete(key);
      return false;
    }
    const slot = this.#pages.insert(this.#numberFor(key));
    assert(slot >= 0, "nothing is pinned, so there is always a slot");
    // Of the key that had the slot, or of the value that this key had.
    this.#forget(slot);
    if (!isPlain(key)) this.#rememberKey(slot, key);
    this.#values[slot] = value;
    if (sizeBytes > 0) {
      this.#sizes[slot] = sizeBytes;
      this.#sizeBytes += sizeBytes;
    }
    if (this.#sizeBytes > this.#capacityBytes) this.#makeRoom(slot);
    return true;
  }

  delete(key: K): boolean {
    const number = this.#numberOf(key);
    const slot = this.#pages.peek(number);
    const existed = this.#pages.remove(number);
    if (existed) this.#forget(slot);
    this.#numbers.delete(key);
    return existed;
  }

  /** Visits every entry. Must not change the cache meanwhile. */
  forEach(visit: (value: V, key: K) => void): void {
    this.#pages.forEach((number, slot) => {
      const key = number < NUMBERED_FROM ? number : this.#keys[slot];
      visit(this.#values[slot] as V, key as K);
    });
  }

  #measure(value: V, key: K): number {
    const sizeBytes = this.#sizeOf?.(value, key) ?? 0;
    if (Number.isSafeInteger(sizeBytes) && sizeBytes >= 0) return sizeBytes;
    throw new CodedError({
      code: "cache-value-size-invalid",
      message: `A value cannot have a size of ${String(sizeBytes)} bytes`,
      hint: "Let sizeOf return a whole number of at least 0.",
    });
  }

  #rememberKey(slot: number, key: K): void {
    if (this.#keys.length === 0) this.#keys = emptyArray<K>(this.#pages.capacity);
    this.#keys[slot] = key;
  }

  #makeRoom(slot: number): void {
    this.#pages.pin(slot);
    while (this.#sizeBytes > this.#capacityBytes) this.#evict();
    this.#pages.unpin(slot);
  }

  #evict(): void {
    const evicted = this.#pages.evict();
    assert(evicted >= 0, "a new value alone fits, and so does nothing at all");
    this.#forget(evicted);
  }

  #forget(slot: number): void {
    if (this.#keys.length > 0) this.#keys[slot] = undefined;
    this.#values[slot] = undefined;
    if (this.#sizeOf === undefined) return;
    this.#sizeBytes -= this.#sizes[slot]!;
    this.#sizes[slot] = 0;
  }

  /** The key's number, or -1, which no slot has. */
  #numberOf(key: K): number {
    if (isPlain(key)) return key;
    return this.#numbers.get(key) ?? -1;
  }

  #numberFor(key: K): number {
    if (isPlain(key)) return key;
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    if (this.#numbers.size >= this.#numbersMax) this.#dropNumbers();
    const number = this.#nextNumber++;
    this.#numbers.set(key, number);
    return number;
  }

  /** Of keys that are neither resident nor ghosts: at least half of the numbers, so it is rare. */
  #dropNumbers(): void {
    for (const [key, number] of this.#numbers) {
      if (this.#pages.queueOf(number) === undefined) this.#numbers.delete(key);
    }
  }
}

function emptyArray<T>(length: number): (T | undefined)[] {
  return Array.from({ length }, () => undefined);
}

function isPlain(key: unknown): key is number {
  if (typeof key !== "number" || key < 0) return false;
  // The first test alone is one instruction for most integers.
  return (key | 0) === key || (Number.isInteger(key) && key < NUMBERED_FROM);
}

function sizeMissing(): CodedError {
  return new CodedError({
    code: "cache-size-missing",
    message: "A capacity in bytes says nothing without the sizes of values",
    hint: "Give sizeOf as well.",
  });
}
