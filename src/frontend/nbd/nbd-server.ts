/**
 * A listener that serves volumes over NBD. It promises: a client can only harm its own connection;
 * a volume is opened for a client when its negotiation has ended, never earlier; `close` answers
 * what is under way, within a deadline.
 */
import type { Clock, Listener, Log, Network, NetworkAddress, Timer } from "../../ports/index.ts";
import type { ByteStream } from "../../ports/index.ts";
import { Connection } from "./connection.ts";
import type { ConnectionOwner } from "./connection.ts";
import type { ExportCatalog } from "./export-catalog.ts";
import { ReadMemoryPool } from "./read-memory.ts";

export interface NbdServerPorts {
  readonly network: Pick<Network, "listen">;
  readonly clock: Clock;
  readonly log: Log;
}

export interface NbdServerOptions {
  readonly address: NetworkAddress;
  /** At this many connections the oldest one that negotiates or ends makes room for a new one. */
  readonly connectionsMax?: number;
  readonly handshakeTimeoutMs?: number;
  /** The network's streams can be secured, and have to be. */
  readonly requiresTls?: boolean;
  /** Shared with other servers, whose volumes come and go; otherwise it has its own. */
  readonly memory?: ReadMemoryPool;
}

export interface NbdConnectionStatus {
  readonly remote: string;
  /** Undefined while negotiating. */
  readonly exportName: string | undefined;
  /** Who it has proven to be, where it had to. */
  readonly clientName: string | undefined;
  readonly requestsTotal: number;
}

const CONNECTIONS_MAX = 64;
const HANDSHAKE_TIMEOUT_MS = 30_000;
/** For a client to take its last answers and to close, after its end. */
const ENDING_TIMEOUT_MS = 5_000;

export class NbdServer implements ConnectionOwner {
  readonly memory: ReadMemoryPool;
  readonly requiresTls: boolean;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #catalog: ExportCatalog;
  readonly #connectionsMax: number;
  readonly #handshakeTimeoutMs: number;
  readonly #connections = new Set<Connection>();
  /** Those that negotiate or end, the oldest first, and when they are cut off. */
  readonly #passing = new Map<Connection, Timer>();
  #listener: Listener | undefined;
  #isClosing = false;
  #onEmpty: (() => void) | undefined;

  private constructor(ports: NbdServerPorts, catalog: ExportCatalog, options: NbdServerOptions) {
    this.#clock = ports.clock;
    this.#log = ports.log;
    this.#catalog = catalog;
    this.memory = options.memory ?? new ReadMemoryPool();
    this.requiresTls = options.requiresTls ?? false;
    this.#connectionsMax = options.connectionsMax ?? CONNECTIONS_MAX;
    this.#handshakeTimeoutMs = options.handshakeTimeoutMs ?? HANDSHAKE_TIMEOUT_MS;
  }

  /** Fails as `Network.listen` does. */
  static async listen(
    ports: NbdServerPorts,
    catalog: ExportCatalog,
    options: NbdServerOptions,
  ): Promise<NbdServer> {
    const server = new NbdServer(ports, catalog, options);
    server.#listener = await ports.network.listen(options.address, (stream) => {
      server.#accept(stream);
    });
    return server;
  }

  /** Where it listens, with the port that was chosen. */
  get address(): NetworkAddress {
    return this.#listener!.address;
  }

  connections(): readonly NbdConnectionStatus[] {
    return [...this.#connections].map(({ remote, exportName, clientName, requestsTotal }) => {
      return { remote, exportName, clientName, requestsTotal };
    });
  }

  /**
   * Takes no new clients and requests, answers what is under way, and resolves when the last
   * connection is closed: after `deadlineMs` those that are left are cut off.
   */
  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true;
    const emptied = new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
    });
    const timer = this.#clock.after(deadlineMs, () => {
      for (const connection of this.#connections) connection.destroy();
    });
    const stopped = this.#listener!.close();
    for (const connection of this.#connections) connection.shutDown();
    this.#reportEmpty();
    await Promise.all([emptied, stopped]);
    timer.cancel();
  }

  /** As `close`, for the clients of one export. Resolves at once; the clients go by themselves. */
  disconnect(exportName: string): void {
    for (const connection of this.#connections) {
      if (connection.exportName === exportName) connection.shutDown();
    }
  }

  /** At once, whoever uses an export under TLS and may not. */
  cutOff(mustGo: (clientName: string, exportName: string) => boolean): void {
    for (const connection of this.#connections) {
      const { clientName, exportName } = connection;
      if (clientName === undefined || exportName === undefined) continue;
      if (mustGo(clientName, exportName))
        connection.violation("it may not use the volume any more");
    }
  }

  agreed(connection: Connection): void {
    this.#hasPassed(connection);
    const { remote, exportName, clientName } = connection;
    this.#log.write("info", "NBD client connected", {
      ...{ remote, export: exportName },
      ...(clientName === undefined ? {} : { client: clientName }),
    });
  }

  ending(connection: Connection): void {
    this.#hasPassed(connection);
    // The client may have gone in the meantime, or lost its place.
    if (!this.#connections.has(connection)) return;
    const timer = this.#clock.after(ENDING_TIMEOUT_MS, () => connection.destroy());
    this.#passing.set(connection, timer);
  }

  violation(connection: Connection, reason: string): void {
    const { remote, exportName } = connection;
    this.#log.write("warning", "NBD client cut off", { remote, export: exportName, reason });
  }

  closed(connection: Connection, reason: string | undefined): void {
    this.#forget(connection);
    const { remote, exportName } = connection;
    const level = exportName === undefined ? "debug" : "info";
    this.#log.write(level, "NBD client gone", { remote, export: exportName, reason });
    this.#reportEmpty();
  }

  #accept(stream: ByteStream): void {
    if (this.#isClosing || !this.#makeRoom()) {
      stream.destroy();
      return;
    }
    const connection = new Connection(stream, this.#catalog, this);
    const timer = this.#clock.after(this.#handshakeTimeoutMs, () => {
      connection.violation(`no agreement within ${this.#handshakeTimeoutMs} ms`);
    });
    this.#connections.add(connection);
    this.#passing.set(connection, timer);
    connection.start();
  }

  /** Half-open clients must not keep others out, whichever half is open. */
  #makeRoom(): boolean {
    if (this.#connections.size < this.#connectionsMax) return true;
    const [oldest] = this.#passing.keys();
    if (oldest !== undefined) {
      oldest.violation("another client needs its place");
      // A violation of one that has ended is none.
      oldest.destroy();
      this.#forget(oldest);
      return true;
    }
    this.#log.write("warning", "NBD client refused: too many connections", {
      connectionsMax: this.#connectionsMax,
    });
    return false;
  }

  #hasPassed(connection: Connection): void {
    this.#passing.get(connection)?.cancel();
    this.#passing.delete(connection);
  }

  #forget(connection: Connection): void {
    this.#hasPassed(connection);
    this.#connections.delete(connection);
  }

  #reportEmpty(): void {
    if (this.#isClosing && this.#connections.size === 0) this.#onEmpty?.();
  }
}
