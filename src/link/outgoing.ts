/**
 * Memory for messages on their way out. Messages are appended to large chunks and leave in one
 * piece per turn; a chunk is used again when everything in it has left. A payload is copied once,
 * into the chunk.
 */
import { assert } from "../base/index.ts";

const CHUNK_BYTES = 256 * 1024;
const CHUNKS_KEPT_MAX = 16;
/** For what moves a megabyte of blocks. Memory of that size is dear to make anew each time. */
const LARGE_CHUNK_BYTES = 1024 * 1024 + 64 * 1024;
/** Batches of a copy that are under way at once. */
const LARGE_CHUNKS_KEPT_MAX = 4;

interface Chunk {
  readonly bytes: Uint8Array;
  used: number;
  sent: number;
  /** Pieces handed to the stream and not reported as written. */
  piecesOut: number;
}

export class Outgoing {
  readonly #write: (bytes: Uint8Array, token: number) => void;
  readonly #chunks: (Chunk | undefined)[] = [];
  readonly #freeTokens: number[] = [];
  readonly #idle: Chunk[] = [];
  readonly #idleLarge: Chunk[] = [];
  #current = -1;
  #queuedBytes = 0;

  /** `write` keeps the bytes until `written` is called with the token. */
  constructor(write: (bytes: Uint8Array, token: number) => void) {
    this.#write = write;
  }

  /** Bytes appended and not reported as written. */
  get queuedBytes(): number {
    return this.#queuedBytes;
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
    return { bytes: chunk.bytes, at };
  }

  #open(lengthBytes: number): Chunk {
    const before = this.#current < 0 ? undefined : this.#chunks[this.#current];
    const idle = lengthBytes > CHUNK_BYTES ? this.#idleLarge : this.#idle;
    const size = lengthBytes > CHUNK_BYTES ? LARGE_CHUNK_BYTES : CHUNK_BYTES;
    const kept = lengthBytes > LARGE_CHUNK_BYTES ? undefined : idle.pop();
    const bytes = kept?.bytes ?? new Uint8Array(Math.max(size, lengthBytes));
    const chunk = kept ?? { bytes, used: 0, sent: 0, piecesOut: 0 };
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
    chunk.used = 0;
    chunk.sent = 0;
    const { length } = chunk.bytes;
    if (length === CHUNK_BYTES && this.#idle.length < CHUNKS_KEPT_MAX) this.#idle.push(chunk);
    else if (length === LARGE_CHUNK_BYTES && this.#idleLarge.length < LARGE_CHUNKS_KEPT_MAX)
      this.#idleLarge.push(chunk);
  }
}
