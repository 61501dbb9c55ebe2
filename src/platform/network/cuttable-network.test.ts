import { ok as assert, deepEqual, equal } from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:net";
import type { Server, Socket } from "node:net";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import type { ByteStream } from "../../ports/index.ts";
import { CuttableNetwork, StreamNetwork } from "../index.ts";

interface Other {
  readonly server: Server;
  readonly port: number;
  readonly socket: Promise<Socket>;
}

async function other(t: TestContext): Promise<Other> {
  const server = createServer({ allowHalfOpen: true });
  const socket = once(server, "connection").then(([accepted]) => {
    t.after(() => (accepted as Socket).destroy());
    return accepted as Socket;
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const address = server.address();
  assert(typeof address === "object" && address !== null, "it listens at a port");
  return { server, port: address.port, socket };
}

/** What a stream said, in order, and a way to wait for it. */
class Heard {
  readonly events: string[] = [];
  #wake: () => void = () => {};

  start(stream: ByteStream): void {
    const note = (event: string): void => {
      this.events.push(event);
      this.#wake();
    };
    stream.start({
      data: (bytes) => note(`data ${Buffer.from(bytes).toString()}`),
      written: (token) => note(`written ${token}`),
      drained: () => note("drained"),
      ended: () => note("ended"),
      closed: () => note("closed"),
    });
  }

  async until(event: string): Promise<void> {
    while (!this.events.includes(event))
      await new Promise<void>((resolve) => (this.#wake = resolve));
  }
}

/** Long enough for anything that passes on loopback to have passed. */
async function aWhile(): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, 50));
}

test("while a way is cut nothing passes in either direction, and then all of it", async (t) => {
  const { port, socket } = await other(t);
  const network = new CuttableNetwork(new StreamNetwork());
  const stream = await network.connect({ kind: "tcp", host: "127.0.0.1", port });
  const heard = new Heard();
  heard.start(stream);
  const end = await socket;
  const received: string[] = [];
  end.setEncoding("utf8").on("data", (text: string) => received.push(text));
  network.cut([`127.0.0.1:${port}`]);
  stream.write(Buffer.from("one "), 1);
  stream.write(Buffer.from("two"), 2);
  end.write("answer");
  end.end();
  await aWhile();
  equal(received.length + heard.events.length, 0);
  network.cut([]);
  await heard.until("ended");
  await heard.until("written 2");
  assert(heard.events.indexOf("data answer") < heard.events.indexOf("ended"));
  while (received.join("") !== "one two") await once(end, "data");
  stream.end();
  await heard.until("closed");
});

test("who leaves while the way is cut is closed at once, and the other end hears of it later", async (t) => {
  const { port, socket } = await other(t);
  const network = new CuttableNetwork(new StreamNetwork());
  const stream = await network.connect({ kind: "tcp", host: "127.0.0.1", port });
  const heard = new Heard();
  heard.start(stream);
  const end = await socket;
  let isOver = false;
  const over = once(end.resume(), "end").then(() => (isOver = true));
  network.cut([`127.0.0.1:${port}`]);
  stream.write(Buffer.from("late"), 7);
  stream.destroy();
  await heard.until("closed");
  deepEqual(heard.events, ["written 7", "closed"]);
  await aWhile();
  assert(!isOver, "the end does not pass a cut");
  network.cut([]);
  await over;
});

test("a connection is made when the way is open", async (t) => {
  const { port, socket } = await other(t);
  const network = new CuttableNetwork(new StreamNetwork(), [`127.0.0.1:${port}`]);
  const connecting = network.connect({ kind: "tcp", host: "127.0.0.1", port });
  const first = await Promise.race([connecting.then(() => "made"), aWhile().then(() => "not")]);
  equal(first, "not");
  network.cut(["127.0.0.1:1"]);
  const heard = new Heard();
  const stream = await connecting;
  heard.start(stream);
  (await socket).write("hello");
  await heard.until("data hello");
  stream.destroy();
  await heard.until("closed");
});
