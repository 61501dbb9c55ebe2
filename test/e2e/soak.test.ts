/** `npm run soak` for some seconds: what runs for hours elsewhere works from begin to end. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { SoakRun } from "../soak/soak-run.ts";
import { textOf } from "../soak/soak-report.ts";
import { temporaryFolder } from "./harness.ts";

const SECONDS = 4;

test("a short soak kills hosts, cuts all power, checks everything and finds nothing", async (t) => {
  const said: string[] = [];
  const run = await SoakRun.create({
    ...{ seconds: SECONDS, seed: 21, hosts: 3, directory: "embedded", faults: ["kill"] },
    isEachHostChecked: false,
    ...{ folder: temporaryFolder(t), loadBytes: 16 << 20, lanes: 4, pauseMs: 10 },
    progress: (line) => said.push(line),
  });
  t.after(() => run.abandon());
  const report = await run.run();
  t.diagnostic(textOf(report).join("\n"));
  assert.equal(report.isGood, true, said.join("\n"));
  assert.ok(report.steps.length > 0, "no host was killed");
  assert.equal(report.powerCuts, 1);
  assert.ok(report.load.writes > 20 && report.load.reads > 10, "hardly any load");
  const series = Object.keys(report.series);
  for (const metric of ["anonymous MB", "heap MB", "files", "mappings", "device MB"])
    assert.ok(
      series.some((one) => one.endsWith(`\t${metric}`)),
      `nobody looked at ${metric}`,
    );
});
