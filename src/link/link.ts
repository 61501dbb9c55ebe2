/**
 * One connection between two hosts, from the hello to its end. It promises: who is at the other end
 * is known before anything else is listened to; a message that cannot be believed ends the link and
 * nothing else; silence ends it, too, so that everything under way is answered within a bound.
 */
import { assert, bugStack, CodedError, LatencyHistogram, marks } from "../base/index.ts";
import { decodeUtf8, encodeUtf8, errorText } from "../base/index.ts";
import type { ByteStream, Timer } from "../ports/index.ts";
import { encodeLinkHeader, LINK_BODY_BYTES_MAX, LINK_CALL, LINK_FAULT } from "../format/index.ts";
import { LINK_HEADER_BYTES, LINK_HELLO, LINK_PING, LINK_PONG } from "../format/index.ts";
import { LINK_REFUSAL, LINK_RESULT, LINK_WELCOME } from "../format/index.ts";
import type { LinkHeader } from "../format/index.ts";
import { AnswerRoom } from "./answer-room.ts";
import type { AnswerLength, BegunCall } from "./answer-room.ts";
import { FrameReader } from "./frame-reader.ts";
import { parseHello, versionOrRefusal } from "./link-hello.ts";
import type { Hello, LinkIdentity } from "./link-hello.ts";
import { bodyBytes, lengthOf, parseCall, parseFault, parseJson } from "./link-json.ts";
import { splitBody, writeBody } from "./link-json.ts";
import type { LinkPorts } from "./link-ports.ts";
import { Outgoing } from "./outgoing.ts";
import { Patience, PING_MS } from "./patience.ts";
import { untilMoment } from "./wake-moments.ts";

const HELLO_MS = 5000;
const REFUSAL_LINGER_MS = 1000;
const CALLS_MAX = 4096;
/** Calls of the other end that are not answered yet: some it has given up already. */
const ANSWERING_MAX: number = 2 * CALLS_MAX;
/** What waits to leave when more is asked for: far above what all limits together add up to. */
const QUEUED_BYTES_MAX = 256 << 20;
/** Of calls that are not answered yet. */
const CALLED_BYTES_MAX = 64 << 20;
const TOO_MUCH = "it asks for more than it takes";
/** How often the end that was dialed asks for a pong, which it does not need to hear the other. */
const MEASURED_MS = 20 * PING_MS;
/** A timer this late says that we stood still, not the other end. */
const LATE_MS = 400;

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
  answerLength(method: string): AnswerLength;
  /** Messages that belong to nobody here. */
  message(link: Link, header: LinkHeader, bytes: Uint8Array, start: number, end: number): void;
  down(link: Link, reason: string): void;
}

interface Waiting {
  readonly resolve: (answer: CallAnswer) => void;
  readonly reject: (error: CodedError) => void;
  readonly timer: Timer;
  readonly bytes: number;
}

export class Link {
  readonly #stream: ByteStream;
  readonly #ports: LinkPorts;
  readonly #own: Hello;
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
  #spoken: number | undefined;
  #nextCall = 1;
  #lastHeardMs: number;
  #timer: Timer | undefined;
  #expectedMs = 0;
  #pingDueMs = Infinity;
  #isDown = false;
  #flushScheduled = false;
  readonly #answers: AnswerRoom;
  #calledBytes = 0;
  #onceSent: (() => void)[] = [];
  /** Of pings. Replaced by the host's own once that is known. */
  roundTrips: LatencyHistogram = new LatencyHistogram();
  /**
   * When the pings that have no pong yet were sent; a silence ends the link before they are many.
   */
  readonly #pingsSentMs: number[] = [];
  readonly counters = { bytesIn: 0, bytesOut: 0, messagesIn: 0, messagesOut: 0 };

  constructor(
    stream: ByteStream,
    ports: LinkPorts,
    own: Hello,
    events: LinkEvents,
    isDialer: boolean,
  ) {
    this.#stream = stream;
    this.#ports = ports;
    this.#own = own;
    this.#events = events;
    this.isDialer = isDialer;
    this.#outgoing = new Outgoing(ports.chunks, (bytes, token) => {
      this.counters.bytesOut += bytes.length;
      this.#stream.write(bytes, token);
    });
    this.#reader = new FrameReader(ports.chunks, (header, bytes, start, end) => {
      if (!this.#isDown) this.#receivedSafely(header, bytes, start, end);
    });
    this.#answers = new AnswerRoom(ports.clock);
    this.#lastHeardMs = ports.clock.nowMs();
  }

  /** Undefined until the hello. */
  get other(): LinkIdentity | undefined {
    return this.#other;
  }

  /** The version of the messages that both ends speak; undefined until the hello. */
  get spokenVersion(): number | undefined {
    return this.#spoken;
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
      written: (token) => this.#written(token),
      drained: () => {},
      ended: () => this.close("the other end closed it"),
      closed: (reason) => this.close(reason ?? "it was closed"),
    });
    if (this.isDialer) this.#sendHello(LINK_HELLO);
    this.#arm(this.#ports.clock.nowMs() + HELLO_MS);
  }

  /** Calls `listener` once, when something has left; not if the link ends before. */
  onceSent(listener: () => void): void {
    this.#onceSent.push(listener);
  }

  #written(token: number): void {
    this.#outgoing.written(token, this.#isDown);
    if (!this.#isDown) this.#answers.left(this.#outgoing.writtenBytes);
    if (this.#onceSent.length === 0 || this.#isDown) return;
    const listeners = this.#onceSent;
    this.#onceSent = [];
    for (const listener of listeners) listener();
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
    this.#answers.clear();
    this.#events.down(this, reason);
  }

  /** Fails with `host-unreachable`, or with what the other end answered. */
  call(
    method: string,
    argument: unknown,
    deadlineMs: number,
    ...payload: readonly Uint8Array[]
  ): Promise<CallAnswer> {
    const host = this.#other?.hostId ?? this.remote;
    if (this.#isDown) return Promise.reject(unreachable(host, "the link is down"));
    const bytes = lengthOf(payload);
    const isTooMuch = bytes > 0 && this.#calledBytes + bytes > CALLED_BYTES_MAX;
    if (this.#calls.size >= CALLS_MAX || isTooMuch)
      return Promise.reject(unreachable(host, "too many calls are under way"));
    const id = this.#nextCall;
    this.#nextCall = id === 0xffff_ffff ? 1 : id + 1;
    return new Promise((resolve, reject) => {
      const timer = this.#ports.clock.after(deadlineMs, () => {
        this.#ended(id);
        reject(unreachable(host, `no answer to ${method} within ${deadlineMs} ms`));
      });
      this.#calls.set(id, { resolve, reject, timer, bytes });
      this.#calledBytes += bytes;
      this.#sendJson(LINK_CALL, id, { method, argument }, payload);
      this.flush();
    });
  }

  /** Nobody waits for it any more. */
  #ended(id: number): void {
    this.#calledBytes -= this.#calls.get(id)?.bytes ?? 0;
    this.#calls.delete(id);
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

  #arm(dueMs: number): void {
    this.#expectedMs = dueMs;
    const delayMs = Math.max(0, dueMs - this.#ports.clock.nowMs());
    this.#timer = this.#ports.clock.after(delayMs, () => this.#tick());
  }

  /** For the next ping, or for when the other end would have been silent too long. */
  #armNext(nowMs: number): void {
    const silentMs = this.#lastHeardMs + this.patience.silenceMs(nowMs);
    this.#arm(Math.min(this.#pingDueMs, Math.max(nowMs, silentMs) + 1));
  }

  /** While something is heard nobody wakes up only to look for silence. */
  #putOffSilence(nowMs: number): void {
    const restMs = this.#expectedMs - nowMs;
    const isForSilence = this.isUp && this.#expectedMs < this.#pingDueMs;
    // Not for each message of a busy link.
    if (!isForSilence || restMs <= 0 || restMs >= 2 * PING_MS) return;
    this.#timer?.cancel();
    this.#armNext(nowMs);
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
    if (nowMs >= this.#pingDueMs) this.#ping(nowMs);
    this.#armNext(nowMs);
  }

  #ping(nowMs: number): void {
    this.#pingsSentMs.push(nowMs);
    this.message(LINK_PING, 0, 0);
    this.#pingDueMs = this.#nextPingMs(nowMs);
  }

  /**
   * One end asks for both: the other one hears the ping, and asks by itself only so often that it
   * knows how long round trips take.
   */
  #nextPingMs(nowMs: number): number {
    return nowMs + untilMoment(this.isDialer ? PING_MS : MEASURED_MS, this.#ports.clock.wallMs());
  }

  #data(bytes: Uint8Array): void {
    this.counters.bytesIn += bytes.length;
    const nowMs = this.#ports.clock.nowMs();
    this.patience.heard(nowMs, nowMs - this.#lastHeardMs);
    this.#lastHeardMs = nowMs;
    this.#putOffSilence(nowMs);
    const fault = this.#reader.push(bytes);
    if (fault !== undefined && !this.#isDown)
      this.violation(`a message cannot be believed: ${fault}`);
  }

  /** Nobody above could deal with what is thrown here: it would end the process. */
  #receivedSafely(header: LinkHeader, bytes: Uint8Array, start: number, end: number): void {
    try {
      this.#received(header, bytes, start, end);
    } catch (error) {
      if (error instanceof CodedError) this.violation(error.message);
      else this.violation(this.#noteBug("what it sent could not be dealt with", error));
    }
  }

  #received(header: LinkHeader, bytes: Uint8Array, start: number, end: number): void {
    this.counters.messagesIn++;
    const { type, requestId } = header;
    if (this.#other === undefined) {
      this.#hello(type, bytes, start, end);
    } else if (type === LINK_PING) {
      if (this.#takesAnswers()) this.message(LINK_PONG, 0, 0);
    } else if (type === LINK_PONG) {
      this.#ponged();
    } else if (type === LINK_CALL) {
      this.#called(requestId, bytes, start, end);
    } else if (type === LINK_RESULT || type === LINK_FAULT) {
      this.#answered(type, requestId, bytes, start, end);
    } else if (type === LINK_HELLO || type === LINK_WELCOME || type === LINK_REFUSAL) {
      this.violation("a second hello");
    } else if (this.#takesAnswers()) {
      this.#events.message(this, header, bytes, start, end);
    }
  }

  #ponged(): void {
    // A pong does not say of which ping it is; they come in order.
    const sentMs = this.#pingsSentMs.shift();
    if (sentMs !== undefined) this.roundTrips.add(this.#ports.clock.nowMs() - sentMs);
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
      this.#spoken = versionOrRefusal(this.#own, hello, this.#stream.peer);
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
    if (!this.isDialer) this.#sendHello(LINK_WELCOME);
    const nowMs = this.#ports.clock.nowMs();
    this.#pingDueMs = this.#nextPingMs(nowMs);
    this.#armNext(nowMs);
    this.#events.welcome(this, hello);
  }

  #sendHello(type: number): void {
    const { versions, ...identity } = this.#own;
    const { oldest, newest } = versions;
    this.#sendJson(type, 0, { ...identity, version: newest, oldestVersion: oldest });
  }

  /** False, and the link is down, if the other end asks for more than it takes. */
  #takesAnswers(): boolean {
    const isTooMuch = this.queuedBytes > QUEUED_BYTES_MAX || this.#answers.count >= ANSWERING_MAX;
    if (isTooMuch) this.violation(TOO_MUCH);
    return !isTooMuch;
  }

  #called(requestId: number, bytes: Uint8Array, start: number, end: number): void {
    if (!this.#takesAnswers()) return;
    const call = parseCall(bytes, start, end);
    if (typeof call === "string") return this.violation(call);
    const length = this.#events.answerLength(call.method);
    const begun = this.#answers.begin(length);
    if (begun !== undefined) return this.#answer(requestId, call, begun);
    marks.hit("a call waited for room for its answer");
    // What was received is the stream's, for this turn only.
    const kept = { ...call, payload: call.payload.slice() };
    const isRoom = this.#answers.wait(length, end - start, (later) =>
      this.#answer(requestId, kept, later),
    );
    if (!isRoom) this.violation(TOO_MUCH);
  }

  #answer(requestId: number, call: CallRequest, begun: BegunCall): void {
    const answered = (type: number, value: unknown, payload: readonly Uint8Array[]): void => {
      const before = this.#outgoing.appendedBytes;
      if (!this.#isDown) this.#sendJson(type, requestId, value, payload);
      const end = this.#outgoing.appendedBytes;
      this.#answers.answered(begun, end - before, end);
    };
    this.#events
      .call(this, call)
      .then(
        ({ result, payload }) =>
          answered(LINK_RESULT, result ?? null, payload === undefined ? [] : [payload]),
        (error: unknown) => answered(LINK_FAULT, this.#faultOf(call.method, error), []),
      )
      .catch((error: unknown) => this.violation(errorText(error)));
  }

  #faultOf(method: string, error: unknown): object {
    if (error instanceof CodedError) return error.fault;
    return { code: "internal", message: this.#noteBug(`${method} failed`, error) };
  }

  /** What to say of it. */
  #noteBug(what: string, error: unknown): string {
    const message = `${what} because of a bug: ${errorText(error)}`;
    this.#ports.log.write("error", message, { stack: bugStack(error) });
    return message;
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
    this.#ended(requestId);
    waiting.timer.cancel();
    if (type === LINK_FAULT) waiting.reject(new CodedError(parseFault(parts.text)));
    else waiting.resolve({ result: parseJson(parts.text), payload: parts.payload.slice() });
  }

  #sendJson(
    type: number,
    requestId: number,
    value: unknown,
    payload: readonly Uint8Array[] = [],
  ): void {
    const text = encodeUtf8(JSON.stringify(value));
    const isAlone = type === LINK_HELLO || type === LINK_WELCOME || type === LINK_REFUSAL;
    const room = this.message(type, requestId, bodyBytes(text, payload, isAlone));
    writeBody(room, text, payload, isAlone);
  }
}

export function unreachable(host: string, reason: string): CodedError {
  return new CodedError({
    code: "host-unreachable",
    message: `host ${host} cannot be reached: ${reason}`,
    hint: "drystone host list shows which hosts are up",
    details: { hostId: host },
  });
}
