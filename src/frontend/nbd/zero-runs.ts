/**
 * Finds runs of zero blocks in data that was read, so that they are sent as holes. Looking at the
 * data is cheaper than asking the volume for its extents, and sees zeroes that were written as
 * such. A block of data costs one look at its first word.
 */
import { BLOCK_SIZE_BYTES } from "../../base/index.ts";

const BLOCK_WORDS = BLOCK_SIZE_BYTES / 4;
/** Runs of one reply: bounds the pieces it is sent in. */
export const ZERO_RUNS_MAX = 32;

export class ZeroRuns {
  count = 0;
  /** Relative to the start of the data. */
  readonly start: Uint32Array = new Uint32Array(ZERO_RUNS_MAX);
  readonly end: Uint32Array = new Uint32Array(ZERO_RUNS_MAX);

  /**
   * Runs of whole blocks, counted from the start of the data; a part of a block at the end is data.
   */
  find(words: Int32Array, dataAt: number, lengthBytes: number): void {
    this.count = 0;
    const blocks = Math.floor(lengthBytes / BLOCK_SIZE_BYTES);
    const blocksMin = Math.ceil(blocks / ZERO_RUNS_MAX);
    let runStart = 0;
    for (let block = 0; block <= blocks; block++) {
      const at = dataAt / 4 + block * BLOCK_WORDS;
      if (block < blocks && words[at] === 0 && isZeroBlock(words, at)) continue;
      if (block - runStart >= blocksMin && block > runStart) this.#add(runStart, block);
      runStart = block + 1;
    }
  }

  #add(blockFirst: number, blockEnd: number): void {
    if (this.count === ZERO_RUNS_MAX) return;
    this.start[this.count] = blockFirst * BLOCK_SIZE_BYTES;
    this.end[this.count] = blockEnd * BLOCK_SIZE_BYTES;
    this.count++;
  }
}

/** Eight words at a time: a block of zeroes has to be looked at whole. */
function isZeroBlock(words: Int32Array, start: number): boolean {
  const end = start + BLOCK_WORDS;
  for (let at = start; at < end; at += 8) {
    const low = words[at]! | words[at + 1]! | words[at + 2]! | words[at + 3]!;
    const high = words[at + 4]! | words[at + 5]! | words[at + 6]! | words[at + 7]!;
    if ((low | high) !== 0) return false;
  }
  return true;
}
