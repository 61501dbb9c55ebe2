/**
 * What the journal holds and the logical map does not say yet: the newest prepared version of each
 * block. Reads look here first; destage takes entries out once they are published.
 *
 * Single blocks are in a table; long discards and zeroings are ranges, so that trimming a terabyte
 * costs one entry. Both are bounded by the journal's memory: full is backpressure.
 */
import type { TransactionKind } from "./component.ts";
import { blockKey, BlockTable } from "./block-table.ts";

/** Locations that are not blocks of journal memory. */
export const LOCATION_NONE = -1;
export const LOCATION_HOLE = -2;
export const LOCATION_ZERO = -3;
export const LOCATION_DAMAGED = -4;

/** Longer discards and zeroings become one range. */
export const RANGE_BLOCKS_MIN = 64;
const RANGES_MAX = 256;

export interface PendingRange {
  readonly component: number;
  readonly start: number;
  readonly end: number;
  readonly sequence: number;
  readonly location: number;
}

export class PendingBlocks {
  readonly table: BlockTable;
  readonly #ranges: PendingRange[] = [];
  /** Set by `locate`: the sequence of what it found. */
  locatedSequence = 0;

  constructor(capacityBlocks: number) {
    this.table = new BlockTable(capacityBlocks);
  }

  get ranges(): readonly PendingRange[] {
    return this.#ranges;
  }

  get isEmpty(): boolean {
    return this.table.size === 0 && this.#ranges.length === 0;
  }

  /** Whether anything of the component is not destaged. */
  holds(component: number): boolean {
    const first = blockKey(component, 0);
    const end = blockKey(component + 1, 0);
    if (this.#ranges.some((range) => range.component === component)) return true;
    if (this.table.size === 0) return false;
    // No callback: this goes over the whole table.
    for (const key of this.table.keys) if (key >= first && key < end) return true;
    return false;
  }

  /** Whether `locate` has to be asked for these blocks; the end is not one of them. */
  mayHold(component: number, start: number, end: number): boolean {
    if (this.table.size > 0) return true;
    return this.#ranges.some(
      (range) => range.component === component && range.start < end && start < range.end,
    );
  }

  hasRoom(kind: TransactionKind, blockCount: number): boolean {
    if (kind === "data" || blockCount < RANGE_BLOCKS_MIN) {
      return this.table.size + blockCount <= this.table.capacity;
    }
    return this.#ranges.length < RANGES_MAX;
  }

  put(component: number, blockIndex: number, sequence: number, location: number): void {
    this.table.set(blockKey(component, blockIndex), location, sequence);
  }

  /**
   * Whoever adds one has asked for room. A journal that is replayed may have more: those of a
   * component that was just going made room for others.
   */
  putRange(range: PendingRange): void {
    this.#ranges.push(range);
  }

  /** Where the newest prepared version of a block is, or LOCATION_NONE. */
  locate(component: number, blockIndex: number): number {
    const slot = this.table.find(blockKey(component, blockIndex));
    let location = LOCATION_NONE;
    let sequence = 0;
    if (slot >= 0) {
      location = this.table.values[slot]!;
      sequence = this.table.sequences[slot]!;
    }
    if (this.#ranges.length > 0) {
      for (const range of this.#ranges) {
        if (range.component !== component || blockIndex < range.start) continue;
        if (blockIndex >= range.end || range.sequence < sequence) continue;
        location = range.location;
        sequence = range.sequence;
      }
    }
    this.locatedSequence = sequence;
    return location;
  }

  /** Forgets a block that was published, unless a newer version came meanwhile. */
  release(key: number, sequence: number): void {
    const slot = this.table.find(key);
    if (slot >= 0 && this.table.sequences[slot]! <= sequence) this.table.removeSlot(slot);
  }

  releaseRanges(isPublished: (range: PendingRange) => boolean): void {
    for (let i = this.#ranges.length - 1; i >= 0; i--) {
      if (isPublished(this.#ranges[i]!)) this.#ranges.splice(i, 1);
    }
  }

  /** Drops everything of a component that is going away. */
  forget(component: number): void {
    const first = blockKey(component, 0);
    const end = blockKey(component + 1, 0);
    const doomed: number[] = [];
    for (const key of this.table.keys) if (key >= first && key < end) doomed.push(key);
    for (const key of doomed) this.table.removeSlot(this.table.find(key));
    this.releaseRanges((range) => range.component === component);
  }
  forgetAll(): void {
    this.table.clear();
    this.#ranges.length = 0;
  }
}
