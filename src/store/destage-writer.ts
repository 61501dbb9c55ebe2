/** Writes the blocks of a destage round to the block store. */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import type { DeviceState } from "./device-state.ts";
import { isPlacedLocation } from "./placed-blocks.ts";

const STAGING_BLOCKS = 1024;
/** Runs at least this long are written from journal memory, without a copy. */
const DIRECT_RUN_BLOCKS_MIN = 8;

export interface BlockWrite {
  readonly physical: number;
  readonly location: number;
  /** The block is known to be damaged and is written over in place. */
  readonly isRepair: boolean;
}

export class DestageWriter {
  readonly #state: DeviceState;
  readonly #staging: DiskMemory;

  constructor(state: DeviceState) {
    this.#state = state;
    this.#staging = state.disk.allocate(STAGING_BLOCKS * BLOCK_SIZE_BYTES);
  }

  /**
   * Writes blocks in runs: straight from journal memory where a run is long, else through staging.
   * Resolves once they are on the disk.
   */
  async write(writes: BlockWrite[]): Promise<void> {
    if (writes.length === 0) return;
    const { requests, counters, superblock } = this.#state;
    writes.sort((a, b) => a.physical - b.physical);
    const underWay: Promise<void>[] = [];
    try {
      await this.#writeRuns(writes, underWay);
    } finally {
      // A write that lands after its round was given up would land on somebody else's block.
      await Promise.allSettled(underWay);
    }
    await Promise.all(underWay);
    counters.writtenBlocks += writes.length;
    try {
      await requests.flushRange(superblock.blocksOffset, superblock.blockCount * BLOCK_SIZE_BYTES);
    } catch (error) {
      // It was told to this flush alone, and may concern large writes that the journal's flush will
      // call durable.
      if (!this.#state.journal.hasFailed) this.#state.journal.fail();
      throw error;
    }
  }

  async #writeRuns(writes: readonly BlockWrite[], underWay: Promise<void>[]): Promise<void> {
    const { journal } = this.#state;
    let staged = 0;
    for (let start = 0; start < writes.length;) {
      const { length, isDirect } = runAt(writes, start);
      const physical = writes[start]!.physical;
      if (isDirect) {
        underWay.push(this.#write(journal.memory, writes[start]!.location, physical, length));
      } else {
        if (staged + length > STAGING_BLOCKS) {
          await Promise.all(underWay);
          underWay.length = 0;
          staged = 0;
        }
        for (let i = 0; i < length; i++) {
          const reading = this.#stage(writes[start + i]!, staged + i);
          if (reading !== undefined) await reading;
        }
        underWay.push(this.#write(this.#staging, staged, physical, length));
        staged += length;
      }
      start += length;
    }
  }

  /** Almost always done at once: only a repair may have to read. */
  #stage({ location }: BlockWrite, into: number): Promise<void> | undefined {
    const { journal, requests, superblock } = this.#state;
    if (isPlacedLocation(location)) {
      // A repair: its content is in its own place already, and damaged in another.
      const from = superblock.blocksOffset + journal.placed.placeOf(location) * BLOCK_SIZE_BYTES;
      return requests.read(this.#staging, into * BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES, from);
    }
    const from = location * BLOCK_SIZE_BYTES;
    const block = journal.memory.bytes.subarray(from, from + BLOCK_SIZE_BYTES);
    this.#staging.bytes.set(block, into * BLOCK_SIZE_BYTES);
    return undefined;
  }

  async #write(
    memory: DiskMemory,
    fromBlock: number,
    physical: number,
    blocks: number,
  ): Promise<void> {
    const { requests, superblock } = this.#state;
    const offset = superblock.blocksOffset + physical * BLOCK_SIZE_BYTES;
    await requests.write(memory, fromBlock * BLOCK_SIZE_BYTES, blocks * BLOCK_SIZE_BYTES, offset);
  }
}

function runAt(
  writes: readonly BlockWrite[],
  start: number,
): { length: number; isDirect: boolean } {
  let length = 1;
  let sameOrder = 1;
  while (start + length < writes.length && length < STAGING_BLOCKS) {
    const previous = writes[start + length - 1]!;
    const next = writes[start + length]!;
    if (next.physical !== previous.physical + 1) break;
    if (sameOrder === length && next.location === previous.location + 1) sameOrder++;
    // A long stretch that lies in order in the journal is worth a write of its own.
    else if (sameOrder >= DIRECT_RUN_BLOCKS_MIN) break;
    length++;
  }
  const isDirect = sameOrder === length && length >= DIRECT_RUN_BLOCKS_MIN;
  return { length, isDirect: isDirect && !isPlacedLocation(writes[start]!.location) };
}
