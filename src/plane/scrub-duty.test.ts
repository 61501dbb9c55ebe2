import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import { changeSettings } from "../cluster/index.ts";
import type { ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import { Simulation } from "../sim/index.ts";
import { CHANGE_DATA, ChangeBatchBuilder, ReadThrough } from "../store/index.ts";
import { CLUSTER, ClusterWorld, requestsOf } from "../../test/support/cluster-world.ts";
import type { ClusterHost } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";
import { VolumeClient } from "../../test/support/volume-client.ts";

const SIZE_BYTES = 4 * 2 ** 20;
const MIRROR: ObjectPolicy = { failuresToTolerate: 1, stripes: 1 };
const DAY_MS = 24 * 3_600_000;

async function cluster(
  seed: number,
  work: (world: ClusterWorld, volume: ObjectRecord) => Promise<void>,
): Promise<void> {
  const simulation = new Simulation({ seed });
  const world = new ClusterWorld(simulation, "abc");
  await simulation.run(async () => {
    await world.build();
    // Nothing of it happens by itself while a test looks at it.
    await changeSettings(world.directory, CLUSTER, { scrubDays: 1, compareHours: 24 });
    const made = { name: "v", sizeBytes: SIZE_BYTES, policy: MIRROR };
    await work(world, await world.host("a").plane.createVolume(made));
  });
}

async function written(world: ClusterWorld, host: ClusterHost, volume: ObjectRecord) {
  const owner = await world.take(host, volume.objectId);
  const client = new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner));
  await client.work(60);
  return { owner, client };
}

const hostOf = (world: ClusterWorld, volume: ObjectRecord, leaf: number): ClusterHost =>
  world.hostOf(volume.components[leaf]!.hostId);

/** Turns a bit of some blocks that are in use over. */
async function damage(host: ClusterHost, count: number): Promise<void> {
  const { device } = host;
  await device.destage();
  const { superblock, space } = device.state;
  let damaged = 0;
  for (let block = 0; block < space.blockCount && damaged < count; block++) {
    if (!space.isUsedOnDisk(block)) continue;
    host.medium().disk.flipBit(superblock.blocksOffset + block * BLOCK_SIZE_BYTES + 77, 3);
    damaged++;
  }
  assert.equal(damaged, count);
}

for (const isUsed of [true, false])
  test(`bad blocks of a volume that ${isUsed ? "somebody" : "nobody"} uses are found and mended`, async () => {
    await cluster(1, async (world, volume) => {
      const { owner, client } = await written(world, hostOf(world, volume, 2), volume);
      const sick = hostOf(world, volume, 0);
      await owner.close();
      if (isUsed)
        client.requests = requestsOf(await world.take(hostOf(world, volume, 2), volume.objectId));
      await damage(sick, 3);
      await sick.plane.scrub.round(DAY_MS);
      const { blocksDamaged, blocksRepaired, devicesRead } = sick.plane.scrub.counters;
      assert.equal(blocksDamaged, 3);
      assert.equal(devicesRead, 1);
      assert.ok(blocksRepaired >= 3);
      await world.until(
        async () => (await sick.device.destage(), sick.device.stats().badBlocks === 0),
      );
      assert.ok(!world.heard("damage-mended"), "nothing was read since it was written again");
      await sick.plane.scrub.round(DAY_MS);
      assert.ok(world.heard("damage-mended"));
      const after = await sick.device.scrub();
      assert.equal(after.damagedBlocks, 0);
      if (!isUsed) client.requests = requestsOf(await world.take(sick, volume.objectId));
      await client.verify("afterwards");
    });
  });

test("damage is over only once what was written again reads well from the disk", async () => {
  await cluster(1, async (world, volume) => {
    const { owner } = await written(world, hostOf(world, volume, 2), volume);
    await owner.close();
    const sick = hostOf(world, volume, 0);
    const isRepaired = async (): Promise<boolean> => {
      await sick.device.destage();
      return sick.device.stats().badBlocks === 0;
    };
    await damage(sick, 3);
    await sick.plane.scrub.round(DAY_MS);
    await world.until(isRepaired);
    await damage(sick, 3);
    const reader = new ReadThrough(sick.device);
    assert.ok(reader.hurtCount >= 3);
    assert.equal(reader.knownDamaged, 0, "nobody has seen it yet");
    assert.equal(await reader.areMended(), false);
    await sick.plane.scrub.round(DAY_MS);
    await world.until(isRepaired);
    assert.equal(await reader.areMended(), true);
    assert.equal(reader.hurtCount, 0);
  });
});

test("reading goes on where it was when the host starts anew", async () => {
  await cluster(2, async (world, volume) => {
    const { owner } = await written(world, hostOf(world, volume, 2), volume);
    await owner.close();
    const host = hostOf(world, volume, 0);
    await host.device.destage();
    const { uniqueBytes } = host.device.stats();
    await host.plane.scrub.round(DAY_MS / 2);
    const first = host.plane.scrub.counters.blocksRead;
    assert.ok(first > 0 && first * BLOCK_SIZE_BYTES < uniqueBytes, `${first}`);
    await host.stop();
    await host.start();
    await host.plane.scrub.round(DAY_MS);
    const { blocksRead, devicesRead } = host.plane.scrub.counters;
    assert.equal(devicesRead, 1);
    assert.equal((first + blocksRead) * BLOCK_SIZE_BYTES, uniqueBytes);
  });
});

test("copies that differ are made equal by the newest versions, or by what is read", async () => {
  await cluster(3, async (world, volume) => {
    const { owner } = await written(world, hostOf(world, volume, 2), volume);
    const { epoch } = owner;
    const sequence = 900_000;
    await owner.close();
    const put = async (leaf: number, block: number, fill: number): Promise<void> => {
      const { componentId } = volume.components[leaf]!;
      const component = hostOf(world, volume, leaf).device.component(componentId)!;
      const batch = new ChangeBatchBuilder();
      batch.add(block, 1, sequence, CHANGE_DATA);
      const payload = new Uint8Array(BLOCK_SIZE_BYTES).fill(fill);
      await component.apply(epoch, batch.finish(-1, true), payload);
    };
    // One copy has a version that the other lacks; of another block both have one, and different.
    await put(0, 5, 1);
    await put(0, 300, 2);
    await put(1, 300, 3);
    for (const leaf of [0, 1]) {
      const { device } = hostOf(world, volume, leaf);
      device.component(volume.components[leaf]!.componentId)!.commit(epoch, sequence);
      await device.destage();
    }
    const duty = hostOf(world, volume, 0).plane.scrub;
    // What a host knows of the others' records may be a second old.
    await world.pass(1500);
    await duty.compare(DAY_MS);
    assert.equal(duty.counters.regionsCompared, 0, "not yet due");
    await world.pass(1500);
    await duty.compare(1);
    assert.equal(duty.counters.regionsCompared, 4);
    assert.equal(duty.counters.regionsDiffered, 2);
    assert.ok(world.heard("copies-differed"));
    await world.pass(1500);
    await duty.compare(1);
    assert.equal(duty.counters.regionsDiffered, 2, "they are equal now");
    await world.until(async () => (await world.record(volume.objectId)).owner === undefined);
    await world.assertEqualCopies(volume.objectId);
  });
});

test("up to when a device was read is known to whoever opens it next", async () => {
  await cluster(4, async (world, volume) => {
    const host = hostOf(world, volume, 0);
    assert.equal(new ReadThrough(host.device).readUntilMs, undefined);
    await host.plane.scrub.round();
    const { readUntilMs } = new ReadThrough(host.device);
    assert.ok(readUntilMs !== undefined);
    await host.stop();
    await host.start();
    assert.equal(new ReadThrough(host.device).readUntilMs, readUntilMs);
  });
});
