import assert from "node:assert/strict";
import { test } from "../test/support/test.ts";
import { planTests } from "./test-plan.ts";
import { TestSummary } from "./test-summary.ts";
import { UnfinishedTests } from "./unfinished-tests.ts";

const files = ["dist/src/base/a.test.js", "dist/test/e2e/boot.test.js", "dist/test/b.test.js"];

test("end-to-end tests go side by side, the longest first, but for those that measure", () => {
  const [measuring, short, long] = ["tour", "boot", "cluster"].map(
    (name) => `dist/test/e2e/${name}.test.js`,
  ) as [string, string, string];
  for (const processors of [1, 2, 16]) {
    const stages = planTests([measuring, short, long], {
      stages: ["e2e"],
      filters: [],
      processors,
    });
    assert.deepEqual(
      stages.map((stage) => [stage.name, stage.files, stage.concurrency]),
      [
        ["e2e", [long, short], Math.min(3, processors + 1)],
        ["e2e", [measuring], 1],
      ],
    );
  }
});

test("tests that take long run when they are named or all are asked for", () => {
  const all = ["dist/test/e2e/authority.test.js"];
  const choice = { stages: ["e2e"], filters: [], processors: 2 } as const;
  assert.deepEqual(planTests(all, choice), []);
  assert.equal(planTests(all, { ...choice, isLong: true }).length, 1);
  assert.equal(planTests(all, { ...choice, filters: ["authority"] }).length, 1);
});

test("end-to-end tests come last", () => {
  const stages = planTests(files, { stages: ["unit", "e2e"], filters: [], processors: 4 });
  assert.deepEqual(
    stages.map((stage) => [stage.name, stage.files, stage.concurrency]),
    [
      ["unit", ["dist/src/base/a.test.js", "dist/test/b.test.js"], 4],
      ["e2e", ["dist/test/e2e/boot.test.js"], 3],
    ],
  );
});

test("filters choose files by a part of their path, and a stage without files is left out", () => {
  const choice = { stages: ["unit", "e2e"], filters: ["boot", "nowhere"], processors: 1 } as const;
  const stages = planTests(files, choice);
  assert.deepEqual(
    stages.map((stage) => stage.files),
    [["dist/test/e2e/boot.test.js"]],
  );
  assert.deepEqual(planTests(files, { ...choice, stages: ["unit"] }), []);
});

test("the counts of several runs add up, and other diagnostics are left to the reporter", () => {
  const summary = new TestSummary();
  for (const line of ["tests 3", "pass 2", "skipped 1", "duration_ms 12.5", "tests 4", "pass 4"]) {
    assert.ok(summary.takeDiagnostic(line), line);
  }
  assert.ok(!summary.takeDiagnostic("seed 42"));
  assert.ok(!summary.takeDiagnostic("tests of the reader"));
  assert.equal(summary.failure, undefined);
  const lines = summary.lines(1000);
  assert.deepEqual(lines.slice(0, 3), ["ℹ tests 7", "ℹ suites 0", "ℹ pass 6"]);
  assert.equal(lines.at(-1), "ℹ duration_ms 1000.0");
});

test("nothing run, a failure, a cancelled test and an empty file are no success", () => {
  const after = (...lines: string[]): string | undefined => {
    const summary = new TestSummary();
    for (const line of lines) summary.takeDiagnostic(line);
    return summary.failure;
  };
  assert.match(after() ?? "", /no tests ran/);
  assert.match(after("tests 2", "pass 1", "fail 1") ?? "", /1 test.* failed/);
  assert.match(after("tests 2", "pass 1", "cancelled 1") ?? "", /cancelled/);
  const summary = new TestSummary();
  summary.takeDiagnostic("tests 1");
  summary.addEmptyFile("dist/src/base/empty.test.js");
  assert.match(summary.failure ?? "", /no tests in .*empty/);
});

test("a stopped file names the tests that were under way", () => {
  const unfinished = new UnfinishedTests();
  for (const name of ["file", "quick", "hangs"]) unfinished.started("file", name);
  unfinished.completed("file", "quick");
  assert.deepEqual(unfinished.of("file"), ["hangs"]);
  assert.deepEqual(unfinished.of("other"), []);
});
