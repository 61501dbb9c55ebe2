/**
 * What a simulated metadata store keeps: entries that are durable, and batches that are not yet.
 */
import { assert, assertDefined, Prng } from "../base/index.ts";
import type { MetadataBatch } from "../ports/index.ts";
import type { Survival } from "./crash-policy.ts";
import type { SimMedium } from "./sim-machine.ts";
import { SortedEntries } from "./sorted-entries.ts";

export interface MediumBatch {
  readonly operation: number;
  readonly operations: MetadataBatch["operations"];
}

export class MetadataMedium implements SimMedium {
  /** Bytes of keys and values that fit; a batch beyond fails with `no-space`. */
  capacityBytes: number;
  /** True while a store has it open. */
  isOpen = false;
  #durable = new SortedEntries();
  #visible = new SortedEntries();
  #unflushed: MediumBatch[] = [];
  #usedBytes = 0;

  constructor(options: { readonly capacityBytes?: number } = {}) {
    this.capacityBytes = options.capacityBytes ?? Infinity;
  }

  /** What readers see: durable or not. */
  get visible(): SortedEntries {
    return this.#visible;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  get unflushedCount(): number {
    return this.#unflushed.length;
  }

  apply(batch: MediumBatch): void {
    this.#usedBytes += applyBatch(this.#visible, batch.operations);
    this.#unflushed.push(batch);
  }

  /** The first `count` batches that are not durable become so. */
  flush(count: number): void {
    assert(count <= this.#unflushed.length, "more batches than there are");
    for (const batch of this.#unflushed.splice(0, count))
      applyBatch(this.#durable, batch.operations);
  }

  unflushedOperations(): number[] {
    return this.#unflushed.map((batch) => batch.operation);
  }

  /** Whole batches, and none without all before it. */
  loseUnflushed(survival: Survival): void {
    let kept = 0;
    if (survival.kind === "random") {
      kept = new Prng(survival.seed).below(this.#unflushed.length + 1);
    } else {
      while (kept < this.#unflushed.length && this.#unflushed[kept]!.operation < survival.before) {
        kept++;
      }
    }
    this.flush(kept);
    this.takeBack();
    this.isOpen = false;
  }

  /** Forgets the batches that are not durable. Whoever has the visible entries keeps them. */
  takeBack(): void {
    this.#unflushed = [];
    this.#visible = this.#durable.clone();
    this.#recount();
  }

  /** The same entries and unflushed batches, for a life of its own. Nobody has the copy open. */
  fork(): MetadataMedium {
    const copy = new MetadataMedium(this);
    copy.#durable = this.#durable.clone();
    copy.#visible = this.#visible.clone();
    copy.#unflushed = this.#unflushed.slice();
    copy.#usedBytes = this.#usedBytes;
    return copy;
  }

  /** Fault: one bit of the value at `key` turns over, durably. Asserts that there is such a key. */
  corrupt(key: Uint8Array, bit = 0): void {
    for (const entries of [this.#durable, this.#visible]) {
      const entry = entries.get(key);
      if (entry === undefined && entries === this.#durable) continue;
      const value = assertDefined(entry, "no entry to corrupt").value.slice();
      assert(value.length > 0, "nothing to corrupt in an empty value");
      value[(bit >> 3) % value.length]! ^= 1 << (bit & 7);
      entries.put({ key: key.slice(), value });
    }
  }

  #recount(): void {
    this.#usedBytes = 0;
    const last = new Uint8Array(128).fill(255);
    this.#visible.scan(new Uint8Array(0), last, (entry) => {
      this.#usedBytes += entry.key.length + entry.value.length;
      return true;
    });
  }
}

/** Returns by how many bytes the entries grew. */
export function applyBatch(
  entries: SortedEntries,
  operations: MetadataBatch["operations"],
): number {
  let grown = 0;
  for (const { key, value } of operations) {
    const old = value === undefined ? entries.delete(key) : entries.put({ key, value });
    if (old !== undefined) grown -= old.key.length + old.value.length;
    if (value !== undefined) grown += key.length + value.length;
  }
  return grown;
}
