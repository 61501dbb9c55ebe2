import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { addCaches } from "./cache-views.ts";

test("hit ratios of several hosts are not added", () => {
  const total = addCaches([
    { pageHits: 9, pageMisses: 1, pageHitRatio: 0.9, blockHits: 0, blockHitRatio: 0 },
    { pageHits: 1, pageMisses: 9, pageHitRatio: 0.1, blockHits: 0, blockHitRatio: 0 },
  ]);
  assert.deepEqual(total, {
    ...{ pageHits: 10, pageMisses: 10, pageHitRatio: 0.5 },
    ...{ blockHits: 0, blockHitRatio: 0 },
  });
});
