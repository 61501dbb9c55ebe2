import assert from "node:assert/strict";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import type { BlockRun } from "./component.ts";

/** 1 GiB: 4096 pages, of which a turn reads 128. */
const BLOCKS = 262_144;

const told = (runs: readonly BlockRun[]): string[] =>
  runs.map(({ kind, blockIndex, blockCount }) => `${kind} ${blockIndex}+${blockCount}`);

/** Makes all pages exist. */
async function zeroed(world: StoreWorld, blockCount: number): Promise<void> {
  const tags = Array.from({ length: blockCount }, () => 0);
  await world.send("zero", 0, tags);
  await world.device!.destage();
}

/** How often something else had a turn since. */
function countTurns({ machine }: StoreWorld): () => number {
  let turns = 0;
  const count = (): void => {
    turns++;
    machine.clock.after(0, count);
  };
  machine.clock.after(0, count);
  return () => turns;
}

test("extents are told from the maps and from what is pending, over pages and ranges", async () => {
  const world = new StoreWorld({ seed: 1, blockCount: 1024 });
  await world.run(async () => {
    await world.open();
    const component = world.component!;
    await world.send("data", 3, [1, 2]);
    await world.send("zero", 62, [0, 0, 0, 0]);
    await world.send("data", 300, [3]);
    await world.device!.destage();
    await world.send("data", 200, [4]);
    await world.send("discard", 300, [0]);
    await world.send(
      "zero",
      512,
      Array.from({ length: 128 }, () => 0),
    );
    const expected = [
      ...["hole 0+3", "data 3+2", "hole 5+57", "allocated-zero 62+4", "hole 66+134", "data 200+1"],
      ...["hole 201+311", "allocated-zero 512+128", "hole 640+384"],
    ];
    assert.deepEqual(told(await component.extents(0, 1024, 99)), expected);
    assert.deepEqual(told(await component.extents(4, 60, 99)), [
      ...["data 4+1", "hole 5+57", "allocated-zero 62+2"],
    ]);
    assert.deepEqual(told(await component.extents(0, 1024, 2)), expected.slice(0, 2));
    await world.device!.destage();
    assert.deepEqual(told(await component.extents(0, 1024, 99)), expected);
    await world.device!.close();
  });
});

test("others get turns while many look for extents of gigabytes, and those share their turns", async () => {
  const world = new StoreWorld({ seed: 2, blockCount: BLOCKS });
  await world.run(async () => {
    await world.open();
    const component = world.component!;
    await zeroed(world, BLOCKS);
    const turns = countTurns(world);
    const finished: number[] = [];
    const walks = Array.from({ length: 4 }, async (_, index) => {
      const runs = await component.extents(0, BLOCKS, 8);
      finished.push(index);
      assert.deepEqual(told(runs), [`allocated-zero 0+${BLOCKS}`]);
    });
    await Promise.all(walks);
    assert.ok(turns() > 20, `${turns()} turns`);
    assert.deepEqual(finished, [0, 1, 2, 3]);
    await world.device!.close();
  });
});

test("short looks at extents, one after the other, leave turns to others as well", async () => {
  const world = new StoreWorld({ seed: 3, blockCount: 8192 });
  await world.run(async () => {
    await world.open();
    const component = world.component!;
    await zeroed(world, 8192);
    const turns = countTurns(world);
    for (let look = 0; look < 100; look++) await component.extents(0, 8192, 8);
    assert.ok(turns() > 20, `${turns()} turns`);
    await world.device!.close();
  });
});

test("a look at extents fails when its component is deleted, or its device is closed", async () => {
  const world = new StoreWorld({ seed: 4, blockCount: BLOCKS });
  await world.run(async () => {
    await world.open();
    const component = world.component!;
    await zeroed(world, BLOCKS);
    const first = assert.rejects(component.extents(0, BLOCKS, 8), { code: "component-missing" });
    await world.device!.deleteComponent(world.componentId);
    await first;
    await world.device!.close();
  });
  const other = new StoreWorld({ seed: 5, blockCount: BLOCKS });
  await other.run(async () => {
    await other.open();
    const component = other.component!;
    await zeroed(other, BLOCKS);
    const looks = [component.extents(0, BLOCKS, 8), component.extents(0, BLOCKS, 8)];
    const failed = looks.map((look) => assert.rejects(look, { code: "unreachable" }));
    await Promise.all([other.device!.close(), ...failed]);
    await assert.rejects(component.extents(0, BLOCKS, 8), { code: "unreachable" });
  });
});
