/**
 * A network whose ways to some addresses can be cut and healed again, to try on one machine what
 * happens to a cluster whose network breaks. It behaves as a cable does: while it is pulled nothing
 * arrives in either direction, not even the end of a connection, and nobody is told; once it is
 * plugged in again, what was under way goes on where it stopped. Connections are cut where they
 * were opened; those that were accepted belong to the other end.
 */
import { CodedError } from "../../base/index.ts";
import type {
  ByteStream,
  ByteStreamHandler,
  Listener,
  Network,
  NetworkAddress,
  StreamPeer,
} from "../../ports/index.ts";

const CONNECT_TIMEOUT_MS = 10_000;
/** Above this many bytes kept back a writer is asked to wait. */
const KEPT_BYTES_HIGH = 1024 * 1024;

export class CuttableNetwork implements Network {
  readonly #network: Network;
  readonly #streams = new Set<CuttableStream>();
  readonly #connects = new Set<() => void>();
  #cut: ReadonlySet<string>;

  constructor(network: Network, cut: readonly string[] = []) {
    this.#network = network;
    this.#cut = new Set(cut);
  }

  listen(address: NetworkAddress, accept: (stream: ByteStream) => void): Promise<Listener> {
    return this.#network.listen(address, accept);
  }

  async connect(address: NetworkAddress): Promise<ByteStream> {
    const key = keyOf(address);
    const endMs = performance.now() + CONNECT_TIMEOUT_MS;
    while (this.#cut.has(key)) await this.#changed(key, endMs);
    const stream = new CuttableStream(await this.#network.connect(address), key, () =>
      this.#streams.delete(stream),
    );
    this.#streams.add(stream);
    if (this.#cut.has(key)) stream.cut();
    return stream;
  }

  /** From now on these addresses, as `host:port` or a path, and no others cannot be reached. */
  cut(addresses: readonly string[]): void {
    this.#cut = new Set(addresses);
    for (const stream of [...this.#streams]) {
      if (this.#cut.has(stream.key)) stream.cut();
      else stream.heal();
    }
    for (const wake of [...this.#connects]) wake();
  }

  /** Resolves when the cuts have changed. Fails with `connection-timeout`. */
  #changed(key: string, endMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const wake = (): void => {
        this.#connects.delete(wake);
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(() => {
        this.#connects.delete(wake);
        reject(
          new CodedError({
            code: "connection-timeout",
            message: `${key} did not answer`,
            hint: "Check the host and the network",
          }),
        );
      }, endMs - performance.now());
      this.#connects.add(wake);
    });
  }
}

function keyOf(address: NetworkAddress): string {
  return address.kind === "unix" ? address.path : `${address.host}:${address.port}`;
}

interface KeptWrite {
  readonly bytes: Uint8Array;
  readonly token: number;
}

class CuttableStream implements ByteStream {
  readonly remote: string;
  readonly peer: StreamPeer | undefined;
  readonly key: string;
  readonly #stream: ByteStream;
  readonly #forget: () => void;
  #handler: ByteStreamHandler | undefined;
  #isCut = false;
  #isPaused = false;
  /** Handed on, and the bytes are still in use. */
  #unwrittenCount = 0;
  /** What came from the other end and its user was not told of yet. */
  #keptEvents: ((handler: ByteStreamHandler) => void)[] = [];
  #keptWrites: KeptWrite[] = [];
  #keptBytes = 0;
  #owesDrain = false;
  #isEndKept = false;
  /** By its user, while it was cut: the other end learns of it when it is healed. */
  #isLeft = false;

  constructor(stream: ByteStream, key: string, forget: () => void) {
    this.#stream = stream;
    this.remote = stream.remote;
    this.peer = stream.peer;
    this.key = key;
    this.#forget = forget;
  }

  cut(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    this.#stream.pause();
  }

  heal(): void {
    if (!this.#isCut) return;
    this.#isCut = false;
    if (this.#isLeft) {
      this.#stream.destroy();
      this.#forget();
      return;
    }
    for (const { bytes, token } of this.#keptWrites.splice(0)) this.#pass(bytes, token);
    this.#keptBytes = 0;
    if (this.#isEndKept) this.#stream.end();
    this.#deliver();
    if (!this.#owesDrain) return;
    this.#owesDrain = false;
    this.#handler?.drained();
  }

  start(handler: ByteStreamHandler): void {
    this.#handler = handler;
    this.#stream.start({
      // The buffer is used again, so what is kept is a copy.
      data: (bytes) => {
        if (this.#mayPass()) handler.data(bytes);
        else this.#keep(bytes.slice());
      },
      written: (token) => {
        this.#unwrittenCount--;
        handler.written(token);
      },
      drained: () => {
        if (!this.#isLeft) handler.drained();
      },
      ended: () => this.#tell((to) => to.ended()),
      closed: (reason) => {
        this.#tell((to) => {
          this.#forget();
          to.closed(reason);
        });
      },
    });
    if (this.#isCut) this.#stream.pause();
  }

  write(bytes: Uint8Array, token: number): boolean {
    if (!this.#isCut) return this.#pass(bytes, token);
    this.#keptWrites.push({ bytes, token });
    this.#keptBytes += bytes.length;
    if (this.#keptBytes <= KEPT_BYTES_HIGH) return true;
    this.#owesDrain = true;
    return false;
  }

  pause(): void {
    this.#isPaused = true;
    this.#stream.pause();
  }

  resume(): void {
    this.#isPaused = false;
    this.#deliver();
  }

  end(): void {
    if (this.#isCut) this.#isEndKept = true;
    else this.#stream.end();
  }

  destroy(): void {
    if (this.#isLeft) return;
    this.#keptEvents = [];
    const writes = this.#keptWrites.splice(0);
    const report = (): void => {
      for (const { token } of writes) if (token >= 0) this.#handler?.written(token);
    };
    // Bytes that are still in use must not outlive the stream: then the other end learns of it.
    if (!this.#isCut || this.#unwrittenCount > 0) {
      this.#isCut = false;
      this.#stream.destroy();
      queueMicrotask(report);
      return;
    }
    this.#isLeft = true;
    queueMicrotask(() => {
      report();
      this.#handler?.closed(undefined);
    });
  }

  #pass(bytes: Uint8Array, token: number): boolean {
    if (token >= 0) this.#unwrittenCount++;
    return this.#stream.write(bytes, token);
  }

  #mayPass(): boolean {
    return !this.#isCut && this.#keptEvents.length === 0;
  }

  #keep(bytes: Uint8Array): void {
    if (!this.#isLeft) this.#keptEvents.push((to) => to.data(bytes));
  }

  #tell(event: (handler: ByteStreamHandler) => void): void {
    if (this.#isLeft || this.#handler === undefined) return;
    if (this.#mayPass()) event(this.#handler);
    else this.#keptEvents.push(event);
  }

  #deliver(): void {
    const handler = this.#handler;
    if (handler === undefined) return;
    while (!this.#isCut && !this.#isPaused) {
      const event = this.#keptEvents.shift();
      if (event === undefined) {
        this.#stream.resume();
        return;
      }
      event(handler);
    }
  }
}
