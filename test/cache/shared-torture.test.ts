import assert from "node:assert/strict";
import * as fs from "node:fs";
import { test } from "node:test";
import { BROKEN_RULES, breakCache } from "./broken-cache.ts";
import { torture } from "./torture.ts";
import type { TortureRun } from "./torture.ts";

/** The first ones, in the short version. */
const BROKEN_RULES_SHORT = 3;
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

for (const broken of BROKEN_RULES.slice(0, IS_LONG ? Infinity : BROKEN_RULES_SHORT)) {
  test(`the torture notices if this rule is taken out: ${broken.rule}`, async () => {
    const { url, folder } = breakCache(broken);
    try {
      const run = { ...RUN, cacheModule: url, capacity: 24, keyCount: 60, killEveryMs: 0 };
      const report = await torture({ ...run, secondsMax: 60 });
      assert.ok(report.problems.length > 0, `${report.operations} operations and nothing found`);
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });
}
