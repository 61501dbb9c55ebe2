import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";

/** Blocks that one copy moves at most. */
export const TRANSFER_BLOCKS_MAX = 256;

/**
 * Memory for copies between components, one piece per copy under way. Disks never take memory back,
 * so pieces are kept and used again, by all objects of a host.
 */
export class TransferMemory {
  /** Components of this host's objects that are being brought to the present. */
  resyncCount = 0;
  readonly #allocate: (lengthBytes: number) => DiskMemory;
  readonly #free: DiskMemory[] = [];

  constructor(allocate: (lengthBytes: number) => DiskMemory) {
    this.#allocate = allocate;
  }

  /** The piece is the work's own until that has ended. */
  async use<T>(work: (memory: DiskMemory) => Promise<T>): Promise<T> {
    const memory = this.#free.pop() ?? this.#allocate(TRANSFER_BLOCKS_MAX * BLOCK_SIZE_BYTES);
    try {
      return await work(memory);
    } finally {
      this.#free.push(memory);
    }
  }
}
