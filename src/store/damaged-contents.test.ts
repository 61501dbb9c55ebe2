/**
 * Entries of the content map that were damaged, and what is done with their contents afterwards.
 */
import assert from "node:assert/strict";
import { contentKey, keyAfterPrefix, TABLE_CONTENT } from "../format/index.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import { contentAt, entryOffset, pageOf } from "./logical-map.ts";

const BLOCKS = 400;

async function life(world: StoreWorld, work: () => Promise<void>): Promise<void> {
  world.replaceMachine();
  const outcome = await world.run(async () => {
    await world.open();
    await work();
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
}

/** Key of the content of a block of the first component. */
function keyOf(world: StoreWorld, block: number): Uint8Array {
  const { logical } = world.device!.state;
  const at = logical.load(1, pageOf(block)) + entryOffset(block);
  return contentKey(logical.entries, contentAt(at));
}

/** Writes new contents until every free block of the device has had one. */
async function churn(world: StoreWorld): Promise<void> {
  const { space } = world.device!.state;
  for (let written = 0, tag = 1000; written < 2 * space.blockCount; written += 100) {
    const tags = Array.from({ length: 100 }, () => ++tag);
    assert.equal(await world.send("data", BLOCKS - 100, tags), undefined);
    await world.device!.destage();
  }
}

test("a content whose entry is damaged is stored anew, and lost by nobody", async () => {
  const world = new StoreWorld({ seed: 4, diskBytes: 11 << 20, blockCount: BLOCKS });
  let key: Uint8Array = new Uint8Array();
  await life(world, async () => {
    await world.send("data", 0, [1, 2]);
    await world.device!.destage();
    key = keyOf(world, 0);
  });
  world.metadata.corrupt(key, 3);
  await life(world, async () => {
    await world.send("data", 10, [1]);
    await world.device!.destage();
    // That one is not what goes with the block that pointed to it.
    await world.send("data", 0, [9]);
    await churn(world);
    await world.verify();
  });
  await life(world, async () => {
    await world.verify();
    let contents = 0;
    const from = Uint8Array.of(TABLE_CONTENT);
    world.metadata.visible.scan(from, keyAfterPrefix(from), () => ++contents > 0);
    const report = await world.device!.scrub();
    assert.equal(report.contents, contents);
    const { damagedMetadata, countsTooLow, unprotectedBlocks, danglingPointers } = report;
    assert.deepEqual(
      { damagedMetadata, countsTooLow, unprotectedBlocks, danglingPointers },
      { damagedMetadata: 1, countsTooLow: 0, unprotectedBlocks: 0, danglingPointers: 0 },
    );
  });
});
