import assert from "node:assert/strict";
import { test } from "../support/test.ts";
import { Latencies } from "./latencies.ts";
import type { Drift } from "./latencies.ts";
import { driftsOf, reportOf, textOf } from "./soak-report.ts";
import { FAULTS, soakPlan } from "./soak-plan.ts";
import type { Slope } from "./soak-samples.ts";

const facts = {
  options: { seed: 1, hosts: 3, directory: "embedded" },
  ...{
    seconds: 100,
    errors: [],
    steps: [],
    powerCuts: 0,
    damageSeen: 0,
    refusals: {},
    said: {},
    slopes: [],
    memory: { beyond: [], told: [] },
    series: {},
  },
  load: { writes: 10, reads: 10, writtenBytes: 40_960, readBytes: 40_960 },
  latencies: new Latencies(1),
};
const leak: Slope = {
  ...{ of: "h1 (pid 17)", metric: "files", perHour: 90, errorPerHour: 1, samples: 100 },
  ...{ minutes: 30, first: 20, last: 65, limitPerHour: 6, latePerHour: 88, isLeak: true },
  grown: "45 unix socket /c/control.sock",
};

test("a run without findings is good, any finding makes it bad", () => {
  assert.equal(reportOf(facts).isGood, true);
  const memory = { beyond: ["h1 has more than it planned"], told: [] };
  for (const finding of [{ errors: ["a lost write"] }, { slopes: [leak] }, { memory }]) {
    const report = reportOf({ ...facts, ...finding });
    assert.equal(report.isGood, false);
    assert.match(textOf(report).at(-1) ?? "", /^NOT good/);
  }
  assert.match(
    textOf(reportOf({ ...facts, slopes: [leak] })).join("\n"),
    /LEAK h1 .*limit 6.*control\.sock more/,
  );
});

function latencies(last: number, machine: number): readonly Drift[] {
  const all = new Latencies(1);
  for (let second = 0; second < 100; second++)
    for (let count = 0; count < 100; count++) {
      all.add("write", second, second < 75 ? 2 : last);
      all.add("yardstick", second, second < 75 ? 1 : machine);
    }
  return [all.drift("write")!, all.drift("yardstick")!];
}

test("latencies that grow are a drift, unless the machine has become as slow", () => {
  assert.deepEqual(driftsOf(latencies(3, 1)), []);
  assert.match(driftsOf(latencies(5, 1)).join(), /p50 of writes/);
  assert.match(driftsOf(latencies(20, 1)).join(), /p99 of writes/);
  assert.deepEqual(driftsOf(latencies(20, 10)), []);
});

test("quantiles are within a bucket of what was measured", () => {
  const [drift] = latencies(5, 1);
  assert.ok(Math.abs(drift!.first.p50Ms / 2 - 1) < 0.1);
  assert.ok(Math.abs(drift!.last.p99Ms / 5 - 1) < 0.1);
  assert.equal(drift!.first.count, 2500);
});

test("a seed has one plan, another seed another one, and each fault comes", () => {
  const take = (seed: number) => {
    const plan = soakPlan(seed, 4);
    return Array.from({ length: 400 }, () => plan.next().value);
  };
  assert.deepEqual(take(5), take(5));
  assert.notDeepEqual(take(5), take(6));
  assert.deepEqual(new Set(take(5).map(({ fault }) => fault)), new Set(FAULTS));
  const few = soakPlan(5, 3, ["kill"]);
  for (let count = 0; count < 50; count++) assert.equal(few.next().value.fault, "kill");
});
