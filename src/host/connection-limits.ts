/**
 * Connections of the API that have not asked anything yet: there are only so many, and the oldest
 * makes way for a new one. So clients that connect and say nothing, or say it a byte at a time,
 * keep nobody else out. Counted as Node gives them out: under TLS before the handshake.
 */
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";

const WAITING_MAX = 512;
const CONNECTIONS_MAX = 1500;

export function limitConnections(server: Server): void {
  server.maxConnections = CONNECTIONS_MAX;
  /** In the order in which they came. */
  const waiting = new Map<string, Socket>();
  server.on("connection", (socket: Socket) => {
    const key = keyOf(socket);
    // Only their owner and group reach sockets in the file system.
    if (key === undefined) return;
    waiting.set(key, socket);
    socket.once("close", () => waiting.delete(key));
    if (waiting.size <= WAITING_MAX) return;
    const [oldest] = waiting;
    if (oldest === undefined) return;
    waiting.delete(oldest[0]);
    oldest[1].destroy();
  });
  server.on("request", ({ socket }: IncomingMessage) => {
    const key = keyOf(socket);
    if (key !== undefined) waiting.delete(key);
  });
}

function keyOf({ remoteAddress, remotePort }: Socket): string | undefined {
  return remoteAddress === undefined ? undefined : `${remoteAddress} ${remotePort}`;
}
