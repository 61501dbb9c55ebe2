/** Reads of a component, as many as clients like. */
import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES, marks } from "../base/index.ts";
import { DISK_REQUESTS_MAX } from "../ports/index.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";

const BLOCKS = 256;

/** A device that has every second block of its component somewhere else. */
async function scatter(world: StoreWorld): Promise<void> {
  for (const parity of [0, 1]) {
    for (let block = parity; block < BLOCKS; block += 2)
      await world.send("data", block, [1000 + block]);
    await world.device!.destage();
  }
}

test("a disk is never asked for more at once than it takes, however much is read", async () => {
  const waited = marks.expect("a read waited for its turn at the disk");
  const world = new StoreWorld({ seed: 5, blockCount: BLOCKS });
  const outcome = await world.run(async () => {
    await world.open();
    await scatter(world);
    // Each takes one request for each of its blocks; the disk asserts.
    const count = DISK_REQUESTS_MAX / BLOCKS + 1;
    const all = await Promise.all(Array.from({ length: count }, () => world.read(0, BLOCKS)));
    for (const bytes of all)
      for (let block = 0; block < BLOCKS; block++) {
        const found = bytes.subarray(block * BLOCK_SIZE_BYTES, (block + 1) * BLOCK_SIZE_BYTES);
        assert.equal(Buffer.compare(found, StoreWorld.content(1000 + block)), 0, `block ${block}`);
      }
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
  waited.verify(33);
});
