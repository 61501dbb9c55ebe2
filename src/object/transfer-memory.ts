import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";

/** Blocks that one copy moves at most. */
export const TRANSFER_BLOCKS_MAX = 256;

/**
 * Copies under way at once, of all objects of a host: so much is read and on its way to other hosts
 * that a fast network has no pause, and no more than the host has set aside.
 */
const PIECES_MAX = 16;
export const TRANSFER_BYTES_MAX: number = PIECES_MAX * TRANSFER_BLOCKS_MAX * BLOCK_SIZE_BYTES;

/**
 * Memory for copies between components, one piece per copy under way. Disks never take memory back,
 * so pieces are kept and used again, by all objects of a host; copies beyond that wait, in order.
 */
export class TransferMemory {
  /** Components of this host's objects that are being brought to the present. */
  resyncCount = 0;
  readonly #allocate: (lengthBytes: number) => DiskMemory;
  readonly #free: DiskMemory[] = [];
  readonly #waiting: ((memory: DiskMemory) => void)[] = [];
  #count = 0;

  constructor(allocate: (lengthBytes: number) => DiskMemory) {
    this.#allocate = allocate;
  }

  /** Taken from the disks so far. */
  get bytes(): number {
    return this.#count * TRANSFER_BLOCKS_MAX * BLOCK_SIZE_BYTES;
  }

  /**
   * The piece is the work's own until that has ended. Work never uses a second one: it would wait
   * for others, which might do the same.
   */
  async use<T>(work: (memory: DiskMemory) => Promise<T>): Promise<T> {
    const memory = this.#take() ?? (await this.#next());
    try {
      return await work(memory);
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free.push(memory);
      else next(memory);
    }
  }

  #take(): DiskMemory | undefined {
    const free = this.#free.pop();
    if (free !== undefined || this.#count === PIECES_MAX) return free;
    this.#count++;
    return this.#allocate(TRANSFER_BLOCKS_MAX * BLOCK_SIZE_BYTES);
  }

  #next(): Promise<DiskMemory> {
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }
}
