import assert from "node:assert/strict";
import { Ask } from "../../../test/vhost-user/front-end.ts";
import { SessionWorld } from "../../../test/vhost-user/session-world.ts";
import { MemoryVolume } from "../../../test/nbd/memory-volume.ts";
import { test } from "../../../test/support/test.ts";
import type { DescriptorStream, Log, SharedMemory } from "../../ports/index.ts";
import { ReadMemoryPool } from "../nbd/read-memory.ts";
import { SectionCache } from "../shared-memory/section-cache.ts";
import { VhostUserServer } from "./vhost-user-server.ts";

interface Served {
  readonly server: VhostUserServer;
  readonly volume: MemoryVolume;
  readonly violations: string[];
  /** Levels, texts and stacks. */
  readonly logged: (readonly [string, string, unknown])[];
  readonly accept: (stream: DescriptorStream) => void;
}

async function serve(
  completions: "by-test" | "after-submit",
  memory: ReadMemoryPool = new ReadMemoryPool(),
): Promise<Served> {
  const volume = new MemoryVolume({ sizeBytes: 1 << 20, completions });
  const violations: string[] = [];
  const logged: (readonly [string, string, unknown])[] = [];
  const log: Log = {
    write: (level, message, fields) => logged.push([level, message, fields?.["stack"]]),
  };
  let accept: ((stream: DescriptorStream) => void) | undefined;
  const shared: SharedMemory = {
    createFile: (name, sizeBytes) => new SessionWorld().shared.createFile(name, sizeBytes),
    createEvent: () => assert.fail("nobody needs an event"),
    listen: (_path, take) => {
      accept = take;
      return Promise.resolve({ close: () => Promise.resolve() });
    },
    connect: () => assert.fail("nobody connects"),
  };
  const clock = {
    nowMs: () => 0,
    wallMs: () => 0,
    after: () => ({ cancel: () => undefined }),
  };
  const server = await VhostUserServer.listen({ shared, clock, log }, volume, {
    path: "/nowhere",
    queueCount: 2,
    sections: new SectionCache({ sectionBytes: 4096, sectionsMax: 64 }),
    memory,
    onViolation: (reason, isOurs) => violations.push(isOurs ? `OURS: ${reason}` : reason),
  });
  return { server, volume, violations, logged, accept: (stream) => accept?.(stream) };
}

async function running(served: Served, machine = new SessionWorld()): Promise<SessionWorld> {
  machine.connectTo(served.accept);
  await machine.negotiate();
  machine.tellMemory();
  await machine.startRing(machine.driver.available);
  return machine;
}

test("a machine that connects again is served when the volume has answered the old requests", async () => {
  const served = await serve("by-test");
  const machine = await running(served);
  assert.equal(await machine.readSector(), 0xff);
  machine.front.stream.close();
  await machine.settle();
  assert.equal(served.server.status.isConnected, false);
  machine.connectTo(served.accept);
  machine.front.tell(Ask.getFeatures);
  await machine.settle();
  const byte = new Uint8Array(1);
  assert.equal(machine.front.stream.receive(byte, 0, 1, []), 0, "it has to wait");
  served.volume.deliver(() => 0);
  await machine.front.answer(Ask.getFeatures);
});

test("two machines may connect, and one alone uses the volume", async () => {
  const served = await serve("after-submit");
  const first = await running(served);
  const second = new SessionWorld();
  second.connectTo(served.accept);
  assert.equal(await second.front.askNumber(Ask.getQueueCount), 2n);
  await running(served, second);
  assert.deepEqual(served.violations, ["another machine uses the volume"]);
  assert.equal(await first.readSector(), 0);
  first.front.stream.close();
  await first.settle();
  const third = await running(served);
  assert.equal(await third.readSector(), 0);
  assert.equal(served.server.status.runningRings, 1);
});

test("more than a few connections are turned away", async () => {
  const served = await serve("after-submit");
  const machines = Array.from({ length: 5 }, () => new SessionWorld());
  for (const machine of machines) machine.connectTo(served.accept);
  assert.deepEqual(
    machines.map(({ stream }) => stream.isClosed),
    [false, false, false, false, true],
  );
});

test("a fault of ours is told as ours, with its stack, and the machine is served again", async () => {
  const served = await serve("after-submit");
  const machine = await running(served);
  const bug = new RangeError("offset is out of bounds");
  served.volume.fault = () => {
    throw bug;
  };
  await machine.readSector();
  assert.deepEqual(served.violations, ["OURS: a fault of this host: offset is out of bounds"]);
  assert.deepEqual(served.logged.at(-1), ["error", "vhost-user client cut off", bug.stack]);
  served.volume.fault = () => undefined;
  const again = await running(served);
  assert.equal(await again.readSector(), 0);
});

test("a machine that cannot be served is turned away, and the next one is served", async () => {
  const pool = new ReadMemoryPool();
  const served = await serve("after-submit", pool);
  const allocate = served.volume.allocate.bind(served.volume);
  served.volume.allocate = () => {
    throw new Error("mmap: ENOMEM");
  };
  const refused = new SessionWorld();
  refused.connectTo(served.accept);
  assert.ok(refused.stream.isClosed);
  assert.deepEqual(served.violations, ["OURS: a fault of this host: mmap: ENOMEM"]);
  served.volume.allocate = allocate;
  const machine = await running(served);
  assert.equal(await machine.readSector(), 0);
});

test("closing answers what is under way, and resolves when nothing is used any more", async () => {
  const served = await serve("by-test");
  const machine = await running(served);
  assert.equal(await machine.readSector(), 0xff);
  let isClosed = false;
  const closing = served.server.close(1000).then(() => {
    isClosed = true;
  });
  await machine.settle();
  assert.equal(isClosed, false);
  served.volume.deliver(() => 0);
  await closing;
  assert.equal(machine.driver.collect().length, 1);
  assert.equal(machine.file.mappedCount, 0);
});

test("servers that share their memory use no more of it, however many volumes come and go", async () => {
  const memory = new ReadMemoryPool();
  const allocated: number[] = [];
  for (let round = 0; round < 10; round++) {
    const served = await serve("after-submit", memory);
    const machine = await running(served);
    assert.equal(await machine.readSector(), 0);
    await served.server.close(1000);
    allocated.push(served.volume.allocatedBytes);
  }
  assert.ok(allocated[0]! > 0);
  assert.deepEqual(
    allocated.slice(1),
    allocated.slice(1).map(() => 0),
  );
});
