/**
 * JSON messages over a byte stream: the length in four bytes, little-endian, then the message in
 * ASCII. What breaks a limit ends the connection.
 */
import { assert, decodeAscii, getU32, setU32 } from "../base/index.ts";
import type { ByteStream, ByteStreamHandler } from "../ports/index.ts";
import { encodeAsciiJson } from "./ascii-json.ts";
import type { PartialFrames } from "./partial-frames.ts";

const HEAD_BYTES = 4;
/** A transaction with as many writes of as long values as the embedded directory takes fits. */
export const FRAME_BYTES_MAX: number = 16 * 1024 * 1024;
/** Of frames that the other end does not fetch. */
const QUEUED_BYTES_MAX = 64 * 1024 * 1024;

const NOTHING = new Uint8Array(0);
const GATHERED_BYTES_MIN = 1024;
/** Of a frame that has not come whole: for each connection, whatever others hold. */
const HELD_BYTES_FREE = 64 * 1024;

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
  readonly #partial: PartialFrames | undefined;
  /** The beginning of a frame that has not come whole. */
  #gathered: Uint8Array = NOTHING;
  #gatheredBytes = 0;
  /** Longer ones are not believed. */
  #frameBytesMax = FRAME_BYTES_MAX;
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

  /** `partial` bounds what connections hold together of frames that have not come whole. */
  constructor(stream: ByteStream, handler: FrameHandler, partial?: PartialFrames) {
    this.#stream = stream;
    this.#handler = handler;
    this.#partial = partial;
    stream.start(this);
  }

  get remote(): string {
    return this.#stream.remote;
  }

  /** Longer frames end the connection from now on. */
  limit(frameBytesMax: number): void {
    this.#frameBytesMax = frameBytesMax;
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
    if (this.#gatheredBytes === 0) return this.#keep(this.#takeWhole(bytes));
    this.#append(bytes);
    const gathered = this.#gathered.subarray(0, this.#gatheredBytes);
    const isWhole =
      gathered.length >= HEAD_BYTES && getU32(gathered, 0) + HEAD_BYTES <= gathered.length;
    if (isWhole) this.#forget();
    const rest = this.#takeWhole(gathered);
    if (isWhole) this.#keep(rest);
    else this.#tellHeld();
  }

  /** The rest is the beginning of another frame. */
  #keep(rest: Uint8Array): void {
    if (this.#isClosed || rest.length === 0) return;
    this.#append(rest);
    this.#tellHeld();
  }

  #append(bytes: Uint8Array): void {
    const wanted = this.#gatheredBytes + bytes.length;
    if (wanted > this.#gathered.length) {
      const before = this.#gathered;
      const doubled = Math.min(HEAD_BYTES + FRAME_BYTES_MAX, 2 * before.length);
      this.#gathered = new Uint8Array(Math.max(GATHERED_BYTES_MIN, doubled, wanted));
      this.#gathered.set(before.subarray(0, this.#gatheredBytes));
    }
    this.#gathered.set(bytes, this.#gatheredBytes);
    this.#gatheredBytes = wanted;
  }

  #tellHeld(): void {
    const bytes = this.#gathered.length;
    if (bytes > HELD_BYTES_FREE) this.#partial?.hold(this, bytes);
  }

  #forget(): void {
    this.#gathered = NOTHING;
    this.#gatheredBytes = 0;
    this.#partial?.release(this);
  }

  /** Handles the whole frames that the bytes begin with; returns what is behind them. */
  #takeWhole(bytes: Uint8Array): Uint8Array {
    let at = 0;
    while (!this.#isClosed && bytes.length - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + getU32(bytes, at);
      if (this.#isTooLong(end - at - HEAD_BYTES) || end > bytes.length) break;
      this.#frame(bytes.subarray(at + HEAD_BYTES, end));
      at = end;
    }
    return bytes.subarray(at);
  }

  #isTooLong(lengthBytes: number): boolean {
    if (lengthBytes <= this.#frameBytesMax) return false;
    this.destroy(`a frame of ${lengthBytes} bytes, the limit is ${this.#frameBytesMax}`);
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
    this.#forget();
    this.#handler.closed(this.#reason ?? "closed");
  }
}
