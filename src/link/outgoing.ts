/**
 * Memory for messages on their way out. Messages are appended to large chunks and leave in one
 * piece per turn; a chunk is used again when everything in it has left. A payload is copied once,
 * into the chunk.
 */
import { assert } from "../base/index.ts";
import { CHUNK_BYTES } from "./chunk-pool.ts";
import type { ChunkPool } from "./chunk-pool.ts";

interface Chunk {
  readonly bytes: Uint8Array;
  used: number;
  sent: number;
  /** Pieces handed to the stream and not reported as written. */
  piecesOut: number;
}

export class Outgoing {
  readonly #pool: ChunkPool;
  readonly #write: (bytes: Uint8Array, token: number) => void;
  readonly #chunks: (Chunk | undefined)[] = [];
  readonly #freeTokens: number[] = [];
  #current = -1;
  #queuedBytes = 0;
  #appendedBytes = 0;

  /** `write` keeps the bytes until `written` is called with the token. */
  constructor(pool: ChunkPool, write: (bytes: Uint8Array, token: number) => void) {
    this.#pool = pool;
    this.#write = write;
  }

  /** Bytes appended and not reported as written. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Bytes appended since the beginning, and those of them that have been reported as written. */
  get appendedBytes(): number {
    return this.#appendedBytes;
  }

  get writtenBytes(): number {
    return this.#appendedBytes - this.#queuedBytes;
  }

  /** Room for a message of this length: `bytes[at..at + lengthBytes)`, to be filled at once. */
  append(lengthBytes: number): { readonly bytes: Uint8Array; readonly at: number } {
    let chunk = this.#current < 0 ? undefined : this.#chunks[this.#current];
    if (chunk === undefined || chunk.used + lengthBytes > chunk.bytes.length) {
      this.flush();
      chunk = this.#open(lengthBytes);
    }
    const at = chunk.used;
    chunk.used += lengthBytes;
    this.#queuedBytes += lengthBytes;
    this.#appendedBytes += lengthBytes;
    return { bytes: chunk.bytes, at };
  }

  #open(lengthBytes: number): Chunk {
    const before = this.#current < 0 ? undefined : this.#chunks[this.#current];
    const chunk = { bytes: this.#pool.take(lengthBytes), used: 0, sent: 0, piecesOut: 0 };
    const token = this.#freeTokens.pop() ?? this.#chunks.length;
    this.#chunks[token] = chunk;
    const old = this.#current;
    this.#current = token;
    if (before !== undefined && before.piecesOut === 0) this.#retire(old);
    return chunk;
  }

  /** Hands over what was appended since the last call. */
  flush(): void {
    if (this.#current < 0) return;
    const chunk = this.#chunks[this.#current]!;
    if (chunk.sent === chunk.used) return;
    const piece = chunk.bytes.subarray(chunk.sent, chunk.used);
    chunk.sent = chunk.used;
    chunk.piecesOut++;
    this.#write(piece, this.#current);
  }

  written(token: number, isLost = false): void {
    const chunk = this.#chunks[token];
    assert(chunk !== undefined && chunk.piecesOut > 0, "a piece left twice");
    chunk.piecesOut--;
    if (chunk.piecesOut > 0 || isLost) return;
    if (token !== this.#current) {
      this.#retire(token);
    } else if (chunk.sent === chunk.used) {
      // A quiet link keeps no large one from those that are busy.
      if (chunk.bytes.length > CHUNK_BYTES) return this.#retireCurrent();
      this.#queuedBytes -= chunk.used;
      chunk.used = 0;
      chunk.sent = 0;
    }
  }

  #retire(token: number): void {
    const chunk = this.#chunks[token]!;
    this.#queuedBytes -= chunk.used;
    this.#chunks[token] = undefined;
    this.#freeTokens.push(token);
    this.#pool.give(chunk.bytes);
  }

  #retireCurrent(): void {
    const token = this.#current;
    this.#current = -1;
    this.#retire(token);
  }
}
