/**
 * Pieces of memory of one size that are used again. What is allocated anew for each batch is
 * garbage outside of the heap soon, and after so much of that the engine marks the whole heap.
 */
import { assert } from "./assert.ts";

export class SlabPool {
  readonly #sizeBytes: number;
  readonly #keptMax: number;
  readonly #free: Uint8Array[] = [];

  /** At most `keptMax` are kept that nobody uses. */
  constructor(sizeBytes: number, keptMax: number) {
    this.#sizeBytes = sizeBytes;
    this.#keptMax = keptMax;
  }

  /** Holds whatever was written there before. */
  take(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(this.#sizeBytes);
  }

  /** Nobody looks at it any more. Empties the list. */
  giveAll(slabs: Uint8Array[]): void {
    for (const slab of slabs.splice(0)) {
      assert(slab.length === this.#sizeBytes, "a slab goes back to where it came from");
      if (this.#free.length < this.#keptMax) this.#free.push(slab);
    }
  }
}
