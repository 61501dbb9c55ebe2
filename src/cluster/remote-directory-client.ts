/**
 * The directory of another process, over the network. It connects when it is first used, and again
 * whenever the connection ends: calls without an answer are sent again, watches go on after their
 * last revision. Calls that change something are made once however often they are sent, as long as
 * the server runs; after its restart nobody knows (`directory-outcome-unknown`).
 */
import { assert, CodedError, errorText } from "../base/index.ts";
import {
  DIRECTORY_CONDITIONS_MAX,
  DIRECTORY_KEY_LENGTH_MAX,
  DIRECTORY_WRITES_MAX,
} from "../ports/index.ts";
import type {
  ByteStream,
  Clock,
  Directory,
  DirectoryCondition,
  DirectoryEvent,
  DirectoryOutcome,
  DirectoryRecord,
  DirectoryStamp,
  DirectoryWatch,
  DirectoryWrite,
  LeaseId,
  Log,
  Network,
  NetworkAddress,
  Timer,
} from "../ports/index.ts";
import { parseServerMessage, PROTOCOL } from "./directory-messages.ts";
import { stampOf } from "./directory-stamp.ts";
import type { Answer, Call, ClientMessage, ServerMessage } from "./directory-messages.ts";
import { encodeFrame, FRAME_BYTES_MAX, FrameStream } from "./frame-stream.ts";

const CALL_TIMEOUT_MS = 5000;
const PING_MS_MAX = 5000;
/** An attempt that takes longer is given up: the next one may find the way open again. */
const CONNECT_MS_MAX = 1000;
const BYE_MS_MAX = 500;
const RECONNECT_MS_MIN = 20;
const RECONNECT_MS_MAX = 1000;
/** Fewer than a server takes of one client. */
const CALLS_MAX = 1000;

export interface RemoteDirectoryOptions {
  readonly network: Network;
  /** Of a `ServedDirectory`. */
  readonly address: NetworkAddress;
  readonly clock: Clock;
  /** After which calls fail, and a server that says nothing is left. Default: 5 s. */
  readonly callTimeoutMs?: number;
  readonly log?: Log;
}

interface PendingCall {
  readonly id: number;
  readonly call: Call;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: CodedError) => void;
  readonly timer: Timer;
  /** Of a listing, so far. */
  records: DirectoryRecord[];
  /** Whether it has left in this session: only then can the server have it. */
  isSent: boolean;
}

interface Watch {
  readonly prefix: string;
  readonly onEvent: (event: DirectoryEvent) => void;
  readonly onLost: () => void;
  nextRevision: number;
}

export class RemoteDirectoryClient implements Directory {
  readonly #options: RemoteDirectoryOptions;
  readonly #callTimeoutMs: number;
  readonly #calls = new Map<number, PendingCall>();
  readonly #watches = new Map<number, Watch>();
  #nextId = 1;
  #frames: FrameStream | undefined;
  /** The server has said welcome on this connection. */
  #isWelcome = false;
  #isConnecting = false;
  /** Of connecting: a stream that comes after its attempt was given up is of no use. */
  #attempt = 0;
  #session: string | undefined;
  #lastHeardMs = 0;
  #reconnectMs = RECONNECT_MS_MIN;
  #reconnectTimer: Timer | undefined;
  #pingTimer: Timer | undefined;
  #lastFailure: unknown;
  #ended: CodedError | undefined;
  /** Told when the last call has its answer. */
  #onIdle: (() => void) | undefined;
  #onDisconnected: (() => void) | undefined;

  constructor(options: RemoteDirectoryOptions) {
    this.#options = options;
    this.#callTimeoutMs = options.callTimeoutMs ?? CALL_TIMEOUT_MS;
  }

  async get(key: string): Promise<DirectoryRecord | undefined> {
    checkKey(key);
    return (await this.#call({ method: "get", key })).records?.[0];
  }

  async list(prefix: string): Promise<{
    readonly records: readonly DirectoryRecord[];
    readonly revision: number;
  }> {
    const { records = [], revision } = await this.#call({ method: "list", prefix });
    return { records, revision: given(revision) };
  }

  async stamp(prefix: string): Promise<DirectoryStamp> {
    const call = { method: "list", prefix, isStampOnly: true } as const;
    const { count, revision, records = [] } = await this.#call(call);
    return count === undefined ? stampOf(records) : { count, newestRevision: given(revision) };
  }

  async transact(
    conditions: readonly DirectoryCondition[],
    writes: readonly DirectoryWrite[],
  ): Promise<DirectoryOutcome> {
    assert(conditions.length <= DIRECTORY_CONDITIONS_MAX, "too many conditions");
    assert(writes.length <= DIRECTORY_WRITES_MAX, "too many writes in one transaction");
    for (const { key } of [...conditions, ...writes]) checkKey(key);
    const answer = await this.#call({ method: "transact", conditions, writes });
    return { succeeded: answer.succeeded === true, revision: given(answer.revision) };
  }

  watch(
    prefix: string,
    fromRevision: number,
    onEvent: (event: DirectoryEvent) => void,
    onLost: () => void,
  ): DirectoryWatch {
    this.#checkOpen();
    const id = this.#nextId++;
    const watch: Watch = { prefix, onEvent, onLost, nextRevision: fromRevision };
    this.#watches.set(id, watch);
    if (this.#isWelcome) this.#sendWatch(id, watch);
    else this.#connectSoon();
    return {
      cancel: () => {
        if (this.#watches.delete(id) && this.#isWelcome) this.#send({ kind: "unwatch", watch: id });
      },
    };
  }

  async grantLease(ttlMs: number): Promise<LeaseId> {
    return given((await this.#call({ method: "grant-lease", ttlMs })).lease);
  }

  async keepAlive(lease: LeaseId): Promise<number> {
    const startMs = this.#options.clock.nowMs();
    const leftMs = given((await this.#call({ method: "keep-alive", lease })).leftMs);
    // It was kept alive no earlier than it was asked for.
    return Math.max(0, leftMs - (this.#options.clock.nowMs() - startMs));
  }

  async revokeLease(lease: LeaseId): Promise<void> {
    await this.#call({ method: "revoke-lease", lease });
  }

  /** Waits for calls under way. The directory itself is the server's to close. */
  async close(): Promise<void> {
    this.#ended ??= new CodedError({
      code: "directory-closed",
      message: "the directory is closed",
    });
    this.#watches.clear();
    if (this.#calls.size > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    this.#reconnectTimer?.cancel();
    await this.#leave();
  }

  /** With a word, so that the server keeps nothing for this client any more. */
  async #leave(): Promise<void> {
    const frames = this.#frames;
    if (frames === undefined) return;
    const left = new Promise<void>((resolve) => (this.#onDisconnected = resolve));
    const hurry = (): void => frames.destroy("the server does not let go");
    const timer = this.#options.clock.after(BYE_MS_MAX, hurry);
    if (this.#isWelcome) this.#send({ kind: "bye" });
    frames.end();
    await left;
    timer.cancel();
  }

  #call(call: Call): Promise<Answer> {
    this.#checkOpen();
    return new Promise((resolve, reject) => {
      const id = this.#nextId++;
      const timer = this.#options.clock.after(this.#callTimeoutMs, () => this.#expire(id));
      const pending = { id, call, resolve, reject, timer, records: [], isSent: false };
      this.#calls.set(id, pending);
      if (this.#calls.size > CALLS_MAX) this.#settle(pending, this.#unavailable());
      else if (this.#isWelcome) this.#sendCall(pending);
      else this.#connectSoon();
    });
  }

  #expire(id: number): void {
    const pending = this.#calls.get(id);
    if (pending === undefined) return;
    const isUnknown = pending.isSent && pending.call.method === "transact";
    this.#settle(pending, isUnknown ? this.#outcomeUnknown() : this.#unavailable());
  }

  #settle(pending: PendingCall, outcome: Answer | CodedError): void {
    this.#calls.delete(pending.id);
    pending.timer.cancel();
    if (outcome instanceof CodedError) pending.reject(outcome);
    else if (outcome.fault !== undefined) pending.reject(new CodedError(outcome.fault));
    else pending.resolve(outcome);
    if (this.#calls.size === 0) this.#onIdle?.();
  }

  #connectSoon(): void {
    if (this.#isConnecting || this.#frames !== undefined) return;
    if (this.#reconnectTimer === undefined) void this.#connect();
  }

  async #connect(): Promise<void> {
    const attempt = ++this.#attempt;
    this.#isConnecting = true;
    const over = (failure: unknown): void => {
      if (attempt !== this.#attempt) return;
      this.#attempt++;
      this.#isConnecting = false;
      this.#lastFailure = failure;
      this.#connectLater();
    };
    const slow = new Error("it cannot be connected to in time");
    const timer = this.#options.clock.after(CONNECT_MS_MAX, () => over(slow));
    try {
      const stream = await this.#options.network.connect(this.#options.address);
      if (attempt !== this.#attempt || this.#isOver()) return stream.destroy();
      this.#isConnecting = false;
      this.#greet(stream);
    } catch (error) {
      over(error);
    } finally {
      timer.cancel();
    }
  }

  #greet(stream: ByteStream): void {
    this.#frames = new FrameStream(stream, {
      frame: (value) => this.#received(parseServerMessage(value)),
      closed: (reason) => this.#disconnected(reason),
    });
    this.#lastHeardMs = this.#options.clock.nowMs();
    const session = this.#session;
    const hello = { kind: "hello", protocol: PROTOCOL } as const;
    this.#send(session === undefined ? hello : { ...hello, session });
    this.#pingLater();
  }

  #disconnected(reason: string): void {
    this.#frames = undefined;
    this.#isWelcome = false;
    this.#pingTimer?.cancel();
    this.#lastFailure = new Error(reason);
    this.#onDisconnected?.();
    if (this.#isOver()) return;
    this.#options.log?.write("warning", "the connection to the directory was lost", { reason });
    this.#connectLater();
  }

  #connectLater(): void {
    if (this.#isOver()) return;
    this.#reconnectTimer = this.#options.clock.after(this.#reconnectMs, () => {
      this.#reconnectTimer = undefined;
      if (!this.#isOver()) void this.#connect();
    });
    this.#reconnectMs = Math.min(RECONNECT_MS_MAX, this.#reconnectMs * 2);
  }

  /** A connection whose other end is gone without a word is found by its silence. */
  #pingLater(): void {
    const { clock } = this.#options;
    const intervalMs = Math.min(PING_MS_MAX, this.#callTimeoutMs / 3);
    this.#pingTimer = clock.after(intervalMs, () => {
      const silentMs = clock.nowMs() - this.#lastHeardMs;
      if (silentMs >= this.#callTimeoutMs)
        return this.#frames?.destroy(`the server was silent for ${Math.round(silentMs)} ms`);
      // Only a connection that lasts speaks for the server.
      if (this.#isWelcome) this.#reconnectMs = RECONNECT_MS_MIN;
      // What answers calls need not be asked whether it is there.
      if (this.#isWelcome && silentMs >= intervalMs) this.#send({ kind: "ping" });
      this.#pingLater();
    });
  }

  #received(message: ServerMessage): void {
    this.#lastHeardMs = this.#options.clock.nowMs();
    switch (message.kind) {
      case "welcome":
        return this.#welcomed(message);
      case "records":
        this.#calls.get(message.id)?.records.push(...message.records);
        return;
      case "answer":
        return this.#answered(message.id, message.answer);
      case "events":
        return this.#deliver(message.watch, message.events);
      case "lost": {
        const watch = this.#watches.get(message.watch);
        this.#watches.delete(message.watch);
        return watch?.onLost();
      }
      case "pong":
        return;
    }
  }

  #welcomed({ session, isResumed }: Extract<ServerMessage, { kind: "welcome" }>): void {
    this.#session = session;
    this.#isWelcome = true;
    for (const pending of [...this.#calls.values()]) {
      // The server that had it is gone, and its answer with it.
      if (!isResumed && pending.isSent && pending.call.method === "transact")
        this.#settle(pending, this.#outcomeUnknown());
      else this.#sendCall(pending);
    }
    for (const [id, watch] of this.#watches) this.#sendWatch(id, watch);
  }

  #answered(id: number, answer: Answer): void {
    const pending = this.#calls.get(id);
    if (pending === undefined) return;
    const isListing = pending.call.method === "list";
    this.#settle(pending, isListing ? { ...answer, records: pending.records } : answer);
  }

  #deliver(id: number, events: readonly DirectoryEvent[]): void {
    for (const event of events) {
      const watch = this.#watches.get(id);
      if (watch === undefined) return;
      const revision = event.kind === "put" ? event.record.revision : event.revision;
      watch.onEvent(event);
      // Only at the end of a frame is it certain that the revision is whole.
      if (event === events.at(-1)) watch.nextRevision = revision + 1;
    }
  }

  #sendCall(pending: PendingCall): void {
    pending.records = [];
    const [oldest] = this.#calls.keys();
    const { id, call } = pending;
    const bytes = encodeFrame({ kind: "call", id, settled: oldest ?? id, call });
    if (bytes.length > FRAME_BYTES_MAX) return this.#settle(pending, tooLong());
    pending.isSent = true;
    this.#frames?.sendBytes(bytes);
  }

  #sendWatch(id: number, { prefix, nextRevision }: Watch): void {
    this.#send({ kind: "watch", watch: id, prefix, fromRevision: nextRevision });
  }

  #send(message: ClientMessage): void {
    this.#frames?.send(message);
  }

  /** Closed, and nobody waits for an answer. */
  #isOver(): boolean {
    return this.#ended !== undefined && this.#calls.size === 0;
  }

  #checkOpen(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }

  #unavailable(): CodedError {
    return this.#fault(
      "directory-unavailable",
      "did not answer in time",
      "check that the process that holds the directory runs",
    );
  }

  #outcomeUnknown(): CodedError {
    return this.#fault(
      "directory-outcome-unknown",
      "did not say whether a change happened",
      "read again what it was to change before acting on it",
    );
  }

  #fault(code: string, what: string, hint: string): CodedError {
    const { address } = this.#options;
    const endpoint = address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
    const cause = this.#lastFailure === undefined ? "" : ` (${errorText(this.#lastFailure)})`;
    return new CodedError(
      {
        code,
        message: `the directory at ${endpoint} ${what}${cause}`,
        hint,
        details: { endpoint },
      },
      { cause: this.#lastFailure },
    );
  }
}

function checkKey(key: string): void {
  const isInRange = key.length > 0 && key.length <= DIRECTORY_KEY_LENGTH_MAX;
  assert(isInRange, "key length out of range");
}

function given<T>(value: T | undefined): T {
  if (value !== undefined) return value;
  throw new CodedError({
    code: "directory-refused",
    message: "the directory has sent an answer that lacks what was asked for",
  });
}

function tooLong(): CodedError {
  return new CodedError({
    code: "directory-value-too-long",
    message: "the values of one transaction are too long",
    hint: `a transaction has up to ${FRAME_BYTES_MAX} bytes`,
  });
}
