import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { Ask, regionBytes, u32s, u64s } from "../../../test/vhost-user/front-end.ts";
import { MemoryEvent, MemoryFile } from "../../../test/vhost-user/memory-file.ts";
import { MemoryStream } from "../../../test/vhost-user/memory-stream.ts";
import {
  assertAllGivenBack,
  GUEST_ADDRESS,
  SessionWorld,
  USER_ADDRESS,
} from "../../../test/vhost-user/session-world.ts";
import { ModelDriver } from "../../../test/vhost-user/model-driver.ts";
import { fuzzSession } from "./vhost-session.fuzz.ts";

const PAGE = 4096;
const ENTRIES = 16;
const FUZZ_SEEDS = 500;

async function running(): Promise<SessionWorld> {
  const world = new SessionWorld();
  await world.negotiate();
  world.tellMemory();
  await world.startRing();
  return world;
}

test("a front end learns what there is, starts a ring, and reads", async () => {
  const world = await running();
  const { front } = world;
  assert.equal(await front.askNumber(Ask.getQueueCount), 2n);
  assert.equal(await front.askNumber(Ask.getMemorySlots), 509n);
  world.volume.bytes.fill(0x42, 0, 512);
  assert.equal(await world.readSector(), 0);
  const at = Math.ceil(world.driver.endAt / PAGE) * PAGE + PAGE;
  assert.ok(world.bytes.subarray(at, at + 512).every((byte) => byte === 0x42));
  front.stream.close();
  await world.settle();
  assert.equal(world.reason, undefined);
  assertAllGivenBack(world);
});

test("the configuration space tells the size, and a growth is told", async () => {
  const world = await running();
  const { front } = world;
  const ask = async (): Promise<bigint> =>
    (
      await front.ask(Ask.getConfig, Buffer.concat([u32s(0, 60, 0), new Uint8Array(60)]))
    ).body.getBigUint64(12, true);
  assert.equal(await ask(), 2048n);
  const [ours, theirs] = MemoryStream.pair();
  world.stream.other!.send(Buffer.concat([u32s(Ask.setBackendChannel, 1, 0)]), [theirs]);
  await world.settle();
  world.volume.sizeBytes = 2 << 20;
  world.session.configChanged();
  const told = new Uint8Array(12);
  assert.equal(ours.receive(told, 0, 12, []), 12);
  assert.equal(new DataView(told.buffer).getUint32(0, true), 2);
  assert.equal(await ask(), 4096n);
});

test("a front end that was not there when the volume grew is told once its rings run", async () => {
  const world = new SessionWorld();
  const { front } = world;
  await world.negotiate();
  const [ours, theirs] = MemoryStream.pair();
  world.stream.other!.send(Buffer.concat([u32s(Ask.setBackendChannel, 1, 0)]), [theirs]);
  world.tellMemory();
  const told = new Uint8Array(24);
  // QEMU looks before it starts a ring for the first time, and not when it connects again.
  await world.startRing();
  assert.equal(ours.receive(told, 0, 24, []), 12);
  assert.equal(new DataView(told.buffer).getUint32(0, true), 2);
  const config = Buffer.concat([u32s(0, 60, 0), new Uint8Array(60)]);
  await front.ask(Ask.getConfig, config);
  await front.ask(Ask.getRingBase, u32s(0, 0));
  await world.startRing();
  assert.equal(ours.receive(told, 0, 24, []), 0, "what it has looked at is not told again");
  await front.ask(Ask.getRingBase, u32s(0, 0));
  world.volume.sizeBytes = 2 << 20;
  await world.startRing();
  assert.equal(ours.receive(told, 0, 24, []), 12, "it has grown while no ring ran");
});

test("a front end that does not take the news is cut off, and told when it connects again", async () => {
  const world = await running();
  const [, theirs] = MemoryStream.pair();
  theirs.isFull = true;
  world.stream.other!.send(Buffer.concat([u32s(Ask.setBackendChannel, 1, 0)]), [theirs]);
  await world.settle();
  world.volume.sizeBytes = 2 << 20;
  world.session.configChanged();
  assert.match(world.reason ?? "", /does not take what it is told/);
  assertAllGivenBack(world);
});

test("the mode of the write cache may be written, and nothing else", async () => {
  const world = await running();
  const write = (offset: number, ...bytes: number[]): Promise<number> =>
    world.front.tellAndWait(
      Ask.setConfig,
      Buffer.concat([u32s(offset, bytes.length, 0), Uint8Array.from(bytes)]),
    );
  assert.equal(await write(32, 0), 0);
  assert.equal(await write(0, 1), 1);
  await world.settle();
  assert.match(world.reason ?? "", /write to the configuration space/);
});

test("a ring that was stopped goes on where it was", async () => {
  const world = await running();
  assert.equal(await world.readSector(), 0);
  assert.equal(await world.readSector(), 0);
  const stopped = await world.front.ask(Ask.getRingBase, u32s(0, 0));
  assert.equal(stopped.body.getUint32(0, true), 0);
  assert.equal(stopped.body.getUint32(4, true), 2);
  assert.equal(await world.readSector(), 0xff);
  await world.startRing(2);
  assert.equal(world.driver.collect().length, 1, "what came meanwhile was taken");
  assert.equal(await world.readSector(), 0);
});

test("several queues are served each by itself, and one goes on when another stops", async () => {
  const world = await running();
  const { front, bytes } = world;
  const driver = new ModelDriver({
    ...{ bytes, guestAddress: GUEST_ADDRESS, ringsAt: 32 * PAGE },
    ...{ entryCount: ENTRIES, eventIndex: false },
  });
  const kick = new MemoryEvent();
  const call = new MemoryEvent();
  front.tell(Ask.setRingSize, u32s(1, ENTRIES));
  front.tell(Ask.setRingBase, u32s(1, 0));
  front.tell(Ask.setRingAddresses, world.ringAddresses(driver, 1));
  front.tell(Ask.setRingCall, u64s(1), [call]);
  front.tell(Ask.setRingKick, u64s(1), [kick]);
  front.tell(Ask.enableRing, u32s(1, 1));
  await world.settle();
  world.volume.bytes.fill(0x77, 0, 512);
  const readSecond = async (): Promise<number> => {
    const at = 48 * PAGE;
    bytes.fill(0, at, at + 16);
    bytes[at + 16] = 0xff;
    const buffer = (from: number, lengthBytes: number, deviceWrites: boolean) => ({
      ...{ address: GUEST_ADDRESS + at + from, lengthBytes, deviceWrites },
    });
    const chain = [buffer(0, 16, false), buffer(PAGE, 512, true), buffer(16, 1, true)];
    driver.offer(driver.describe(chain));
    kick.signal();
    do await world.settle();
    while (kick.deliver());
    assert.equal(driver.collect().length, 1);
    assert.equal(bytes[at + PAGE], 0x77);
    return bytes[at + 16]!;
  };
  const { signals } = world.call;
  assert.equal(await readSecond(), 0);
  assert.equal(world.call.signals, signals, "the first queue's driver is not told");
  const { signals: ofSecond } = call;
  assert.equal(await world.readSector(), 0);
  assert.equal(call.signals, ofSecond, "nor is the second one's");
  const { body } = await front.ask(Ask.getRingBase, u32s(0, 0));
  assert.equal(body.getUint32(4, true), 1);
  assert.equal(await world.readSector(), 0xff, "a queue that was stopped takes nothing");
  assert.equal(await readSecond(), 0);
});

test("a ring stops when what is under way is answered, and nothing is read meanwhile", async () => {
  const world = new SessionWorld({ completions: "by-test" });
  await world.negotiate();
  world.tellMemory();
  await world.startRing();
  assert.equal(await world.readSector(), 0xff);
  world.front.tell(Ask.getRingBase, u32s(0, 0));
  world.front.tell(Ask.getQueueCount);
  await world.settle();
  assert.equal(world.front.stream.receive(new Uint8Array(1), 0, 1, []), 0);
  world.volume.deliver(() => 0);
  assert.equal((await world.front.answer(Ask.getRingBase)).body.getUint32(4, true), 1);
  await world.front.answer(Ask.getQueueCount);
});

test("memory may be described again while rings run", async () => {
  const world = await running();
  world.tellMemory();
  await world.settle();
  assert.equal(world.file.openCount, 1);
  assert.equal(await world.readSector(), 0);
});

test("memory may come and go in slots", async () => {
  const world = new SessionWorld();
  await world.negotiate();
  const slot = (region: Uint8Array): Uint8Array => Buffer.concat([u64s(0), region]);
  assert.equal(await world.front.tellAndWait(Ask.addMemory, slot(world.region), [world.file]), 0);
  await world.startRing();
  assert.equal(await world.readSector(), 0);
  const more = new MemoryFile(4 * PAGE);
  const place = { guestAddress: 2 ** 40, sizeBytes: 4 * PAGE, userAddress: 0, fileOffset: 0 };
  assert.equal(await world.front.tellAndWait(Ask.addMemory, slot(regionBytes(place)), [more]), 0);
  assert.equal(await world.front.tellAndWait(Ask.removeMemory, slot(regionBytes(place))), 0);
  assert.equal(more.openCount, 0);
  assert.equal(await world.readSector(), 0);
});

test("a guest that breaks a rule is cut off, and everything of it is given back", async () => {
  const world = await running();
  const error = new MemoryEvent();
  world.front.tell(Ask.setRingError, u64s(0), [error]);
  world.driver.offer(99);
  await world.settle();
  world.kick.signal();
  await world.settle();
  assert.match(world.reason ?? "", /begins outside/);
  assert.equal(error.signals, 1);
  assert.equal(error.openCount, 0);
  assertAllGivenBack(world);
});

test("a client's memory is in use until the volume has answered, and not touched", async () => {
  const world = new SessionWorld({ completions: "by-test" });
  await world.negotiate();
  world.tellMemory();
  await world.startRing();
  assert.equal(await world.readSector(), 0xff);
  world.front.stream.close();
  await world.settle();
  assert.ok(world.hasEnded);
  assert.equal(world.isDrained, false);
  assert.equal(world.file.mappedCount, 1, "what a device may write to stays mapped");
  const before = world.file.bytes.slice();
  world.volume.deliver(() => 0);
  assert.deepEqual(world.file.bytes, before);
  assertAllGivenBack(world);
});

test("shutting down answers what is under way first", async () => {
  const world = new SessionWorld({ completions: "by-test" });
  await world.negotiate();
  world.tellMemory();
  await world.startRing();
  assert.equal(await world.readSector(), 0xff);
  world.session.shutDown();
  await world.settle();
  assert.equal(world.hasEnded, false);
  world.volume.deliver(() => 0);
  await world.settle();
  assert.equal(world.driver.collect().length, 1);
  assertAllGivenBack(world);
});

/** Where the memory for requests lies, as a front end keeps it for the next back end. */
async function askInflight({ front }: SessionWorld): Promise<Uint8Array> {
  const place = Buffer.concat([u64s(0, 0), Uint8Array.of(2, 0, 16, 0, 0, 0, 0, 0)]);
  const answer = await front.ask(Ask.getInflight, place);
  assert.equal(answer.body.byteLength, 24);
  assert.equal(answer.body.getUint16(16, true), 2);
  assert.equal(answer.body.getUint16(18, true), 16);
  const [descriptor] = answer.descriptors;
  assert.ok(descriptor !== undefined);
  descriptor.close();
  return new Uint8Array(answer.body.buffer);
}

test("requests under way are carried out by whoever serves the ring next", async () => {
  const first = new SessionWorld({ completions: "by-test", record: true });
  await first.negotiate();
  first.tellMemory();
  const place = await askInflight(first);
  const file = first.shared.files[0]!;
  first.front.tell(Ask.setInflight, place, [file]);
  await first.startRing();
  await first.readSector();
  await first.readSector();
  first.front.stream.close();
  await first.settle();
  assert.ok(first.hasEnded);
  assert.equal(first.driver.collect().length, 0);

  const second = new SessionWorld({}, first);
  await second.negotiate();
  second.tellMemory();
  second.front.tell(Ask.setInflight, place, [file]);
  await second.startRing();
  assert.equal(second.driver.collect().length, 2);
  assert.equal(await second.readSector(), 0);
  const stopped = await second.front.ask(Ask.getRingBase, u32s(0, 0));
  assert.equal(stopped.body.getUint32(4, true), 3);
});

test("what was answered is not carried out again, however long ago", async () => {
  const first = new SessionWorld();
  await first.negotiate();
  first.tellMemory();
  const place = await askInflight(first);
  const file = first.shared.files[0]!;
  first.front.tell(Ask.setInflight, place, [file]);
  await first.startRing();
  for (let i = 0; i < 40; i++) assert.equal(await first.readSector(), 0);
  first.front.stream.close();
  await first.settle();

  const second = new SessionWorld({ record: true }, first);
  await second.negotiate();
  second.tellMemory();
  second.front.tell(Ask.setInflight, place, [file]);
  await second.startRing();
  assert.deepEqual(second.volume.calls, []);
  assert.equal(await second.readSector(), 0);
});

test("memory for requests under way must fit its rings", async () => {
  const cases: readonly (readonly [RegExp, Uint8Array])[] = [
    [/requests of 3 queues/, Buffer.concat([u64s(0, 0), Uint8Array.of(3, 0, 16, 0, 0, 0, 0, 0)])],
    [/of queues with 0/, Buffer.concat([u64s(0, 0), Uint8Array.of(2, 0, 0, 0, 0, 0, 0, 0)])],
    [/in 16 bytes/, u64s(0, 0)],
  ];
  for (const [expected, place] of cases) {
    const world = new SessionWorld();
    await world.negotiate();
    world.front.tell(Ask.getInflight, place);
    await world.settle();
    assert.match(world.reason ?? "", expected);
  }
});

test("pages that the device writes are logged while a guest is migrated", async () => {
  const world = await running();
  const { front, driver } = world;
  const firstPage = GUEST_ADDRESS / PAGE;
  // The log begins at guest address 0, with one bit per page: 0x40000000 is at byte 0x8000.
  const log = new MemoryFile(16 * PAGE);
  front.tell(Ask.setLogBase, u64s(log.sizeBytes, 0), [log]);
  await front.answer(Ask.setLogBase);
  const dirty = (): number[] =>
    Array.from({ length: 64 }, (_, i) => i).filter(
      (i) => ((log.bytes[(firstPage + i) >> 3]! >> ((firstPage + i) & 7)) & 1) === 1,
    );
  assert.equal(await world.readSector(), 0);
  assert.deepEqual(dirty(), [], "nothing is logged before it is asked for");
  front.tell(Ask.setFeatures, u64s((1n << 32n) | (1n << 30n) | (1n << 28n) | (1n << 26n)));
  const logged = Buffer.from(world.ringAddresses(driver));
  logged.writeUInt32LE(1, 4);
  logged.writeBigUInt64LE(BigInt(GUEST_ADDRESS + driver.usedAt), 32);
  front.tell(Ask.setRingAddresses, logged);
  await world.settle();
  assert.equal(await world.readSector(), 0);
  const dataPage = Math.ceil(driver.endAt / PAGE);
  assert.deepEqual(dirty(), [driver.usedAt / PAGE, dataPage, dataPage + 1]);
  front.tell(Ask.setFeatures, u64s((1n << 32n) | (1n << 30n) | (1n << 28n)));
  log.bytes.fill(0);
  await world.settle();
  assert.equal(await world.readSector(), 0);
  assert.deepEqual(dirty(), []);
});

test("a write beyond the dirty log ends the connection", async () => {
  const world = await running();
  const log = new MemoryFile(PAGE);
  world.front.tell(Ask.setLogBase, u64s(PAGE, 0), [log]);
  world.front.tell(Ask.setFeatures, u64s((1n << 32n) | (1n << 30n) | (1n << 28n) | (1n << 26n)));
  await world.settle();
  await world.readSector();
  assert.match(world.reason ?? "", /beyond the dirty log/);
});

test("rings of one front end alone run", async () => {
  const world = new SessionWorld();
  world.mayRun = false;
  await world.negotiate();
  world.tellMemory();
  await world.startRing();
  assert.match(world.reason ?? "", /another machine uses the volume/);
  assertAllGivenBack(world);
});

const TOO_MANY_REGIONS = Buffer.concat([u32s(9, 0), new Uint8Array(9 * 32)]);

/** Each of these ends the connection, with the reason. */
const HOSTILE: readonly (readonly [string, RegExp, (world: SessionWorld) => void])[] = [
  ["an unknown request", /request 99/, ({ front }) => front.tell(99)],
  ["a request that is not offered", /request 28/, ({ front }) => front.tell(28)],
  ["another version", /version 2/, ({ front }) => front.tell(1, new Uint8Array(), [], 2)],
  ["an answer", /an answer/, ({ front }) => front.tell(1, new Uint8Array(), [], 5)],
  ["a long body", /4001 bytes/, ({ front }) => front.tell(2, new Uint8Array(4001))],
  ["a body that is missing", /0 bytes/, ({ front }) => front.tell(Ask.setFeatures)],
  ["a feature out of the blue", /not offered/, ({ front }) => front.tell(2, u64s(1n << 63n))],
  ["a protocol feature", /not offered/, ({ front }) => front.tell(16, u64s(1n << 6n))],
  [
    "descriptors that are not expected",
    /1 descriptors/,
    ({ front }) => front.tell(Ask.setOwner, new Uint8Array(), [new MemoryEvent()]),
  ],
  [
    "a table of too many regions",
    /9 regions/,
    ({ front }) => front.tell(Ask.setMemoryTable, TOO_MANY_REGIONS),
  ],
  [
    "a region without memory",
    /0 descriptors for 1/,
    ({ front, region }) => front.tell(Ask.setMemoryTable, Buffer.concat([u32s(1, 0), region])),
  ],
  [
    "memory that is none",
    /no file in memory/,
    ({ front, region, kick }) =>
      front.tell(Ask.setMemoryTable, Buffer.concat([u32s(1, 0), region]), [kick]),
  ],
  [
    "a kick that is none",
    /no event/,
    ({ front, file }) => front.tell(Ask.setRingKick, u64s(0), [file]),
  ],
  ["a ring without a kick", /polled/, ({ front }) => front.tell(Ask.setRingKick, u64s(0x100))],
  ["a kick that is missing", /its descriptor/, ({ front }) => front.tell(12, u64s(0))],
  [
    "a ring that there is not",
    /ring 2,/,
    ({ front, kick }) => front.tell(Ask.setRingKick, u64s(2), [kick]),
  ],
  ["a size of no ring", /ring 4294967295,/, ({ front }) => front.tell(8, u32s(2 ** 32 - 1, 16))],
  [
    "a ring without a size",
    /no size/,
    ({ front, kick }) => front.tell(Ask.setRingKick, u64s(1), [kick]),
  ],
  [
    "a part of the configuration space beyond it",
    /at 250/,
    ({ front }) => front.tell(Ask.getConfig, Buffer.concat([u32s(250, 10, 0), new Uint8Array(10)])),
  ],
  [
    "a running ring's new base",
    /new base while it runs/,
    ({ front }) => front.tell(Ask.setRingBase, u32s(0, 3)),
  ],
  [
    "a running ring's new place",
    /new place while it runs/,
    ({ front }) =>
      front.tell(
        Ask.setRingAddresses,
        Buffer.concat([u32s(0, 0), u64s(USER_ADDRESS, USER_ADDRESS, USER_ADDRESS, 0)]),
      ),
  ],
  [
    "a second kick for a running ring",
    /new kick while it runs/,
    ({ front }) => front.tell(Ask.setRingKick, u64s(0), [new MemoryEvent()]),
  ],
  [
    "a region to remove that is not there",
    /not there/,
    ({ front }) =>
      front.tell(Ask.removeMemory, Buffer.concat([u64s(0), u64s(GUEST_ADDRESS, 1, 2, 3)])),
  ],
];

for (const [name, expected, attack] of HOSTILE) {
  test(`${name} ends the connection, and everything is given back`, async () => {
    const world = await running();
    attack(world);
    await world.settle();
    assert.match(world.reason ?? "", expected);
    assertAllGivenBack(world);
  });
}

test("a front end that takes no answers is cut off", async () => {
  const world = await running();
  world.stream.isFull = true;
  world.front.tell(Ask.getFeatures);
  await world.settle();
  assert.match(world.reason ?? "", /does not take its answers/);
  assertAllGivenBack(world);
});

test("messages may arrive in any pieces", async () => {
  const world = new SessionWorld();
  const message = Buffer.concat([u32s(Ask.getFeatures, 1, 0), u32s(Ask.getQueueCount, 1, 0)]);
  for (const byte of message) {
    world.front.stream.send(Uint8Array.of(byte), []);
    await world.settle();
  }
  await world.front.answer(Ask.getFeatures);
  await world.front.answer(Ask.getQueueCount);
});

test("whatever a front end and its guest do, nothing of ours is harmed", async () => {
  for (let seed = 1; seed <= FUZZ_SEEDS; seed++) await fuzzSession(seed);
});
