import assert from "node:assert/strict";
import { marks } from "../base/index.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";

const PLACED_BLOCKS = 16;

/** The tags of the first blocks, as reads tell them. */
async function tagsOf(world: StoreWorld, tags: readonly number[]): Promise<number[]> {
  const found: number[] = [];
  for (const [block, expected] of tags.entries()) {
    const bytes = await world.read(block, 1);
    const candidates = [expected, 0, ...Array.from({ length: 99 }, (_none, tag) => tag + 1)];
    found.push(
      candidates.find((tag) => Buffer.compare(bytes, StoreWorld.content(tag)) === 0) ?? -1,
    );
  }
  return found;
}

for (const isDestaged of [false, true])
  for (const kind of ["data", "zero", "discard", "long data", "long discard"] as const)
    test(`nobody sees a ${kind} that the journal could not take, over what is ${isDestaged ? "destaged" : "in the journal"}`, async () => {
      const expectation = marks.expect("a journal could not be written");
      const world = new StoreWorld({ seed: 3, placedBlocksMin: PLACED_BLOCKS });
      const isLong = kind.startsWith("long");
      const count = isLong ? 80 : 2;
      const before = Array.from({ length: count }, (_none, block) => 1 + (block % 40));
      const after = Array.from({ length: count }, (_none, block) => 50 + (block % 40));
      const outcome = await world.run(async () => {
        await world.open();
        assert.equal(await world.send("data", 0, before), undefined);
        if (isDestaged) await world.device!.destage();
        assert.equal(await world.send("data", 0, [99]), undefined);
        const expected = [99, ...before.slice(1)];
        world.simDisk!.failNextWrites(1);
        const change = kind.replace("long ", "") as "data" | "zero" | "discard";
        const sent = change === "data" ? after : after.map(() => 0);
        assert.equal(await world.send(change, 0, sent), "write-error");
        assert.deepEqual(await tagsOf(world, expected), expected);
        world.machine.cutPower({ kind: "all" });
      });
      assert.equal(outcome.kind, "power-cut");
      world.replaceMachine();
      const again = await world.run(async () => {
        await world.open();
        await world.verify();
        await world.scrub();
        await world.device!.close();
      });
      assert.equal(again.kind, "done");
      expectation.verify();
    });
