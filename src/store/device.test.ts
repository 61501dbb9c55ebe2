import assert from "node:assert/strict";
import { test } from "node:test";
import { StoreWorld } from "../../test/store-world.ts";

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
