/**
 * Copies of payloads that have to wait: for their blocks, or for room in a journal. Buffers come in
 * powers of two and are used again; a bounded amount of them is kept.
 */
import { assert, BLOCK_SIZE_BYTES } from "../base/index.ts";

const CLASS_COUNT = 9;
export const PAYLOAD_BYTES_MAX: number = BLOCK_SIZE_BYTES << (CLASS_COUNT - 1);
const KEPT_BYTES_MAX = 16 << 20;

export class PayloadPool {
  readonly #free: Uint8Array[][] = Array.from({ length: CLASS_COUNT }, () => []);
  #keptBytes = 0;
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
    const buffer = this.#free[index]!.pop();
    if (buffer === undefined) return new Uint8Array(size);
    this.#keptBytes -= size;
    return buffer;
  }

  give(buffer: Uint8Array): void {
    this.#heldBytes -= buffer.length;
    assert(this.#heldBytes >= 0, "a payload was given back twice");
    if (this.#keptBytes + buffer.length > KEPT_BYTES_MAX) return;
    this.#keptBytes += buffer.length;
    this.#free[classOf(buffer.length)]!.push(buffer);
  }
}

function classOf(lengthBytes: number): number {
  const blocks = Math.ceil(lengthBytes / BLOCK_SIZE_BYTES);
  return blocks <= 1 ? 0 : 32 - Math.clz32(blocks - 1);
}
