/**
 * Single blocks of memory that components read into, for requests that cover a part of a block.
 * Slabs are allocated on demand, as many as such requests run at once, and kept. Whoever takes a
 * block gives it back only when nothing is read into it any more: the next one may be another
 * volume's.
 */
import { assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";

const SLAB_BLOCKS = 64;

export class ScratchBlocks {
  readonly #allocate: (lengthBytes: number) => DiskMemory;
  readonly #slabs: DiskMemory[] = [];
  readonly #free: number[] = [];

  constructor(allocate: (lengthBytes: number) => DiskMemory) {
    this.#allocate = allocate;
  }

  take(): number {
    const index = this.#free.pop();
    if (index !== undefined) return index;
    const first = this.#slabs.length * SLAB_BLOCKS;
    this.#slabs.push(this.#allocate(SLAB_BLOCKS * BLOCK_SIZE_BYTES));
    for (let i = first + SLAB_BLOCKS - 1; i > first; i--) this.#free.push(i);
    return first;
  }

  give(index: number): void {
    this.#free.push(index);
  }

  memoryOf(index: number): DiskMemory {
    return assertDefined(this.#slabs[Math.floor(index / SLAB_BLOCKS)], "no such scratch block");
  }

  /** Byte offset of the block in its memory. */
  offsetOf(index: number): number {
    return (index % SLAB_BLOCKS) * BLOCK_SIZE_BYTES;
  }
}
