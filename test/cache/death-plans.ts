/**
 * Who stops where, who works meanwhile, who dies: plans for the sweep of deaths, and their play.
 */
import type { Prng } from "../../src/base/index.ts";
import type * as CacheModule from "../../src/cache/index.ts";
import { withAtomicSteps } from "./atomic-steps.ts";
import { ACTS } from "./death-acts.ts";
import { DeathWorld } from "./death-world.ts";

export const ACT_NAMES: readonly string[] = Object.keys(ACTS);
/** Few acts and reapers take more steps. */
const STEPS_MAX = 110;
export const CHURN_MAX = 6;

/**
 * A worker stops before a step of its act; meanwhile another one does an act that may end early.
 */
export interface Plan {
  readonly act: string;
  readonly stopAt: number;
  readonly dies: boolean;
  readonly meanwhile?: Plan | undefined;
  /** Pages that come and go before, after what the acts prepare. */
  readonly churn?: number;
  /** The reaper stops before a step, and a worker that lives does an act. */
  readonly reaper?: { readonly stopAt: number; readonly act: string };
}

export interface Outcome {
  readonly problems: readonly string[];
  /** Operations of the plan's own act. */
  readonly steps: number;
}

export function drawPlan(prng: Prng, acts: readonly string[] = ACT_NAMES): Plan {
  const draw = (): Plan => ({
    act: prng.pick(acts),
    stopAt: prng.below(prng.chance(0.3) ? STEPS_MAX / 10 : STEPS_MAX),
    dies: prng.chance(0.7),
    churn: prng.below(CHURN_MAX),
  });
  if (prng.chance(0.6)) return { ...draw(), meanwhile: draw() };
  const reaper = { stopAt: prng.below(STEPS_MAX), act: prng.pick(acts) };
  return { ...draw(), dies: true, reaper };
}

/** Whether somebody may work while a reaper counts. */
function mayMiscount({ act, meanwhile, reaper }: Plan): boolean {
  return reaper !== undefined || [act, meanwhile?.act].includes("reap another");
}

export function play(plan: Plan, module: typeof CacheModule): Outcome {
  return withAtomicSteps(() => {
    const world = new DeathWorld(module);
    const workers = world.workers.slice(0, 2);
    for (const [i, part] of [plan, plan.meanwhile].entries()) {
      if (part !== undefined) ACTS[part.act]!.prepare?.(world, workers[i]!);
    }
    world.churn(plan.churn ?? 0);
    const run = ({ act, stopAt: step, dies, meanwhile }: Plan): number => {
      const stop = { step, dies, meanwhile: () => meanwhile !== undefined && run(meanwhile) };
      return world.run(ACTS[act]!, workers.shift()!, stop).steps;
    };
    const steps = run(plan);
    const { reaper } = plan;
    const [living] = workers;
    const meanwhile = (): void => {
      if (reaper !== undefined) world.run(ACTS[reaper.act]!, living!, undefined);
    };
    const stop = { step: reaper?.stopAt ?? Infinity, dies: false, meanwhile };
    world.run({ act: () => world.reapAll(world.survivor) }, world.survivor, stop);
    return { problems: world.verify(mayMiscount(plan) ? 2 : 0), steps };
  });
}
