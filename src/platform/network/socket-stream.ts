/**
 * One socket as a `ByteStream`.
 *
 * Receiving allocates no buffers: all sockets of a thread are read into one, and what was read is
 * handed on before the next read. Writes of a turn are gathered and leave in one writev, and one
 * callback of that batch returns all of its tokens.
 */
import { assert } from "../../base/index.ts";
import { Socket } from "node:net";
import type { OnReadOpts, SocketConstructorOpts } from "node:net";
import { TLSSocket } from "node:tls";
import type { ByteStream, ByteStreamHandler, StreamPeer } from "../../ports/index.ts";

const READ_BUFFER_BYTES = 256 * 1024;
/** Above this many queued bytes a writer is asked to wait, until half of them have left. */
const QUEUED_BYTES_HIGH = 1024 * 1024;
const QUEUED_BYTES_LOW = QUEUED_BYTES_HIGH / 2;
const KEEP_ALIVE_MS = 30_000;

const readBuffer = new Uint8Array(READ_BUFFER_BYTES);
/** Where the bytes go that a socket has read; a socket is read only once its stream has started. */
const readers = new WeakMap<object, SocketStream>();

export interface ReadOptions {
  readonly onread: OnReadOpts;
}

/** Node calls it as a method of the socket that was read. */
function handOn(this: unknown, byteCount: number): boolean {
  const stream = typeof this === "object" && this !== null ? readers.get(this) : undefined;
  assert(stream !== undefined, "only started streams are read");
  return stream.received(byteCount);
}

/** To be given to whatever makes a socket for a stream. */
export const READ_OPTIONS: ReadOptions = { onread: { buffer: readBuffer, callback: handOn } };

interface HandleHolder {
  _handle: unknown;
}

function holdsHandle(socket: object): socket is HandleHolder {
  return "_handle" in socket && socket._handle !== null && socket._handle !== undefined;
}

/**
 * `net.Server` makes its sockets without a way to give them a read buffer. So the connection is
 * moved to a socket that has one, and the server's own is dropped without it. The server no longer
 * counts it as one of its own, either.
 */
export function adoptAccepted(
  accepted: Socket,
  readOptions: Partial<ReadOptions> = READ_OPTIONS,
): Socket {
  const options: SocketConstructorOpts & { handle?: unknown; manualStart: boolean } = {
    ...readOptions,
    allowHalfOpen: true,
    manualStart: true,
  };
  const holder: object = accepted;
  assert(holdsHandle(holder), "an accepted socket has a handle");
  options.handle = holder._handle;
  holder._handle = null;
  accepted.destroy();
  return new Socket(options);
}

/** What Node keeps the read buffer of a socket under, and whom it tells. */
const BUFFER_KEYS: ReadonlyMap<string, unknown> = new Map<string, unknown>([
  ["kBuffer", readBuffer],
  ["kBufferCb", handOn],
]);

/**
 * Node makes a buffer for each record of a TLS socket over another socket, and has no option to
 * give it one: every 64 MiB of them V8 marks the whole heap, and until then they stay. So it gets
 * one in the way in which Node gives it to sockets that have the option. Where Node is made
 * differently nothing is changed, and it goes on as before.
 */
function shareReadBuffer(socket: TLSSocket): void {
  const handle: unknown = holdsHandle(socket) ? socket._handle : undefined;
  if (typeof handle !== "object" || handle === null) return;
  const useUserBuffer: unknown = Reflect.get(handle, "useUserBuffer");
  const keys = Object.getOwnPropertySymbols(socket).filter(({ description }) =>
    BUFFER_KEYS.has(description ?? ""),
  );
  if (typeof useUserBuffer !== "function" || keys.length !== BUFFER_KEYS.size) return;
  for (const key of keys) Reflect.set(socket, key, BUFFER_KEYS.get(key.description!));
  Reflect.apply(useUserBuffer, handle, [readBuffer]);
}

/** The descriptor of a connected socket, for as long as the socket is open. */
export function descriptorOf(socket: Socket): number {
  const holder: object = socket;
  assert(holdsHandle(holder), "a connected socket has a handle");
  const { _handle: handle } = holder;
  const isOpen = typeof handle === "object" && handle !== null && "fd" in handle;
  assert(isOpen && typeof handle.fd === "number" && handle.fd >= 0, "a handle has a descriptor");
  return handle.fd;
}

export class SocketStream implements ByteStream {
  readonly remote: string;
  readonly peer: StreamPeer | undefined;
  readonly #socket: Socket;
  readonly #hasOwnBuffers: boolean;
  #handler: ByteStreamHandler | undefined;
  /** Written in this turn, and the tokens of everything that has not left, in order. */
  readonly #gathered: Uint8Array[] = [];
  readonly #tokens: number[] = [];
  /** Count of tokens and of bytes of each batch on its way. */
  readonly #batchTokens: number[] = [];
  readonly #batchBytes: number[] = [];
  #gatheredTokens = 0;
  #gatheredBytes = 0;
  #queuedBytes = 0;
  /** Of what was written and left before there was anybody to be told. */
  #unreportedTokens = 0;
  #owesDrain = false;
  #flushScheduled = false;
  #endWanted = false;
  /** Nothing is handed on: what comes all the same is held back. */
  #isPaused = false;
  readonly #heldBack: Uint8Array[] = [];
  #hasEnded = false;
  #destroyed = false;
  #closed = false;
  #reason: string | undefined;

  /** `hasOwnBuffers`: the socket was made without `READ_OPTIONS`. */
  constructor(
    socket: Socket,
    address: string,
    peer?: StreamPeer,
    hasOwnBuffers: boolean = socket instanceof TLSSocket,
  ) {
    this.#socket = socket;
    this.#hasOwnBuffers = hasOwnBuffers;
    this.peer = peer;
    const host = socket.remoteAddress;
    this.remote = host === undefined ? address : `${host}:${socket.remotePort ?? 0}`;
    readers.set(socket, this);
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_MS);
    socket.on("error", this.#failed);
    socket.on("end", this.#ended);
    socket.on("close", this.#finish);
  }

  /** Lets go of the socket, for another stream over it. No more callbacks come. */
  release(): Socket {
    assert(this.#tokens.length === 0 && this.#gathered.length === 0, "nothing is queued");
    assert(this.#hasOwnBuffers, "nothing was read into the buffer of all");
    const socket = this.#socket;
    this.#handler = undefined;
    this.#destroyed = true;
    socket.off("data", this.#read);
    socket.off("error", this.#failed);
    socket.off("end", this.#ended);
    socket.off("close", this.#finish);
    return socket;
  }

  start(handler: ByteStreamHandler): void {
    assert(this.#handler === undefined, "a stream is started once");
    this.#handler = handler;
    // What was read before the start comes this way in any case, and first.
    if (this.#hasOwnBuffers) this.#socket.on("data", this.#read);
    if (this.#socket instanceof TLSSocket) shareReadBuffer(this.#socket);
    if (this.#socket.closed) setImmediate(this.#finish);
    else this.#socket.resume();
    if (this.#unreportedTokens > 0) setImmediate(this.#reportEarly);
  }

  write(bytes: Uint8Array, token: number): boolean {
    if (this.#closed) return true;
    assert(!this.#endWanted, "nothing is written after the end");
    this.#tokens.push(token);
    this.#gathered.push(bytes);
    this.#gatheredTokens++;
    this.#gatheredBytes += bytes.length;
    this.#queuedBytes += bytes.length;
    this.#scheduleFlush();
    if (this.#queuedBytes <= QUEUED_BYTES_HIGH) return true;
    this.#owesDrain = true;
    return false;
  }

  pause(): void {
    this.#isPaused = true;
    this.#socket.pause();
  }

  resume(): void {
    if (this.#destroyed) return;
    this.#isPaused = false;
    if (this.#heldBack.length === 0) this.#socket.resume();
    else setImmediate(this.#giveHeldBack);
  }

  end(): void {
    if (this.#endWanted || this.#closed) return;
    this.#endWanted = true;
    this.#scheduleFlush();
  }

  destroy(): void {
    this.#destroyed = true;
    this.#socket.destroy();
  }

  /** Called by the socket; false stops reading, as `pause` has done by then. */
  received(byteCount: number): boolean {
    if (this.#destroyed) return false;
    // TLS hands on all records that it has, whether reading was stopped by one of them or not.
    const isHeldBack = this.#isPaused || this.#heldBack.length > 0;
    if (isHeldBack) this.#heldBack.push(readBuffer.slice(0, byteCount));
    else this.#handler?.data(readBuffer.subarray(0, byteCount));
    return !this.#isPaused;
  }

  readonly #giveHeldBack = (): void => {
    if (this.#heldBack.length === 0) return;
    while (!this.#isPaused && !this.#destroyed && this.#heldBack.length > 0)
      this.#handler?.data(this.#heldBack.shift()!);
    if (this.#isPaused || this.#destroyed) return;
    if (this.#hasEnded) this.#handler?.ended();
    else this.#socket.resume();
  };

  readonly #failed = (error: Error): void => {
    this.#reason ??= error.message;
  };

  readonly #ended = (): void => {
    this.#hasEnded = true;
    if (this.#heldBack.length === 0) this.#handler?.ended();
  };

  readonly #read = ({ buffer, byteOffset, length }: Buffer): void => {
    // `slice` of a Buffer is a view where that of a Uint8Array is a copy.
    if (!this.#destroyed) this.#handler?.data(new Uint8Array(buffer, byteOffset, length));
  };

  #scheduleFlush(): void {
    if (this.#flushScheduled) return;
    this.#flushScheduled = true;
    process.nextTick(this.#flush);
  }

  readonly #flush = (): void => {
    this.#flushScheduled = false;
    if (this.#destroyed || this.#closed) return;
    const pieces = this.#gathered;
    if (pieces.length > 0) {
      this.#batchTokens.push(this.#gatheredTokens);
      this.#batchBytes.push(this.#gatheredBytes);
      this.#gatheredTokens = 0;
      this.#gatheredBytes = 0;
      this.#socket.cork();
      const last = pieces.length - 1;
      for (let i = 0; i < last; i++) this.#socket.write(pieces[i]!);
      this.#socket.write(pieces[last]!, this.#batchWritten);
      this.#socket.uncork();
      pieces.length = 0;
    }
    if (this.#endWanted) this.#socket.end();
  };

  readonly #batchWritten = (error?: Error | null): void => {
    // The tokens of a batch that failed come back when the stream closes.
    if (error !== undefined && error !== null) return;
    if (this.#closed) return;
    this.#queuedBytes -= this.#batchBytes.shift() ?? 0;
    this.#returnTokens(this.#batchTokens.shift() ?? 0);
    this.#reportDrain();
  };

  readonly #reportEarly = (): void => {
    const count = this.#unreportedTokens;
    this.#unreportedTokens = 0;
    this.#returnTokens(count);
    if (!this.#closed) this.#reportDrain();
  };

  #reportDrain(): void {
    if (!this.#owesDrain || this.#queuedBytes > QUEUED_BYTES_LOW) return;
    if (this.#handler === undefined) return;
    this.#owesDrain = false;
    this.#handler.drained();
  }

  #returnTokens(count: number): void {
    if (this.#handler === undefined) {
      this.#unreportedTokens += count;
      return;
    }
    for (const token of this.#tokens.splice(0, count)) {
      if (token >= 0) this.#handler.written(token);
    }
  }

  /** Once the socket is closed and somebody is there to be told. */
  readonly #finish = (): void => {
    this.#destroyed = true;
    if (this.#handler === undefined) return;
    this.#gathered.length = 0;
    while (this.#tokens.length > 0) this.#returnTokens(this.#tokens.length);
    this.#closed = true;
    this.#handler.closed(this.#reason);
  };
}
