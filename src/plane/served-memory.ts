/**
 * What components are read into for other hosts, before it goes into a link. Disks never take
 * memory back, so whatever was once needed at the same time stays: that is bounded here, for all
 * links together, and who finds no room waits until a read has ended.
 */
import { assert, BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import { WIRE_BLOCKS_MAX } from "./component-wire.ts";

export const SMALL_READ_BYTES: number = 64 << 10;
export const LARGE_READ_BYTES: number = WIRE_BLOCKS_MAX * BLOCK_SIZE_BYTES;
/** Pieces of each size: more than a device has under way at its quickest. */
const SMALL_READS_MAX = 128;
/** Of copies and of long requests; a few of them keep a fast network busy. */
const LARGE_READS_MAX = 16;
export const SERVED_BYTES_MAX: number =
  SMALL_READS_MAX * SMALL_READ_BYTES + LARGE_READS_MAX * LARGE_READ_BYTES;

interface Pieces {
  readonly free: DiskMemory[];
  readonly countMax: number;
  count: number;
}

export class ServedMemory {
  readonly #allocate: (lengthBytes: number) => DiskMemory;
  readonly #small: Pieces = { free: [], count: 0, countMax: SMALL_READS_MAX };
  readonly #large: Pieces = { free: [], count: 0, countMax: LARGE_READS_MAX };
  #waiting: (() => void)[] = [];

  constructor(allocate: (lengthBytes: number) => DiskMemory) {
    this.#allocate = allocate;
  }

  /** Taken from the disks so far. */
  get bytes(): number {
    return this.#small.count * SMALL_READ_BYTES + this.#large.count * LARGE_READ_BYTES;
  }

  hasRoom(lengthBytes: number): boolean {
    const { free, count, countMax } = this.#of(lengthBytes);
    return free.length > 0 || count < countMax;
  }

  /** Only where there is room. */
  take(lengthBytes: number): DiskMemory {
    const pieces = this.#of(lengthBytes);
    const free = pieces.free.pop();
    if (free !== undefined) return free;
    assert(pieces.count < pieces.countMax, "who takes memory has looked for room");
    pieces.count++;
    return this.#allocate(lengthBytes);
  }

  /** Nothing reads into it or from it any more. Those who wait are called, each once. */
  give(memory: DiskMemory): void {
    this.#of(memory.bytes.length).free.push(memory);
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const callback of waiting) callback();
  }

  /** Calls back once, when something was given back: others may have been quicker. */
  onceGiven(callback: () => void): void {
    this.#waiting.push(callback);
  }

  #of(lengthBytes: number): Pieces {
    assert(lengthBytes === SMALL_READ_BYTES || lengthBytes === LARGE_READ_BYTES, "of two sizes");
    return lengthBytes === SMALL_READ_BYTES ? this.#small : this.#large;
  }
}
