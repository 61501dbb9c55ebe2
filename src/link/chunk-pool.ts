/**
 * Memory for messages on their way out and for those that come in pieces, shared by all links of a
 * host on one network. What a link needs at a busy moment is not its own afterwards: the number of
 * hosts does not multiply what is kept.
 *
 * Whoever loses a piece, since its link has ended while the piece was on its way, just drops it.
 */
import { assert } from "../base/index.ts";

export const CHUNK_BYTES: number = 256 * 1024;
/** For what moves a megabyte of blocks. Memory of that size is dear to make anew each time. */
export const LARGE_CHUNK_BYTES: number = 1024 * 1024 + 64 * 1024;
const CHUNKS_KEPT_MAX = 16;
/** Batches of copies that are under way at once. */
const LARGE_CHUNKS_KEPT_MAX = 6;
/** What lies here at the most and nobody uses. */
export const CHUNKS_KEPT_BYTES_MAX: number =
  CHUNKS_KEPT_MAX * CHUNK_BYTES + LARGE_CHUNKS_KEPT_MAX * LARGE_CHUNK_BYTES;

export class ChunkPool {
  readonly #small: Uint8Array[] = [];
  readonly #large: Uint8Array[] = [];

  /** Bytes that nobody uses. */
  get keptBytes(): number {
    return this.#small.length * CHUNK_BYTES + this.#large.length * LARGE_CHUNK_BYTES;
  }

  /** At least so long, with undefined contents. */
  take(lengthBytes: number): Uint8Array {
    if (lengthBytes <= CHUNK_BYTES) return this.#small.pop() ?? new Uint8Array(CHUNK_BYTES);
    if (lengthBytes > LARGE_CHUNK_BYTES) return new Uint8Array(lengthBytes);
    return this.#large.pop() ?? new Uint8Array(LARGE_CHUNK_BYTES);
  }

  /** Nobody uses it any more. */
  give(bytes: Uint8Array): void {
    const { length } = bytes;
    assert(length >= CHUNK_BYTES, "a chunk goes back to where it came from");
    if (length === CHUNK_BYTES && this.#small.length < CHUNKS_KEPT_MAX) this.#small.push(bytes);
    else if (length === LARGE_CHUNK_BYTES && this.#large.length < LARGE_CHUNKS_KEPT_MAX)
      this.#large.push(bytes);
  }
}
