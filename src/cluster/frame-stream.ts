/**
 * JSON messages over a byte stream: the length in four bytes, little-endian, then the message in
 * ASCII. What breaks a limit ends the connection.
 */
import { assert, decodeAscii, getU32, setU32 } from "../base/index.ts";
import type { ByteStream, ByteStreamHandler } from "../ports/index.ts";
import { encodeAsciiJson } from "./ascii-json.ts";

const HEAD_BYTES = 4;
/** A transaction with as many writes of as long values as the embedded directory takes fits. */
export const FRAME_BYTES_MAX: number = 16 * 1024 * 1024;
/** Of frames that the other end does not fetch. */
const QUEUED_BYTES_MAX = 64 * 1024 * 1024;

assert(QUEUED_BYTES_MAX > FRAME_BYTES_MAX, "a frame of any length may be queued");

export interface FrameHandler {
  /**
   * What it throws ends the connection, with its message as the reason. The frame came in so many
   * bytes.
   */
  frame(value: unknown, lengthBytes: number): void;
  /** Called once, also after `destroy`. */
  closed(reason: string): void;
}

export function isFrameTooLong(bytes: Uint8Array): boolean {
  return bytes.length - HEAD_BYTES > FRAME_BYTES_MAX;
}

/** The bytes of a frame. Too long ones are the caller's to refuse. */
export function encodeFrame(message: object): Uint8Array {
  const bytes = encodeAsciiJson(message, HEAD_BYTES);
  setU32(bytes, 0, bytes.length - HEAD_BYTES);
  return bytes;
}

export class FrameStream implements ByteStreamHandler {
  readonly #stream: ByteStream;
  readonly #handler: FrameHandler;
  readonly #pieces: Uint8Array[] = [];
  #gatheredBytes = 0;
  /** Lengths of what was written and has not left, by token. */
  readonly #queued = new Map<number, number>();
  #queuedBytes = 0;
  #nextToken = 0;
  #isClosed = false;
  #isEnding = false;
  /**
   * Nothing is read while one of them is true: the other end fetches too little, or has to wait.
   */
  #isFull = false;
  #isHeld = false;
  #reason: string | undefined;

  constructor(stream: ByteStream, handler: FrameHandler) {
    this.#stream = stream;
    this.#handler = handler;
    stream.start(this);
  }

  get remote(): string {
    return this.#stream.remote;
  }

  send(message: object): void {
    this.sendBytes(encodeFrame(message));
  }

  /** Of `encodeFrame`. Nothing is read while the other end does not fetch what is sent. */
  sendBytes(bytes: Uint8Array): void {
    if (this.#isClosed || this.#isEnding) return;
    assert(!isFrameTooLong(bytes), "a frame is too long");
    if (this.#queuedBytes + bytes.length > QUEUED_BYTES_MAX)
      return this.destroy("the other end does not fetch what it asked for");
    const token = this.#nextToken++;
    this.#queued.set(token, bytes.length);
    this.#queuedBytes += bytes.length;
    if (this.#stream.write(bytes, token)) return;
    this.#pause(true, this.#isHeld);
  }

  /** Nothing more is read, beyond what has come already, until it is called with false. */
  hold(isHeld: boolean): void {
    if (!this.#isClosed) this.#pause(this.#isFull, isHeld);
  }

  #pause(isFull: boolean, isHeld: boolean): void {
    const wasPaused = this.#isFull || this.#isHeld;
    this.#isFull = isFull;
    this.#isHeld = isHeld;
    const isPaused = isFull || isHeld;
    if (isPaused === wasPaused) return;
    if (isPaused) this.#stream.pause();
    else this.#stream.resume();
  }

  /** Closes when what was sent has left and the other end has closed too. */
  end(): void {
    if (this.#isClosed || this.#isEnding) return;
    this.#isEnding = true;
    this.#stream.end();
  }

  destroy(reason: string): void {
    if (this.#isClosed) return;
    this.#reason ??= reason;
    this.#stream.destroy();
    this.#close();
  }

  data(bytes: Uint8Array): void {
    if (this.#isClosed) return;
    // Most frames come whole, and alone: only what waits for more is copied.
    const rest = this.#gatheredBytes === 0 ? this.#takeWhole(bytes) : bytes;
    if (this.#isClosed || rest.length === 0) return;
    this.#pieces.push(rest.slice());
    this.#gatheredBytes += rest.length;
    for (;;) {
      const lengthBytes = this.#frameBytes();
      if (lengthBytes === undefined || this.#isTooLong(lengthBytes)) return;
      if (this.#gatheredBytes < HEAD_BYTES + lengthBytes) return;
      this.#frame(this.#take(HEAD_BYTES + lengthBytes).subarray(HEAD_BYTES));
      if (this.#isClosed) return;
    }
  }

  /** Handles the whole frames that the bytes begin with; returns what is behind them. */
  #takeWhole(bytes: Uint8Array): Uint8Array {
    let at = 0;
    while (!this.#isClosed && bytes.length - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + getU32(bytes, at);
      if (end > bytes.length) break;
      if (this.#isTooLong(end - at - HEAD_BYTES)) break;
      this.#frame(bytes.subarray(at + HEAD_BYTES, end));
      at = end;
    }
    return bytes.subarray(at);
  }

  #isTooLong(lengthBytes: number): boolean {
    if (lengthBytes <= FRAME_BYTES_MAX) return false;
    this.destroy(`a frame of ${lengthBytes} bytes, the limit is ${FRAME_BYTES_MAX}`);
    return true;
  }

  #frame(body: Uint8Array): void {
    try {
      this.#handler.frame(JSON.parse(decodeAscii(body)), HEAD_BYTES + body.length);
    } catch (error) {
      this.destroy(error instanceof Error ? error.message : String(error));
    }
  }

  written(token: number): void {
    this.#queuedBytes -= this.#queued.get(token) ?? 0;
    this.#queued.delete(token);
  }

  drained(): void {
    this.#pause(false, this.#isHeld);
  }

  ended(): void {
    this.destroy("the other end has closed the connection");
  }

  closed(reason: string | undefined): void {
    this.#reason ??= reason ?? "the connection was closed";
    this.#close();
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#pieces.length = 0;
    this.#handler.closed(this.#reason ?? "closed");
  }

  /** Of the next frame, once its head is there. */
  #frameBytes(): number | undefined {
    if (this.#gatheredBytes < HEAD_BYTES) return undefined;
    if (this.#pieces[0]!.length < HEAD_BYTES) this.#join();
    return getU32(this.#pieces[0]!, 0);
  }

  #join(): void {
    const all = new Uint8Array(this.#gatheredBytes);
    let at = 0;
    for (const piece of this.#pieces.splice(0)) {
      all.set(piece, at);
      at += piece.length;
    }
    this.#pieces.push(all);
  }

  #take(count: number): Uint8Array {
    if (this.#pieces.length > 1) this.#join();
    const all = this.#pieces.pop()!;
    if (all.length > count) this.#pieces.push(all.subarray(count));
    this.#gatheredBytes -= count;
    return all.subarray(0, count);
  }
}
