/**
 * Copies of payloads that have to wait: for their blocks, or for room in a journal. A bounded
 * amount of buffers is kept, by all volumes together.
 */
import { assert, IDLE_BUFFER_BYTES_MAX, IdleBuffers, idleBufferSize } from "../base/index.ts";

export const PAYLOAD_BYTES_MAX: number = IDLE_BUFFER_BYTES_MAX;
export const PAYLOADS_KEPT_BYTES_MAX: number = 16 << 20;

/** Of all volumes of this thread: what was busy once keeps nothing from those that are. */
const idle = new IdleBuffers<Uint8Array>(PAYLOADS_KEPT_BYTES_MAX);

export class PayloadPool {
  #heldBytes = 0;

  /** Bytes in buffers that are out now. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** A buffer of at least this length with undefined contents. */
  take(lengthBytes: number): Uint8Array {
    const sizeBytes = idleBufferSize(lengthBytes);
    this.#heldBytes += sizeBytes;
    return idle.take(sizeBytes) ?? new Uint8Array(sizeBytes);
  }

  give(buffer: Uint8Array): void {
    this.#heldBytes -= buffer.length;
    assert(this.#heldBytes >= 0, "a payload was given back twice");
    idle.give(buffer, buffer.length);
  }
}
