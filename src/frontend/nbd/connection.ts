/**
 * One client: its stream, first with a handshake, then with a transmission. Whatever a client does
 * wrong ends its own connection and nothing else.
 */
import { assert } from "../../base/index.ts";
import type { ByteStream, ByteStreamHandler } from "../../ports/index.ts";
import type { ExportCatalog } from "./export-catalog.ts";
import { Handshake } from "./handshake.ts";
import type { HandshakeOwner } from "./handshake.ts";
import type { ReadMemory, ReadMemoryPool } from "./read-memory.ts";
import { Transmission } from "./transmission.ts";
import type { Agreement, TransmissionOwner } from "./transmission.ts";

const NOT_REPORTED = -1;
/** Of the answer to STARTTLS; no transmission has begun by then. */
const SECURE_TOKEN = 0;

export interface ConnectionOwner {
  readonly memory: ReadMemoryPool;
  /** Whether clients get nothing before they have asked for TLS and proven who they are. */
  readonly requiresTls: boolean;
  /** The negotiation has ended well. */
  agreed(connection: Connection): void;
  /** All was sent, and the client is to close. One that does not has to be destroyed. */
  ending(connection: Connection): void;
  violation(connection: Connection, reason: string): void;
  closed(connection: Connection, reason: string | undefined): void;
}

export class Connection implements ByteStreamHandler, HandshakeOwner, TransmissionOwner {
  readonly remote: string;
  readonly #stream: ByteStream;
  readonly #owner: ConnectionOwner;
  readonly #handshake: Handshake;
  #transmission: Transmission | undefined;
  #agreement: Agreement | undefined;
  #memory: ReadMemory | undefined;
  /** Received and not consumed; while there is any, the stream is paused. */
  #rest: Uint8Array | undefined;
  #isConsuming = false;
  #isOver = false;
  /** The client sends nothing more. */
  #hasEnded = false;
  #clientName: string | undefined;

  constructor(stream: ByteStream, catalog: ExportCatalog, owner: ConnectionOwner) {
    this.remote = stream.remote;
    this.#stream = stream;
    this.#owner = owner;
    const { requiresTls } = owner;
    this.#handshake = new Handshake(catalog, { remote: stream.remote, requiresTls }, this);
  }

  start(): void {
    this.#stream.start(this);
    this.#handshake.start();
  }

  /** The canonical name of the export in use; undefined while negotiating. */
  get exportName(): string | undefined {
    return this.#agreement?.exportName;
  }

  /** Who the client has proven to be. */
  get clientName(): string | undefined {
    return this.#clientName;
  }

  get requestsTotal(): number {
    return this.#transmission?.requestsTotal ?? 0;
  }

  /** Answers what is under way, then closes. */
  shutDown(): void {
    if (this.#transmission === undefined) this.destroy();
    else this.#transmission.shutDown();
  }

  destroy(): void {
    this.#isOver = true;
    this.#transmission?.cutOff();
    this.#stream.destroy();
  }

  data(bytes: Uint8Array): void {
    if (this.#isOver) return;
    if (this.#handshake.isSecuring) {
      this.violation("bytes came before TLS was on");
      return;
    }
    if (this.#rest !== undefined) {
      this.#rest = concatenated(this.#rest, bytes);
      return;
    }
    const at = this.#consume(bytes);
    if (this.#isOver || !this.#mustWait()) return;
    // A copy for certain: `slice` of Node's buffers makes none.
    this.#rest = new Uint8Array(bytes.subarray(at));
    this.#stream.pause();
  }

  written(token: number): void {
    if (this.#transmission !== undefined) this.#transmission.written(token);
    else if (token === SECURE_TOKEN && !this.#isOver) this.#startTls();
  }

  drained(): void {
    this.#handshake.drained();
    this.proceed();
  }

  ended(): void {
    this.#hasEnded = true;
    if (this.#rest === undefined || this.#handshake.isSecuring) this.#endOfInput();
  }

  closed(reason: string | undefined): void {
    this.#isOver = true;
    this.#rest = undefined;
    const agreement = this.#agreement;
    this.#transmission?.abandon(() => {
      assert(agreement !== undefined && this.#memory !== undefined, "nothing was agreed on");
      this.#owner.memory.giveBack(this.#memory);
    });
    this.#owner.closed(this, reason);
  }

  send(bytes: Uint8Array): boolean {
    return this.#stream.write(bytes, NOT_REPORTED);
  }

  agreed(agreement: Agreement): void {
    this.#agreement = agreement;
    this.#memory = this.#owner.memory.take(agreement.volume);
    this.#transmission = new Transmission(this.#stream, agreement, this.#memory, this);
    this.#owner.agreed(this);
  }

  secure(answer: Uint8Array): void {
    this.#stream.write(answer, SECURE_TOKEN);
  }

  #startTls(): void {
    assert(this.#stream.secure !== undefined, "a listener that requires TLS has it");
    assert(this.#handshake.isSecuring, "TLS begins when it was asked for");
    this.#stream.secure();
  }

  secured(client: string): void {
    if (this.#isOver) return;
    assert((this.#rest?.length ?? 0) === 0, "nothing of before is read after TLS is on");
    this.#rest = undefined;
    this.#clientName = client;
    this.#handshake.secured(client);
    this.#stream.resume();
  }

  aborted(): void {
    this.finished();
  }

  finished(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stream.end();
    this.#owner.ending(this);
  }

  violation(reason: string): void {
    if (this.#isOver) return;
    this.#owner.violation(this, reason);
    this.destroy();
  }

  /** Goes on with what had to wait. */
  proceed(): void {
    const rest = this.#rest;
    if (this.#handshake.isSecuring) return;
    if (rest === undefined || this.#isConsuming || this.#isOver) return;
    const at = this.#consume(rest);
    if (this.#isOver) return;
    if (this.#mustWait()) {
      this.#rest = rest.subarray(at);
      return;
    }
    this.#rest = undefined;
    if (this.#hasEnded) this.#endOfInput();
    else this.#stream.resume();
  }

  #endOfInput(): void {
    if (this.#transmission === undefined) this.destroy();
    else this.#transmission.endInput();
  }

  #mustWait(): boolean {
    if (this.#transmission !== undefined) return this.#transmission.stalled;
    return this.#handshake.isCongested || this.#handshake.isSecuring;
  }

  #consume(bytes: Uint8Array): number {
    this.#isConsuming = true;
    let at = 0;
    if (!this.#handshake.isOver) at = this.#handshake.consume(bytes, 0, bytes.length);
    if (this.#transmission !== undefined && !this.#isOver) {
      at = this.#transmission.consume(bytes, at, bytes.length);
    }
    this.#isConsuming = false;
    return at;
  }
}

function concatenated(first: Uint8Array, second: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}
