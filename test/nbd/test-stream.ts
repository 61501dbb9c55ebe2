/**
 * A stream whose other end is the test: what is sent is kept, what is queued leaves when the test
 * says so.
 */
import assert from "node:assert/strict";
import type { ByteStream, ByteStreamHandler } from "../../src/ports/index.ts";

export class TestStream implements ByteStream {
  readonly remote: string = "test";
  isPaused = false;
  isEnding = false;
  isClosed = false;
  /** TLS was asked for; `secured` grants it. */
  isSecuring = false;
  /** Queued bytes from which `write` answers false. */
  highWaterBytes: number = Number.POSITIVE_INFINITY;
  readonly #received: Uint8Array[] = [];
  #queue: { readonly bytes: Uint8Array; readonly token: number }[] = [];
  #isAboveHighWater = false;
  #handler: ByteStreamHandler | undefined;

  start(handler: ByteStreamHandler): void {
    assert(this.#handler === undefined, "a stream is started once");
    this.#handler = handler;
  }

  write(bytes: Uint8Array, token: number): boolean {
    // A stream that the network has closed is told of a little later: until then bytes vanish.
    if (this.isClosed) return true;
    assert(!this.isEnding, "nothing is written after the end");
    this.#queue.push({ bytes, token });
    this.#isAboveHighWater = this.queuedBytes >= this.highWaterBytes;
    return !this.#isAboveHighWater;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  end(): void {
    this.isEnding = true;
  }

  destroy(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.#queue = [];
    queueMicrotask(() => this.#handler?.closed(undefined));
  }

  secure(): void {
    assert(this.isPaused && this.#queue.length === 0, "nothing is under way when TLS begins");
    this.isSecuring = true;
  }

  secured(client: string): void {
    assert(this.isSecuring, "TLS was asked for");
    this.isSecuring = false;
    this.#handler!.secured?.(client);
  }

  get queuedBytes(): number {
    return this.#queue.reduce((sum, entry) => sum + entry.bytes.length, 0);
  }

  /** The client sends. The bytes are destroyed afterwards, as in a buffer that is used again. */
  deliver(bytes: Uint8Array): void {
    assert(!this.isPaused, "nothing is delivered while paused");
    const buffer = Buffer.from(bytes);
    this.#handler!.data(buffer);
    buffer.fill(0xdd);
  }

  deliverEnd(): void {
    this.#handler!.ended();
  }

  /** What is queued leaves, bytes first copied by the operating system, then reported. */
  drain(): void {
    const queue = this.#queue;
    this.#queue = [];
    for (const { bytes } of queue) this.#received.push(Buffer.from(bytes));
    for (const { token } of queue) if (token >= 0) this.#handler!.written(token);
    if (this.#isAboveHighWater && this.#queue.length === 0) {
      this.#isAboveHighWater = false;
      this.#handler!.drained();
    }
    if (this.isEnding && this.#queue.length === 0) this.destroy();
  }

  /** Everything the client has received since the last call. */
  takeReceived(): Buffer {
    const bytes = Buffer.concat(this.#received);
    this.#received.length = 0;
    return bytes;
  }
}
