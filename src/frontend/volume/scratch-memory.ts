/**
 * Memory for blocks on their way, by powers of two. What is allocated is never given back to whom
 * it came from, so it is used again here, by all volumes of a host and whatever comes after them.
 */
import { BLOCK_SIZE_BYTES } from "../../base/index.ts";
import type { DiskMemory } from "../../ports/index.ts";

export class ScratchMemory {
  readonly #allocate: (lengthBytes: number) => DiskMemory;
  readonly #idle: DiskMemory[][] = [];

  constructor(allocate: (lengthBytes: number) => DiskMemory) {
    this.#allocate = allocate;
  }

  /** At least so many bytes, with undefined contents. */
  take(lengthBytes: number): DiskMemory {
    const index = classOf(lengthBytes);
    return this.#idle[index]?.pop() ?? this.#allocate(BLOCK_SIZE_BYTES << index);
  }

  give(memory: DiskMemory): void {
    (this.#idle[classOf(memory.bytes.length)] ??= []).push(memory);
  }
}

function classOf(lengthBytes: number): number {
  const blocks = Math.ceil(lengthBytes / BLOCK_SIZE_BYTES);
  return blocks <= 1 ? 0 : 32 - Math.clz32(blocks - 1);
}
