/** What an earlier start of a device has left in its journal behind a torn frame. */
import assert from "node:assert/strict";
import { marks } from "../base/index.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";

const LARGE = [10, 11, 12, 13, 14, 15, 16, 17];

async function life(world: StoreWorld, work: () => Promise<void>): Promise<void> {
  world.replaceMachine();
  const outcome = await world.run(async () => {
    await world.open();
    await work();
    world.machine.cutPower({ kind: "all" });
  });
  assert.equal(outcome.kind, "power-cut");
}

test("a torn frame stays torn when its payload is written to the same place again", async () => {
  const found = marks.expect("a frame that had been torn before was whole");
  const world = new StoreWorld({ seed: 5, placedBlocksMin: LARGE.length });
  await life(world, async () => {
    assert.equal(await world.send("data", 0, [1]), undefined);
    // The frame is kept, and nothing of the payload that it speaks of.
    const { machine } = world;
    machine.cutPowerAt(machine.operationCount + 3, {
      kind: "prefix",
      requests: 1,
      sectorsOfNext: 0,
    });
    await world.send("data", 32, LARGE);
  });
  await life(world, async () => {
    assert.equal(await world.send("data", 64, LARGE), undefined);
    assert.equal(await world.send("data", 96, [2]), undefined);
  });
  await life(world, async () => {
    await world.verify();
    await world.device!.destage();
    await world.scrub();
  });
  found.verify(1);
});
