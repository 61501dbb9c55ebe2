/**
 * Which leg a read goes to. The nearest one, as long as that keeps up. A client that reads on and
 * on where it has left off (a backup, a scan, a guest that starts) is bounded by one device then:
 * what it reads beyond what already waits at the nearest leg may go to whichever leg has least to
 * do, so that all copies work for it. Whether that gains anything is measured: where the processor
 * and not the device is the bound, it costs more than it gives. Reads here and there stay near:
 * they would only pay for the network.
 */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";

/** So many readers are told apart; the one that has said nothing for longest is forgotten. */
const STREAMS = 16;
/** From so many blocks in a row on a reader counts as one that reads on and on. */
const SEQUENTIAL_BLOCKS = (1 << 20) / BLOCK_SIZE_BYTES;
/** What may wait at the nearest leg before others are asked. */
const NEAR_BLOCKS = (1 << 20) / BLOCK_SIZE_BYTES;
/** Each way is followed for so many blocks before it is judged. */
const WINDOW_BLOCKS = (16 << 20) / BLOCK_SIZE_BYTES;
/** After so many windows the other way is tried again. */
const WINDOWS_MAX = 32;
/** Of the rates of one way, how much the newest counts. */
const NEWEST_SHARE = 0.5;
/** By how much more the copies together must give. */
const GAIN_MIN = 1.1;

const NEAR = 0;
const SPREAD = 1;
type Way = typeof NEAR | typeof SPREAD;

export class ReadSpread {
  readonly #nowMs: () => number;
  /** The block that each reader would read next. */
  readonly #nextBlocks = new Float64Array(STREAMS).fill(-1);
  readonly #runBlocks = new Float64Array(STREAMS);
  readonly #usedAt = new Float64Array(STREAMS);
  /** Blocks that are being read, by the place of the leg in the order of reads. */
  readonly #waiting: Float64Array;
  #waitingCount = 0;
  #reads = 0;
  #way: Way = NEAR;
  /** Blocks for each millisecond; 0 until it was measured. */
  readonly #rates: [number, number] = [0, 0];
  /** Windows since the way that is not followed was measured. */
  #windowsSince = 0;
  #windowBlocks = 0;
  #windowStartMs = -1;

  constructor(legsMax: number, nowMs: () => number) {
    this.#waiting = new Float64Array(legsMax);
    this.#nowMs = nowMs;
  }

  /** The place of the leg to try first, of `legCount` ones; `done` is to be told it afterwards. */
  take(firstBlock: number, endBlock: number, legCount: number): number {
    const isSequential = this.#note(firstBlock, endBlock);
    const near = this.#waiting[0] ?? 0;
    let place = 0;
    if (isSequential && legCount > 1 && near >= NEAR_BLOCKS) {
      if (this.#windowStartMs < 0) this.#beginWindow();
      if (this.#way === SPREAD) place = this.#quietest(legCount);
    }
    this.#waiting[place]! += endBlock - firstBlock;
    this.#waitingCount += endBlock - firstBlock;
    return place;
  }

  done(place: number, blocks: number): void {
    this.#waiting[place]! -= blocks;
    this.#waitingCount -= blocks;
    if (this.#windowStartMs < 0) return;
    this.#windowBlocks += blocks;
    if (this.#windowBlocks >= WINDOW_BLOCKS) this.#endWindow();
    // A client that pauses says nothing about how fast the copies are.
    else if (this.#waitingCount === 0) this.#windowStartMs = -1;
  }

  #quietest(legCount: number): number {
    let place = 0;
    for (let other = 1; other < legCount; other++)
      if (this.#waiting[other]! < this.#waiting[place]!) place = other;
    return place;
  }

  #beginWindow(): void {
    this.#windowStartMs = this.#nowMs();
    this.#windowBlocks = 0;
  }

  #endWindow(): void {
    const way = this.#way;
    const elapsedMs = Math.max(this.#nowMs() - this.#windowStartMs, 0.001);
    const rate = this.#windowBlocks / elapsedMs;
    const before = this.#rates[way];
    this.#rates[way] = before === 0 ? rate : before + NEWEST_SHARE * (rate - before);
    const other = way === NEAR ? SPREAD : NEAR;
    const isDue = this.#rates[other] === 0 || ++this.#windowsSince >= WINDOWS_MAX;
    const better = this.#rates[SPREAD] > this.#rates[NEAR] * GAIN_MIN ? SPREAD : NEAR;
    this.#way = isDue ? other : better;
    if (this.#way !== way) this.#windowsSince = 0;
    this.#windowStartMs = -1;
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
