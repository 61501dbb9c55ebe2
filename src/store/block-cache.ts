/**
 * Verified blocks in memory, by physical block: contents that many logical blocks share are kept
 * once. A block that is freed leaves at once, so a physical number never means two contents here.
 */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import { PageCache } from "../cache/index.ts";

export class BlockCache {
  readonly #cache: PageCache | undefined;
  readonly #bytes: Uint8Array;

  /** `blocksMax` 0 keeps nothing. */
  constructor(blocksMax: number) {
    this.#cache = blocksMax === 0 ? undefined : new PageCache({ capacity: blocksMax });
    this.#bytes = new Uint8Array(blocksMax * BLOCK_SIZE_BYTES);
  }

  get isEnabled(): boolean {
    return this.#cache !== undefined;
  }

  /** Whether the block is here; counts neither as a use nor as a miss. */
  has(block: number): boolean {
    return this.#cache !== undefined && this.#cache.peek(block) >= 0;
  }

  /** Copies the block into `target` if it is here. */
  copyTo(block: number, target: Uint8Array, at: number): boolean {
    const slot = this.#cache === undefined ? -1 : this.#cache.lookup(block);
    if (slot < 0) return false;
    const start = slot * BLOCK_SIZE_BYTES;
    target.set(this.#bytes.subarray(start, start + BLOCK_SIZE_BYTES), at);
    return true;
  }

  /** Where the copy lies in `bytes`; -1 if the block was here already, or there is no room. */
  put(block: number, source: Uint8Array, at: number): number {
    if (this.#cache === undefined || this.#cache.peek(block) >= 0) return -1;
    const slot = this.#cache.insert(block);
    if (slot < 0) return -1;
    const start = slot * BLOCK_SIZE_BYTES;
    this.#bytes.set(source.subarray(at, at + BLOCK_SIZE_BYTES), start);
    return start;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  remove(block: number): void {
    this.#cache?.remove(block);
  }

  get stats(): PageCache["stats"] | undefined {
    return this.#cache?.stats;
  }
}
