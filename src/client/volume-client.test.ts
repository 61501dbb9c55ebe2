import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { test } from "../../test/support/test.ts";
import { QuietServer } from "../../test/vhost-user/quiet-server.ts";
import { CodedError, Prng } from "../base/index.ts";
import { VolumeClient } from "./volume-client.ts";

const SIZE = 8 << 20;

function openDescriptors(): number {
  return readdirSync("/proc/self/fd").length;
}

test("what is written is read, in any order and number of requests", async (t) => {
  const server = await QuietServer.start(t, SIZE);
  const client = await VolumeClient.open(server.path, { depth: 16 });
  assert.equal(client.sizeBytes, SIZE);
  const prng = new Prng(3);
  const model = Buffer.alloc(SIZE);
  const buffers = Array.from({ length: 40 }, () => client.allocate(16 << 10));
  for (let round = 0; round < 20; round++) {
    const used = new Set<number>();
    await Promise.all(
      buffers.map(async (buffer) => {
        const offset = prng.below(SIZE / buffer.bytes.length) * buffer.bytes.length;
        if (used.has(offset)) return;
        used.add(offset);
        if (prng.chance(0.5)) {
          prng.fill(buffer.bytes);
          model.set(buffer.bytes, offset);
          await client.write(buffer, offset);
        } else {
          await client.read(buffer, offset);
          const expected = model.subarray(offset, offset + buffer.bytes.length);
          assert.equal(Buffer.compare(buffer.bytes, expected), 0);
        }
      }),
    );
  }
  await client.flush();
  assert.equal(Buffer.compare(server.volume.bytes, model), 0);
  await client.close();
  assert.deepEqual(server.violations, []);
});

test("a section is mapped at its first touch alone", async (t) => {
  const server = await QuietServer.start(t, SIZE);
  const client = await VolumeClient.open(server.path, { memoryBytes: 16 << 20 });
  const buffer = client.allocate(4096);
  await client.read(buffer, 0);
  const { mapsTotal, copiedBytesTotal, directBytesTotal } = server.sections.stats;
  for (let i = 0; i < 100; i++) await client.read(buffer, 4096 * i);
  assert.equal(server.sections.stats.mapsTotal, mapsTotal);
  // Table, head and status of each request are copied; data are not.
  const perRead = (server.sections.stats.copiedBytesTotal - copiedBytesTotal) / 100;
  assert.equal(perRead, 48 + 16 + 1);
  assert.equal(server.sections.stats.directBytesTotal - directBytesTotal, 100 * 4096);
  await client.close();
});

test("a fault of the volume rejects the request, and the next one is served", async (t) => {
  const server = await QuietServer.start(t, SIZE);
  const client = await VolumeClient.open(server.path);
  const buffer = client.allocate(512);
  server.volume.fault = () => "io-error";
  await assert.rejects(
    client.read(buffer, 0),
    (error) => error instanceof CodedError && error.code === "io-error",
  );
  server.volume.fault = () => undefined;
  await client.read(buffer, 0);
  await client.close();
});

test("requests outlive the server: the next one at the socket carries them out", async (t) => {
  const server = await QuietServer.start(t, SIZE);
  const client = await VolumeClient.open(server.path, { depth: 4 });
  const buffers = Array.from({ length: 12 }, () => client.allocate(4096));
  await client.write(buffers[0]!, 0);
  server.volume.fault = () => "not-owner";
  const writes = buffers.map((buffer, i) => {
    buffer.bytes.fill(i + 1);
    return client.write(buffer, 4096 * i);
  });
  while (client.isConnected) await new Promise(setImmediate);
  await server.stop();
  server.volume.fault = () => undefined;
  await server.listen();
  await Promise.all(writes);
  for (const i of buffers.keys()) assert.equal(server.volume.bytes[4096 * i], i + 1);
  await client.close();
});

test("a host that does not come back fails what is under way", async (t) => {
  const server = await QuietServer.start(t, SIZE);
  const client = await VolumeClient.open(server.path, { reconnectMsMax: 50 });
  const buffer = client.allocate(4096);
  server.volume.fault = () => "shutting-down";
  const read = client.read(buffer, 0);
  await server.stop();
  await assert.rejects(read, /failed/);
  assert.throws(() => client.startRead(buffer, 0, () => undefined, 0), CodedError);
  await client.close();
});

test("opening and closing leaves nothing behind", async (t) => {
  const server = await QuietServer.start(t, SIZE);
  const before = openDescriptors();
  for (let i = 0; i < 5; i++) {
    const client = await VolumeClient.open(server.path);
    await client.read(client.allocate(512), 0);
    await client.close();
  }
  while (server.server.status.isConnected) await new Promise(setImmediate);
  assert.equal(openDescriptors(), before);
  assert.equal(server.sections.stats.mapped, 0);
});

test("buffers are handed out once, and their memory again after their release", async (t) => {
  const server = await QuietServer.start(t, SIZE);
  const client = await VolumeClient.open(server.path, { memoryBytes: 16 * 4096 });
  const buffers = Array.from({ length: 16 }, () => client.allocate(100));
  assert.equal(new Set(buffers.map(({ at }) => at)).size, 16);
  assert.throws(() => client.allocate(1), /no 1 bytes/);
  for (const i of [3, 5, 4, 0, 15]) client.release(buffers[i]!);
  const whole = client.allocate(3 * 4096);
  assert.equal(whole.at, buffers[3]!.at);
  assert.throws(() => client.release(buffers[5]!), /released once/);
  await client.close();
});

test("nobody listens: opening says so", async () => {
  await assert.rejects(
    VolumeClient.open("/tmp/drystone-nobody-listens-here"),
    (error) => error instanceof CodedError && error.code === "connection-refused",
  );
});
