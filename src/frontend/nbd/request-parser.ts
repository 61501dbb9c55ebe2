/**
 * Cuts the bytes of a transmission phase into requests and payloads, wherever they were split on
 * their way. Works on the received bytes themselves; nothing is allocated per request.
 */
import { getU16, getU32, getU64Rounded } from "./big-endian.ts";
import type { NbdRequest } from "./command-rules.ts";
import { Command, PAYLOAD_SKIP_BYTES_MAX, REQUEST_BYTES, REQUEST_MAGIC } from "./wire.ts";
import { WritePayload } from "./write-payload.ts";
import type { PieceSink } from "./write-payload.ts";

/**
 * `taken`: go on. `refused`: go on and throw the payload away. `wait`: stop and offer this request
 * again at the next call. `stop`: nothing more is wanted.
 */
export type Admission = "taken" | "refused" | "wait" | "stop";

export interface RequestHandler {
  /** The request object is used again for the next one. */
  request(request: NbdRequest): Admission;
  readonly payloadPiece: PieceSink;
  /** The payload of the last request has arrived whole, or was thrown away. */
  payloadEnd(): void;
  violation(reason: string): void;
}

export class RequestParser {
  readonly #handler: RequestHandler;
  readonly #payload: WritePayload;
  readonly #header = new Uint8Array(REQUEST_BYTES);
  #headerBytes = 0;
  #stopped = false;
  readonly #request = {
    command: 0,
    flags: 0,
    offset: 0,
    lengthBytes: 0,
    cookieHigh: 0,
    cookieLow: 0,
  };

  constructor(handler: RequestHandler) {
    this.#handler = handler;
    this.#payload = new WritePayload(handler.payloadPiece);
  }

  /** A part of a payload has not arrived. */
  get isInPayload(): boolean {
    return this.#payload.leftBytes > 0;
  }

  /** Takes what it can of `bytes[start..end)` and returns where it stopped. */
  consume(bytes: Uint8Array, start: number, end: number): number {
    let at = start;
    while (!this.#stopped) {
      if (this.#payload.leftBytes > 0) {
        if (at === end) return at;
        at = this.#payload.take(bytes, at, end);
        if (this.#payload.leftBytes === 0) this.#handler.payloadEnd();
      } else if (this.#headerBytes === 0 && end - at >= REQUEST_BYTES) {
        if (!this.#admit(bytes, at)) break;
        at += REQUEST_BYTES;
      } else {
        at = this.#gatherHeader(bytes, at, end);
        if (this.#headerBytes < REQUEST_BYTES || !this.#admit(this.#header, 0)) break;
        this.#headerBytes = 0;
      }
    }
    return this.#stopped ? end : at;
  }

  /** What still arrives is thrown away. */
  stop(): void {
    this.#stopped = true;
  }

  #gatherHeader(bytes: Uint8Array, at: number, end: number): number {
    const count = Math.min(REQUEST_BYTES - this.#headerBytes, end - at);
    for (let i = 0; i < count; i++) this.#header[this.#headerBytes + i] = bytes[at + i]!;
    this.#headerBytes += count;
    return at + count;
  }

  #admit(header: Uint8Array, at: number): boolean {
    const request = this.#request;
    request.flags = getU16(header, at + 4);
    request.command = getU16(header, at + 6);
    request.cookieHigh = getU32(header, at + 8);
    request.cookieLow = getU32(header, at + 12);
    request.offset = getU64Rounded(header, at + 16);
    request.lengthBytes = getU32(header, at + 24);
    const hasPayload = request.command === Command.write;
    if (getU32(header, at) !== REQUEST_MAGIC) {
      this.#violation("a request does not start with the request magic");
      return false;
    }
    if (hasPayload && request.lengthBytes > PAYLOAD_SKIP_BYTES_MAX) {
      this.#violation(`a write announces ${request.lengthBytes} bytes`);
      return false;
    }
    const admission = this.#handler.request(request);
    if (admission === "stop") this.stop();
    if (admission === "stop" || admission === "wait") return false;
    if (hasPayload && request.lengthBytes > 0) {
      this.#payload.begin(request.offset, request.lengthBytes, admission === "refused");
    }
    return true;
  }

  #violation(reason: string): void {
    this.stop();
    this.#handler.violation(reason);
  }
}
