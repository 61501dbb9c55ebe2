/** Whatever fails while a client is served ends the connection of that client, and nothing else. */
import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { Ask, regionBytes, u32s, u64s } from "../../../test/vhost-user/front-end.ts";
import { MemoryFile } from "../../../test/vhost-user/memory-file.ts";
import { assertAllGivenBack, SessionWorld } from "../../../test/vhost-user/session-world.ts";
import { CodedError } from "../../base/index.ts";

const PAGE = 4096;
const READ = 0;
const WRITE = 1;
const FLUSH = 4;
const DISCARD = 11;
/** Where the second region begins, for the guest and for the front end. */
const SECOND = 2 ** 40;
const SLOT = Buffer.concat([
  u64s(0),
  regionBytes({ guestAddress: SECOND, sizeBytes: 16 * PAGE, userAddress: SECOND, fileOffset: 0 }),
]);
const LOG_ALL = (1n << 32n) | (1n << 30n) | (1n << 28n) | (1n << 26n);

function notMappable(): CodedError {
  const message = "a client's memory cannot be mapped: mmap: EPERM";
  return new CodedError({ code: "memory-not-mappable", message });
}

class Machine extends SessionWorld {
  /** A second region, of which nothing is mapped yet. */
  readonly second: MemoryFile = new MemoryFile(16 * PAGE);

  async run(): Promise<this> {
    await this.negotiate();
    this.tellMemory();
    this.front.tell(Ask.addMemory, SLOT, [this.second]);
    await this.startRing();
    return this;
  }

  /** Asks for data in the second region, `offset` bytes from its start. */
  async ask(type: number, offset: number, lengthBytes: number): Promise<void> {
    const { driver, bytes } = this;
    const at = Math.ceil(driver.endAt / PAGE) * PAGE;
    const head = 0x4000_0000 + at;
    bytes.fill(0, at, at + 16);
    bytes[at] = type;
    const chain = driver.describe([
      { address: head, lengthBytes: 16, deviceWrites: false },
      { address: SECOND + offset, lengthBytes, deviceWrites: type === READ },
      { address: head + 16, lengthBytes: 1, deviceWrites: true },
    ]);
    driver.offer(chain);
    this.kick.signal();
    await this.settle();
  }

  assertCutOff(expected: RegExp): void {
    assert.match(this.reason ?? "", expected);
    assertAllGivenBack(this);
    assert.equal(this.second.mappedCount, 0);
    assert.equal(this.second.openCount, 0);
  }
}

for (const [what, type] of [
  ["a read", READ],
  ["a write", WRITE],
] as const) {
  test(`memory that cannot be mapped when ${what} touches it ends the connection`, async () => {
    const machine = await new Machine().run();
    machine.second.mapFault = notMappable;
    await machine.ask(type, 0, PAGE);
    machine.assertCutOff(/cannot be mapped: mmap: EPERM/);
    assert.equal(machine.fault, undefined);
  });
}

test("memory that cannot be mapped when its data are there ends the connection", async () => {
  const machine = await new Machine({ completions: "by-test" }).run();
  await machine.ask(READ, 512, 512);
  assert.equal(machine.volume.waitingCount, 1);
  // Whatever looked at the section to see how the buffer lies has lost its place meanwhile.
  machine.front.tell(Ask.removeMemory, SLOT);
  const again = new MemoryFile(16 * PAGE);
  again.mapFault = notMappable;
  machine.front.tell(Ask.addMemory, SLOT, [again]);
  await machine.settle();
  machine.volume.deliver(() => 0);
  machine.assertCutOff(/cannot be mapped/);
});

test("memory that cannot be mapped when there is room again ends the connection", async () => {
  const machine = await new Machine().run();
  machine.volume.fillUp();
  await machine.ask(WRITE, 0, PAGE);
  machine.second.mapFault = notMappable;
  assert.equal(machine.hasEnded, false);
  machine.volume.makeRoom();
  await machine.settle();
  machine.assertCutOff(/cannot be mapped/);
});

test("rings, logs and requests under way whose memory cannot be mapped end the connection", async () => {
  const bad = new MemoryFile(16 * PAGE);
  bad.mapFault = notMappable;
  const inflight = Buffer.concat([u64s(PAGE, 0), Uint8Array.of(1, 0, 16, 0, 0, 0, 0, 0)]);
  for (const attack of [
    (world: SessionWorld) => {
      world.front.tell(Ask.setLogBase, u64s(PAGE, 0), [bad]);
      return world.settle();
    },
    (world: SessionWorld) => {
      world.front.tell(Ask.setInflight, inflight, [bad]);
      return world.settle();
    },
    (world: SessionWorld) => {
      world.file.mapFault = notMappable;
      world.tellMemory();
      return world.startRing();
    },
  ]) {
    const world = new SessionWorld();
    await world.negotiate();
    await attack(world);
    assert.match(world.reason ?? "", /cannot be mapped/);
    assertAllGivenBack(world);
    assert.equal(bad.openCount, 0);
  }
});

test("rings that cannot be mapped again end the connection", async () => {
  const machine = await new Machine().run();
  machine.file.mapFault = notMappable;
  machine.tellMemory();
  await machine.settle();
  machine.assertCutOff(/cannot be mapped/);
});

test("a fault of ours in a request ends the connection, and is told as ours", async () => {
  const machine = await new Machine().run();
  const bug = new RangeError("offset is out of bounds");
  machine.volume.isCached = () => {
    throw bug;
  };
  await machine.ask(READ, 0, PAGE);
  machine.assertCutOff(/^a fault of this host: offset is out of bounds$/);
  assert.equal(machine.fault, bug);
});

for (const [what, type, offset, kept] of [
  ["a read into pages", READ, 0, { sections: 1, memories: 0 }],
  ["a read elsewhere", READ, 512, { sections: 0, memories: 1 }],
  ["a write", WRITE, 0, { sections: 0, memories: 0 }],
  ["a flush", FLUSH, 0, { sections: 0, memories: 0 }],
  ["a discard", DISCARD, 0, { sections: 0, memories: 0 }],
] as const) {
  test(`a volume that fails to take ${what} is not waited for, and its target is nobody's`, async () => {
    const machine = await new Machine().run();
    machine.volume.fault = () => {
      throw new Error("the journal is full of holes");
    };
    // Of a discard: one sector.
    machine.second.bytes[8] = 1;
    await machine.ask(type, offset, type === DISCARD ? 16 : 512);
    assert.match(machine.reason ?? "", /^a fault of this host: the journal is full of holes$/);
    assert.ok(machine.isDrained, "who connects again is served");
    const { mappedCount } = machine.second;
    assert.deepEqual({ sections: mappedCount, memories: machine.memories }, kept);
  });
}

test("a fault of ours in an answer ends the connection", async () => {
  const machine = await new Machine({ completions: "by-test" }).run();
  await machine.ask(READ, 0, PAGE);
  machine.call.fault = new Error("write: EIO");
  machine.volume.deliver(() => 0);
  await machine.settle();
  machine.assertCutOff(/^a fault of this host: write: EIO$/);
});

test("a fault of ours in a message ends the connection", async () => {
  const machine = await new Machine().run();
  machine.shared.createFile = () => {
    throw new Error("memfd_create: EMFILE");
  };
  const inflight = Buffer.concat([u64s(0, 0), Uint8Array.of(1, 0, 16, 0, 0, 0, 0, 0)]);
  machine.front.tell(Ask.getInflight, inflight);
  await machine.settle();
  machine.assertCutOff(/^a fault of this host: memfd_create: EMFILE$/);
});

test("an event that fails while its connection ends keeps nothing from being given back", async () => {
  const machine = await new Machine().run();
  machine.front.tell(Ask.setRingError, u64s(0), [machine.call]);
  await machine.settle();
  machine.call.fault = new Error("write: EIO");
  machine.front.tell(Ask.enableRing, u32s(99, 1));
  await machine.settle();
  machine.assertCutOff(/ring 99, which there is not/);
});

test("a marked page beyond the log, noticed when answers are shown, ends the connection", async () => {
  const machine = await new Machine({ completions: "by-test" }).run();
  await machine.ask(READ, 0, PAGE);
  machine.front.tell(Ask.setLogBase, u64s(PAGE, 0), [new MemoryFile(PAGE)]);
  machine.front.tell(Ask.setFeatures, u64s(LOG_ALL));
  await machine.settle();
  machine.volume.deliver(() => 0);
  await machine.settle();
  machine.assertCutOff(/beyond the dirty log/);
});
