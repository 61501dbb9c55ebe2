/** Volumes from another process than the host's, over shared memory: drystone/client. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { fileURLToPath } from "node:url";
import { Prng } from "../../src/base/index.ts";
import { VolumeClient } from "../../src/client/index.ts";
import { startHost } from "./harness.ts";
import type { DevHost } from "./harness.ts";
import { runTool } from "./process.ts";
import { destagedStats } from "./stats.ts";

const REPOSITORY = fileURLToPath(new URL("../../..", import.meta.url));
const EXAMPLE = path.join(REPOSITORY, "examples/volume-client.mjs");
const VOLUME_BYTES = 64 << 20;
const BLOCK_BYTES = 4096;
const IMAGE_BYTES = 4 << 20;
const CLONES = 50;
/** That start at once, each with a socket of its own. */
const MACHINES = 8;
const TEST_MS_MAX = 120_000;

interface Shared {
  readonly sharedMemory: Readonly<Record<string, number>>;
  readonly cache: Readonly<Record<string, number>>;
  readonly destage: Readonly<Record<string, number>>;
}

interface Attached {
  readonly socket: string;
  readonly uri: string;
}

async function attach(host: DevHost, name: string): Promise<Attached> {
  const socket = path.join(host.folder, `${name}.vhost`);
  await host.cli(["volume", "create", name, "--size", String(VOLUME_BYTES)]);
  const { uri } = await host.cli<{ uri: string }>([
    ...["volume", "attach", name, "--vhost-user", socket],
    ...["--nbd", path.join(host.folder, `${name}.sock`)],
  ]);
  return { socket, uri };
}

async function open(t: TestContext, socket: string): Promise<VolumeClient> {
  const client = await VolumeClient.open(socket);
  t.after(() => client.close());
  return client;
}

test(
  "what a program writes over shared memory is what NBD clients read, and the other way round",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const { socket, uri } = await attach(host, "v1");
    const client = await open(t, socket);
    const prng = new Prng(5);
    const model = Buffer.alloc(VOLUME_BYTES);
    const buffers = Array.from({ length: 64 }, () => client.allocate(64 << 10));
    for (let round = 0; round < 4; round++) {
      await Promise.all(
        buffers.map((buffer, i) => {
          const offset = (round * 64 + i) * buffer.bytes.length;
          prng.fill(buffer.bytes);
          model.set(buffer.bytes, offset);
          return client.write(buffer, offset);
        }),
      );
    }
    const image = path.join(host.folder, "image");
    await runTool("nbdcopy", [uri, image]);
    assert.equal(Buffer.compare(fs.readFileSync(image), model), 0);
    prng.fill(model.subarray(0, 8 << 20));
    fs.writeFileSync(image, model);
    await runTool("nbdcopy", [image, uri]);
    for (const [i, buffer] of buffers.entries()) {
      const offset = i * buffer.bytes.length;
      await client.read(buffer, offset);
      const expected = model.subarray(offset, offset + buffer.bytes.length);
      assert.equal(Buffer.compare(buffer.bytes, expected), 0);
    }
  },
);

test(
  "a read is no copy from the device, and one from the block cache, into the program's memory",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const { socket } = await attach(host, "v1");
    const client = await open(t, socket);
    const buffer = client.allocate(BLOCK_BYTES);
    for (let i = 0; i < 16; i++) {
      buffer.bytes.fill(i + 1);
      await client.write(buffer, i * BLOCK_BYTES);
    }
    await destagedStats(host);
    const readAll = async (): Promise<void> => {
      for (let i = 0; i < 16; i++) {
        await client.read(buffer, i * BLOCK_BYTES);
        assert.ok(buffer.bytes.every((byte) => byte === i + 1));
      }
    };
    // Nothing is in memory then.
    await host.kill();
    await host.start();
    await client.read(buffer, VOLUME_BYTES - BLOCK_BYTES);
    const cold = await host.cli<Shared>(["stats"]);
    await readAll();
    const before = await host.cli<Shared>(["stats"]);
    const missed = (name: string): number => before.sharedMemory[name]! - cold.sharedMemory[name]!;
    assert.equal(missed("directBytesTotal"), 16 * BLOCK_BYTES);
    assert.equal(missed("cachedBytesTotal"), 0);
    assert.equal(missed("copiedBytesTotal"), 16 * (48 + 16 + 1));
    assert.equal(before.cache["blockMisses"]! - cold.cache["blockMisses"]!, 16);
    await readAll();
    const after = await host.cli<Shared>(["stats"]);
    const grown = (name: string): number => after.sharedMemory[name]! - before.sharedMemory[name]!;
    assert.equal(grown("cachedBytesTotal"), 16 * BLOCK_BYTES);
    assert.equal(grown("directBytesTotal"), 0);
    // Table, head and status of each request, and no data.
    assert.equal(grown("copiedBytesTotal"), 16 * (48 + 16 + 1));
    assert.equal(grown("mapsTotal"), 0, "a section is mapped at its first touch alone");
    assert.equal(after.cache["blockHits"]! - before.cache["blockHits"]!, 16);
    assert.equal(after.cache["blockMisses"]! - before.cache["blockMisses"]!, 0);
  },
);

test("a program's requests outlive the host process", { timeout: TEST_MS_MAX }, async (t) => {
  const host = await startHost(t);
  const { socket } = await attach(host, "v1");
  const client = await open(t, socket);
  const prng = new Prng(9);
  const model = Buffer.alloc(VOLUME_BYTES);
  const buffers = Array.from({ length: 32 }, () => client.allocate(BLOCK_BYTES));
  const load = { isOver: false, writes: 0 };
  const more = async (count: number): Promise<void> => {
    const goal = load.writes + count;
    while (load.writes < goal) await new Promise((resolve) => setTimeout(resolve, 10));
  };
  const writing = buffers.map(async (buffer, lane) => {
    while (!load.isOver) {
      // A lane has blocks of its own: what it was answered last is what must be there.
      const offset = (lane + 32 * prng.below(64)) * BLOCK_BYTES;
      prng.fill(buffer.bytes);
      model.set(buffer.bytes, offset);
      await client.write(buffer, offset);
      load.writes++;
    }
  });
  for (let round = 0; round < 3; round++) {
    await more(500);
    await host.kill();
    await host.start();
  }
  await more(500);
  load.isOver = true;
  await Promise.all(writing);
  const buffer = client.allocate(1 << 20);
  for (let offset = 0; offset < 32 * 64 * BLOCK_BYTES; offset += buffer.bytes.length) {
    await client.read(buffer, offset);
    const expected = model.subarray(offset, offset + buffer.bytes.length);
    assert.equal(Buffer.compare(buffer.bytes, expected), 0, `at ${offset}`);
  }
});

test(
  "the example of the document runs as it is, and what it wrote is there when it runs again",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const { socket } = await attach(host, "v1");
    // As in a folder of somebody else's, where npm has put the package.
    const folder = path.join(host.folder, "program");
    fs.mkdirSync(path.join(folder, "node_modules"), { recursive: true });
    fs.symlinkSync(REPOSITORY, path.join(folder, "node_modules", "drystone"));
    const program = path.join(folder, path.basename(EXAMPLE));
    fs.copyFileSync(EXAMPLE, program);
    for (const times of [0, 1, 2]) {
      const { stdout } = await runTool(process.execPath, [program, socket]);
      assert.equal(stdout, `a volume of ${VOLUME_BYTES} bytes, seen ${times} times before\n`);
    }
  },
);

/** Asks the host's API: what a command would do, without starting a process for it. */
async function post(host: DevHost, path: string, body: object): Promise<void> {
  const response = await fetch(`${host.api}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.ok(response.ok, `${path}: ${await response.text()}`);
}

/** Reads a volume from its beginning to its end as a machine that starts does, block by block. */
async function readImage(socket: string, expected: Uint8Array): Promise<void> {
  const client = await VolumeClient.open(socket);
  const buffers = Array.from({ length: 16 }, () => client.allocate(BLOCK_BYTES));
  for (let at = 0; at < expected.length; at += buffers.length * BLOCK_BYTES) {
    await Promise.all(buffers.map((buffer, i) => client.read(buffer, at + i * BLOCK_BYTES)));
    for (const [i, buffer] of buffers.entries()) {
      const from = at + i * BLOCK_BYTES;
      const block = expected.subarray(from, from + BLOCK_BYTES);
      assert.equal(Buffer.compare(buffer.bytes, block), 0, `at ${from}`);
    }
  }
  await client.close();
}

test(
  "fifty machines that start from clones of one image read each block from the device once",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const { uri } = await attach(host, "image");
    const file = path.join(host.folder, "image");
    const bytes = new Uint8Array(IMAGE_BYTES);
    new Prng(12).fill(bytes);
    fs.writeFileSync(file, bytes);
    await runTool("nbdcopy", [file, uri]);
    await host.cli(["snapshot", "create", "image@base"]);
    for (let i = 0; i < CLONES; i++)
      await post(host, "/v1/volumes/image@base/clone", { clone: `m${i}` });
    await destagedStats(host);
    // Nothing is in memory any more.
    await host.kill();
    await host.start();
    const before = await host.cli<Shared>(["stats"]);
    for (let first = 0; first < CLONES; first += MACHINES) {
      const names = Array.from(
        { length: Math.min(MACHINES, CLONES - first) },
        (_, i) => `m${first + i}`,
      );
      await Promise.all(
        names.map(async (name) => {
          const vhostUser = path.join(host.folder, `${name}.vhost`);
          await post(host, `/v1/volumes/${name}/attach`, { vhostUser });
          await readImage(vhostUser, bytes);
          await post(host, `/v1/volumes/${name}/detach`, {});
        }),
      );
    }
    const after = await host.cli<Shared>(["stats"]);
    const read = after.destage["blocksRead"]! - before.destage["blocksRead"]!;
    assert.equal(read, IMAGE_BYTES / BLOCK_BYTES);
  },
);
