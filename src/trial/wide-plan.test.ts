import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Depot, runTrial } from "./index.ts";
import { planTrial } from "./trial-plan.ts";

const SEEDS = 400;

test("some seeds tolerate three failures on seven hosts, some have wide stripes, and most neither", () => {
  const plans = Array.from({ length: SEEDS }, (_, i) => planTrial(i + 1));
  const isManyCopied = plans.map(({ volumes }) => volumes[0]?.failuresToTolerate === 3);
  const stripes = plans.map(({ volumes }) =>
    volumes[0]?.tree.kind === "mirror"
      ? Math.max(
          ...volumes[0].tree.children.map((leg) =>
            leg.kind === "stripe" ? leg.children.length : 1,
          ),
        )
      : 1,
  );
  const copied = plans.filter((_plan, i) => isManyCopied[i]);
  assert.ok(copied.length > 2 && copied.length < SEEDS / 20, `${copied.length} seeds`);
  for (const { hostCount, volumes, clockRates } of copied) {
    assert.equal(hostCount, 7);
    assert.equal(clockRates.length, 7);
    const hosts = new Set(volumes[0]?.placement.map(({ host }) => host));
    assert.equal(hosts.size, 7, "four copies and three witnesses, each on a host of its own");
  }
  const wide = stripes.filter((count) => count > 3);
  assert.ok(wide.length > 2 && wide.length < SEEDS / 20, `${wide.length} seeds`);
});

test("writes go to all stripes of a wide volume, and to four copies", async () => {
  const depot = new Depot();
  for (const isWanted of [
    (seed: number) => planTrial(seed).volumes[0]?.failuresToTolerate === 3,
    (seed: number) => (planTrial(seed).volumes[0]?.placement.length ?? 0) > 8,
  ]) {
    let seed = 1;
    while (!isWanted(seed)) seed++;
    const { failure, requests } = await runTrial(seed, { depot, isShort: true });
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.kind}: ${failure?.what}`);
    assert.ok(requests > 20, `seed ${seed}: ${requests} requests`);
  }
});
