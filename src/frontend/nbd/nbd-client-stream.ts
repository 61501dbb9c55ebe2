/**
 * One connection of an NBD client: handshake, requests out, simple replies in. Reads land in the
 * caller's memory. Source: the protocol document of the nbd project (doc/proto.md).
 */
import { assert, CodedError, decodeUtf8, encodeUtf8 } from "../../base/index.ts";
import type { ByteStream, Clock, Timer } from "../../ports/index.ts";
import { getU16, getU32, getU64Rounded, setU16, setU32, setU64 } from "./big-endian.ts";
import {
  Command,
  GREETING_BYTES,
  HandshakeFlag,
  Info,
  Option,
  OPTION_BYTES_MAX,
  OPTION_HEADER_BYTES,
  OPTION_MAGIC,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC,
  OptionReply,
  REQUEST_BYTES,
  REQUEST_MAGIC,
  SERVER_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
} from "./wire.ts";

export interface ClientRequest {
  readonly command: number;
  readonly flags: number;
  readonly offset: number;
  readonly lengthBytes: number;
  /** Of a write: must not change until it is answered. */
  readonly payload: Uint8Array | undefined;
}

export interface ClientEvents {
  replied(cookie: number, errno: number): void;
  /** Where the data of a read go; undefined for what is no read under way. */
  targetOf(
    cookie: number,
  ): { readonly bytes: Uint8Array; readonly at: number; readonly lengthBytes: number } | undefined;
  /** Called once, when nothing comes any more. */
  lost(reason: string): void;
}

const NOT_REPORTED = -1;

export class NbdClientStream {
  readonly #stream: ByteStream;
  readonly #exportName: string;
  readonly #clock: Clock;
  readonly #events: ClientEvents;
  #state: "greeting" | "options" | "transmission" | "ended" = "greeting";
  #input = new Uint8Array(0);
  /** Of a read reply that is arriving: where its next bytes go. */
  #dataTarget: Uint8Array | undefined;
  #dataAt = 0;
  #dataLeft = 0;
  #dataCookie = 0;
  #sizeBytes = -1;
  #settle:
    | { resolve: (sizeBytes: number) => void; reject: (error: CodedError) => void }
    | undefined;
  #timer: Timer | undefined;

  constructor(stream: ByteStream, exportName: string, clock: Clock, events: ClientEvents) {
    this.#stream = stream;
    this.#exportName = exportName;
    this.#clock = clock;
    this.#events = events;
  }

  /** Resolves with the size of the export. Fails with `nbd-refused` or `connection-timeout`. */
  negotiate(timeoutMs: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
      this.#timer = this.#clock.after(timeoutMs, () => this.#end("no agreement in time"));
      this.#stream.start({
        data: (bytes) => this.#received(bytes),
        written: () => {},
        drained: () => {},
        ended: () => this.#end("the server closed the connection"),
        closed: (reason) => this.#end(reason ?? "the connection was closed"),
      });
    });
  }

  send(cookie: number, request: ClientRequest): void {
    if (this.#state !== "transmission") return;
    const header = new Uint8Array(REQUEST_BYTES);
    setU32(header, 0, REQUEST_MAGIC);
    setU16(header, 4, request.flags);
    setU16(header, 6, request.command);
    setU64(header, 8, cookie);
    setU64(header, 16, request.offset);
    setU32(header, 24, request.lengthBytes);
    this.#stream.write(header, NOT_REPORTED);
    if (request.payload !== undefined) this.#stream.write(request.payload, NOT_REPORTED);
  }

  /** What was written in this turn leaves at its end by itself. */
  flush(): void {}

  close(): void {
    if (this.#state === "transmission")
      this.send(0, {
        command: Command.disconnect,
        flags: 0,
        offset: 0,
        lengthBytes: 0,
        payload: undefined,
      });
    this.#state = "ended";
    this.#timer?.cancel();
    this.#stream.end();
  }

  #end(reason: string): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#timer?.cancel();
    this.#stream.destroy();
    const settle = this.#settle;
    this.#settle = undefined;
    if (settle === undefined) this.#events.lost(reason);
    else settle.reject(new CodedError({ code: "nbd-refused", message: `no volume: ${reason}` }));
  }

  #received(bytes: Uint8Array): void {
    let rest = bytes;
    while (rest.length > 0 && this.#state !== "ended") {
      if (this.#dataLeft > 0) {
        rest = this.#takeData(rest);
        continue;
      }
      const joined = this.#input.length === 0 ? rest : concat(this.#input, rest);
      const used = this.#step(joined);
      if (used === 0) {
        this.#input = joined.slice();
        return;
      }
      this.#input = new Uint8Array(0);
      rest = joined.subarray(used);
    }
  }

  #takeData(bytes: Uint8Array): Uint8Array {
    const count = Math.min(bytes.length, this.#dataLeft);
    this.#dataTarget?.set(bytes.subarray(0, count), this.#dataAt);
    this.#dataAt += count;
    this.#dataLeft -= count;
    if (this.#dataLeft === 0) this.#events.replied(this.#dataCookie, 0);
    return bytes.subarray(count);
  }

  /** Takes one message off the front; 0 if it is not complete. */
  #step(bytes: Uint8Array): number {
    if (this.#state === "greeting") return this.#greeting(bytes);
    if (this.#state === "options") return this.#optionReply(bytes);
    if (bytes.length < SIMPLE_REPLY_BYTES) return 0;
    if (getU32(bytes, 0) !== SIMPLE_REPLY_MAGIC) {
      this.#end("a reply cannot be read");
      return bytes.length;
    }
    const errno = getU32(bytes, 4);
    const cookie = getU64Rounded(bytes, 8);
    const target = errno === 0 ? this.#events.targetOf(cookie) : undefined;
    if (target === undefined) {
      this.#events.replied(cookie, errno);
    } else {
      this.#dataTarget = target.bytes;
      this.#dataAt = target.at;
      this.#dataLeft = target.lengthBytes;
      this.#dataCookie = cookie;
    }
    return SIMPLE_REPLY_BYTES;
  }

  #greeting(bytes: Uint8Array): number {
    if (bytes.length < GREETING_BYTES) return 0;
    const isServer =
      getU32(bytes, 0) === SERVER_MAGIC[0] &&
      getU32(bytes, 4) === SERVER_MAGIC[1] &&
      getU32(bytes, 8) === OPTION_MAGIC[0] &&
      getU32(bytes, 12) === OPTION_MAGIC[1] &&
      (getU16(bytes, 16) & HandshakeFlag.fixedNewstyle) !== 0;
    if (!isServer) {
      this.#end("this is no NBD server");
      return bytes.length;
    }
    const name = encodeUtf8(this.#exportName);
    const dataBytes = 4 + name.length + 2;
    const hello = new Uint8Array(4 + OPTION_HEADER_BYTES + dataBytes);
    setU32(hello, 0, HandshakeFlag.fixedNewstyle | HandshakeFlag.noZeroes);
    setU32(hello, 4, OPTION_MAGIC[0]);
    setU32(hello, 8, OPTION_MAGIC[1]);
    setU32(hello, 12, Option.go);
    setU32(hello, 16, dataBytes);
    setU32(hello, 20, name.length);
    hello.set(name, 24);
    this.#stream.write(hello, NOT_REPORTED);
    this.#state = "options";
    return GREETING_BYTES;
  }

  #optionReply(bytes: Uint8Array): number {
    if (bytes.length < OPTION_REPLY_HEADER_BYTES) return 0;
    const isReply =
      getU32(bytes, 0) === OPTION_REPLY_MAGIC[0] && getU32(bytes, 4) === OPTION_REPLY_MAGIC[1];
    const length = getU32(bytes, 16);
    if (!isReply || length > OPTION_BYTES_MAX) {
      this.#end("an answer to the handshake cannot be read");
      return bytes.length;
    }
    const total = OPTION_REPLY_HEADER_BYTES + length;
    if (bytes.length < total) return 0;
    const type = getU32(bytes, 12);
    const at = OPTION_REPLY_HEADER_BYTES;
    if (type === OptionReply.info) {
      if (length >= 12 && getU16(bytes, at) === Info.export)
        this.#sizeBytes = getU64Rounded(bytes, at + 2);
    } else if (type === OptionReply.ack && this.#sizeBytes >= 0) {
      this.#agreed();
    } else {
      this.#end(`the server refuses: ${decodeUtf8(bytes, at, total) ?? "no reason"}`);
    }
    return total;
  }

  #agreed(): void {
    this.#state = "transmission";
    this.#timer?.cancel();
    const settle = this.#settle;
    assert(settle !== undefined, "a handshake ends once");
    this.#settle = undefined;
    settle.resolve(this.#sizeBytes);
  }
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const all = new Uint8Array(a.length + b.length);
  all.set(a);
  all.set(b, a.length);
  return all;
}
