/**
 * Puts and deletes that were called for and are not in the database yet, found by key or in key
 * order.
 *
 * A hash table of indexes in one typed array: looking up a key makes no garbage. The order of keys
 * is worked out when it is first asked for, and kept until the next change.
 */
import { assert, compareBytes, equalBytes } from "../../base/index.ts";

export interface PendingEntry {
  readonly key: Uint8Array;
  /** Undefined deletes. */
  readonly value: Uint8Array | undefined;
}

const TABLE_SLOTS_MIN = 64;

export class PendingEntries {
  /** In the order of the calls; a later one on the same key wins. */
  readonly entries: PendingEntry[] = [];
  /** Index plus one of the newest entry of a key; 0 is free. A power of two, at most half full. */
  #table = new Int32Array(TABLE_SLOTS_MIN);
  #sorted: PendingEntry[] | undefined;

  get size(): number {
    return this.entries.length;
  }

  /** Keeps references: keys and values must not change any more. */
  add(entries: readonly PendingEntry[]): void {
    for (const entry of entries) this.entries.push(entry);
    if (2 * this.entries.length > this.#table.length) this.#grow();
    else {
      for (let i = this.entries.length - entries.length; i < this.entries.length; i++) {
        this.#place(i);
      }
    }
    this.#sorted = undefined;
  }

  find(key: Uint8Array): PendingEntry | undefined {
    if (this.entries.length === 0) return undefined;
    const index = this.#table[this.#slotOf(key)]!;
    return index === 0 ? undefined : this.entries[index - 1];
  }

  /** The newest entry of each key in `from <= key < to`, in key order. */
  range(from: Uint8Array, to: Uint8Array): PendingEntry[] {
    if (this.entries.length === 0) return [];
    const sorted = (this.#sorted ??= this.#sort());
    return sorted.slice(lowerBound(sorted, from), lowerBound(sorted, to));
  }

  #grow(): void {
    let slots = this.#table.length;
    while (slots < 2 * this.entries.length) slots *= 2;
    this.#table = new Int32Array(2 * slots);
    for (let i = 0; i < this.entries.length; i++) this.#place(i);
  }

  #place(index: number): void {
    this.#table[this.#slotOf(this.entries[index]!.key)] = index + 1;
  }

  /** The slot that holds the key, or the free one where it belongs. */
  #slotOf(key: Uint8Array): number {
    const mask = this.#table.length - 1;
    let slot = hashOf(key) & mask;
    for (;;) {
      const index = this.#table[slot]!;
      if (index === 0 || equalBytes(this.entries[index - 1]!.key, key)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #sort(): PendingEntry[] {
    const newest: PendingEntry[] = [];
    for (const index of this.#table) if (index !== 0) newest.push(this.entries[index - 1]!);
    return newest.sort((a, b) => compareBytes(a.key, b.key));
  }
}

/** Whole words at a time; multiplied at the end so that low bits depend on all of the key. */
export function hashOf(key: Uint8Array): number {
  const { length } = key;
  let hash = length;
  let at = 0;
  for (; at + 4 <= length; at += 4) {
    const word = key[at]! | (key[at + 1]! << 8) | (key[at + 2]! << 16) | (key[at + 3]! << 24);
    hash = Math.imul(hash ^ word, 0x9e3779b1);
    hash ^= hash >>> 15;
  }
  for (; at < length; at++) hash = Math.imul(hash ^ key[at]!, 0x01000193);
  return Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 8;
}

function lowerBound(sorted: readonly PendingEntry[], key: Uint8Array): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareBytes(sorted[middle]!.key, key) < 0) low = middle + 1;
    else high = middle;
  }
  assert(low === sorted.length || compareBytes(sorted[low]!.key, key) >= 0, "the search ends");
  return low;
}

/** Both in key order; of equal keys the newer list's entry stays. */
export function mergeEntries(
  older: readonly PendingEntry[],
  newer: readonly PendingEntry[],
): readonly PendingEntry[] {
  if (older.length === 0) return newer;
  if (newer.length === 0) return older;
  const merged: PendingEntry[] = [];
  let at = 0;
  for (const entry of newer) {
    while (at < older.length && compareBytes(older[at]!.key, entry.key) < 0) {
      merged.push(older[at++]!);
    }
    if (at < older.length && equalBytes(older[at]!.key, entry.key)) at++;
    merged.push(entry);
  }
  while (at < older.length) merged.push(older[at++]!);
  return merged;
}
