/**
 * Buffers that nobody uses, by size, to be used again: making memory anew costs more than what most
 * of it is used for. Sizes are powers of two of a block, so that what one request leaves fits the
 * next; how much is kept in all is bounded.
 */
import { assert } from "./assert.ts";
import { BLOCK_SIZE_BYTES } from "./block.ts";

const SIZE_COUNT = 9;
/** The longest that is kept. */
export const IDLE_BUFFER_BYTES_MAX: number = BLOCK_SIZE_BYTES << (SIZE_COUNT - 1);

export class IdleBuffers<T> {
  readonly #keptBytesMax: number;
  readonly #idle: T[][] = Array.from({ length: SIZE_COUNT }, () => []);
  #keptBytes = 0;

  constructor(keptBytesMax: number) {
    this.#keptBytesMax = keptBytesMax;
  }

  /** One of the size that `idleBufferSize` gives; undefined if none is left. */
  take(sizeBytes: number): T | undefined {
    const buffer = this.#idle[indexOf(sizeBytes)]!.pop();
    if (buffer !== undefined) this.#keptBytes -= sizeBytes;
    return buffer;
  }

  /** Nobody uses it any more. Beyond the bound it is dropped. */
  give(buffer: T, sizeBytes: number): void {
    if (this.#keptBytes + sizeBytes > this.#keptBytesMax) return;
    this.#keptBytes += sizeBytes;
    this.#idle[indexOf(sizeBytes)]!.push(buffer);
  }
}

/** The size of a buffer that holds so many bytes, at most `IDLE_BUFFER_BYTES_MAX`. */
export function idleBufferSize(lengthBytes: number): number {
  assert(lengthBytes > 0 && lengthBytes <= IDLE_BUFFER_BYTES_MAX, "a buffer's length is in range");
  const blocks = Math.ceil(lengthBytes / BLOCK_SIZE_BYTES);
  return BLOCK_SIZE_BYTES << (32 - Math.clz32(blocks - 1));
}

function indexOf(sizeBytes: number): number {
  const index = 31 - Math.clz32(sizeBytes / BLOCK_SIZE_BYTES);
  assert(sizeBytes === BLOCK_SIZE_BYTES << index && index < SIZE_COUNT, "a size of such buffers");
  return index;
}
