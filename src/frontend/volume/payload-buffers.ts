/**
 * Copies of payloads, kept until their writes are answered. Buffers come in powers of two, with
 * room for a message header in front, and are used again; a bounded amount of them is kept idle, by
 * all connections together.
 */
import { assert, BLOCK_SIZE_BYTES } from "../../base/index.ts";

const CLASS_COUNT = 9;
/** Longer payloads are rare: they get a buffer of their own, which is not kept. */
const POOLED_BYTES_MAX = BLOCK_SIZE_BYTES << (CLASS_COUNT - 1);
const IDLE_BYTES_MAX = 16 << 20;
/** In front of the payload, for whoever sends it in one piece with a header. */
export const HEADROOM_BYTES = 32;

export class Payload {
  readonly bytes: Uint8Array;
  #view: Uint8Array | undefined;

  constructor(capacityBytes: number) {
    this.bytes = new Uint8Array(HEADROOM_BYTES + capacityBytes);
  }

  get capacityBytes(): number {
    return this.bytes.length - HEADROOM_BYTES;
  }

  copyFrom(source: Uint8Array, sourceAt: number, lengthBytes: number): void {
    assert(lengthBytes <= this.capacityBytes, "the payload is too long for its buffer");
    this.bytes.set(source.subarray(sourceAt, sourceAt + lengthBytes), HEADROOM_BYTES);
  }

  /** A part of `bytes`; kept, because the next one is likely to be alike. */
  view(start: number, end: number): Uint8Array {
    const kept = this.#view;
    if (kept !== undefined && kept.byteOffset === start && kept.byteLength === end - start) {
      return kept;
    }
    const view = this.bytes.subarray(start, end);
    this.#view = view;
    return view;
  }
}

/** Of all connections of this thread. */
const idle: Payload[][] = Array.from({ length: CLASS_COUNT }, () => []);
let idleBytes = 0;

export class PayloadBuffers {
  #heldBytes = 0;

  /** Bytes in buffers that are out now. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Room for this many bytes behind the headroom, with undefined contents. */
  take(lengthBytes: number): Payload {
    assert(lengthBytes > 0, "an empty payload needs no buffer");
    if (lengthBytes > POOLED_BYTES_MAX) {
      this.#heldBytes += lengthBytes;
      return new Payload(lengthBytes);
    }
    const index = classOf(lengthBytes);
    const capacityBytes = BLOCK_SIZE_BYTES << index;
    this.#heldBytes += capacityBytes;
    const payload = idle[index]!.pop();
    if (payload === undefined) return new Payload(capacityBytes);
    idleBytes -= capacityBytes;
    return payload;
  }

  give(payload: Payload): void {
    const { capacityBytes } = payload;
    this.#heldBytes -= capacityBytes;
    assert(this.#heldBytes >= 0, "a payload was given back twice");
    if (capacityBytes > POOLED_BYTES_MAX) return;
    if (idleBytes + capacityBytes > IDLE_BYTES_MAX) return;
    idleBytes += capacityBytes;
    idle[classOf(capacityBytes)]!.push(payload);
  }
}

function classOf(lengthBytes: number): number {
  const blocks = Math.ceil(lengthBytes / BLOCK_SIZE_BYTES);
  return blocks <= 1 ? 0 : 32 - Math.clz32(blocks - 1);
}
