import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Depot, runTrial } from "./index.ts";
import { shortened } from "./short-plan.ts";
import { planTrial } from "./trial-plan.ts";

test("a short seed has all that its seed has, for seconds", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const whole = planTrial(seed);
    const short = shortened(seed, whole);
    assert.ok(short.faults.durationMs <= 12_000 && short.faults.everyMs <= 2000);
    assert.deepEqual(short.faults.kinds, whole.faults.kinds);
    assert.equal(short.hostCount, whole.hostCount);
    assert.equal(short.faults.sickHost, whole.faults.sickHost);
    assert.deepEqual(short.operator?.tasks, whole.operator?.tasks);
    assert.deepEqual(
      short.volumes.map(({ tree, placement, sizeBytes }) => ({ tree, placement, sizeBytes })),
      whole.volumes.map(({ tree, placement, sizeBytes }) => ({ tree, placement, sizeBytes })),
    );
  }
});

test("a short trial goes the same way each time, and ends while hosts still start", async () => {
  const depot = new Depot();
  // In 13 the directory is restarted at the very end, while all hosts are up.
  const first = await runTrial(13, { depot, isShort: true });
  assert.equal(first.failure, undefined);
  const second = await runTrial(13, { depot, isShort: true });
  assert.equal(second.digest, first.digest);
});
