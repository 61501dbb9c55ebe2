/**
 * The payload of one WRITE on its way into the volume. What lies in the received chunk goes to the
 * volume from there, without a copy. A payload that is cut by the end of the chunk gathers in a
 * buffer: whole if it is short, otherwise piece by piece, cut at block boundaries. So a client that
 * sends a long payload slowly holds a small, fixed amount of memory.
 */
import { BLOCK_SIZE_BYTES, assert } from "../../base/index.ts";

export const GATHER_BYTES = 131_072;
/** A part of a long payload is worth a request of its own from here on. */
const DIRECT_BYTES_MIN = 32_768;

/** Receives pieces, in order; `source` is valid during the call only. */
export type PieceSink = (
  source: Uint8Array,
  sourceAt: number,
  lengthBytes: number,
  offset: number,
) => void;

export class WritePayload {
  readonly #sink: PieceSink;
  #gather: Uint8Array | undefined;
  #gathered = 0;
  #gatherGoal = 0;
  #offset = 0;
  #left = 0;
  #skip = false;

  constructor(sink: PieceSink) {
    this.#sink = sink;
  }

  /** Bytes of the payload that have not arrived. */
  get leftBytes(): number {
    return this.#left;
  }

  /** A payload of `lengthBytes` follows. With `skip` it is thrown away. */
  begin(offset: number, lengthBytes: number, skip: boolean): void {
    assert(this.#left === 0, "a payload is still arriving");
    this.#offset = offset;
    this.#left = lengthBytes;
    this.#skip = skip;
  }

  /** Takes what it can of `bytes[at..end)` and returns where it stopped. */
  take(bytes: Uint8Array, at: number, end: number): number {
    const available = Math.min(end - at, this.#left);
    if (this.#skip) {
      this.#left -= available;
      return at + available;
    }
    if (this.#gathered === 0) {
      const direct = this.#directBytes(available);
      if (direct > 0) {
        this.#sink(bytes, at, direct, this.#offset);
        this.#advance(direct);
        return at + direct;
      }
    }
    return at + this.#gatherFrom(bytes, at, available);
  }

  /** How much of the next `available` bytes goes to the volume as it lies there. */
  #directBytes(available: number): number {
    if (available === this.#left) return available;
    if (this.#left <= GATHER_BYTES || available < DIRECT_BYTES_MIN) return 0;
    return available - ((this.#offset + available) % BLOCK_SIZE_BYTES);
  }

  #gatherFrom(bytes: Uint8Array, at: number, available: number): number {
    if (this.#gathered === 0) {
      const whole = GATHER_BYTES - (this.#offset % BLOCK_SIZE_BYTES);
      this.#gatherGoal = Math.min(this.#left, this.#left <= GATHER_BYTES ? this.#left : whole);
    }
    this.#gather ??= new Uint8Array(GATHER_BYTES);
    const count = Math.min(available, this.#gatherGoal - this.#gathered);
    this.#gather.set(bytes.subarray(at, at + count), this.#gathered);
    this.#gathered += count;
    if (this.#gathered === this.#gatherGoal) {
      this.#sink(this.#gather, 0, this.#gathered, this.#offset);
      this.#left -= this.#gathered;
      this.#offset += this.#gathered;
      this.#gathered = 0;
    }
    return count;
  }

  #advance(count: number): void {
    this.#left -= count;
    this.#offset += count;
  }
}
