/**
 * Where short replies are built: back to back, so that all replies of a turn leave as one piece.
 * Space is freed in the order it was sent, which is the order in which a stream reports it.
 */
import { assert } from "../../base/index.ts";
import type { ByteStream } from "../../ports/index.ts";
import { ERROR_CHUNK_BYTES, HOLE_CHUNK_BYTES, SIMPLE_REPLY_BYTES } from "./wire.ts";
import { REQUESTS_IN_FLIGHT_MAX } from "./request-slots.ts";

/** No short reply is longer. */
export const SHORT_REPLY_BYTES_MAX = 32;
const CAPACITY_BYTES = 16_384;
const RUNS_MAX = CAPACITY_BYTES / SIMPLE_REPLY_BYTES;

assert(HOLE_CHUNK_BYTES <= SHORT_REPLY_BYTES_MAX, "a hole chunk is a short reply");
assert(ERROR_CHUNK_BYTES <= SHORT_REPLY_BYTES_MAX, "an error chunk is a short reply");
assert(
  CAPACITY_BYTES >= (REQUESTS_IN_FLIGHT_MAX + 2) * SHORT_REPLY_BYTES_MAX,
  "every request in flight may be answered by a short reply",
);

export class ReplyRing {
  readonly bytes: Uint8Array = new Uint8Array(CAPACITY_BYTES);
  readonly #tokenFirst: number;
  readonly #runBytes = new Uint16Array(RUNS_MAX);
  #runFirst = 0;
  #runCount = 0;
  #head = 0;
  #runStart = 0;
  #usedBytes = 0;

  /** Runs are written with tokens from `tokenFirst` on. */
  constructor(tokenFirst: number) {
    this.#tokenFirst = tokenFirst;
  }

  /** Whether `count` more short replies certainly fit, wherever the ring wraps. */
  hasRoom(count: number): boolean {
    return this.#usedBytes + (count + 1) * SHORT_REPLY_BYTES_MAX <= CAPACITY_BYTES;
  }

  get isFlushed(): boolean {
    return this.#head === this.#runStart;
  }

  /** Space at the end of the current run; the caller fills all of it. */
  append(stream: ByteStream, lengthBytes: number): number {
    assert(lengthBytes <= SHORT_REPLY_BYTES_MAX, "reply is too long for the ring");
    if (this.#head + lengthBytes > CAPACITY_BYTES) this.#wrap(stream);
    const at = this.#head;
    this.#head += lengthBytes;
    this.#usedBytes += lengthBytes;
    assert(this.#usedBytes <= CAPACITY_BYTES, "reply ring overflows");
    return at;
  }

  flush(stream: ByteStream): void {
    const lengthBytes = this.#head - this.#runStart;
    if (lengthBytes === 0) return;
    const run = this.bytes.subarray(this.#runStart, this.#head);
    this.#runStart = this.#head;
    stream.write(run, this.#tokenFirst + this.#pushRun(lengthBytes));
  }

  /** The oldest run has left. */
  written(token: number): void {
    assert(this.#runCount > 0, "a run was reported that was not sent");
    assert(token === this.#tokenFirst + this.#runFirst, "runs are reported out of order");
    this.#usedBytes -= this.#runBytes[this.#runFirst]!;
    this.#runFirst = (this.#runFirst + 1) % RUNS_MAX;
    this.#runCount--;
  }

  /** The bytes left over at the end count as part of the run before them. */
  #wrap(stream: ByteStream): void {
    const restBytes = CAPACITY_BYTES - this.#head;
    this.flush(stream);
    if (this.#runCount > 0) {
      const last = (this.#runFirst + this.#runCount - 1) % RUNS_MAX;
      this.#runBytes[last] = this.#runBytes[last]! + restBytes;
      this.#usedBytes += restBytes;
    }
    this.#head = 0;
    this.#runStart = 0;
  }

  #pushRun(lengthBytes: number): number {
    assert(this.#runCount < RUNS_MAX, "too many runs");
    const index = (this.#runFirst + this.#runCount) % RUNS_MAX;
    this.#runBytes[index] = lengthBytes;
    this.#runCount++;
    return index;
  }
}
