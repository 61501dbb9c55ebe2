/**
 * One connection between two hosts, from the hello to its end. It promises: who is at the other end
 * is known before anything else is listened to; a message that cannot be believed ends the link and
 * nothing else; silence ends it, too, so that everything under way is answered within a bound.
 */
import {
  assert,
  CodedError,
  decodeUtf8,
  encodeUtf8,
  errorText,
  setU32,
  getU32,
} from "../base/index.ts";
import type { ByteStream, Clock, Log, Timer } from "../ports/index.ts";
import {
  encodeLinkHeader,
  LINK_BODY_BYTES_MAX,
  LINK_CALL,
  LINK_FAULT,
  LINK_HEADER_BYTES,
  LINK_HELLO,
  LINK_PING,
  LINK_PONG,
  LINK_REFUSAL,
  LINK_RESULT,
  LINK_VERSION,
  LINK_WELCOME,
} from "../format/index.ts";
import type { LinkHeader } from "../format/index.ts";
import { FrameReader } from "./frame-reader.ts";
import { parseFault, parseJson } from "./link-json.ts";
import { Outgoing } from "./outgoing.ts";
import { Patience, PING_MS } from "./patience.ts";

const HELLO_MS = 5000;
const REFUSAL_LINGER_MS = 1000;
const CALLS_MAX = 4096;
/** A timer this late says that we stood still, not the other end. */
const LATE_MS = 400;

export interface LinkIdentity {
  readonly clusterId: string;
  readonly hostId: string;
  /** Counts the starts of the host. */
  readonly incarnation: number;
  /** Which of the networks this is. */
  readonly network: "management" | "storage";
}

export interface CallRequest {
  readonly method: string;
  readonly argument: unknown;
  /** Valid during the call only. */
  readonly payload: Uint8Array;
}

export interface CallAnswer {
  readonly result: unknown;
  readonly payload?: Uint8Array;
}

export interface LinkEvents {
  /** Throws a CodedError to refuse the other end; it is told why. */
  admit(hello: LinkIdentity): void;
  /** The other end is known, and the link is up. */
  welcome(link: Link, hello: LinkIdentity): void;
  call(link: Link, request: CallRequest): Promise<CallAnswer>;
  /** Messages that belong to nobody here. */
  message(link: Link, header: LinkHeader, bytes: Uint8Array, start: number, end: number): void;
  down(link: Link, reason: string): void;
}

export interface LinkPorts {
  readonly clock: Clock;
  readonly log: Log;
}

interface Waiting {
  readonly resolve: (answer: CallAnswer) => void;
  readonly reject: (error: CodedError) => void;
  readonly timer: Timer;
}

export class Link {
  readonly #stream: ByteStream;
  readonly #ports: LinkPorts;
  readonly #own: LinkIdentity;
  readonly #events: LinkEvents;
  readonly #outgoing: Outgoing;
  readonly #reader: FrameReader;
  readonly #calls = new Map<number, Waiting>();
  readonly isDialer: boolean;
  /** Replaced by the host's own once that is known. */
  patience: Patience = new Patience();
  /** It ended because nothing was heard any more. */
  wasSilent = false;
  #other: LinkIdentity | undefined;
  #nextCall = 1;
  #lastHeardMs: number;
  #timer: Timer | undefined;
  #expectedMs = 0;
  #isDown = false;
  #flushScheduled = false;
  roundTripMs = 0;
  #pingSentMs = 0;
  readonly counters = { bytesIn: 0, bytesOut: 0, messagesIn: 0, messagesOut: 0 };

  constructor(
    stream: ByteStream,
    ports: LinkPorts,
    own: LinkIdentity,
    events: LinkEvents,
    isDialer: boolean,
  ) {
    this.#stream = stream;
    this.#ports = ports;
    this.#own = own;
    this.#events = events;
    this.isDialer = isDialer;
    this.#outgoing = new Outgoing((bytes, token) => {
      this.counters.bytesOut += bytes.length;
      this.#stream.write(bytes, token);
    });
    this.#reader = new FrameReader((header, bytes, start, end) => {
      if (!this.#isDown) this.#received(header, bytes, start, end);
    });
    this.#lastHeardMs = ports.clock.nowMs();
  }

  /** Undefined until the hello. */
  get other(): LinkIdentity | undefined {
    return this.#other;
  }

  get isUp(): boolean {
    return this.#other !== undefined && !this.#isDown;
  }

  get remote(): string {
    return this.#stream.remote;
  }

  /** Bytes on their way out. */
  get queuedBytes(): number {
    return this.#outgoing.queuedBytes;
  }

  start(): void {
    this.#stream.start({
      data: (bytes) => this.#data(bytes),
      written: (token) => this.#outgoing.written(token, this.#isDown),
      drained: () => {},
      ended: () => this.close("the other end closed it"),
      closed: (reason) => this.close(reason ?? "it was closed"),
    });
    if (this.isDialer) this.#sendJson(LINK_HELLO, 0, { ...this.#own, version: LINK_VERSION });
    this.#arm(HELLO_MS);
  }

  /** Ends it; everything under way fails. Doing it twice changes nothing. */
  close(reason: string, lingerMs = 0): void {
    if (this.#isDown) return;
    this.#isDown = true;
    this.#timer?.cancel();
    if (lingerMs === 0) {
      this.#stream.destroy();
    } else {
      // What was said last is still to be heard.
      this.#stream.end();
      this.#ports.clock.after(lingerMs, () => this.#stream.destroy());
    }
    const error = unreachable(this.#other?.hostId ?? this.remote, reason);
    for (const { reject, timer } of this.#calls.values()) {
      timer.cancel();
      reject(error);
    }
    this.#calls.clear();
    this.#events.down(this, reason);
  }

  /** Fails with `host-unreachable`, or with what the other end answered. */
  call(
    method: string,
    argument: unknown,
    deadlineMs: number,
    payload: Uint8Array = new Uint8Array(0),
  ): Promise<CallAnswer> {
    const host = this.#other?.hostId ?? this.remote;
    if (this.#isDown) return Promise.reject(unreachable(host, "the link is down"));
    if (this.#calls.size >= CALLS_MAX)
      return Promise.reject(unreachable(host, "too many calls are under way"));
    const id = this.#nextCall;
    this.#nextCall = id === 0xffff_ffff ? 1 : id + 1;
    return new Promise((resolve, reject) => {
      const timer = this.#ports.clock.after(deadlineMs, () => {
        this.#calls.delete(id);
        reject(unreachable(host, `no answer to ${method} within ${deadlineMs} ms`));
      });
      this.#calls.set(id, { resolve, reject, timer });
      this.#sendJson(LINK_CALL, id, { method, argument }, payload);
      this.flush();
    });
  }

  /** Room for a message; the caller fills the body at once. */
  message(
    type: number,
    requestId: number,
    bodyBytes: number,
  ): { readonly bytes: Uint8Array; readonly at: number } {
    assert(!this.#isDown, "nothing is sent over a link that is down");
    assert(bodyBytes <= LINK_BODY_BYTES_MAX, "a message is not too long");
    const room = this.#outgoing.append(LINK_HEADER_BYTES + bodyBytes);
    encodeLinkHeader(room.bytes, room.at, type, bodyBytes, requestId);
    this.counters.messagesOut++;
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      void Promise.resolve().then(this.#endTurn);
    }
    return { bytes: room.bytes, at: room.at + LINK_HEADER_BYTES };
  }

  flush(): void {
    if (!this.#isDown) this.#outgoing.flush();
  }

  /** For who receives something that cannot be. */
  violation(what: string, lingerMs = 0): void {
    this.#ports.log.write("warning", `a link was cut: ${what}`, {
      remote: this.remote,
      host: this.#other?.hostId,
    });
    this.close(what, lingerMs);
  }

  readonly #endTurn = (): void => {
    this.#flushScheduled = false;
    this.flush();
  };

  #arm(delayMs: number): void {
    this.#expectedMs = this.#ports.clock.nowMs() + delayMs;
    this.#timer = this.#ports.clock.after(delayMs, () => this.#tick());
  }

  #tick(): void {
    const nowMs = this.#ports.clock.nowMs();
    if (this.#other === undefined) {
      this.close(`no hello within ${HELLO_MS} ms`);
      return;
    }
    // What has arrived while we stood still is read before anybody is called silent.
    const stoodStill = nowMs - this.#expectedMs > LATE_MS;
    const silenceMs = this.patience.silenceMs(nowMs);
    if (stoodStill) this.#lastHeardMs = Math.max(this.#lastHeardMs, nowMs - silenceMs / 2);
    if (nowMs - this.#lastHeardMs > silenceMs) {
      this.wasSilent = true;
      this.close(`silent for ${Math.round(nowMs - this.#lastHeardMs)} ms`);
      return;
    }
    this.#pingSentMs = nowMs;
    this.message(LINK_PING, 0, 0);
    this.#arm(PING_MS);
  }

  #data(bytes: Uint8Array): void {
    this.counters.bytesIn += bytes.length;
    const nowMs = this.#ports.clock.nowMs();
    this.patience.heard(nowMs, nowMs - this.#lastHeardMs);
    this.#lastHeardMs = nowMs;
    const fault = this.#reader.push(bytes);
    if (fault !== undefined && !this.#isDown)
      this.violation(`a message cannot be believed: ${fault}`);
  }

  #received(header: LinkHeader, bytes: Uint8Array, start: number, end: number): void {
    this.counters.messagesIn++;
    const { type, requestId } = header;
    if (this.#other === undefined) {
      this.#hello(type, bytes, start, end);
    } else if (type === LINK_PING) {
      this.message(LINK_PONG, 0, 0);
    } else if (type === LINK_PONG) {
      this.roundTripMs = this.#ports.clock.nowMs() - this.#pingSentMs;
    } else if (type === LINK_CALL) {
      this.#called(requestId, bytes, start, end);
    } else if (type === LINK_RESULT || type === LINK_FAULT) {
      this.#answered(type, requestId, bytes, start, end);
    } else if (type === LINK_HELLO || type === LINK_WELCOME || type === LINK_REFUSAL) {
      this.violation("a second hello");
    } else {
      this.#events.message(this, header, bytes, start, end);
    }
  }

  #hello(type: number, bytes: Uint8Array, start: number, end: number): void {
    const wanted = this.isDialer ? LINK_WELCOME : LINK_HELLO;
    if (type === LINK_REFUSAL && this.isDialer) {
      const said = parseFault(decodeUtf8(bytes, start, end) ?? "");
      this.close(`refused: ${said.message}`);
      return;
    }
    const hello = type === wanted ? parseHello(decodeUtf8(bytes, start, end)) : undefined;
    if (hello === undefined) {
      this.violation("it does not begin with a hello");
      return;
    }
    try {
      this.#checkHello(hello);
      this.#events.admit(hello);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
      if (!this.isDialer) this.#sendJson(LINK_REFUSAL, 0, error.fault);
      this.flush();
      this.violation(error.message, REFUSAL_LINGER_MS);
      return;
    }
    this.#other = hello;
    this.#timer?.cancel();
    if (!this.isDialer) this.#sendJson(LINK_WELCOME, 0, { ...this.#own, version: LINK_VERSION });
    this.#arm(PING_MS);
    this.#events.welcome(this, hello);
  }

  #checkHello(hello: LinkIdentity): void {
    const own = this.#own;
    const refuse = (message: string): never => {
      throw new CodedError({ code: "link-refused", message });
    };
    if (hello.clusterId !== own.clusterId)
      refuse(`the host belongs to cluster ${hello.clusterId}, not to ${own.clusterId}`);
    if (hello.network !== own.network)
      refuse(`this is the ${own.network} network, not the ${hello.network} network`);
    if (hello.hostId === own.hostId) refuse("the host is this one");
    const { peer } = this.#stream;
    if (peer === undefined) return;
    // On a network that asks for proof a host speaks for itself alone.
    if (peer.clusterId !== hello.clusterId || peer.hostId !== hello.hostId)
      refuse(`it says that it is host ${hello.hostId}, its certificate is of ${peer.hostId}`);
  }

  #called(requestId: number, bytes: Uint8Array, start: number, end: number): void {
    const parts = splitBody(bytes, start, end);
    const said = parts && parseJson(parts.text);
    if (parts === undefined || typeof said !== "object" || said === null || !("method" in said)) {
      this.violation("a call that cannot be read");
      return;
    }
    const { method } = said;
    const argument = "argument" in said ? said.argument : undefined;
    if (typeof method !== "string") {
      this.violation("a call without a method");
      return;
    }
    this.#events
      .call(this, { method, argument, payload: parts.payload })
      .then(
        ({ result, payload }) => {
          if (!this.#isDown) this.#sendJson(LINK_RESULT, requestId, result ?? null, payload);
        },
        (error: unknown) => {
          if (!this.#isDown) this.#sendJson(LINK_FAULT, requestId, this.#faultOf(method, error));
        },
      )
      .catch((error: unknown) => this.violation(errorText(error)));
  }

  #faultOf(method: string, error: unknown): object {
    if (error instanceof CodedError) return error.fault;
    const message = `${method} failed because of a bug: ${errorText(error)}`;
    const stack = error instanceof Error ? error.stack : undefined;
    this.#ports.log.write("error", message, { stack });
    return { code: "internal", message };
  }

  #answered(type: number, requestId: number, bytes: Uint8Array, start: number, end: number): void {
    const waiting = this.#calls.get(requestId);
    // An answer that comes after its deadline is nobody's.
    if (waiting === undefined) return;
    const parts = splitBody(bytes, start, end);
    if (parts === undefined) {
      this.violation("an answer that cannot be read");
      return;
    }
    this.#calls.delete(requestId);
    waiting.timer.cancel();
    if (type === LINK_FAULT) waiting.reject(new CodedError(parseFault(parts.text)));
    else waiting.resolve({ result: parseJson(parts.text), payload: parts.payload.slice() });
  }

  #sendJson(
    type: number,
    requestId: number,
    value: unknown,
    payload: Uint8Array = new Uint8Array(0),
  ): void {
    const text = encodeUtf8(JSON.stringify(value));
    const isPlain = type === LINK_HELLO || type === LINK_WELCOME || type === LINK_REFUSAL;
    const prefix = isPlain ? 0 : 4;
    const room = this.message(type, requestId, prefix + text.length + payload.length);
    if (!isPlain) setU32(room.bytes, room.at, text.length);
    room.bytes.set(text, room.at + prefix);
    room.bytes.set(payload, room.at + prefix + text.length);
  }
}

/** JSON with its length before it, and bytes behind it. */
function splitBody(
  bytes: Uint8Array,
  start: number,
  end: number,
): { readonly text: string; readonly payload: Uint8Array } | undefined {
  if (end - start < 4) return undefined;
  const length = getU32(bytes, start);
  if (length > end - start - 4) return undefined;
  const text = decodeUtf8(bytes, start + 4, start + 4 + length);
  if (text === undefined) return undefined;
  return { text, payload: bytes.subarray(start + 4 + length, end) };
}

function parseHello(text: string | undefined): LinkIdentity | undefined {
  const said = text === undefined ? undefined : parseJson(text);
  if (typeof said !== "object" || said === null) return undefined;
  const { clusterId, hostId, incarnation, network }: Partial<Record<keyof LinkIdentity, unknown>> =
    said;
  if (typeof clusterId !== "string" || typeof hostId !== "string") return undefined;
  if (typeof incarnation !== "number" || !Number.isSafeInteger(incarnation)) return undefined;
  if (network !== "management" && network !== "storage") return undefined;
  return { clusterId, hostId, incarnation, network };
}

export function unreachable(host: string, reason: string): CodedError {
  return new CodedError({
    code: "host-unreachable",
    message: `host ${host} cannot be reached: ${reason}`,
    hint: "drystone host list shows which hosts are up",
  });
}
