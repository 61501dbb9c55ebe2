import assert from "node:assert/strict";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";

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
