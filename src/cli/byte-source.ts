/** Turns a stream into exact lengths for one reader. */
import type { Readable } from "node:stream";

export class ByteSource {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(stream: Readable) {
    this.#chunks = (stream as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
  }

  /** Fails with what the stream fails with, or when it ends before. */
  async take(lengthBytes: number): Promise<Buffer> {
    const taken = await this.takeUpTo(lengthBytes);
    if (taken.length === lengthBytes) return taken;
    throw new StreamEnded();
  }

  /** Less only at the end of the stream. */
  async takeUpTo(lengthBytes: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    let have = 0;
    while (have < lengthBytes) {
      if (this.#rest.length === 0) {
        const next = await this.#chunks.next();
        if (next.done === true) break;
        this.#rest = next.value;
      }
      const part = this.#rest.subarray(0, lengthBytes - have);
      this.#rest = this.#rest.subarray(part.length);
      parts.push(part);
      have += part.length;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }
}

export class StreamEnded extends Error {
  override readonly name: string = "StreamEnded";
}
