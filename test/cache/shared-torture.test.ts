import assert from "node:assert/strict";
import { test } from "node:test";
import { torture } from "./torture.ts";
import type { TortureRun } from "./torture.ts";

const RUN: TortureRun = {
  seed: 1,
  workerCount: 8,
  capacity: 64,
  keyCount: 200,
  pageBytes: 256,
  operationsMax: Infinity,
  secondsMax: 6,
  killEveryMs: 300,
  cacheModule: new URL("../../src/cache/index.js", import.meta.url).href,
};

/** Minutes to hours instead of seconds: run this file by itself then. */
const IS_LONG = process.env["DRYSTONE_LONG"] === "1";
const LONG_RUN = { ...RUN, operationsMax: 1e8, secondsMax: 3 * 3600, killEveryMs: 500 };

test("eight workers ended at random leave no page torn, lost or with two owners", async (t) => {
  const report = await torture(IS_LONG ? { ...LONG_RUN, capacity: 1024, keyCount: 4000 } : RUN);
  t.diagnostic(JSON.stringify(report));
  assert.deepEqual(report.problems, []);
  assert.ok(report.operations > 1000, `${report.operations} operations`);
  assert.ok(report.kills > 0);
});
