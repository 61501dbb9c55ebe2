/**
 * A seed in brief: the same hosts, volumes and kinds of faults, but seconds instead of up to a
 * minute and a half in which things go wrong, and as much happens in a second as in three. What
 * begins and ends a trial costs the same: a processor goes through two to three times as many.
 */
import { Prng } from "../base/index.ts";
import type { TrialPlan, VolumePlan } from "./trial-plan.ts";

const THINK_MS_MAX = 300;
const OPERATOR_EVERY_MS_MAX = 1000;

export function shortened(seed: number, plan: TrialPlan): TrialPlan {
  const prng = new Prng(seed ^ 0x5047);
  const { faults, operator, volumes } = plan;
  const durationMs = prng.pick([4000, 8000, 12_000]);
  const everyMs = prng.pick([300, 800, 2000]);
  return {
    ...plan,
    faults: { ...faults, durationMs, everyMs },
    volumes: volumes.map(hastened),
    operator:
      operator === undefined
        ? undefined
        : { ...operator, everyMs: Math.min(operator.everyMs, OPERATOR_EVERY_MS_MAX) },
  };
}

function hastened(volume: VolumePlan): VolumePlan {
  const { workload } = volume;
  const thinkMsMax = Math.min(workload.thinkMsMax, THINK_MS_MAX);
  return { ...volume, workload: { ...workload, thinkMsMax } };
}
