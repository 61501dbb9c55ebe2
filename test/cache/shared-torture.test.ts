import assert from "node:assert/strict";
import { test } from "../support/test.ts";
import { torture } from "./torture.ts";
import type { TortureRun } from "./torture.ts";

const RUN: TortureRun = {
  seed: 1,
  workerCount: 8,
  capacity: 64,
  keyCount: 200,
  pageBytes: 256,
  operationsMax: Infinity,
  secondsMax: 3,
  killEveryMs: 300,
  workers: "threads",
};

/** Minutes to hours instead of seconds: run this file by itself then. */
const IS_LONG = process.env["DRYSTONE_LONG"] === "1";
const LONG_RUN: TortureRun = {
  ...RUN,
  capacity: 1024,
  keyCount: 4000,
  operationsMax: 1e8,
  secondsMax: 3 * 3600,
  killEveryMs: 500,
};

async function assertUnharmed(run: TortureRun): Promise<string> {
  const report = await torture(run);
  assert.deepEqual(report.problems, []);
  assert.ok(report.operations > 1000, `${report.operations} operations`);
  assert.ok(report.kills > 0);
  return JSON.stringify(report);
}

test("eight threads ended at random leave no page torn, lost or with two owners", async (t) => {
  t.diagnostic(await assertUnharmed(IS_LONG ? LONG_RUN : RUN));
});

test("so do processes that have the memory mapped and are killed", async (t) => {
  const run = { ...RUN, workers: "processes", workerCount: 4, secondsMax: IS_LONG ? 600 : 3 };
  t.diagnostic(await assertUnharmed(run as TortureRun));
});
