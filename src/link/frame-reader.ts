/**
 * Cuts a byte stream into messages. A message that lies whole in what was received is handed on
 * where it is; one that is spread over several pieces is put together first.
 */
import { assert } from "../base/index.ts";
import { decodeLinkHeader, LINK_HEADER_BYTES } from "../format/index.ts";
import type { LinkHeader } from "../format/index.ts";
import type { ChunkPool } from "./chunk-pool.ts";

/** `bytes[start..end)` is the body, valid during the call. */
export type FrameVisitor = (
  header: LinkHeader,
  bytes: Uint8Array,
  start: number,
  end: number,
) => void;

const OWN_BYTES_MIN = 4096;
/** What is larger is for one message, and then others' again. */
const OWN_BYTES_MAX = 65_536;

export class FrameReader {
  readonly #pool: ChunkPool;
  readonly #visit: FrameVisitor;
  readonly #header: LinkHeader = { type: 0, bodyBytes: 0, requestId: 0 };
  #own: Uint8Array = new Uint8Array(OWN_BYTES_MIN);
  /** The beginning of a message that is not complete: in memory of its own, or of the pool. */
  #assembly: Uint8Array = this.#own;
  #assembled = 0;
  #fault: string | undefined;

  constructor(pool: ChunkPool, visit: FrameVisitor) {
    this.#pool = pool;
    this.#visit = visit;
  }

  /** Returns why the stream cannot be believed any more; nothing is read from it afterwards. */
  push(bytes: Uint8Array): string | undefined {
    if (this.#fault !== undefined) return this.#fault;
    let at = 0;
    if (this.#assembled > 0) {
      at = this.#complete(bytes);
      if (this.#fault !== undefined || at < 0) return this.#fault;
    }
    while (bytes.length - at >= LINK_HEADER_BYTES) {
      this.#fault = decodeLinkHeader(bytes, at, this.#header);
      if (this.#fault !== undefined) return this.#fault;
      const end = at + LINK_HEADER_BYTES + this.#header.bodyBytes;
      if (end > bytes.length) {
        this.#reserve(end - at);
        break;
      }
      this.#visit(this.#header, bytes, at + LINK_HEADER_BYTES, end);
      at = end;
    }
    this.#keep(bytes, at, bytes.length);
    return undefined;
  }

  /** Takes what the message that was begun lacks; where the rest begins, or -1 if it lacks more. */
  #complete(bytes: Uint8Array): number {
    let at = 0;
    if (this.#assembled < LINK_HEADER_BYTES) {
      at = Math.min(bytes.length, LINK_HEADER_BYTES - this.#assembled);
      this.#keep(bytes, 0, at);
      if (this.#assembled < LINK_HEADER_BYTES) return -1;
    }
    this.#fault = decodeLinkHeader(this.#assembly, 0, this.#header);
    if (this.#fault !== undefined) return -1;
    const total = LINK_HEADER_BYTES + this.#header.bodyBytes;
    this.#reserve(total);
    const end = Math.min(bytes.length, at + total - this.#assembled);
    this.#keep(bytes, at, end);
    if (this.#assembled < total) return -1;
    this.#assembled = 0;
    this.#visit(this.#header, this.#assembly, LINK_HEADER_BYTES, total);
    if (this.#assembly !== this.#own) this.#pool.give(this.#assembly);
    this.#assembly = this.#own;
    return end;
  }

  #keep(bytes: Uint8Array, start: number, end: number): void {
    const kept = this.#assembled + end - start;
    assert(kept <= this.#assembly.length, "there is room for what was received");
    this.#assembly.set(bytes.subarray(start, end), this.#assembled);
    this.#assembled = kept;
  }

  /** Makes room for a message of so many bytes, of which the beginning may be here. */
  #reserve(messageBytes: number): void {
    const before = this.#assembly;
    if (messageBytes <= before.length) return;
    if (messageBytes > OWN_BYTES_MAX) this.#assembly = this.#pool.take(messageBytes);
    else this.#assembly = this.#own = new Uint8Array(2 ** Math.ceil(Math.log2(messageBytes)));
    this.#assembly.set(before.subarray(0, this.#assembled));
  }
}
