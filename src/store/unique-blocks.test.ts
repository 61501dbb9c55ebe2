import assert from "node:assert/strict";
import { ForkWorld } from "../../test/fork-workload.ts";
import { test } from "../../test/support/test.ts";
import { uniqueBlocks } from "./unique-blocks.ts";

test("the room that a fork takes by itself is what its removal gives back", async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const world = new ForkWorld({ seed, blockCount: 512 });
    const outcome = await world.run(async () => {
      await world.open();
      const { prng } = world;
      const write = async (): Promise<void> => {
        const first = prng.below(world.blockCount - 8);
        // Few different contents: some are shared by chance.
        const tags = Array.from({ length: 8 }, () => prng.between(1, 200));
        await world.send("data", first, tags);
      };
      for (let i = 0; i < 12; i++) {
        for (let n = 0; n < 3; n++) await write();
        await world.makeFork();
      }
      for (let n = 0; n < 10; n++) await write();
      let told = 0;
      while (world.forks.length > 0) {
        const { device } = world;
        assert(device !== undefined);
        await device.destage();
        const fork = prng.pick(world.forks);
        const { componentId } = world.forked(fork)!;
        const unique = await uniqueBlocks(device, componentId);
        const before = device.state.space.usedBlocks;
        await world.deleteFork(fork);
        assert.equal(before - device.state.space.usedBlocks, unique, `seed ${seed}`);
        told += unique;
      }
      assert.ok(told > 0);
      await world.scrub();
      await world.device!.close();
    });
    assert.equal(outcome.kind, "done", `seed ${seed}`);
  }
});
