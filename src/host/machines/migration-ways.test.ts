import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, connect } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "../../../test/support/test.ts";
import { StreamNetwork } from "../../platform/index.ts";
import type { ByteStream, Log, Network } from "../../ports/index.ts";
import { HostMigrationWays } from "./migration-ways.ts";

const BYTES = 3 << 20;

/** A socket as QEMU has one, that answers with as many bytes as it got. */
async function waitingMachine(t: TestContext, path: string): Promise<() => number> {
  let count = 0;
  const server = createServer((socket) => {
    socket.on("data", (bytes) => (count += bytes.length));
    socket.on("end", () => socket.end());
    socket.on("error", () => {});
    socket.write("ready");
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.after(() => void server.close());
  return () => count;
}

function world(t: TestContext, network: Network): { ways: HostMigrationWays; folder: string } {
  const folder = mkdtempSync(join(tmpdir(), "ways-"));
  t.after(() => rmSync(folder, { recursive: true }));
  const log: Log = { write: () => {} };
  const ways = new HostMigrationWays({
    network,
    address: "127.0.0.1:7402",
    socketsPath: folder,
    log,
  });
  t.after(() => ways.close("vm"));
  return { ways, folder };
}

/** What the other end has said when it has closed the connection. */
async function said(socket: Socket): Promise<string> {
  let text = "";
  socket.setEncoding("utf8");
  socket.on("data", (part: string) => (text += part));
  socket.on("error", () => {});
  await new Promise((resolve) => socket.on("close", resolve));
  return text;
}

test("what is sent to one host's socket arrives at the other's, and the answer comes back", async (t) => {
  const target = world(t, new StreamNetwork());
  const source = world(t, new StreamNetwork());
  const machine = join(target.folder, "incoming.sock");
  const received = await waitingMachine(t, machine);
  const address = await target.ways.offer("vm", machine);
  assert.notEqual(address, "127.0.0.1:7402", "at a port that the system has chosen");
  const path = await source.ways.reach("vm", "h2", address);
  const socket = connect(path);
  socket.write(Buffer.alloc(BYTES));
  socket.end();
  assert.equal(await said(socket), "ready");
  assert.equal(received(), BYTES);
});

test("one connection is let in, and none when the machine has arrived", async (t) => {
  const { ways, folder } = world(t, new StreamNetwork());
  const machine = join(folder, "incoming.sock");
  const received = await waitingMachine(t, machine);
  const address = await ways.offer("vm", machine);
  const port = Number(address.split(":").at(-1));
  const first = connect(port, "127.0.0.1");
  await new Promise((resolve) => first.once("data", resolve));
  const second = connect(port, "127.0.0.1");
  assert.equal(await said(second), "", "turned away");
  const firstSaid = said(first);
  ways.close("vm");
  await firstSaid;
  const third = connect(port, "127.0.0.1");
  assert.equal(await said(third), "");
  assert.equal(received(), 0);
});

test("memory goes to nobody but the host that is meant", async (t) => {
  const network = new StreamNetwork();
  /** Whoever answers shows the certificate of h3. */
  const proving: Network = {
    listen: (address, accept) => network.listen(address, accept),
    connect: async (address): Promise<ByteStream> =>
      Object.assign(await network.connect(address), { peer: { clusterId: "c", hostId: "h3" } }),
  };
  const target = world(t, network);
  const machine = join(target.folder, "incoming.sock");
  const received = await waitingMachine(t, machine);
  const address = await target.ways.offer("vm", machine);
  const source = world(t, proving);
  const refused = connect(await source.ways.reach("vm", "h2", address));
  refused.write("memory");
  assert.equal(await said(refused), "");
  assert.equal(received(), 0);
  const meant = connect(
    await source.ways.reach("vm", "h3", await target.ways.offer("vm", machine)),
  );
  meant.end("memory");
  assert.equal(await said(meant), "ready");
  assert.equal(received(), 6);
});
