/**
 * Copies of payloads, kept until their writes are answered, with room for a message header in
 * front. A bounded amount of buffers is kept idle, by all connections together.
 */
import { assert, IDLE_BUFFER_BYTES_MAX, IdleBuffers, idleBufferSize } from "../../base/index.ts";

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
const idle = new IdleBuffers<Payload>(IDLE_BYTES_MAX);

export class PayloadBuffers {
  #heldBytes = 0;

  /** Bytes in buffers that are out now. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Room for this many bytes behind the headroom, with undefined contents. */
  take(lengthBytes: number): Payload {
    if (lengthBytes > IDLE_BUFFER_BYTES_MAX) {
      this.#heldBytes += lengthBytes;
      return new Payload(lengthBytes);
    }
    const capacityBytes = idleBufferSize(lengthBytes);
    this.#heldBytes += capacityBytes;
    return idle.take(capacityBytes) ?? new Payload(capacityBytes);
  }

  give(payload: Payload): void {
    const { capacityBytes } = payload;
    this.#heldBytes -= capacityBytes;
    assert(this.#heldBytes >= 0, "a payload was given back twice");
    // Longer payloads are rare: theirs are not kept.
    if (capacityBytes <= IDLE_BUFFER_BYTES_MAX) idle.give(payload, capacityBytes);
  }
}
