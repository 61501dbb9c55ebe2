/** A disk that is gone, as against one of which some blocks are damaged. */
import assert from "node:assert/strict";
import { marks } from "../base/index.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import { ReadThrough } from "./index.ts";
import type { DeviceEvent } from "./index.ts";

const TAGS = [1, 2, 3, 4, 5, 6, 7, 8];

/** An open device with these tags in its block store, and nothing of them in memory. */
async function stored(
  work: (world: StoreWorld, events: readonly DeviceEvent[]) => Promise<void>,
): Promise<void> {
  const world = new StoreWorld({ seed: 5 });
  const outcome = await world.run(async () => {
    await world.open();
    await world.send("data", 0, TAGS);
    await world.device!.close();
    await world.open();
    const events: DeviceEvent[] = [];
    world.device!.onEvent((event) => events.push(event));
    await work(world, events);
    world.machine.cutPower({ kind: "all" });
  });
  assert.equal(outcome.kind, "power-cut");
}

function damageEverything({ device, disk }: StoreWorld): void {
  const { superblock, space } = device!.state;
  for (let block = 0; block < space.blockCount; block++)
    if (space.isUsedOnDisk(block)) disk.failReads(superblock.blocksOffset + block * 4096, 4096);
}

test("a disk that is gone has failed as soon as a client reads, and no block of it is damaged", async () => {
  const found = marks.expect("a dead disk was found by a client's read");
  await stored(async (world, events) => {
    world.simDisk!.vanish();
    for (const block of [0, 3]) await assert.rejects(world.read(block, 1));
    assert.equal(world.device!.stats().journal.hasFailed, true);
    assert.equal(world.device!.stats().badBlocks, 0);
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ["device-failed"],
    );
  });
  found.verify(1);
});

test("looking for damage finds a disk that is gone, and no damage on it", async () => {
  const found = marks.expect("a dead disk was found by looking for damage");
  await stored(async (world, events) => {
    world.simDisk!.vanish();
    await assert.rejects(new ReadThrough(world.device!).read(), { code: "gone" });
    assert.equal(world.device!.stats().badBlocks, 0);
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ["device-failed"],
    );
  });
  found.verify(1);
});

test("a disk of which nothing can be read, its superblock neither, is dead", async () => {
  await stored(async (world, events) => {
    world.disk.failReads(0, world.disk.sizeBytes);
    await assert.rejects(new ReadThrough(world.device!).read(), { code: "read-error" });
    assert.equal(world.device!.stats().badBlocks, 0);
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ["device-failed"],
    );
  });
});

test("with a superblock that can be read, all that is stored may be damaged", async () => {
  await stored(async (world) => {
    damageEverything(world);
    const { damagedBlocks, isAtEnd } = await new ReadThrough(world.device!).read();
    assert.deepEqual([damagedBlocks, isAtEnd], [TAGS.length, true]);
    assert.equal(world.device!.stats().journal.hasFailed, false);
    assert.equal(world.device!.stats().badBlocks, TAGS.length);
  });
});

test("a damaged block that nobody needs any more is damaged no more", async () => {
  const freed = marks.expect("a damaged block was freed");
  await stored(async (world) => {
    damageEverything(world);
    const reader = new ReadThrough(world.device!);
    await reader.read();
    assert.equal((await reader.damagedPlaces()).length, TAGS.length);
    await world.send("discard", 0, [0, 0, 0]);
    await world.device!.destage();
    assert.equal((await reader.damagedPlaces()).length, TAGS.length - 3);
    assert.equal(reader.knownDamaged, TAGS.length - 3);
    await world.device!.close();
    await world.open();
    assert.equal(world.device!.stats().badBlocks, TAGS.length - 3, "durably");
  });
  freed.verify(1);
});

test("a device whose metadata cannot be written has failed, and nothing else happens", async () => {
  const found = marks.expect("metadata could not be written");
  let left: StoreWorld | undefined;
  await stored(async (world, events) => {
    left = world;
    assert.equal(await world.send("data", 0, [50, 51]), undefined);
    world.simMetadata!.refuseNextCommits(1, "metadata-failed");
    await world.device!.destage();
    assert.deepEqual(
      events.map(({ kind, message }) => [kind, message]),
      [
        [
          "device-failed",
          "metadata cannot be written; the device takes no more writes until it is opened again",
        ],
      ],
    );
    assert.equal(await world.send("data", 1, [52]), "write-error");
    // A batch that has failed may be there tomorrow: nothing may be built on its absence.
    await assert.rejects(world.component!.open(100), { code: "metadata-failed" });
    assert.equal(Buffer.compare(await world.read(0, 1), StoreWorld.content(50)), 0);
  });
  const world = left!;
  world.replaceMachine();
  const again = await world.run(async () => {
    await world.open();
    await world.verify();
    await world.scrub();
    await world.device!.close();
  });
  assert.equal(again.kind, "done");
  found.verify(1);
});

test("a device whose blocks could not be flushed has failed: that error is not told again", async () => {
  await stored(async (world, events) => {
    assert.equal(await world.send("data", 0, [50, 51]), undefined);
    world.simDisk!.failNextFlushes(1);
    await world.device!.destage();
    assert.deepEqual(
      events.map(({ kind }) => kind),
      ["device-failed"],
    );
    assert.equal(await world.send("data", 0, [52]), "write-error");
    assert.equal(Buffer.compare(await world.read(0, 1), StoreWorld.content(50)), 0);
  });
});
