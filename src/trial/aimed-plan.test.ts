import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { AIMED_FAULTS } from "./aimed-faults.ts";
import { aimed } from "./aimed-plan.ts";
import { shortened } from "./short-plan.ts";
import { planTrial } from "./trial-plan.ts";

const SEEDS = 400;

test("some seeds are aimed at each situation, with time for it, and none with a sick host", () => {
  const counts = new Map(AIMED_FAULTS.map((kind) => [kind.name, 0]));
  counts.set("forks", 0);
  for (let seed = 1; seed <= SEEDS; seed++) {
    const plan = shortened(seed, planTrial(seed));
    const { faults, ...rest } = aimed(seed, plan);
    const kind = AIMED_FAULTS.find((one) => faults.kinds.includes(one));
    if (kind === undefined) {
      assert.deepEqual({ faults, ...rest, operator: plan.operator }, plan);
      const isForked = rest.operator !== plan.operator;
      if (isForked) counts.set("forks", (counts.get("forks") ?? 0) + 1);
      continue;
    }
    counts.set(kind.name, (counts.get(kind.name) ?? 0) + 1);
    assert.equal(faults.sickHost, undefined);
    assert.ok(faults.durationMs >= kind.neededMs && faults.durationMs >= plan.faults.durationMs);
    assert.equal(rest.hostCount, plan.hostCount);
    for (const { workload, sizeBytes } of rest.volumes)
      assert.ok(workload.hotBlocks.every((block) => block * 4096 < sizeBytes));
  }
  for (const [name, count] of counts) assert.ok(count >= SEEDS / 50, `${name}: ${count}`);
});

test("what is late is what the seed is aimed at", () => {
  const late = new Map<string, number>();
  for (let seed = 1; seed <= SEEDS; seed++) {
    const plan = aimed(seed, planTrial(seed));
    const [kind] = plan.faults.kinds;
    assert.ok(kind !== undefined);
    if (plan.lateCopiesMsMax > 0) assert.equal(kind.name, "return-busy");
    if (kind.name === "return-cut-at-once") assert.ok(plan.lateChangesMsMax > 0);
    late.set(kind.name, Math.max(late.get(kind.name) ?? 0, plan.lateCopiesMsMax));
  }
  assert.ok((late.get("return-busy") ?? 0) > 0);
});
