/**
 * Some seeds are aimed at one situation: most of what goes wrong there belongs together, and there
 * is time for it; or volumes are forked all the time. All else is as the seed has it.
 */
import { BLOCK_SIZE_BYTES, Prng } from "../base/index.ts";
import { AIMED_FAULTS, RETURN_BUSY, RETURN_CUT_AT_ONCE } from "./aimed-faults.ts";
import type { OperatorPlan, TrialPlan, VolumePlan } from "./trial-plan.ts";

const AIMED_SHARE = 0.25;
/** Faults that happen beside it. */
const OTHERS_MAX = 2;
const LATE_MS = [300, 1000];
/** So many that hardly any is written twice while a copy comes back. */
const SPREAD_BLOCKS = 200;
const BUSY_THINK_MS_MAX = 100;
const BUSY_CLIENTS = 6;

/** So that those that share pages of one that goes are several, and each has changed some. */
const FORKS: OperatorPlan = {
  everyMs: 150,
  tasks: ["snapshot", "snapshot", "clone", "roll-back", "delete-snapshot", "delete-snapshot"],
};

export function aimed(seed: number, plan: TrialPlan): TrialPlan {
  const prng = new Prng(seed ^ 0xa13d);
  const { faults } = plan;
  if (faults.sickHost !== undefined || !prng.chance(AIMED_SHARE)) return plan;
  const kind = AIMED_FAULTS[prng.below(AIMED_FAULTS.length + 1)];
  if (kind === undefined) return { ...plan, operator: FORKS };
  const lateMs = prng.pick(LATE_MS);
  const durationMs = Math.max(faults.durationMs, kind.neededMs);
  const others = faults.kinds.slice(0, prng.below(OTHERS_MAX + 1));
  return {
    ...plan,
    faults: { ...faults, durationMs, kinds: [kind, kind, kind, ...others] },
    ...(kind === RETURN_BUSY ? { lateCopiesMsMax: lateMs } : {}),
    ...(kind === RETURN_CUT_AT_ONCE
      ? {
          lateChangesMsMax: lateMs,
          volumes: plan.volumes.map((volume) => spread(prng, volume)),
        }
      : {}),
  };
}

/** Many small writes all over it. */
function spread(prng: Prng, volume: VolumePlan): VolumePlan {
  const blocks = Math.floor(volume.sizeBytes / BLOCK_SIZE_BYTES);
  const workload = {
    ...volume.workload,
    clientCount: BUSY_CLIENTS,
    hotBlocks: Array.from({ length: SPREAD_BLOCKS }, () => prng.below(blocks)),
    readShare: 0.3,
    blocksMax: 1,
    thinkMsMax: BUSY_THINK_MS_MAX,
  };
  return { ...volume, workload };
}
