/**
 * Large writes go straight to the block store. What is written there is found again before destage
 * and after it, after a crash, and is given back if another block holds the same already.
 */
import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES, Prng } from "../base/index.ts";
import { SimDigests, SimDisk, SimMachine, Simulation, DiskMedium } from "../sim/index.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import { isPlacedLocation, PlacedBlocks, PLACED_LOCATION_FIRST } from "./placed-blocks.ts";
import { SpaceMap } from "./space-map.ts";

const LONG_WRITE = 24;

async function inWorld(seed: number, work: (world: StoreWorld) => Promise<void>): Promise<void> {
  const world = new StoreWorld({ seed, placedBlocksMin: 16, blockCount: 1024 });
  const outcome = await world.run(() => work(world));
  assert.equal(outcome.kind, "done");
}

function tagsFrom(first: number, count = LONG_WRITE): number[] {
  return Array.from({ length: count }, (_none, i) => first + i);
}

function placedOf(world: StoreWorld): PlacedBlocks {
  return world.device!.state.journal.placed;
}

test("a large write reaches the block store once, a small one by way of the journal", async () => {
  await inWorld(1, async (world) => {
    await world.open();
    const { journal, counters } = world.device!.state;
    await world.send("data", 0, tagsFrom(100));
    assert.equal(placedOf(world).used, LONG_WRITE);
    assert.equal(journal.bytesWritten, 2 * BLOCK_SIZE_BYTES, "head and tail");
    await world.send("data", 100, [1, 2, 3]);
    assert.equal(placedOf(world).used, LONG_WRITE);
    await world.verify();
    await world.device!.destage();
    assert.equal(placedOf(world).used, 0);
    assert.equal(counters.writtenBlocks, 3, "the others are where they stay");
    await world.verify();
    await world.scrub();
  });
});

test("blocks of a large write that are there already are given back", async () => {
  await inWorld(2, async (world) => {
    await world.open();
    const { space } = world.device!.state;
    await world.send("data", 0, tagsFrom(100));
    await world.device!.destage();
    const used = space.usedBlocks;
    await world.send("data", 200, tagsFrom(100));
    // Half of it is new, and a block of zeroes needs none.
    await world.send("data", 300, [...tagsFrom(112, 23), 0]);
    assert.equal(space.usedBlocks, used, "what is reserved is not in use");
    assert.equal(space.reservedBlocks, 2 * LONG_WRITE);
    await world.device!.destage();
    assert.equal(space.reservedBlocks, 0);
    assert.equal(space.usedBlocks, used + 11);
    await world.verify();
    await world.scrub();
  });
});

test("large writes over each other, under way and destaged, leave the newest", async () => {
  await inWorld(3, async (world) => {
    await world.open();
    const prng = new Prng(3);
    for (let i = 0; i < 40; i++) {
      const sent = [0, 1, 2].map(() =>
        world.send("data", prng.below(900), tagsFrom(prng.below(60), prng.between(16, 100))),
      );
      await Promise.all(sent);
      if (prng.chance(0.3)) await world.verify();
      if (prng.chance(0.2)) await world.device!.destage();
    }
    await world.device!.destage();
    assert.equal(world.device!.state.space.reservedBlocks, 0);
    await world.verify();
    await world.scrub();
  });
});

test("a block of a large write that is damaged on the disk is an error, and only that one", async () => {
  const world = new StoreWorld({ seed: 4, placedBlocksMin: 16 });
  await world.run(async () => {
    await world.open();
    await world.send("data", 0, tagsFrom(100));
    await world.send("data", 300, [1]);
  });
  world.machine.cutPower({ kind: "all" });
  const place = world.device!.state.superblock.blocksOffset;
  world.disk.flipBit(place + 5 * BLOCK_SIZE_BYTES + 77);
  world.replaceMachine();
  const outcome = await world.run(async () => {
    await world.open();
    for (let round = 0; round < 2; round++) {
      await assert.rejects(world.read(5, 1), /read-error/);
      for (const block of [0, 4, 6, 23]) {
        const bytes = await world.read(block, 1);
        assert.deepEqual(Buffer.from(bytes), Buffer.from(StoreWorld.content(100 + block)));
      }
      await world.device!.destage();
    }
    await world.send("data", 5, [9]);
    await world.device!.destage();
    assert.deepEqual(Buffer.from(await world.read(5, 1)), Buffer.from(StoreWorld.content(9)));
    assert.equal(world.device!.state.space.reservedBlocks, 0);
  });
  assert.equal(outcome.kind, "done");
});

test("where free blocks are scattered a large write goes by way of the journal", async () => {
  await inWorld(5, async (world) => {
    await world.open();
    const { space } = world.device!.state;
    const taken: number[] = [];
    for (let block = 0; block < space.blockCount; block += 8) {
      space.reserve(block, 1);
      taken.push(block);
    }
    await world.send("data", 0, tagsFrom(100));
    assert.equal(placedOf(world).used, 0);
    await world.device!.destage();
    await world.verify();
    space.releaseReserved(taken, 0);
  });
});

test("a run of free blocks is found wherever it lies, across words and behind the rotor", () => {
  const space = new SpaceMap(400, () => undefined);
  assert.equal(space.reserveRun(390), 0);
  assert.equal(space.reserveRun(11), undefined);
  assert.equal(space.reserveRun(10), 390);
  space.releaseReserved([...Array.from({ length: 40 }, (_none, i) => 50 + i)], 1);
  space.releaseQuarantine(1);
  assert.equal(space.reserveRun(41), undefined);
  assert.equal(space.reserveRun(40), 50);
  assert.equal(space.freeBlocks, 0);
  assert.equal(space.usedBlocks, 0, "nothing of it is published");
});

test("slots and staging memory are given back in order and used again, runs stay whole", async () => {
  const simulation = new Simulation({ seed: 1 });
  const machine = new SimMachine(simulation);
  const medium = new DiskMedium({ sizeBytes: 16 << 20, capacityBytes: 16 << 20 });
  await machine.run(async () => {
    const disk = new SimDisk(machine, medium);
    const digests = new SimDigests(machine, { mode: "fast" });
    const space = new SpaceMap(2048, () => undefined);
    const sizes = { capacity: 100, stagingBlocks: 50, blocksMin: 1 };
    const placed = new PlacedBlocks({ disk, digests, space }, sizes);
    const prng = new Prng(7);
    const held: { place: number; count: number }[] = [];
    const found = new Uint8Array(BLOCK_SIZE_BYTES);
    for (let tag = 1; tag <= 200; tag++) {
      const count = prng.between(1, 25);
      while (!placed.hasSlots(count) || !placed.hasStaging(count)) {
        const { place, count: blocks } = held.shift()!;
        const unused = placed.release([place], () => false);
        assert.deepEqual(unused, tagsFrom(place, blocks));
        space.releaseReserved(unused, tag);
        space.releaseQuarantine(tag);
      }
      const bytes = new Uint8Array(count * BLOCK_SIZE_BYTES);
      for (let i = 0; i < count; i++) bytes.set(StoreWorld.content(tag), i * BLOCK_SIZE_BYTES);
      const run = placed.put(bytes, 0, count)!;
      assert.ok(run.slot + count <= 100 && run.stagedAt + count <= 50, "within both rings");
      const last = placed.locationAt(run.place) + count - 1;
      assert.ok(isPlacedLocation(last) && last < PLACED_LOCATION_FIRST + 100);
      assert.ok(placed.copyTo(last, found, 0));
      assert.deepEqual(Buffer.from(found), Buffer.from(StoreWorld.content(tag)));
      placed.durable(1);
      await placed.whenFingerprinted();
      assert.ok(!placed.copyTo(last, found, 0), "it is on the disk only");
      held.push({ place: run.place, count });
      assert.ok(placed.used >= held.reduce((sum, one) => sum + one.count, 0));
    }
  });
});
