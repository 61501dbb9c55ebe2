import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { ChangeLog } from "./change-log.ts";

test("the log of changes knows how far back it reaches", () => {
  const log = new ChangeLog(4);
  log.begin(1, 0);
  for (let i = 1; i <= 4; i++) log.note(1, i, i * 10, 5);
  assert.deepEqual(log.since(1, 2, 0, 100), [
    { start: 30, end: 35 },
    { start: 40, end: 45 },
  ]);
  assert.deepEqual(log.since(1, 0, 12, 32), [
    { start: 12, end: 15 },
    { start: 20, end: 25 },
    { start: 30, end: 32 },
  ]);
  log.note(2, 1, 0, 1);
  assert.equal(log.since(1, 0, 0, 100), undefined);
  assert.equal(log.since(1, 1, 0, 100)?.length, 3);
  assert.equal(log.since(2, 0, 0, 100), undefined, "nobody said that it is complete");
});
