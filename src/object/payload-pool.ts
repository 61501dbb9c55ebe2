/**
 * Copies of payloads that have to wait: for their blocks, or for room in a journal. Buffers come in
 * powers of two and are used again; a bounded amount of them is kept, by all volumes together.
 */
import { assert, BLOCK_SIZE_BYTES } from "../base/index.ts";

const CLASS_COUNT = 9;
export const PAYLOAD_BYTES_MAX: number = BLOCK_SIZE_BYTES << (CLASS_COUNT - 1);
export const PAYLOADS_KEPT_BYTES_MAX: number = 16 << 20;

/** Of all volumes of this thread: what was busy once keeps nothing from those that are. */
const free: Uint8Array[][] = Array.from({ length: CLASS_COUNT }, () => []);
let keptBytes = 0;

export class PayloadPool {
  #heldBytes = 0;

  /** Bytes in buffers that are out now. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** A buffer of at least this length with undefined contents. */
  take(lengthBytes: number): Uint8Array {
    assert(lengthBytes > 0 && lengthBytes <= PAYLOAD_BYTES_MAX, "payload length out of range");
    const index = classOf(lengthBytes);
    const size = BLOCK_SIZE_BYTES << index;
    this.#heldBytes += size;
    const buffer = free[index]!.pop();
    if (buffer === undefined) return new Uint8Array(size);
    keptBytes -= size;
    return buffer;
  }

  give(buffer: Uint8Array): void {
    this.#heldBytes -= buffer.length;
    assert(this.#heldBytes >= 0, "a payload was given back twice");
    if (keptBytes + buffer.length > PAYLOADS_KEPT_BYTES_MAX) return;
    keptBytes += buffer.length;
    free[classOf(buffer.length)]!.push(buffer);
  }
}

function classOf(lengthBytes: number): number {
  const blocks = Math.ceil(lengthBytes / BLOCK_SIZE_BYTES);
  return blocks <= 1 ? 0 : 32 - Math.clz32(blocks - 1);
}
