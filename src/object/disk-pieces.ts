import { assert } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";

/**
 * Pieces of disk memory of one size. Disks never take memory back, so whatever was once needed at
 * the same time stays: that is bounded here, and pieces are used again.
 */
export class DiskPieces {
  readonly sizeBytes: number;
  readonly #allocate: (lengthBytes: number) => DiskMemory;
  readonly #countMax: number;
  readonly #free: DiskMemory[] = [];
  #count = 0;

  constructor(
    allocate: (lengthBytes: number) => DiskMemory,
    is: { readonly sizeBytes: number; readonly countMax: number },
  ) {
    this.sizeBytes = is.sizeBytes;
    this.#allocate = allocate;
    this.#countMax = is.countMax;
  }

  /** Taken from the disks so far. */
  get bytes(): number {
    return this.#count * this.sizeBytes;
  }

  get hasRoom(): boolean {
    return this.#free.length > 0 || this.#count < this.#countMax;
  }

  /** Undefined if all of them are in use. */
  take(): DiskMemory | undefined {
    const free = this.#free.pop();
    if (free !== undefined || this.#count === this.#countMax) return free;
    this.#count++;
    return this.#allocate(this.sizeBytes);
  }

  /** Nothing reads into it or from it any more. */
  give(memory: DiskMemory): void {
    assert(this.#free.length < this.#count, "a piece was given back twice");
    this.#free.push(memory);
  }
}
