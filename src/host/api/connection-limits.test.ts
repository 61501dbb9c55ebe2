import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import type { ServerResponse } from "node:http";
import * as net from "node:net";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import { CONNECTION_LIMITS, limitConnections } from "./connection-limits.ts";
import type { ConnectionLimits } from "./connection-limits.ts";

/** More than systems keep for who does not read. */
const LARGE: Buffer = Buffer.alloc(16 << 20);

/** Answers `/large` with much, `/stream` without an end and `/held` when it is told to. */
class LimitedServer {
  readonly port: number;
  readonly held: ServerResponse[] = [];
  readonly #server: net.Server;

  private constructor(server: net.Server) {
    this.#server = server;
    this.port = (server.address() as AddressInfo).port;
  }

  static async start(t: TestContext, limits: Partial<ConnectionLimits>): Promise<LimitedServer> {
    const server = createServer(({ url }, response) => {
      response.on("error", () => response.destroy());
      if (url === "/large") response.end(LARGE);
      else if (url === "/held") started.held.push(response);
      else if (url === "/stream") {
        const writes = setInterval(() => response.write("event\n".repeat(10_000)), 1);
        response.once("close", () => clearInterval(writes));
      } else response.end("answer");
      server.emit(`asked ${url}`);
    });
    limitConnections(server, { ...CONNECTION_LIMITS, ...limits });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const started = new LimitedServer(server);
    t.after(() => {
      server.closeAllConnections();
      server.close();
    });
    return started;
  }

  async asked(path: string): Promise<void> {
    await once(this.#server, `asked ${path}`);
  }

  /** A connection, as the server sees it, of a client that asks for this and reads nothing. */
  async asks(t: TestContext, path: string): Promise<net.Socket> {
    const client = net.connect(this.port, "127.0.0.1");
    client.on("error", () => {});
    client.pause();
    t.after(() => client.destroy());
    const [socket] = (await once(this.#server, "connection")) as [net.Socket];
    if (path === "") return socket;
    const asked = this.asked(path);
    client.write(`GET ${path} HTTP/1.1\r\nhost: h\r\n\r\n`);
    await asked;
    return socket;
  }

  async answer(path = "/"): Promise<string> {
    const answer = await fetch(`http://127.0.0.1:${this.port}${path}`, {
      headers: { connection: "close" },
    });
    return await answer.text();
  }
}

const goesAway = async (socket: net.Socket): Promise<void> => {
  if (!socket.closed) await once(socket, "close");
};

test("who does not read what was answered is cut off, also where more is added all the time", async (t) => {
  const server = await LimitedServer.start(t, { stalledMs: 50, lookMs: 5 });
  for (const path of ["/large", "/stream"]) await goesAway(await server.asks(t, path));
});

test("an answer that takes its time is waited for", async (t) => {
  const server = await LimitedServer.start(t, { stalledMs: 5, lookMs: 1 });
  const asked = server.asked("/held");
  const answered = server.answer("/held");
  await asked;
  await goesAway(await server.asks(t, "/large"));
  server.held[0]?.end("at last");
  assert.equal(await answered, "at last");
});

test("who reads nothing makes way first, then who has not asked, then who asks nothing now", async (t) => {
  const server = await LimitedServer.start(t, { perSourceMax: 4 });
  const silent = await server.asks(t, "");
  const idle = await server.asks(t, "/");
  const reading = await server.asks(t, "/held");
  const deaf = await server.asks(t, "/large");
  await server.asks(t, "/held");
  await goesAway(deaf);
  assert.ok(!silent.destroyed && !idle.destroyed && !reading.destroyed);
  await server.asks(t, "/held");
  await goesAway(silent);
  assert.ok(!idle.destroyed && !reading.destroyed);
  await server.asks(t, "/held");
  await goesAway(idle);
  const late = await server.asks(t, "");
  await goesAway(late);
  assert.ok(!reading.destroyed, "those that wait for their answer stay");
});

test("clients that ask and never read keep nobody else out", async (t) => {
  const server = await LimitedServer.start(t, { connectionsMax: 20, perSourceMax: 20 });
  for (let i = 0; i < 60; i++) {
    await server.asks(t, "/large");
    assert.equal(await server.answer(), "answer");
  }
});
