import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES, CodedError, marks } from "../base/index.ts";
import { TABLE_LOGICAL } from "../format/index.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";

const OBJECT_ID = "08".repeat(16);
const OTHER_ID = "c8".repeat(16);

/** Runs `work` on an open device, loses power, and tells which components are there afterwards. */
async function afterPowerCut(
  seed: number,
  work: (world: StoreWorld) => Promise<void>,
): Promise<string[]> {
  const world = new StoreWorld({ seed, blockCount: 64 });
  const life = await world.run(async () => {
    await world.open();
    await work(world);
    world.machine.cutPower({ kind: "none" });
  });
  assert.equal(life.kind, "power-cut");
  world.replaceMachine();
  world.componentId = "a1".repeat(16);
  let found: string[] = [];
  const outcome = await world.run(async () => {
    await world.open();
    found = world.device!.components().map(({ componentId }) => componentId);
    await world.scrub();
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
  return found;
}

const create = (world: StoreWorld): Promise<unknown> =>
  world.device!.createComponent({
    componentId: OTHER_ID,
    objectId: OBJECT_ID,
    sizeBytes: 16 * BLOCK_SIZE_BYTES,
  });

const hasCode =
  (code: string) =>
  (error: unknown): boolean =>
    error instanceof CodedError && error.code === code;

test("whoever removes a component that goes already is answered when no crash brings it back", async () => {
  const expectation = marks.expect("a component was removed twice at a time");
  const found = await afterPowerCut(1, async (world) => {
    await create(world);
    void world.device!.deleteComponent(OTHER_ID);
    assert.equal(world.device!.component(OTHER_ID), undefined);
    await world.device!.deleteComponent(OTHER_ID);
    // And once more when it has gone.
    await world.device!.deleteComponent(OTHER_ID);
  });
  assert.ok(!found.includes(OTHER_ID));
  expectation.verify();
});

test("a removal that failed is done by the next one", async () => {
  const found = await afterPowerCut(2, async (world) => {
    await create(world);
    world.simMetadata!.refuseNextCommits(1);
    await assert.rejects(world.device!.deleteComponent(OTHER_ID));
    await world.device!.deleteComponent(OTHER_ID);
  });
  assert.ok(!found.includes(OTHER_ID));
});

test("a component that is removed while it is made does not come to be", async () => {
  const expectation = marks.expect("a component was removed while it was made");
  for (let turns = 0; turns < 12; turns++) {
    const found = await afterPowerCut(3, async (world) => {
      const { simulation, device } = world;
      const ended = create(world).catch((error: unknown) => {
        if (!hasCode("creation-undone")(error)) throw error;
      });
      for (let turn = 0; turn < turns; turn++)
        await new Promise<void>((resolve) => void simulation.clock.after(0.01, resolve));
      await device!.deleteComponent(OTHER_ID);
      assert.equal(device!.component(OTHER_ID), undefined);
      await ended;
      assert.equal(device!.component(OTHER_ID), undefined);
    });
    assert.ok(!found.includes(OTHER_ID), `after ${turns} turns`);
  }
  expectation.verify();
});

test("a fork of what has to catch up first is refused", async () => {
  const third = "d8".repeat(16);
  const found = await afterPowerCut(5, async ({ device }) => {
    const source = { componentId: OTHER_ID, objectId: OBJECT_ID, lacksAll: true };
    await device!.createComponent({ ...source, sizeBytes: 16 * BLOCK_SIZE_BYTES });
    await device!.component(OTHER_ID)!.open(1);
    const at = { sourceId: OTHER_ID, epoch: 1, sequence: 0, isFrozen: true };
    const forking = device!.forkComponent({ ...at, componentId: third, objectId: OBJECT_ID });
    await assert.rejects(forking, hasCode("not-settled"));
  });
  assert.ok(!found.includes(third));
});

test("a fork that is removed while it waits for its source does not come to be", async () => {
  const found = await afterPowerCut(4, async (world) => {
    await world.send("data", 0, [1, 2, 3]);
    const device = world.device!;
    const forking = device.forkComponent({
      componentId: OTHER_ID,
      objectId: OBJECT_ID,
      sourceId: world.componentId,
      epoch: 1,
      sequence: 1,
      isFrozen: true,
    });
    await assert.rejects(create(world), hasCode("component-exists"));
    await Promise.all([
      assert.rejects(forking, hasCode("creation-undone")),
      device.deleteComponent(OTHER_ID),
    ]);
  });
  assert.ok(!found.includes(OTHER_ID));
});

test("a discard, or a removal, of very much changes a few pages at a time", async () => {
  const world = new StoreWorld({ seed: 8, blockCount: 1 << 16 });
  const outcome = await world.run(async () => {
    await world.open();
    const { metadata } = world.device!.state;
    const commit = metadata.commit.bind(metadata);
    let most = 0;
    let pages = 0;
    metadata.commit = (batch) => {
      const changed = batch.operations.filter(({ key }) => key[0] === TABLE_LOGICAL).length;
      most = Math.max(most, changed);
      pages += changed;
      return commit(batch);
    };
    const all = Array.from({ length: world.blockCount }, () => 0);
    // Zeroes that are set aside have a page for every 64 blocks.
    await world.send("zero", 0, all);
    await world.device!.destage();
    await world.send("discard", 0, all);
    await world.device!.destage();
    await world.device!.deleteComponent(world.componentId);
    assert.equal(pages, 3 * 1024);
    assert.ok(most <= 64, `${most} pages in one batch`);
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
});

test("a device opens with the discards of a component that was just going, and those of others", async () => {
  const world = new StoreWorld({ seed: 9, blockCount: 64 });
  const zeroes = Array.from({ length: world.blockCount }, () => 0);
  const discards = (count: number): Promise<unknown> =>
    Promise.all(Array.from({ length: count }, () => world.send("discard", 0, zeroes)));
  const outcome = await world.run(async () => {
    await world.open();
    const sizeBytes = world.blockCount * BLOCK_SIZE_BYTES;
    const ids = { componentId: OTHER_ID, objectId: OBJECT_ID };
    const other = await world.device!.createComponent({ ...ids, sizeBytes });
    await other.open(world.epoch);
    // As many as may wait for destage.
    await discards(256);
    world.simMetadata!.commitLatency = { minMs: 1e6, maxMs: 1e6 };
    void world.device!.deleteComponent(world.componentId);
    world.component = other;
    await discards(2);
    world.machine.cutPower({ kind: "none" });
  });
  assert.equal(outcome.kind, "power-cut");
  world.replaceMachine();
  const again = await world.run(async () => {
    await world.open();
    await world.device!.destage();
    await world.scrub();
    await world.device!.close();
  });
  assert.equal(again.kind, "done");
});
