import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import { PageCache } from "./page-cache.ts";
import { writeBack } from "./write-back.ts";

function dirtyCache(count: number): PageCache {
  const cache = new PageCache({ capacity: 20 });
  for (let key = 0; key < count; key++) cache.markDirty(cache.insert(key));
  return cache;
}

test("dirty slots are written back once each, in batches", async () => {
  const cache = dirtyCache(10);
  const batches: number[][] = [];
  const flushed = await writeBack(cache, 4, async (slots) => {
    batches.push([...slots].map((slot) => cache.keyOf(slot)));
  });
  assert.equal(flushed, 10);
  assert.deepEqual(
    batches.map((batch) => batch.length),
    [4, 4, 2],
  );
  assert.deepEqual(
    batches.flat().toSorted((a, b) => a - b),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  assert.equal(cache.dirtyCount, 0);
});

test("a failing batch stays dirty, others go on, the error surfaces", async () => {
  const cache = dirtyCache(9);
  let calls = 0;
  const failing: number[] = [];
  const run = writeBack(cache, 3, async (slots) => {
    if (calls++ !== 1) return;
    failing.push(...slots);
    throw new Error("the disk is gone");
  });
  await assert.rejects(run, (error) => {
    assert.ok(error instanceof CodedError);
    assert.equal(error.code, "cache-flush-failed");
    assert.match(error.message, /3 pages .*the disk is gone/);
    return true;
  });
  assert.equal(calls, 3);
  assert.equal(cache.dirtyCount, 3);
  for (const slot of failing) assert.ok(cache.isDirty(slot));
  assert.equal(await writeBack(cache, 3, async () => {}), 3);
});

test("what becomes dirty during a run is left to the next", async () => {
  const cache = dirtyCache(2);
  const flushed = await writeBack(cache, 1, async (slots) => cache.markDirty(slots[0]!));
  assert.equal(flushed, 2);
  assert.equal(cache.dirtyCount, 2);
});
