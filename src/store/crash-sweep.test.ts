/**
 * The power is cut at every disk and metadata operation of a workload: everything unflushed lost,
 * everything kept, prefixes, and random subsets of 512-byte sectors. After recovery every
 * acknowledged write is there, no block is half of anything, and counts equal pointers.
 */
import assert from "node:assert/strict";
import { sweepInWorker } from "../../test/crash-sweep.ts";
import { test } from "../../test/support/test.ts";

const LONG = process.env["DRYSTONE_LONG"] === "1";

test("a power cut at any operation loses nothing acknowledged and tears no block", async (t) => {
  const seeds = LONG ? [20, 21, 22, 23, 24, 25] : [20];
  for (const seed of seeds) {
    const part = { seed, transactions: 60, step: 2, policiesEach: LONG ? 5 : 1 };
    const results = await Promise.all([
      sweepInWorker({ ...part, first: 1 }),
      sweepInWorker({ ...part, first: 2 }),
    ]);
    for (const result of results) {
      assert.equal(result.failure, undefined, result.failure);
      assert(result.runs >= 50, `only ${result.runs} cuts`);
      t.diagnostic(`seed ${seed}: ${result.runs} cuts over ${result.operations} operations`);
    }
  }
});

test("a journal with frames in all of its segments is read to its end", async () => {
  // In its ninth life one segment is behind the checkpoint and three more hold what is not
  // destaged.
  const result = await sweepInWorker({ firstSeed: 50, seedCount: 1, livesEach: 8 });
  assert.equal(result.failure, undefined, result.failure);
});

test("a device survives many lives that end anywhere, recovery included", async (t) => {
  const seedCount = LONG ? 400 : 12;
  const results = await Promise.all([
    sweepInWorker({ firstSeed: 1, seedCount, livesEach: 8 }),
    sweepInWorker({ firstSeed: 1 + seedCount, seedCount, livesEach: 8 }),
  ]);
  for (const result of results) {
    assert.equal(result.failure, undefined, result.failure);
    assert.equal(result.runs, seedCount * 8);
    t.diagnostic(`${result.runs} lives`);
  }
});
