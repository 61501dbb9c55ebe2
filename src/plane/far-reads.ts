/**
 * What one component on another host has answered to reads, kept for reads at once. Its owner is
 * here and sends it every change, so whatever the owner has sent nothing to is as it was read.
 * Where it is changed otherwise, while it catches up, everything of it is forgotten.
 *
 * An answer counts only if nothing was sent to its blocks since they were asked for.
 */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { FarBlocks } from "../store/index.ts";

/** Longer reads are copies and scans. */
const KEPT_BLOCKS_MAX = 32;
/** Changes are counted by place, so that they do not keep reads elsewhere from counting. */
const PLACE_BLOCKS = 32;
const PLACES = 64;
/** Longer changes make everything be forgotten: they are rare, and removals are one by one. */
const REMOVED_BLOCKS_MAX = 256;
const NONE = -1;

export class FarReads {
  readonly #far: FarBlocks;
  #name = NONE;
  #forgets = 0;
  readonly #changes = new Float64Array(PLACES);

  constructor(far: FarBlocks) {
    this.#far = far;
  }

  forget(): void {
    this.#forgets++;
    if (this.#name !== NONE) this.#far.counters.componentsForgotten++;
    this.#name = NONE;
  }

  /** Before a change is sent. */
  changes(firstBlock: number, blockCount: number): void {
    if (blockCount > REMOVED_BLOCKS_MAX) {
      this.forget();
      return;
    }
    const last = placeOf(firstBlock + blockCount - 1);
    for (let place = placeOf(firstBlock); place <= last; place++) this.#changes[place % PLACES]!++;
    for (let i = 0; i < blockCount; i++) this.#far.remove(this.#name, firstBlock + i);
  }

  /** What to give to `keep` with the answer of a read that begins now. It only ever grows. */
  mark(firstBlock: number, blockCount: number): number {
    let mark = this.#forgets;
    const last = placeOf(firstBlock + blockCount - 1);
    for (let place = placeOf(firstBlock); place <= last; place++)
      mark += this.#changes[place % PLACES]!;
    return mark;
  }

  keep(firstBlock: number, mark: number, bytes: Uint8Array, start: number, end: number): void {
    const blockCount = (end - start) / BLOCK_SIZE_BYTES;
    if (blockCount > KEPT_BLOCKS_MAX) return;
    if (mark !== this.mark(firstBlock, blockCount)) {
      this.#far.counters.answersDropped++;
      return;
    }
    if (this.#name === NONE) this.#name = this.#far.takeName();
    for (let i = 0; i < blockCount; i++)
      this.#far.put(this.#name, firstBlock + i, bytes, start + i * BLOCK_SIZE_BYTES);
  }

  readNow(firstBlock: number, blockCount: number, target: Uint8Array, targetAt: number): boolean {
    if (blockCount > KEPT_BLOCKS_MAX) return false;
    return this.#far.copyTo(this.#name, firstBlock, blockCount, target, targetAt);
  }
}

function placeOf(block: number): number {
  return Math.floor(block / PLACE_BLOCKS);
}
