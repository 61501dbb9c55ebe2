import type { Fault } from "./fault.ts";
import type { TrialWorld } from "./trial-world.ts";

/** Lets things go wrong for as long as the plan says, and puts everything right at the end. */
export async function runFaults(world: TrialWorld): Promise<void> {
  const { kinds, everyMs, durationMs } = world.plan.faults;
  const prng = world.prng.fork();
  const active = new Set<Fault>();
  const end = (fault: Fault): void => {
    if (!active.delete(fault)) return;
    world.trace.add("fault", `ends: ${fault.what}`);
    fault.end();
  };
  const endMs = world.simulation.nowMs + durationMs;
  while (world.simulation.nowMs < endMs && world.failure === undefined) {
    await world.pass(-Math.log(1 - prng.below(1 << 20) / (1 << 20)) * everyMs);
    const fault = prng.pick(kinds).begin(world, prng);
    if (fault === undefined) continue;
    world.trace.add("fault", fault.what);
    active.add(fault);
    world.simulation.clock.after(fault.durationMs, () => end(fault));
  }
  world.isHealing = true;
  for (const fault of active) end(fault);
}
