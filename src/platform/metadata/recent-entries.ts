/**
 * Entries of a metadata store that are durable in its log and not in its tree yet: found by key, in
 * key order when they go to the tree. Typed arrays only: there are a hundred thousand of them, and
 * an object for each would be most of what they cost.
 *
 * A value that changes stays where it is, if the new one fits, so that what this takes depends on
 * how many keys there are, not on how often they change.
 */
import { assert, compareBytes, grown, SlabPool } from "../../base/index.ts";
import { hashOf } from "./pending-entries.ts";
import type { PendingEntry } from "./pending-entries.ts";

const SLAB_BYTES = 1 << 20;
/** Of all stores of this thread: those of one generation go to the next. */
const slabs = new SlabPool(SLAB_BYTES, 16);
const SLABS_MAX = 2 ** 16;
const CAPACITY_FIRST = 1024;
/** Of the arrays below and two hash slots. */
const ENTRY_BYTES = 31;
const DELETED = -1;
export const RECENT_ENTRIES_MAX: number = 2 ** 20;
const NUMBER_KEY_BYTES_MAX = 9;

export class RecentEntries {
  /** Of the key that was found: undefined if it was deleted. Valid until the next `put`. */
  found: Uint8Array | undefined;
  readonly #slabs: Uint8Array[] = [];
  #slabUsed = SLAB_BYTES;
  #size = 0;
  /** Hash slots: entry + 1, or 0. A power of two, at most half full. */
  #slots = new Int32Array(0);
  /** Which slab holds the entry, and where its key begins there; its value is right behind it. */
  #slabOf = new Uint16Array(0);
  #starts = new Uint32Array(0);
  #keyLengths = new Uint8Array(0);
  #valueLengths = new Int32Array(0);
  #valueRooms = new Int32Array(0);
  /** The first eight bytes of the key, as numbers that are in key order, or equal. */
  #prefixes = new Float64Array(0);

  constructor() {
    this.#reserve(CAPACITY_FIRST);
  }

  get size(): number {
    return this.#size;
  }

  /** Memory in use. */
  get bytes(): number {
    return this.#slabs.length * SLAB_BYTES + this.#starts.length * ENTRY_BYTES;
  }

  #reserve(capacity: number): void {
    this.#slabOf = grown(new Uint16Array(capacity), this.#slabOf);
    this.#starts = grown(new Uint32Array(capacity), this.#starts);
    this.#keyLengths = grown(new Uint8Array(capacity), this.#keyLengths);
    this.#valueLengths = grown(new Int32Array(capacity), this.#valueLengths);
    this.#valueRooms = grown(new Int32Array(capacity), this.#valueRooms);
    this.#prefixes = grown(new Float64Array(capacity), this.#prefixes);
    this.#slots = new Int32Array(2 * capacity);
    for (let entry = 0; entry < this.#size; entry++) {
      this.#slots[this.#freeSlotOf(this.#keyAt(entry))] = entry + 1;
    }
  }

  #freeSlotOf(key: Uint8Array): number {
    const mask = this.#slots.length - 1;
    let slot = hashOf(key) & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    return slot;
  }

  #keyAt(entry: number): Uint8Array {
    const at = this.#starts[entry]!;
    return this.#slabs[this.#slabOf[entry]!]!.subarray(at, at + this.#keyLengths[entry]!);
  }

  #valueAt(entry: number): Uint8Array | undefined {
    const length = this.#valueLengths[entry]!;
    if (length === DELETED) return undefined;
    const at = this.#starts[entry]! + this.#keyLengths[entry]!;
    return this.#slabs[this.#slabOf[entry]!]!.subarray(at, at + length);
  }

  #isKey(entry: number, key: Uint8Array): boolean {
    if (this.#keyLengths[entry] !== key.length) return false;
    const slab = this.#slabs[this.#slabOf[entry]!]!;
    const at = this.#starts[entry]!;
    for (let i = 0; i < key.length; i++) if (slab[at + i] !== key[i]) return false;
    return true;
  }

  /** The entry with this key, or -1. */
  #indexOf(key: Uint8Array): number {
    const mask = this.#slots.length - 1;
    let slot = hashOf(key) & mask;
    for (;;) {
      const entry = this.#slots[slot]! - 1;
      if (entry < 0 || this.#isKey(entry, key)) return entry;
      slot = (slot + 1) & mask;
    }
  }

  /** Whether there is something under this key, which `found` tells then. */
  find(key: Uint8Array): boolean {
    if (this.#size === 0) return false;
    const entry = this.#indexOf(key);
    if (entry < 0) return false;
    this.found = this.#valueAt(entry);
    return true;
  }

  /** Copies both; an undefined value deletes. */
  put(key: Uint8Array, value: Uint8Array | undefined): void {
    const length = value?.length ?? 0;
    let entry = this.#indexOf(key);
    if (entry < 0) entry = this.#add(key, length);
    else if (length > this.#valueRooms[entry]!) this.#place(entry, key, length);
    this.#valueLengths[entry] = value === undefined ? DELETED : length;
    if (value === undefined) return;
    this.#slabs[this.#slabOf[entry]!]!.set(value, this.#starts[entry]! + key.length);
  }

  #add(key: Uint8Array, valueBytes: number): number {
    if (this.#size === this.#starts.length) this.#reserve(2 * this.#size);
    const entry = this.#size++;
    this.#slots[this.#freeSlotOf(key)] = entry + 1;
    this.#keyLengths[entry] = key.length;
    this.#prefixes[entry] = prefixOf(key);
    this.#place(entry, key, valueBytes);
    return entry;
  }

  #place(entry: number, key: Uint8Array, valueBytes: number): void {
    const needed = key.length + valueBytes;
    if (this.#slabUsed + needed > SLAB_BYTES) {
      assert(this.#slabs.length < SLABS_MAX, "the number of a slab fits");
      this.#slabs.push(slabs.take());
      this.#slabUsed = 0;
    }
    this.#slabOf[entry] = this.#slabs.length - 1;
    this.#starts[entry] = this.#slabUsed;
    this.#valueRooms[entry] = valueBytes;
    this.#slabs.at(-1)!.set(key, this.#slabUsed);
    this.#slabUsed += needed;
  }

  /** Entries with `from <= key < to`, in key order; valid until the next `put`. */
  range(from: Uint8Array, to: Uint8Array): PendingEntry[] {
    const found: PendingEntry[] = [];
    const first = prefixOf(from);
    const last = prefixOf(to);
    for (let entry = 0; entry < this.#size; entry++) {
      const prefix = this.#prefixes[entry]!;
      if (prefix < first || prefix > last) continue;
      const key = this.#keyAt(entry);
      if (compareBytes(key, from) < 0 || compareBytes(key, to) >= 0) continue;
      found.push({ key, value: this.#valueAt(entry) });
    }
    return found.sort((a, b) => compareBytes(a.key, b.key));
  }

  /**
   * All entries, some at a time, roughly in key order: whoever keeps them in a tree finds each near
   * the one before. Valid until the next `put`.
   */
  *inOrder(countMax: number): Generator<PendingEntry[]> {
    assert(this.#size <= RECENT_ENTRIES_MAX, "an order and a number fit into one number");
    const order = new Float64Array(this.#size);
    for (let entry = 0; entry < this.#size; entry++)
      order[entry] = this.#orderOf(entry) * RECENT_ENTRIES_MAX + entry;
    order.sort();
    for (let start = 0; start < order.length; start += countMax) {
      const some: PendingEntry[] = [];
      for (let i = start; i < Math.min(start + countMax, order.length); i++) {
        const entry = order[i]! % RECENT_ENTRIES_MAX;
        some.push({ key: this.#keyAt(entry), value: this.#valueAt(entry) });
      }
      yield some;
    }
  }

  /**
   * 33 bits: three of the first byte, which says of which table a key is; of long keys, which are
   * random, the next thirty; of short ones, which are numbers, the last thirty.
   */
  #orderOf(entry: number): number {
    const slab = this.#slabs[this.#slabOf[entry]!]!;
    const at = this.#starts[entry]!;
    const length = this.#keyLengths[entry]!;
    const isNumber = length <= NUMBER_KEY_BYTES_MAX;
    const from = at + (isNumber ? Math.max(length - 4, 1) : 1);
    const end = at + Math.min(from - at + 4, length);
    let bits = 0;
    for (let i = from; i < end; i++) bits = bits * 256 + slab[i]!;
    return (slab[at]! % 8) * 2 ** 30 + (isNumber ? bits % 2 ** 30 : Math.floor(bits / 4));
  }

  /** Forgets everything. Nobody uses what it gave out any more. */
  release(): void {
    slabs.giveAll(this.#slabs);
    this.found = undefined;
    this.#size = 0;
    this.#slots.fill(0);
    this.#slabUsed = SLAB_BYTES;
  }
}

/** Rounded once, so that it may make numbers equal and never puts them the other way round. */
function prefixOf(key: Uint8Array): number {
  let high = 0;
  let low = 0;
  for (let i = 0; i < 4; i++) {
    high = high * 256 + (i < key.length ? key[i]! : 0);
    low = low * 256 + (i + 4 < key.length ? key[i + 4]! : 0);
  }
  return high * 2 ** 32 + low;
}
