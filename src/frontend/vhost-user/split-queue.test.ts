import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { GUEST_ADDRESS, QueueWorld } from "../../../test/vhost-user/queue-world.ts";
import type { WorldOptions } from "../../../test/vhost-user/queue-world.ts";
import type { GuestBuffer, UsedChain } from "../../../test/vhost-user/model-driver.ts";
import { Chain } from "./chain.ts";
import { VhostViolation } from "./violation.ts";

const FAR = 2 ** 50;

/** A world whose disk leaves the queue alone. */
function idleWorld(options: WorldOptions = {}): QueueWorld {
  const world = new QueueWorld(options);
  world.disk.enable(false);
  return world;
}

function refusal(world: QueueWorld): string {
  try {
    world.queue.take(new Chain());
  } catch (error) {
    assert.ok(error instanceof VhostViolation, String(error));
    return error.message;
  }
  return "nothing was refused";
}

const HOSTILE: readonly (readonly [string, RegExp, (world: QueueWorld) => void])[] = [
  [
    "more available entries than the queue has",
    /more entries/,
    ({ driver, bytes }) => {
      bytes[driver.availableAt + 2] = 17;
    },
  ],
  ["a head outside of the queue", /begins outside/, ({ driver }) => driver.offer(16)],
  [
    "a next descriptor outside of the table",
    /next one is outside/,
    ({ driver }) => {
      driver.descriptor(0, GUEST_ADDRESS, 16, 1, 16);
      driver.offer(0);
    },
  ],
  [
    "a loop",
    /loop/,
    ({ driver }) => {
      driver.descriptor(0, GUEST_ADDRESS, 16, 1, 1);
      driver.descriptor(1, GUEST_ADDRESS, 16, 1, 0);
      driver.offer(0);
    },
  ],
  [
    "a chain that the device has already",
    /while the device has it/,
    ({ driver, queue }) => {
      const head = driver.describe([buffer(0, 16, false)]);
      driver.offer(head, head);
      queue.take(new Chain());
    },
  ],
  [
    "a buffer of no bytes",
    /no bytes/,
    ({ driver }) => driver.offer(driver.describe([buffer(0, 0, false)])),
  ],
  [
    "a readable buffer after a writable one",
    /follows a writable/,
    ({ driver }) => driver.offer(driver.describe([buffer(0, 16, true), buffer(16, 16, false)])),
  ],
  [
    "a buffer that begins before the memory",
    /outside of the memory/,
    ({ driver }) => driver.offer(driver.describe([buffer(-1, 16, false)])),
  ],
  [
    "a buffer that ends after the memory",
    /outside of the memory/,
    ({ driver, bytes }) => driver.offer(driver.describe([buffer(bytes.length - 15, 16, false)])),
  ],
  [
    "a buffer far beyond every memory",
    /outside of the memory/,
    ({ driver }) => driver.offer(driver.describe([buffer(FAR, 16, false)])),
  ],
  [
    "an indirect table of no whole descriptors",
    /indirect table of 24/,
    ({ driver }) => {
      driver.descriptor(0, GUEST_ADDRESS, 24, 4, 0);
      driver.offer(0);
    },
  ],
  [
    "an empty indirect table",
    /indirect table of 0/,
    ({ driver }) => {
      driver.descriptor(0, GUEST_ADDRESS, 0, 4, 0);
      driver.offer(0);
    },
  ],
  [
    "an indirect table that is too long",
    /indirect table of 1025/,
    ({ driver }) => {
      driver.descriptor(0, GUEST_ADDRESS, 1025 * 16, 4, 0);
      driver.offer(0);
    },
  ],
  [
    "an indirect table outside of the memory",
    /indirect table lies outside/,
    ({ driver, bytes }) => {
      driver.descriptor(0, GUEST_ADDRESS + bytes.length - 16, 32, 4, 0);
      driver.offer(0);
    },
  ],
  [
    "an indirect table within another one",
    /refers to another/,
    ({ driver, dataAt }) => {
      driver.descriptorAt(dataAt, GUEST_ADDRESS, 16, 4, 0);
      driver.descriptor(0, GUEST_ADDRESS + dataAt, 16, 4, 0);
      driver.offer(0);
    },
  ],
  [
    "an indirect descriptor with a next one",
    /indirect and has a next/,
    ({ driver, dataAt }) => {
      driver.descriptor(0, GUEST_ADDRESS + dataAt, 16, 5, 1);
      driver.offer(0);
    },
  ],
  [
    "a loop in an indirect table",
    /loop/,
    ({ driver, dataAt }) => {
      driver.descriptorAt(dataAt, GUEST_ADDRESS, 16, 1, 0);
      driver.descriptor(0, GUEST_ADDRESS + dataAt, 16, 4, 0);
      driver.offer(0);
    },
  ],
  [
    "an indirect table's next descriptor outside of it",
    /next one is outside/,
    ({ driver, dataAt }) => {
      driver.descriptorAt(dataAt, GUEST_ADDRESS, 16, 1, 2);
      driver.descriptorAt(dataAt + 16, GUEST_ADDRESS, 16, 0, 0);
      driver.descriptor(0, GUEST_ADDRESS + dataAt, 32, 4, 0);
      driver.offer(0);
    },
  ],
];
describe("a hostile driver is found out:", () => {
  for (const [name, expected, prepare] of HOSTILE) {
    test(name, () => {
      const world = idleWorld();
      prepare(world);
      assert.match(refusal(world), expected);
    });
  }
});

function buffer(at: number, lengthBytes: number, deviceWrites: boolean): GuestBuffer {
  return { address: GUEST_ADDRESS + at, lengthBytes, deviceWrites };
}

test("plain descriptors may be followed by an indirect one", () => {
  const world = idleWorld();
  const { driver, dataAt, bytes } = world;
  bytes.set([1, 2, 3, 4], dataAt + 512);
  driver.descriptorAt(dataAt, GUEST_ADDRESS + dataAt + 514, 2, 0, 0);
  driver.descriptor(0, GUEST_ADDRESS + dataAt + 512, 2, 1, 1);
  driver.descriptor(1, GUEST_ADDRESS + dataAt, 16, 4, 0);
  driver.offer(0);
  const chain = new Chain();
  assert.ok(world.queue.take(chain));
  const read = new Uint8Array(4);
  assert.ok(chain.readInto(world.guest, 0, read, 0, 4));
  assert.deepEqual([...read], [1, 2, 3, 4]);
});

const buffersOf = fc
  .tuple(
    fc.array(fc.integer({ min: 1, max: 9000 }), { maxLength: 4 }),
    fc.array(fc.integer({ min: 1, max: 9000 }), { maxLength: 4 }),
  )
  .filter(([readable, writable]) => readable.length + writable.length > 0);

const step = fc.record({
  chains: fc.array(fc.record({ buffers: buffersOf, indirect: fc.boolean() }), { maxLength: 4 }),
  /** Which of the chains under way are given back, as parts of their number. */
  gives: fc.array(fc.double({ min: 0, max: 0.999, noNaN: true }), { maxLength: 6 }),
  /** 0 no notifications, or with event indexes one after so many chains more. */
  wants: fc.integer({ min: 0, max: 3 }),
});

/** Makes chains of a script, takes them from the queue, and checks what arrived. */
class ChainScript {
  readonly world: QueueWorld;
  readonly underWay: Chain[] = [];
  #nextAt: number;

  constructor(world: QueueWorld) {
    this.world = world;
    this.#nextAt = world.dataAt;
  }

  pass(lengths: readonly [readonly number[], readonly number[]], indirect: boolean): void {
    const { driver, queue, bytes } = this.world;
    const [readable, writable] = lengths;
    if ((indirect ? 1 : readable.length + writable.length) > driver.freeCount) return;
    const made = [
      ...readable.map((length) => this.#place(length, false)),
      ...writable.map((length) => this.#place(length, true)),
    ];
    const tableAt = bytes.length - 4096;
    const head = indirect ? driver.describeIndirect(made, tableAt) : driver.describe(made);
    assert.equal(queue.hasMore, false);
    driver.offer(head);
    const chain = new Chain();
    assert.ok(queue.hasMore && queue.take(chain), "an available chain is taken");
    assert.equal(chain.head, head);
    assert.equal(chain.segmentCount, made.length);
    assert.equal(chain.readableCount, readable.length);
    assert.equal(chain.readableBytes, sum(readable));
    assert.equal(chain.writableBytes, sum(writable));
    checkTransfer(this.world, chain, made);
    this.underWay.push(chain);
  }

  giveBack(parts: readonly number[]): UsedChain[] {
    const given: UsedChain[] = [];
    for (const part of parts) {
      const [chain] = this.underWay.splice(Math.floor(part * this.underWay.length), 1);
      if (chain === undefined) continue;
      this.world.queue.give(chain.head, chain.writableBytes);
      given.push({ head: chain.head, lengthBytes: chain.writableBytes });
    }
    return given;
  }

  #place(lengthBytes: number, deviceWrites: boolean): GuestBuffer {
    const end = this.world.bytes.length - 4096;
    if (this.#nextAt + lengthBytes > end) this.#nextAt = this.world.dataAt;
    const at = this.#nextAt;
    this.#nextAt += lengthBytes;
    return buffer(at, lengthBytes, deviceWrites);
  }
}

test("chains arrive as the driver made them and come back in the order of giving", () => {
  const script = fc.array(step, { maxLength: 60 });
  const property = fc.property(fc.boolean(), script, (eventIndex, steps) => {
    const world = idleWorld({ eventIndex, memoryBytes: 1 << 20 });
    const { driver, queue } = world;
    const chains = new ChainScript(world);
    for (const { chains: wanted, gives, wants } of steps) {
      for (const { buffers, indirect } of wanted) chains.pass(buffers, indirect);
      if (!eventIndex && wants === 0) driver.refuseNotifications();
      else driver.wantNotification(wants);
      const given = chains.giveBack(gives);
      const expected = eventIndex ? given.length > wants : given.length > 0 && wants > 0;
      assert.equal(queue.publish(), expected, "the driver is notified exactly if it wants to be");
      assert.deepEqual(driver.collect(), given);
    }
    assert.ok(world.guardIsWhole);
    queue.close();
    world.guest.clear();
    assert.equal(world.file.mappedCount, 0, "every mapping is given back");
  });
  fc.assert(property, { numRuns: 150 });
});

function sum(lengths: readonly number[]): number {
  return lengths.reduce((total, length) => total + length, 0);
}

/** Bytes cross in both directions as if the buffers lay side by side. */
function checkTransfer(world: QueueWorld, chain: Chain, made: readonly GuestBuffer[]): void {
  const { bytes, guest } = world;
  const slices = made.map(({ address, lengthBytes }) =>
    bytes.subarray(address - GUEST_ADDRESS, address - GUEST_ADDRESS + lengthBytes),
  );
  for (const slice of slices) for (let i = 0; i < slice.length; i++) slice[i] = (i * 7 + 3) & 0xff;
  const readable = Buffer.concat(slices.slice(0, chain.readableCount));
  const from = Math.floor(readable.length / 3);
  const read = new Uint8Array(readable.length - from);
  assert.ok(chain.readInto(guest, from, read, 0, read.length));
  assert.equal(Buffer.compare(readable.subarray(from), read), 0);
  const written = new Uint8Array(chain.writableBytes).fill(0xcc);
  assert.ok(chain.writeFrom(guest, 0, written, 0, written.length));
  for (const slice of slices.slice(chain.readableCount)) {
    assert.ok(slice.every((byte) => byte === 0xcc));
  }
}

test("indexes pass 2^16 without losing a chain", () => {
  for (const eventIndex of [false, true]) {
    const world = idleWorld({ eventIndex });
    const { driver, queue } = world;
    const chain = new Chain();
    for (let round = 0; round < 70_000; round++) {
      driver.wantNotification();
      driver.offer(driver.describe([buffer(0, 1, false)]));
      assert.ok(queue.take(chain));
      queue.give(chain.head, round);
      assert.ok(queue.publish());
      assert.deepEqual(driver.collect(), [{ head: chain.head, lengthBytes: round }]);
    }
  }
});

test("a kick is asked for exactly when the device is about to sleep", () => {
  for (const eventIndex of [false, true]) {
    const { driver, queue } = idleWorld({ eventIndex });
    const chain = new Chain();
    queue.refuseKicks();
    assert.equal(queue.askForKicks(), false);
    assert.equal(driver.offer(driver.describe([buffer(0, 1, false)])), true);
    queue.refuseKicks();
    assert.equal(driver.offer(driver.describe([buffer(0, 1, false)])), false);
    assert.ok(queue.take(chain));
    assert.equal(queue.askForKicks(), true, "what came meanwhile is noticed");
  }
});

test("rings outside of the memory, unaligned or of a bad size are refused", () => {
  const make = (change: (world: QueueWorld) => void): string => {
    try {
      change(idleWorld());
    } catch (error) {
      return error instanceof VhostViolation ? error.message : String(error);
    }
    return "nothing was refused";
  };
  const open = (options: { entryCount?: number; base?: number }) => (): void => {
    new QueueWorld(options);
  };
  assert.match(make(open({ entryCount: 2048 })), /a queue of 2048 entries/);
  assert.match(make(open({ entryCount: 12 })), /a queue of 12 entries/);
  assert.match(make(open({ base: 65_536 })), /beyond 2\^16/);
});
