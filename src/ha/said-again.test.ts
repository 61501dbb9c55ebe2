/** What is said of a machine again and again. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { vm } from "../../test/support/vm-world.ts";
import { decidedAgain, isSaid } from "./said-again.ts";

const MINUTE_MS = 60_000;

test("what was said last is not said again, and what was said lately only after minutes", () => {
  const said = (because: string, timeMs: number) => ({ timeMs, hostId: "h1", what: "w", because });
  let record = vm("a");
  assert.equal(isSaid(record, "w", "x", 0), false);
  record = decidedAgain(record, said("x", 0));
  assert.equal(isSaid(record, "w", "x", 60 * MINUTE_MS), true);
  record = decidedAgain(record, said("y", 1));
  assert.equal(isSaid(record, "w", "x", 9 * MINUTE_MS), true);
  assert.equal(isSaid(record, "w", "x", 11 * MINUTE_MS), false);
  for (let i = 2; i <= 20; i++) record = decidedAgain(record, said(i % 2 === 0 ? "x" : "y", i));
  assert.deepEqual(
    record.history.map(({ timeMs, because }) => [timeMs, because]),
    [
      [19, "y (said 10 times)"],
      [20, "x (said 11 times)"],
    ],
  );
});
