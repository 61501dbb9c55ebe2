import assert from "node:assert/strict";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import { MetadataBatch } from "../ports/index.ts";
import { sealValue, SPACE_GROUP_BLOCKS, spaceKey, SpaceValueLayout } from "../format/index.ts";
import { SPACE_MAP_BYTES } from "./space-map.ts";
import type { DeviceEvent } from "./device-state.ts";

test("what was written is read back, before destage, after it, and after opening again", async () => {
  const world = new StoreWorld({ seed: 1 });
  const outcome = await world.run(async () => {
    await world.open();
    await world.send("data", 3, [1, 2, 0, 1]);
    await world.verify();
    await world.device!.destage();
    await world.verify();
    await world.send("discard", 4, [0, 0]);
    await world.verify();
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
  world.replaceMachine();
  await world.run(async () => {
    await world.open();
    await world.verify();
    await world.scrub();
    assert.equal(world.device!.stats().logicalBytes, 2 * 4096);
    assert.equal(world.device!.stats().uniqueBytes, 4096);
  });
});

test("a block is read at once when its newest content is in the cache, and not before", async () => {
  const world = new StoreWorld({ seed: 2 });
  await world.run(async () => {
    await world.open();
    const component = world.component!;
    const target = world.device!.allocate(4 * 4096);
    const isReadNow = (first: number, count: number): boolean =>
      component.readNow!(target, 0, first, count);
    const assertRight = async (first: number, count: number): Promise<void> => {
      assert.ok(isReadNow(first, count), `blocks ${first}+${count} are not in memory`);
      const found = target.bytes.slice(0, count * 4096);
      assert.equal(Buffer.compare(found, await world.read(first, count)), 0);
    };
    assert.ok(isReadNow(0, 1), "a hole is known");
    for (const tag of [1, 2]) {
      await world.send("data", 3, [tag, tag + 10]);
      assert.ok(!isReadNow(3, 1), "what is in the journal is not in the cache");
      assert.ok(isReadNow(5, 1), "other blocks are as they were");
      await world.device!.destage();
      assert.ok(!isReadNow(3, 1), "what was there before is not it any more");
      await world.read(3, 1);
      await assertRight(3, 1);
      assert.ok(!isReadNow(3, 2), "the second block is not in memory");
      await world.read(4, 1);
      await assertRight(2, 4);
    }
    const { hits, misses } = world.device!.stats().blockCache!;
    isReadNow(3, 2);
    assert.equal(world.device!.stats().blockCache!.hits, hits + 2);
    world.device!.state.blockCache.remove(0);
    isReadNow(3, 2);
    assert.equal(world.device!.stats().blockCache!.misses, misses, "a miss counts once");
    await world.device!.close();
  });
});

/** Groups of the space map of which every other block is in use. */
async function storeHalfUsed(world: StoreWorld, from: number, count: number): Promise<void> {
  const batch = new MetadataBatch();
  for (let group = from; group < from + count; group++) {
    const value = new Uint8Array(SpaceValueLayout.sizeBytes).fill(0x55);
    sealValue(spaceKey(group), value);
    batch.put(spaceKey(group), value);
  }
  await world.simMetadata!.commit(batch);
}

test("a device of 20 TiB starts with the counts of its space map, and keeps its memory bounded", async () => {
  const groups = 6000;
  const world = new StoreWorld({ seed: 3, diskBytes: 20 * 2 ** 40 });
  await world.run(async () => {
    await world.open();
    await world.send("data", 0, [1, 2, 3, 4]);
    await world.device!.destage();
    await storeHalfUsed(world, 100, groups);
    await world.device!.close();
  });
  world.replaceMachine();
  const outcome = await world.run(async () => {
    await world.open();
    const { space } = world.device!.state;
    assert.equal(space.usedBlocks, 4 + (groups * SPACE_GROUP_BLOCKS) / 2);
    assert(space.memoryBytes < 4 << 20, "no group was wanted yet");
    for (let group = 100; group < 100 + groups; group++) {
      const first = group * SPACE_GROUP_BLOCKS;
      assert.deepEqual([space.isTaken(first), space.isTaken(first + 1)], [true, false]);
    }
    assert(space.memoryBytes <= SPACE_MAP_BYTES);
    await world.send("data", 1, [5, 6]);
    await world.device!.destage();
    await world.verify();
  });
  assert.equal(outcome.kind, "done");
});

test("a group of the space map that is damaged while the device runs is told, and nothing of it used", async () => {
  const world = new StoreWorld({ seed: 3, diskBytes: 2 ** 40 });
  const outcome = await world.run(async () => {
    await world.open();
    await storeHalfUsed(world, 7, 1);
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
  world.replaceMachine();
  await world.run(async () => {
    await world.open();
    const told: DeviceEvent[] = [];
    world.device!.onEvent((event) => told.push(event));
    const batch = new MetadataBatch();
    batch.put(spaceKey(7), new Uint8Array(SpaceValueLayout.sizeBytes));
    await world.simMetadata!.commit(batch);
    const { space } = world.device!.state;
    const free = space.freeBlocks;
    for (let i = 0; i < 100; i++) assert(space.isTaken(7 * SPACE_GROUP_BLOCKS + i));
    assert.equal(space.freeBlocks, free - SPACE_GROUP_BLOCKS / 2);
    assert.deepEqual(
      told.map(({ kind }) => kind),
      ["metadata-damaged"],
    );
    assert.match(told[0]!.message, /group 7/);
    assert.equal(world.device!.stats().counters.metadataErrors, 1);
    await world.send("data", 0, [1, 2]);
    await world.device!.destage();
    await world.verify();
  });
});
