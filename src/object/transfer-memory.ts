import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import { DiskPieces } from "./disk-pieces.ts";

/** Blocks that one copy moves at most. */
export const TRANSFER_BLOCKS_MAX = 256;

/**
 * Copies under way at once, of all objects of a host: so much is read and on its way to other hosts
 * that a fast network has no pause, and no more than the host has set aside.
 */
const PIECES = { sizeBytes: TRANSFER_BLOCKS_MAX * BLOCK_SIZE_BYTES, countMax: 16 } as const;
export const TRANSFER_BYTES_MAX: number = PIECES.countMax * PIECES.sizeBytes;

/**
 * Memory for copies between components, one piece per copy under way, shared by all objects of a
 * host; copies beyond that wait, in order.
 */
export class TransferMemory {
  /** Components of this host's objects that are being brought to the present. */
  resyncCount = 0;
  readonly #pieces: DiskPieces;
  readonly #waiting: ((memory: DiskMemory) => void)[] = [];

  constructor(allocate: (lengthBytes: number) => DiskMemory) {
    this.#pieces = new DiskPieces(allocate, PIECES);
  }

  /** Taken from the disks so far. */
  get bytes(): number {
    return this.#pieces.bytes;
  }

  /**
   * The piece is the work's own until that has ended. Work never uses a second one: it would wait
   * for others, which might do the same.
   */
  async use<T>(work: (memory: DiskMemory) => Promise<T>): Promise<T> {
    const memory = this.#pieces.take() ?? (await this.#next());
    try {
      return await work(memory);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#pieces.give(memory);
      else next(memory);
    }
  }

  #next(): Promise<DiskMemory> {
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }
}
