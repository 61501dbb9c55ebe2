/**
 * How many connections the API has: in all, from one address, and of those that have not asked
 * anything yet. Where there are too many the oldest makes way for the new one: of those first that
 * do not read what was answered, then of those that have not asked, then of those that ask nothing
 * now. Connections that wait for their answer stay. So clients that connect and say nothing, or say
 * it a byte at a time, or ask and never read, keep nobody else out. Who reads nothing for half a
 * minute is cut off in any case.
 *
 * Counted as Node gives them out: under TLS before the handshake.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Socket } from "node:net";
import { sourceOf } from "./attempts.ts";

export interface ConnectionLimits {
  readonly waitingMax: number;
  readonly connectionsMax: number;
  readonly perSourceMax: number;
  /** An answer of which nothing went out for so long ends its connection. */
  readonly stalledMs: number;
  /** How late that may be noticed. */
  readonly lookMs: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = {
  waitingMax: 512,
  connectionsMax: 1500,
  perSourceMax: 512,
  stalledMs: 30_000,
  lookMs: 5000,
};

/** Those that are closing are counted by Node, and no longer by us. */
const CLOSING_MAX = 500;

interface Connection {
  readonly source: string;
  /** What carries requests: under TLS another one than what was connected. */
  socket: Socket;
  hasAsked: boolean;
  answeringCount: number;
  /** As of the last look. */
  sentBytes: number;
  sentMs: number;
}

export function limitConnections(
  server: Server,
  limits: ConnectionLimits = CONNECTION_LIMITS,
): void {
  server.maxConnections = limits.connectionsMax + CLOSING_MAX;
  const connections = new Connections(limits);
  server.on("connection", (socket: Socket) => connections.add(socket));
  server.on("request", (request: IncomingMessage, response: ServerResponse) =>
    connections.ask(request.socket, response),
  );
  const look = setInterval(() => connections.cutStalled(performance.now()), limits.lookMs);
  look.unref();
  server.once("close", () => clearInterval(look));
}

class Connections {
  readonly #limits: ConnectionLimits;
  /** By their other ends, in the order in which they came. */
  readonly #all = new Map<string, Connection>();

  constructor(limits: ConnectionLimits) {
    this.#limits = limits;
  }

  add(socket: Socket): void {
    const key = keyOf(socket);
    const { remoteAddress } = socket;
    // Only their owner and group reach sockets in the file system.
    if (key === undefined || remoteAddress === undefined) return;
    const source = sourceOf(remoteAddress);
    const isNew = { hasAsked: false, answeringCount: 0, sentBytes: 0, sentMs: performance.now() };
    const connection: Connection = { source, socket, ...isNew };
    this.#all.set(key, connection);
    socket.once("close", () => {
      if (this.#all.get(key) === connection) this.#all.delete(key);
    });
    const { waitingMax, connectionsMax, perSourceMax } = this.#limits;
    const isOfSource = (one: Connection): boolean => one.source === source;
    const isWaiting = (one: Connection): boolean => !one.hasAsked;
    this.#makeRoom(perSourceMax, isOfSource, key);
    this.#makeRoom(waitingMax, isWaiting, key);
    this.#makeRoom(connectionsMax, () => true, key);
  }

  ask(socket: Socket, response: ServerResponse): void {
    const key = keyOf(socket);
    const connection = key === undefined ? undefined : this.#all.get(key);
    if (connection === undefined) return;
    connection.socket = socket;
    connection.hasAsked = true;
    connection.answeringCount++;
    response.once("close", () => connection.answeringCount--);
  }

  cutStalled(nowMs: number): void {
    for (const [key, connection] of this.#all) {
      const sentBytes = sentBytesOf(connection);
      if (connection.socket.writableLength === 0 || sentBytes !== connection.sentBytes) {
        connection.sentBytes = sentBytes;
        connection.sentMs = nowMs;
      } else if (nowMs - connection.sentMs >= this.#limits.stalledMs) this.#cut(key, connection);
    }
  }

  /** Of those that count there is one more than `countMax`; `newest` is the one that has come. */
  #makeRoom(countMax: number, counts: (one: Connection) => boolean, newest: string): void {
    const counted = [...this.#all].filter(([, one]) => counts(one));
    if (counted.length <= countMax) return;
    const others = counted.filter(([key]) => key !== newest);
    const chosen =
      others.find(([, { socket }]) => socket.writableLength > 0) ??
      others.find(([, { hasAsked }]) => !hasAsked) ??
      others.find(([, { answeringCount }]) => answeringCount === 0) ??
      counted.at(-1);
    if (chosen !== undefined) this.#cut(...chosen);
  }

  #cut(key: string, { socket }: Connection): void {
    this.#all.delete(key);
    socket.destroy();
  }
}

/** What has left this process, so that what is added meanwhile does not look like it. */
function sentBytesOf({ socket }: Connection): number {
  return socket.bytesWritten - socket.writableLength;
}

function keyOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remoteAddress === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}
