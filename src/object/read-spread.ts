/**
 * Which leg a read goes to. The nearest one, as long as that keeps up. A client that reads on and
 * on where it has left off (a backup, a scan, a guest that starts) is bounded by one device then:
 * what it reads beyond what already waits at the nearest leg goes to whichever leg has least to do,
 * so that all copies work for it. Reads here and there stay near: they would only pay for the
 * network.
 */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";

/** So many readers are told apart; the one that has said nothing for longest is forgotten. */
const STREAMS = 16;
/** From so many blocks in a row on a reader counts as one that reads on and on. */
const SEQUENTIAL_BLOCKS = (1 << 20) / BLOCK_SIZE_BYTES;
/** What may wait at the nearest leg before others are asked. */
const NEAR_BLOCKS = (1 << 20) / BLOCK_SIZE_BYTES;

export class ReadSpread {
  /** The block that each reader would read next. */
  readonly #nextBlocks = new Float64Array(STREAMS).fill(-1);
  readonly #runBlocks = new Float64Array(STREAMS);
  readonly #usedAt = new Float64Array(STREAMS);
  /** Blocks that are being read, by the place of the leg in the order of reads. */
  readonly #waiting: Float64Array;
  #reads = 0;

  constructor(legsMax: number) {
    this.#waiting = new Float64Array(legsMax);
  }

  /** The place of the leg to try first, of `legCount` ones; `done` is to be told it afterwards. */
  take(firstBlock: number, endBlock: number, legCount: number): number {
    const isSequential = this.#note(firstBlock, endBlock);
    const near = this.#waiting[0] ?? 0;
    let place = 0;
    if (isSequential && legCount > 1 && near >= NEAR_BLOCKS) {
      let least = near;
      for (let other = 1; other < legCount; other++) {
        const waiting = this.#waiting[other] ?? Infinity;
        if (waiting >= least) continue;
        least = waiting;
        place = other;
      }
    }
    this.#waiting[place]! += endBlock - firstBlock;
    return place;
  }

  done(place: number, blocks: number): void {
    this.#waiting[place]! -= blocks;
  }

  /** Whether this read belongs to a reader that reads on and on. */
  #note(firstBlock: number, endBlock: number): boolean {
    this.#reads++;
    let at = this.#nextBlocks.indexOf(firstBlock);
    if (at < 0) {
      at = this.#oldest();
      this.#runBlocks[at] = 0;
    }
    this.#nextBlocks[at] = endBlock;
    this.#usedAt[at] = this.#reads;
    const runBlocks = this.#runBlocks[at]! + endBlock - firstBlock;
    this.#runBlocks[at] = runBlocks;
    return runBlocks > SEQUENTIAL_BLOCKS;
  }

  #oldest(): number {
    let oldest = 0;
    for (let at = 1; at < STREAMS; at++) if (this.#usedAt[at]! < this.#usedAt[oldest]!) oldest = at;
    return oldest;
  }
}
