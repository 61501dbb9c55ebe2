/**
 * A directory for other processes: whoever connects may read and write it. For the development
 * cluster, where the supervisor holds the embedded directory and the hosts' processes use it.
 *
 * The directory must hand out all events of one revision in the same turn, as the embedded one and
 * etcd's do: they leave in one frame, so that a client never has a part of a revision.
 */
import { assert, assertDefined, marks } from "../base/index.ts";
import type {
  ByteStream,
  Clock,
  Directory,
  DirectoryEvent,
  DirectoryRecord,
  DirectoryWatch,
  Listener,
  Log,
  Network,
  NetworkAddress,
  Timer,
} from "../ports/index.ts";
import { encodeFrame, FRAME_BYTES_MAX, FrameStream, isFrameTooLong } from "./frame-stream.ts";
import type { FrameHandler } from "./frame-stream.ts";
import { PartialFrames } from "./partial-frames.ts";
import { faultOf, parseClientMessage, PROTOCOL } from "./directory-messages.ts";
import { DirectorySessions } from "./directory-sessions.ts";
import type { Session } from "./directory-sessions.ts";
import type { Answer, Call, ClientMessage, ServerMessage } from "./directory-messages.ts";

const CONNECTIONS_MAX = 256;
const WATCHES_MAX = 1024;
const CALLS_MAX = 1024;
/** A client says something every few seconds. */
const SILENCE_MS_MAX = 60_000;
/** Of calls that are not answered yet, as they came: one client's, from which nothing is read. */
const CALL_BYTES_MAX = FRAME_BYTES_MAX;
/** All clients': nothing is read from those that call. */
const CALLS_BYTES_MAX = 4 * CALL_BYTES_MAX;
/** Clients that call all the same, each on a new connection, are cut off. */
const CALLS_BYTES_END = 8 * CALL_BYTES_MAX;
/** Of frames that have not come whole: four of the longest, all clients' together. */
const PARTIAL_BYTES_MAX = 4 * FRAME_BYTES_MAX;
/** Of whoever has not said hello yet. */
const HELLO_BYTES_MAX = 4096;
/** Records of a listing leave in pieces of at least so many characters of keys and values. */
const PIECE_LENGTH = 256 * 1024;
/** Characters of one frame's events; more of them go into the next, between two revisions. */
const EVENTS_LENGTH = 1024 * 1024;

export interface ServedDirectoryOptions {
  /** Stays the caller's to close. */
  readonly directory: Directory;
  readonly network: Network;
  readonly address: NetworkAddress;
  readonly clock: Clock;
  /** Of this run of the server, never used before. */
  readonly incarnation: string;
  readonly log?: Log;
}

export class ServedDirectory {
  readonly options: ServedDirectoryOptions;
  readonly #listener: Listener;
  readonly #connections = new Set<Connection>();
  readonly sessions: DirectorySessions<Connection>;
  /** Of calls that are not answered yet. */
  callBytes = 0;
  /** Of all clients. */
  readonly partialFrames: PartialFrames = new PartialFrames(PARTIAL_BYTES_MAX);
  /** Those from which nothing is read for now. */
  readonly held: Set<Connection> = new Set();

  private constructor(options: ServedDirectoryOptions, listener: Listener) {
    this.options = options;
    this.#listener = listener;
    this.sessions = new DirectorySessions(options.clock, options.incarnation);
  }

  /** Fails as `Network.listen` does. */
  static async listen(options: ServedDirectoryOptions): Promise<ServedDirectory> {
    // Clients may come before there is anything to hand them to.
    const waiting: ByteStream[] = [];
    let accept = (stream: ByteStream): void => void waiting.push(stream);
    const listener = await options.network.listen(options.address, (stream) => accept(stream));
    const served = new ServedDirectory(options, listener);
    accept = (stream) => served.#accept(stream);
    for (const stream of waiting) accept(stream);
    return served;
  }

  /** With the port that was chosen where 0 was asked for. */
  get address(): NetworkAddress {
    return this.#listener.address;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  async close(): Promise<void> {
    await this.#listener.close();
    for (const connection of [...this.#connections]) connection.destroy("the server is closed");
    this.sessions.close();
  }

  /** Called by a connection that has ended. */
  leave(connection: Connection): void {
    this.#connections.delete(connection);
    this.held.delete(connection);
  }

  #accept(stream: ByteStream): void {
    if (this.#connections.size >= CONNECTIONS_MAX) {
      this.options.log?.write("warning", "too many clients of the directory", {
        remote: stream.remote,
      });
      stream.destroy();
      return;
    }
    this.#connections.add(new Connection(this, stream));
  }
}

class Connection implements FrameHandler {
  readonly #served: ServedDirectory;
  readonly #frames: FrameStream;
  readonly #watches = new Map<number, DirectoryWatch>();
  #session: Session<Connection> | undefined;
  #isOver = false;
  #isClosed = false;
  #callCount = 0;
  #callBytes = 0;
  #lastHeardMs: number;
  #silence: Timer | undefined;

  constructor(served: ServedDirectory, stream: ByteStream) {
    this.#served = served;
    this.#lastHeardMs = served.options.clock.nowMs();
    this.#frames = new FrameStream(stream, this, served.partialFrames);
    this.#frames.limit(HELLO_BYTES_MAX);
    this.#watchSilence();
  }

  destroy(reason: string): void {
    this.#frames.destroy(reason);
  }

  frame(value: unknown, lengthBytes: number): void {
    this.#lastHeardMs = this.#served.options.clock.nowMs();
    const message = parseClientMessage(value);
    if (message.kind === "hello") return this.#hello(message);
    assert(this.#session !== undefined, "a client says hello first");
    switch (message.kind) {
      case "call":
        return this.#take(message, lengthBytes, this.#session);
      case "watch":
        return this.#watch(message);
      case "unwatch":
        return void this.#unwatch(message.watch);
      case "ping":
        return this.#send({ kind: "pong" });
      case "bye":
        this.#isOver = true;
        return this.destroy("the client has gone");
    }
  }

  closed(reason: string): void {
    this.#isClosed = true;
    this.#silence?.cancel();
    for (const watch of this.#watches.values()) watch.cancel();
    this.#watches.clear();
    this.#served.leave(this);
    if (this.#session !== undefined) this.#served.sessions.leave(this, this.#session, this.#isOver);
    const fields = { remote: this.#frames.remote, reason };
    this.#served.options.log?.write("debug", "a client of the directory has left", fields);
  }

  #hello(message: Extract<ClientMessage, { kind: "hello" }>): void {
    assert(this.#session === undefined, "a client says hello once");
    assert(message.protocol === PROTOCOL, `protocol ${message.protocol} is not ${PROTOCOL}`);
    const { session, isResumed } = this.#served.sessions.join(this, message.session);
    this.#session = session;
    this.#frames.limit(FRAME_BYTES_MAX);
    this.#send({ kind: "welcome", session: session.name, isResumed });
  }

  #take(
    message: Extract<ClientMessage, { kind: "call" }>,
    lengthBytes: number,
    session: Session<Connection>,
  ): void {
    const { id, settled, call } = message;
    for (const known of session.answers.keys()) if (known < settled) session.answers.delete(known);
    assert(this.#callCount < CALLS_MAX && session.answers.size < CALLS_MAX, "too many calls");
    const known = session.answers.get(id);
    if (known !== undefined) marks.hit("a call that came to the directory twice was made once");
    this.#callCount++;
    void this.#answer(id, known ?? this.#begin(id, call, lengthBytes, session)).finally(() => {
      this.#callCount--;
    });
  }

  /** Never rejects: a failure is an answer. */
  #begin(
    id: number,
    call: Call,
    lengthBytes: number,
    session: Session<Connection>,
  ): Promise<Answer> {
    const served = this.#served;
    // It has not been made, and may be sent again.
    assert(served.callBytes + lengthBytes <= CALLS_BYTES_END, "too much is asked for at once");
    served.callBytes += lengthBytes;
    this.#callBytes += lengthBytes;
    if (!this.#mayGoOn) {
      served.held.add(this);
      this.#frames.hold(true);
    }
    const answer = this.#made(id, call).finally(() => {
      served.callBytes -= lengthBytes;
      this.#callBytes -= lengthBytes;
      for (const one of served.held) one.#goOn();
    });
    const isOnce = call.method !== "get" && call.method !== "list" && call.method !== "keep-alive";
    if (isOnce) session.answers.set(id, answer);
    return answer;
  }

  get #mayGoOn(): boolean {
    return this.#callBytes <= CALL_BYTES_MAX && this.#served.callBytes <= CALLS_BYTES_MAX;
  }

  #goOn(): void {
    if (!this.#mayGoOn) return;
    this.#served.held.delete(this);
    this.#lastHeardMs = this.#served.options.clock.nowMs();
    this.#frames.hold(false);
  }

  async #made(id: number, call: Call): Promise<Answer> {
    const { directory } = this.#served.options;
    try {
      switch (call.method) {
        case "get": {
          const record = await directory.get(call.key);
          return { records: record === undefined ? [] : [record] };
        }
        case "list": {
          if (call.isStampOnly !== true) return await this.#list(id, call.prefix);
          const { count, newestRevision } = await directory.stamp(call.prefix);
          return { count, revision: newestRevision };
        }
        case "transact":
          return await directory.transact(call.conditions, call.writes);
        case "grant-lease":
          return { lease: await directory.grantLease(call.ttlMs) };
        case "keep-alive":
          return { leftMs: await directory.keepAlive(call.lease) };
        case "revoke-lease":
          await directory.revokeLease(call.lease);
          return {};
      }
    } catch (error) {
      return { fault: faultOf(error) };
    }
  }

  async #list(id: number, prefix: string): Promise<Answer> {
    const { records, revision } = await this.#served.options.directory.list(prefix);
    let piece: DirectoryRecord[] = [];
    let length = 0;
    const flush = (): void => {
      if (piece.length > 0) this.#send({ kind: "records", id, records: piece });
      piece = [];
      length = 0;
    };
    for (const record of records) {
      piece.push(record);
      length += record.key.length + record.value.length;
      if (length >= PIECE_LENGTH) flush();
    }
    flush();
    return { revision };
  }

  async #answer(id: number, outcome: Promise<Answer>): Promise<void> {
    this.#send({ kind: "answer", id, answer: await outcome });
  }

  #watch(message: Extract<ClientMessage, { kind: "watch" }>): void {
    const { watch: id, prefix, fromRevision } = message;
    assert(this.#watches.size < WATCHES_MAX, "too many watches");
    assert(!this.#watches.has(id), "a watch has a number of its own");
    let gathered: DirectoryEvent[] = [];
    const flush = (): void => {
      for (const events of wholeRevisions(gathered)) {
        // Cancelled meanwhile.
        if (!this.#watches.has(id)) break;
        const bytes = encodeFrame({ kind: "events", watch: id, events });
        // The client lists anew, in pieces of any number.
        if (isFrameTooLong(bytes)) this.#lose(id);
        else this.#sendBytes(bytes);
      }
      gathered = [];
    };
    const onEvent = (event: DirectoryEvent): void => {
      if (gathered.length === 0) void Promise.resolve().then(flush);
      gathered.push(event);
    };
    const onLost = (): void => {
      flush();
      this.#lose(id);
    };
    this.#watches.set(
      id,
      this.#served.options.directory.watch(prefix, fromRevision, onEvent, onLost),
    );
  }

  #lose(id: number): void {
    if (this.#unwatch(id)) this.#send({ kind: "lost", watch: id });
  }

  /** False if there is no such watch. */
  #unwatch(id: number): boolean {
    this.#watches.get(id)?.cancel();
    return this.#watches.delete(id);
  }

  #send(message: ServerMessage): void {
    if (!this.#isClosed) this.#sendBytes(encodeFrame(message));
  }

  #sendBytes(bytes: Uint8Array): void {
    if (!this.#isClosed) this.#frames.sendBytes(bytes);
  }

  #watchSilence(): void {
    const { clock } = this.#served.options;
    // Whoever is not listened to is not silent.
    if (this.#served.held.has(this)) this.#lastHeardMs = clock.nowMs();
    const leftMs = this.#lastHeardMs + SILENCE_MS_MAX - clock.nowMs();
    if (leftMs <= 0) return this.destroy("the client is silent");
    this.#silence = clock.after(leftMs, () => this.#watchSilence());
  }
}

/** Parts of a sensible length that are cut between revisions; longer ones have only one. */
function wholeRevisions(events: readonly DirectoryEvent[]): DirectoryEvent[][] {
  const parts: DirectoryEvent[][] = [];
  let length = Infinity;
  for (let from = 0, to = 0; from < events.length; from = to) {
    const revision = revisionOf(assertDefined(events[from], "an event"));
    let added = 0;
    for (; to < events.length && revisionOf(events[to]!) === revision; to++)
      added += lengthOf(events[to]!);
    if (length + added > EVENTS_LENGTH) {
      parts.push([]);
      length = 0;
    }
    length += added;
    const part = assertDefined(parts.at(-1), "the first revision begins a part");
    for (let i = from; i < to; i++) part.push(events[i]!);
  }
  return parts;
}

function revisionOf(event: DirectoryEvent): number {
  return event.kind === "put" ? event.record.revision : event.revision;
}

function lengthOf(event: DirectoryEvent): number {
  if (event.kind === "delete") return event.key.length;
  return event.record.key.length + event.record.value.length;
}
