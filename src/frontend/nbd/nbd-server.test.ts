import assert from "node:assert/strict";
import {
  clientFlags,
  decodeReplies,
  infoData,
  option,
  request,
} from "../../../test/nbd/client-bytes.ts";
import { MemoryVolume } from "../../../test/nbd/memory-volume.ts";
import { turn } from "../../../test/nbd/session.ts";
import { testPorts } from "../../../test/nbd/test-ports.ts";
import type { TestPorts } from "../../../test/nbd/test-ports.ts";
import type { TestStream } from "../../../test/nbd/test-stream.ts";
import { test } from "../../../test/support/test.ts";
import { NbdServer } from "./nbd-server.ts";
import { ReadMemoryPool } from "./read-memory.ts";
import { SingleExport } from "./single-export.ts";

const ADDRESS = { kind: "unix", path: "/run/test.sock" } as const;
const WRITE = 1;
const DISC = 2;
const ESHUTDOWN = 108;

interface Setup extends TestPorts {
  readonly server: NbdServer;
  readonly volume: MemoryVolume;
}

async function listening(connectionsMax = 4, handshakeTimeoutMs = 1000): Promise<Setup> {
  const ports = testPorts();
  const volume = new MemoryVolume({ sizeBytes: 1 << 20, completions: "by-test", record: true });
  const catalog = new SingleExport(volume, "");
  const options = { address: ADDRESS, connectionsMax, handshakeTimeoutMs };
  return { ...ports, volume, server: await NbdServer.listen(ports, catalog, options) };
}

function join({ network }: Setup): TestStream {
  const stream = network.arrive();
  stream.deliver(Buffer.concat([clientFlags(), option(7, infoData(""))]));
  stream.drain();
  stream.takeReceived();
  return stream;
}

const write = (cookie: number): Buffer =>
  request({ command: WRITE, cookie, payload: Buffer.alloc(512, 1) });

test("a client that does not finish its negotiation in time is cut off", async () => {
  const setup = await listening();
  const silent = setup.network.arrive();
  const agreed = join(setup);
  setup.clock.advance(1000);
  await turn();
  assert(silent.isClosed);
  assert(!agreed.isClosed);
  assert.equal(setup.clock.timerCount, 0);
  assert.match(String(setup.log.lines.at(-2)?.fields?.["reason"]), /no agreement within 1000 ms/);
});

test("ten thousand half-open clients keep nobody out", async () => {
  const setup = await listening();
  for (let i = 0; i < 10_000; i++) setup.network.arrive();
  const agreed = join(setup);
  await turn();
  assert.equal(setup.server.connections().length, 4);
  assert.equal(setup.clock.timerCount, 3);
  for (let i = 0; i < 100; i++) setup.network.arrive();
  assert(!agreed.isClosed);
  await turn();
  agreed.deliver(write(1));
  assert.equal(setup.volume.calls.length, 1);
});

test("clients that say ABORT or DISC and stay are closed, and keep nobody out", async () => {
  const setup = await listening(4, 1000);
  const aborted = Array.from({ length: 3 }, () => {
    const client = setup.network.arrive();
    client.deliver(Buffer.concat([clientFlags(), option(2)]));
    return client;
  });
  const disconnected = join(setup);
  disconnected.deliver(request({ command: DISC, cookie: 1 }));
  await turn();
  assert(aborted.every(({ isEnding, isClosed }) => isEnding && !isClosed));
  assert(disconnected.isEnding && !disconnected.isClosed);
  const guest = join(setup);
  assert(aborted[0]!.isClosed, "the oldest makes room, and its socket is not forgotten");
  assert(!guest.isClosed);
  setup.clock.advance(60_000);
  await turn();
  assert([...aborted, disconnected].every(({ isClosed }) => isClosed));
  assert.equal(setup.server.connections().length, 1);
  assert.equal(setup.clock.timerCount, 0);
});

test("a server full of working clients refuses one more", async () => {
  const setup = await listening(2);
  join(setup);
  join(setup);
  assert(setup.network.arrive().isClosed);
  assert.equal(setup.server.connections().length, 2);
});

test("stopping amid half-open clients closes them and ends at once (CVE-2024-7409)", async () => {
  const setup = await listening(64);
  const clients = Array.from({ length: 64 }, () => setup.network.arrive());
  for (const [index, client] of clients.entries()) {
    client.deliver(Buffer.concat([clientFlags(), option(7, infoData(""))]).subarray(0, index % 26));
  }
  await setup.server.close(5000);
  assert(clients.every((client) => client.isClosed));
  assert(!setup.network.isListening);
  assert.equal(setup.clock.timerCount, 0);
});

test("10,000 clients that never come to an agreement keep nobody out, and the end ends them", async () => {
  const setup = await listening(64);
  const clients = Array.from({ length: 10_000 }, (_, index) => {
    const client = setup.network.arrive();
    client.deliver(Buffer.concat([clientFlags(), option(5), option(8)]).subarray(0, index % 36));
    return client;
  });
  assert.equal(setup.server.connections().length, 64);
  assert.equal(clients.filter(({ isClosed }) => !isClosed).length, 64);
  const guest = join(setup);
  assert(!guest.isClosed, "there is room for who means it");
  const closed = setup.server.close(5000);
  await turn();
  guest.drain();
  await closed;
  assert(clients.every((client) => client.isClosed));
  assert.equal(setup.clock.timerCount, 0);
});

test("close answers what is under way and refuses what comes later", async () => {
  const setup = await listening();
  const client = join(setup);
  client.deliver(write(1));
  const closed = setup.server.close(5000);
  client.deliver(write(2));
  await turn();
  assert(!client.isEnding, "a request is still under way");
  setup.volume.deliver(() => 0);
  await turn();
  client.drain();
  await closed;
  const replies = decodeReplies(client.takeReceived(), new Map());
  assert.equal(replies.get(1)?.errno, 0);
  assert.equal(replies.get(2)?.errno, ESHUTDOWN);
  assert.equal(setup.volume.calls.length, 1);
  assert.equal(setup.clock.timerCount, 0);
});

test("close cuts off clients that are not done by the deadline", async () => {
  const setup = await listening();
  const client = join(setup);
  client.deliver(write(1));
  const closed = setup.server.close(5000);
  await turn();
  assert(!client.isClosed);
  setup.clock.advance(5000);
  await closed;
  assert(client.isClosed);
  setup.volume.deliver(() => 0);
});

test("disconnecting an export lets its clients finish, and the listener goes on", async () => {
  const setup = await listening();
  const client = join(setup);
  setup.server.disconnect("another");
  await turn();
  assert(!client.isEnding);
  setup.server.disconnect("v1");
  await turn();
  client.drain();
  await turn();
  assert(client.isClosed);
  assert(!join(setup).isClosed);
});

test("the server tells who is connected, to what, and how much they asked", async () => {
  const setup = await listening();
  join(setup).deliver(Buffer.concat([write(1), write(2)]));
  setup.network.arrive();
  assert.deepEqual(setup.server.connections(), [
    { remote: "test", exportName: "v1", clientName: undefined, requestsTotal: 2 },
    { remote: "test", exportName: undefined, clientName: undefined, requestsTotal: 0 },
  ]);
});

test("one client's violation leaves the others alone", async () => {
  const setup = await listening();
  const good = join(setup);
  const bad = join(setup);
  bad.deliver(Buffer.alloc(28, 0xff));
  await turn();
  assert(bad.isClosed);
  good.deliver(write(1));
  setup.volume.deliver(() => 0);
  await turn();
  good.drain();
  assert.equal(decodeReplies(good.takeReceived(), new Map()).get(1)?.errno, 0);
});

test("servers that share their memory use no more of it, however many volumes come and go", async () => {
  const memory = new ReadMemoryPool();
  let allocatedCount = 0;
  for (let round = 0; round < 20; round++) {
    const ports = testPorts();
    const volume = new MemoryVolume({ sizeBytes: 1 << 20, completions: "by-test", record: true });
    const catalog = new SingleExport(volume, "");
    const server = await NbdServer.listen(ports, catalog, { address: ADDRESS, memory });
    const client = join({ ...ports, volume, server });
    client.deliver(write(1));
    volume.deliver(() => 0);
    const closed = server.close(5000);
    await turn();
    client.drain();
    await closed;
    if (volume.allocatedBytes > 0) allocatedCount++;
  }
  assert.equal(allocatedCount, 1);
});
