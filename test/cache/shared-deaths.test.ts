import assert from "node:assert/strict";
import * as fs from "node:fs";
import { Prng } from "../../src/base/index.ts";
import * as cacheModule from "../../src/cache/index.ts";
import type { SharedPageCache } from "../../src/cache/index.ts";
import { test } from "../support/test.ts";
import { runUntil, withAtomicSteps } from "./atomic-steps.ts";
import { BROKEN_RULES, breakCache } from "./broken-cache.ts";
import type { BrokenRule } from "./broken-cache.ts";
import { ACT_NAMES, CHURN_MAX, drawPlan, play } from "./death-plans.ts";
import type { Outcome, Plan } from "./death-plans.ts";
import { DeathWorld } from "./death-world.ts";

const PLANS = process.env["DRYSTONE_LONG"] === "1" ? 400_000 : 2000;
/** All that is broken must be found within so many. */
const BROKEN_PLANS_MAX = 5000;

function assertSound(plan: Plan): Outcome {
  const told = JSON.stringify(plan);
  let outcome: Outcome;
  try {
    outcome = play(plan, cacheModule);
  } catch (error) {
    throw new Error(told, { cause: error });
  }
  assert.deepEqual(outcome.problems, [], told);
  return outcome;
}

for (const act of ACT_NAMES) {
  test(`a worker that dies at any step leaves nothing behind: ${act}`, () => {
    for (let stopAt = 0, steps = Infinity; stopAt < steps; stopAt++) {
      ({ steps } = assertSound({ act, stopAt, dies: true }));
    }
  });
}

test("a version is published while another worker is anywhere in its search for a victim", () => {
  const meanwhile = { act: "publish a version that was begun", stopAt: Infinity, dies: false };
  for (let churn = 0; churn < CHURN_MAX; churn++) {
    for (let stopAt = 0, steps = Infinity; stopAt < steps; stopAt++) {
      const plan = { act: "insert a clean page", stopAt, dies: false, churn, meanwhile };
      ({ steps } = assertSound(plan));
    }
  }
});

test("workers that die or wait amid each other's acts, or a reaper's, leave nothing behind", () => {
  for (let seed = 0; seed < PLANS; seed++) assertSound(drawPlan(new Prng(seed)));
});

test("of two reapers of a worker one is let in, and the next worker there is left alone", () => {
  for (let stopAt = 0, steps = Infinity; stopAt < steps; stopAt++) {
    steps = withAtomicSteps(() => {
      const world = new DeathWorld(cacheModule);
      const [dead, other] = world.workers;
      dead!.insert(world.keys[15]!);
      const heirs: [SharedPageCache, number][] = [];
      const meanwhile = (): void => {
        other!.reap(dead!.worker);
        const heir = world.join();
        // In another bucket than those that the stopped reaper may have locked.
        heirs.push([heir, heir.insert(1e6)]);
      };
      const reap = (): unknown => world.survivor.reap(dead!.worker);
      const done = runUntil({ step: stopAt, dies: false, meanwhile }, reap);
      for (const [heir, slot] of heirs) if (slot >= 0) heir.publish(slot, false);
      assert.equal(world.survivor.reap(dead!.worker), 0);
      return done.steps;
    });
  }
});

for (const broken of BROKEN_RULES) {
  test(`it is noticed if this rule is taken out: ${broken.rule}`, async (t) => {
    const { url, folder } = breakCache(broken);
    try {
      const module = (await import(url)) as typeof cacheModule;
      const found = findProblem(module, broken);
      t.diagnostic(found);
      assert.notEqual(found, "");
    } finally {
      fs.rmSync(folder, { recursive: true });
    }
  });
}

/** The first plan that shows one, and what it shows. */
function findProblem(module: typeof cacheModule, { acts, firstSeed = 0 }: BrokenRule): string {
  for (let seed = firstSeed; seed < firstSeed + BROKEN_PLANS_MAX; seed++) {
    const plan = drawPlan(new Prng(seed), acts);
    try {
      const [problem] = play(plan, module).problems;
      if (problem !== undefined) return `seed ${seed}: ${problem}: ${JSON.stringify(plan)}`;
    } catch (error) {
      return `seed ${seed}: ${String(error)}: ${JSON.stringify(plan)}`;
    }
  }
  return "";
}
