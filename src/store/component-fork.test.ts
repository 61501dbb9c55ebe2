import assert from "node:assert/strict";
import { Prng } from "../base/index.ts";
import { ForkWorld, forkWorkload } from "../../test/fork-workload.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import type { Component } from "./component.ts";

test("forks keep what the component held, through writes, deletions and starts", async () => {
  for (let seed = 1; seed <= 4; seed++) {
    const world = new ForkWorld({ seed });
    const outcome = await world.run(async () => {
      await world.open();
      await forkWorkload(world, 25);
      await world.verify();
      await world.verifyForks();
      await world.scrub();
      await world.device!.close();
      await world.open();
      await world.verifyForks();
      await world.device!.destage();
      await world.scrub();
      await world.device!.close();
    });
    assert.equal(outcome.kind, "done", `seed ${seed}`);
  }
});

test("a power cut anywhere leaves each fork whole, or not made", async (t) => {
  let runs = 0;
  for (let seed = 1; seed <= 8; seed++) {
    const world = new ForkWorld({ seed, blockCount: 192 });
    const prng = new Prng(seed);
    for (let life = 0; life < 6; life++) {
      world.machine.cutPowerAt(prng.between(1, 160), { kind: "random", seed: prng.u32() });
      world.faults = [];
      await world.run(async () => {
        await world.open();
        await world.dropHalfMade();
        await world.verify();
        await forkWorkload(world, 12);
        await world.device!.close();
      });
      if (world.machine.isOn) world.machine.cutPower({ kind: "none" });
      world.replaceMachine();
      const outcome = await world.run(async () => {
        await world.open();
        await world.dropHalfMade();
        await world.verify();
        await world.verifyForks();
        await world.scrub();
        await world.device!.destage();
        await world.device!.pagesShared();
        await world.verifyForks();
        await world.scrub();
        await world.device!.close();
      });
      assert.equal(outcome.kind, "done", `seed ${seed}, life ${life}`);
      world.replaceMachine();
      runs++;
    }
  }
  t.diagnostic(`${runs} lives`);
});

test("255 frozen forks, deleted in any order under writes, give all of their space back", async () => {
  const world = new ForkWorld({ seed: 7, blockCount: 1024 });
  const outcome = await world.run(async () => {
    await world.open();
    const { prng } = world;
    const count = 255;
    const write = async (): Promise<void> => {
      const first = prng.below(world.blockCount - 8);
      const tags = Array.from({ length: 8 }, () => prng.between(1, 1 << 16));
      await world.send("data", first, tags);
    };
    for (let i = 0; i < count; i++) {
      await write();
      await world.makeFork();
    }
    while (world.forks.length > 0) {
      await write();
      await world.deleteFork(prng.pick(world.forks));
      const fork = prng.chance(0.1) ? world.forks.at(-1) : undefined;
      if (fork !== undefined) await world.verifyFork(fork, world.forked(fork)!);
    }
    await world.device!.destage();
    await world.verify();
    await world.scrub();
    const { state } = world.device!;
    const distinct = new Set(world.blocks.map((block) => block.acknowledged));
    distinct.delete(0);
    // A block for each content that is still there, and none else.
    assert.equal(state.space.usedBlocks, distinct.size);
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
});

test("a fork is written to and grows on its own, and outlives what it was made of", async () => {
  const world = new ForkWorld({ seed: 3, blockCount: 130 });
  const outcome = await world.run(async () => {
    await world.open();
    const { device } = world;
    assert(device !== undefined);
    await world.send("data", 0, numbers(1, 64));
    await world.send("data", 64, numbers(65, 66));
    await world.makeFork(false);
    await world.makeFork(true);
    const fork = world.forks[0]!;
    const clone = world.forked(fork)!;
    const { preparedSequence } = await clone.open(1);
    await world.send("data", 3, [1003]);
    await change(clone, { sequence: preparedSequence + 1, kind: "data", blockIndex: 5, tag: 1005 });
    await change(clone, {
      sequence: preparedSequence + 2,
      kind: "discard",
      blockIndex: 64,
      tag: 0,
    });
    await device.destage();
    await world.scrub();
    // The base has grown and has data where the clone has none.
    await device.resizeComponent(world.componentId, 300 * 4096);
    await world.makeFork(true);
    const last = world.forked(world.forks[2]!)!;
    const digests = await clone.digests(1, 0, 1);
    await device.resizeComponent(world.componentId, 500 * 4096);
    await change(world.component!, { sequence: 100, kind: "data", blockIndex: 400, tag: 8 });
    await device.destage();
    await device.resizeComponent(fork.componentId, 500 * 4096);
    await device.resizeComponent(world.forks[2]!.componentId, 500 * 4096);
    const isHole = async (block: number, of: Component): Promise<boolean> =>
      (await world.read(block, 1, of)).every((byte) => byte === 0);
    assert(await isHole(400, last));
    assert.deepEqual(await clone.digests(1, 0, 1), digests);
    const ofHoles = (await last.digests(1, 0, 2)).subarray(16);
    assert(ofHoles.every((byte) => byte === 0));
    await device.deleteComponent(world.forks[2]!.componentId);
    assert(await isHole(400, clone));
    await device.deleteComponent(world.componentId);
    const tags = [...fork.tags];
    tags[5] = 1005;
    tags.fill(0, 64, 128);
    await world.verifyFork({ ...fork, tags }, clone);
    assert(await isHole(400, clone));
    await world.verifyFork(world.forks[1]!, world.forked(world.forks[1]!)!);
    await world.scrub();
    const batch = await clone.changes({
      epoch: 1,
      since: preparedSequence,
      fromBlock: 0,
      toBlock: 500,
      blocksMax: 100,
      withFingerprints: false,
    });
    assert.deepEqual([...batch.starts], [5, 64]);
    await device.close();
  });
  assert.equal(outcome.kind, "done");
});

test("who shared the digests of a fork that is deleted keeps them, where that had no page of its own", async () => {
  const world = new ForkWorld({ seed: 5, blockCount: 130 });
  const outcome = await world.run(async () => {
    await world.open();
    await world.send("data", 0, numbers(1, 130));
    await world.makeFork();
    await world.makeFork();
    const [older, newer] = world.forks;
    assert(older !== undefined && newer !== undefined);
    const digests = await world.forked(older)!.digests(0, 0, 1);
    // In a page that the forks have not, and in a region that they have.
    await world.device!.resizeComponent(world.componentId, 300 * 4096);
    await change(world.component!, { sequence: 100, kind: "data", blockIndex: 200, tag: 8 });
    await world.device!.destage();
    await world.deleteFork(newer);
    assert.deepEqual(await world.forked(older)!.digests(0, 0, 1), digests);
    await world.device!.close();
    await world.open();
    assert.deepEqual(await world.forked(older)!.digests(0, 0, 1), digests);
    await world.verifyFork(older, world.forked(older)!);
    await world.scrub();
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
});

function numbers(first: number, count: number): number[] {
  return Array.from({ length: count }, (_none, i) => first + i);
}

async function change(
  component: Component,
  one: { sequence: number; kind: "data" | "discard"; blockIndex: number; tag: number },
): Promise<void> {
  const { sequence, kind, blockIndex, tag } = one;
  const blockCount = kind === "data" ? 1 : 64;
  const source = StoreWorld.content(tag);
  const fault = await new Promise((resolve) => {
    component.prepare(
      { epoch: 1, sequence, kind, blockIndex, blockCount, source, sourceAt: 0 },
      (_token, answer) => resolve(answer),
      0,
    );
    component.submit();
  });
  assert.equal(fault, undefined);
  component.commit(1, sequence);
}
