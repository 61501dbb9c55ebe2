/**
 * A hostile machine in a process of its own: it gives memory that can shrink, sends what it likes,
 * and scribbles over rings while the host works on them. The host and its other machines go on.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { test } from "node:test";
import { Prng } from "../../src/base/index.ts";
import { VolumeClient } from "../../src/client/index.ts";
import { DriverQueue, queuePlaces } from "../../src/client/driver-queue.ts";
import { FrontEnd } from "../../src/client/front-end.ts";
import { MemfdSharedMemory } from "../../src/platform/index.ts";
import { MemoryFile } from "../../src/platform/memory/memory-file.ts";
import {
  addSeals,
  createMemoryFile,
  SEAL_FUTURE_WRITE,
  SEAL_SHRINK,
  sendMessage,
} from "../../src/platform/memory/shared-sys.ts";
import { descriptorOf } from "../../src/platform/network/socket-stream.ts";
import { regionBytes, u32s } from "../vhost-user/front-end.ts";
import { isLong, startHost } from "./harness.ts";
import type { DevHost } from "./harness.ts";

const VOLUME_BYTES = 16 << 20;
const ATTACK_MS = isLong ? 60_000 : 4000;
const TEST_MS_MAX = 200_000;
const ADDRESS = 2 ** 30;
const ENTRIES = 64;
const MEMORY_BYTES = 1 << 20;
const FEATURES = u32s(2 ** 28 + 2 ** 29 + 2 ** 30, 1);
const PROTOCOL = u32s(2 ** 3 + 2 ** 9, 0);
const TYPES = [0, 1, 4, 8, 11, 13, 77] as const;

interface EventList {
  readonly events: readonly { readonly kind: string; readonly message: string }[];
}

async function attach(host: DevHost, name: string): Promise<string> {
  const socket = path.join(host.folder, `${name}.vhost`);
  await host.cli(["volume", "create", name, "--size", String(VOLUME_BYTES)]);
  await host.cli(["volume", "attach", name, "--vhost-user", socket]);
  return socket;
}

async function cutOffs(host: DevHost): Promise<string[]> {
  const { events } = await host.cli<EventList>(["events", "--limit", "1000"]);
  return events.filter(({ kind }) => kind === "vhost-client-cut-off").map(({ message }) => message);
}

/** A machine that follows the protocol up to here, and none of its rules from then on. */
class Attacker {
  readonly #prng: Prng;
  readonly #shared = new MemfdSharedMemory();
  readonly #path: string;
  connections = 0;

  constructor(socket: string, seed: number) {
    this.#path = socket;
    this.#prng = new Prng(seed);
  }

  /** Until the host has had enough of it. */
  async attackOnce(): Promise<void> {
    const file = this.#shared.createFile("attacker", MEMORY_BYTES);
    const mapping = file.map(0, MEMORY_BYTES);
    const kick = this.#shared.createEvent();
    const call = this.#shared.createEvent();
    const connection = { isOver: false };
    const front = new FrontEnd(await this.#shared.connect(this.#path), () => {
      connection.isOver = true;
    });
    try {
      const { bytes } = mapping.memory;
      const queue = new DriverQueue(bytes, ENTRIES, ADDRESS);
      const { descriptors, available, used } = queuePlaces(ENTRIES);
      front.agree(FEATURES, PROTOCOL);
      front.share(file, ADDRESS);
      await front.startRing({
        ...{ entryCount: ENTRIES, base: 0, kick, call },
        descriptors: ADDRESS + descriptors,
        available: ADDRESS + available,
        used: ADDRESS + used,
      });
      this.connections++;
      for (let round = 0; round < 2000 && !connection.isOver; round++) {
        this.#scribble(bytes, queue);
        kick.signal();
        if (this.#prng.chance(0.3)) await new Promise(setImmediate);
        // While the host is at work.
        this.#flip(bytes, queuePlaces(ENTRIES).data);
      }
    } finally {
      front.close();
      kick.close();
      call.close();
      mapping.retire();
      file.close();
    }
  }

  #scribble(bytes: Uint8Array, queue: DriverQueue): void {
    const prng = this.#prng;
    while (queue.freeCount > 0 && prng.chance(0.8)) {
      const dataAt = queuePlaces(ENTRIES).data + 4096 * prng.below(100);
      queue.add(
        prng.pick(TYPES),
        prng.below(40_000),
        dataAt,
        512 * prng.below(40),
        prng.chance(0.5),
      );
    }
    queue.tell();
    if (prng.chance(0.02)) this.#flip(bytes, bytes.length);
  }

  /** Mostly what the host reads next: heads, tables, entries of the rings. */
  #flip(bytes: Uint8Array, limit: number): void {
    const prng = this.#prng;
    if (!prng.chance(0.05)) return;
    for (let i = prng.between(1, 6); i > 0; i--) bytes[prng.below(limit)] = prng.u32();
  }
}

test(
  "a machine that scribbles over everything harms neither the host nor its neighbour",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const { pid } = host.program;
    const attacker = new Attacker(await attach(host, "attacked"), 11);
    const neighbour = await VolumeClient.open(await attach(host, "neighbour"));
    t.after(() => neighbour.close());
    const buffers = Array.from({ length: 16 }, () => neighbour.allocate(4096));
    for (const [i, buffer] of buffers.entries()) {
      buffer.bytes.fill(i + 1);
      await neighbour.write(buffer, 4096 * i);
    }
    const deadline = performance.now() + ATTACK_MS;
    let reads = 0;
    const reading = (async (): Promise<void> => {
      while (performance.now() < deadline) {
        await Promise.all(
          buffers.map(async (buffer, i) => {
            await neighbour.read(buffer, 4096 * i);
            assert.ok(buffer.bytes.every((byte) => byte === i + 1));
          }),
        );
        reads += buffers.length;
      }
    })();
    while (performance.now() < deadline) await attacker.attackOnce();
    await reading;
    assert.ok(attacker.connections > 5, `${attacker.connections} connections`);
    assert.ok(reads > 100, `${reads} reads`);
    assert.ok((await cutOffs(host)).length > 0, "rules were broken, and nobody noticed");
    assert.equal(host.program.pid, pid);
    assert.ok(neighbour.isConnected, "the neighbour was never disconnected");
  },
);

test(
  "memory that could shrink under the host or may not be written is refused, with the reason",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const socket = await attach(host, "v1");
    const place = { guestAddress: 0, sizeBytes: MEMORY_BYTES, userAddress: 0, fileOffset: 0 };
    const body = Buffer.concat([u32s(1, 0), regionBytes(place)]);
    const message = Buffer.concat([u32s(5, 1, body.length), body]);
    const ordinary = path.join(host.folder, "file");
    fs.writeFileSync(ordinary, Buffer.alloc(MEMORY_BYTES));
    const memoryOf = (seals: number): number => {
      const fd = createMemoryFile("memory");
      fs.ftruncateSync(fd, MEMORY_BYTES);
      if (seals !== 0) addSeals(fd, seals);
      return fd;
    };
    const whole = memoryOf(SEAL_SHRINK);
    for (const [fd, expected] of [
      [fs.openSync(ordinary, "r+"), /no file in memory/],
      [memoryOf(0), /not sealed against shrinking/],
      [memoryOf(SEAL_SHRINK | SEAL_FUTURE_WRITE), /sealed against writing/],
      [fs.openSync(`/proc/self/fd/${whole}`, "r"), /may not be written to/],
    ] as const) {
      const client = net.connect(socket);
      await new Promise((resolve) => client.once("connect", resolve));
      sendMessage(descriptorOf(client), message, [fd]);
      await new Promise((resolve) => client.once("close", resolve));
      assert.match((await cutOffs(host)).at(-1) ?? "", expected);
    }
    const client = await VolumeClient.open(socket);
    await client.read(client.allocate(512), 0);
    await client.close();
  },
);

/**
 * A machine whose rings lie in good memory, and whose buffer for a read lies in memory that the
 * host can take and cannot map any more.
 */
async function readIntoSealedMemory(socket: string): Promise<void> {
  const shared = new MemfdSharedMemory();
  const good = shared.createFile("good", MEMORY_BYTES);
  const fd = createMemoryFile("sealed later");
  fs.ftruncateSync(fd, MEMORY_BYTES);
  addSeals(fd, SEAL_SHRINK);
  const bad = MemoryFile.receive(fd);
  const mapping = good.map(0, MEMORY_BYTES);
  const queue = new DriverQueue(mapping.memory.bytes, ENTRIES, ADDRESS);
  const { descriptors, available, used } = queuePlaces(ENTRIES);
  const stream = await shared.connect(socket);
  const [kick, call] = [shared.createEvent(), shared.createEvent()];
  const ended = new Promise<void>((resolve) => {
    const front = new FrontEnd(stream, resolve);
    front.agree(FEATURES, PROTOCOL);
    const regions = [ADDRESS, ADDRESS + MEMORY_BYTES].map((at) =>
      regionBytes({ guestAddress: at, userAddress: at, sizeBytes: MEMORY_BYTES, fileOffset: 0 }),
    );
    const body = Buffer.concat([u32s(regions.length, 0), ...regions]);
    stream.send(Buffer.concat([u32s(5, 1, body.length), body]), [good, bad]);
    const place = { descriptors: ADDRESS + descriptors, available: ADDRESS + available };
    const ring = { entryCount: ENTRIES, base: 0, kick, call, ...place, used: ADDRESS + used };
    void front.startRing(ring).then(() => {
      addSeals(fd, SEAL_FUTURE_WRITE);
      queue.add(0, 0, MEMORY_BYTES, 4096, true);
      queue.tell();
      kick.signal();
    });
  });
  await ended;
  stream.close();
  for (const event of [kick, call]) event.close();
  mapping.retire();
  for (const file of [good, bad]) file.close();
}

test(
  "memory that cannot be mapped any more ends its own connection, and no other",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const { pid } = host.program;
    const socket = await attach(host, "v1");
    const neighbour = await VolumeClient.open(await attach(host, "neighbour"));
    t.after(() => neighbour.close());
    const buffer = neighbour.allocate(4096);
    await neighbour.write(buffer, 0);
    await readIntoSealedMemory(socket);
    assert.match((await cutOffs(host)).at(-1) ?? "", /cannot be mapped: mmap: EPERM/);
    await neighbour.read(buffer, 0);
    assert.ok(neighbour.isConnected, "the neighbour was never disconnected");
    assert.equal(host.program.pid, pid);
  },
);

test(
  "a machine that is cut off again and again, each time for another number, is told of a few times",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const socket = await attach(host, "v1");
    const shared = new MemfdSharedMemory();
    for (let round = 0; round < 200; round++) {
      const stream = await shared.connect(socket);
      await new Promise<void>((resolve) => {
        const front = new FrontEnd(stream, () => {
          front.close();
          resolve();
        });
        stream.send(u32s(1000 + round, 1, 0), []);
      });
    }
    assert.deepEqual(await cutOffs(host), [
      "the machine at volume v1 was cut off: request 1000, which was not offered",
    ]);
  },
);

test("noise at the socket is cut off", { timeout: TEST_MS_MAX }, async (t) => {
  const host = await startHost(t);
  const socket = await attach(host, "v1");
  const prng = new Prng(2);
  for (let round = 0; round < 50; round++) {
    const client = net.connect(socket);
    const noise = new Uint8Array(prng.between(12, 4000));
    prng.fill(noise);
    client.end(noise);
    client.on("error", () => undefined);
    client.resume();
    await new Promise((resolve) => client.once("close", resolve));
  }
  const client = await VolumeClient.open(socket);
  await client.read(client.allocate(512), 0);
  await client.close();
  assert.ok((await cutOffs(host)).length > 0);
});
