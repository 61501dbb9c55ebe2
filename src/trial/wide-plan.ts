/**
 * A few seeds have what takes many hosts or many components: copies that tolerate three failures,
 * which are four with three witnesses on seven hosts, or legs of up to twelve stripes. All else is
 * as the seed has it. Such trials cost more each, so that there are few.
 */
import { BLOCK_SIZE_BYTES, Prng } from "../base/index.ts";
import { component, mirror, stripe, STRIPE_UNIT_BLOCKS, witness } from "../cluster/index.ts";
import type { LegNode } from "../cluster/index.ts";
import { idOf, shuffled } from "./names.ts";
import type { TrialPlan, VolumePlan } from "./trial-plan.ts";
import { planWorkload } from "./workload.ts";

const WIDE_SHARE = 0.04;
const MANY_HOSTS = 7;
const STRIPES_MIN = 4;
const STRIPES_MAX = 12;

export function widened(seed: number, plan: TrialPlan): TrialPlan {
  const prng = new Prng(seed ^ 0x71e5);
  if (!prng.chance(WIDE_SHARE)) return plan;
  if (prng.chance(0.5)) {
    const clockRates = Array.from({ length: MANY_HOSTS }, (_, host) => plan.clockRates[host] ?? 1);
    const volumes = [planVolume(prng, MANY_HOSTS, 3, 1)];
    return { ...plan, hostCount: MANY_HOSTS, clockRates, volumes };
  }
  const stripes = prng.between(STRIPES_MIN, STRIPES_MAX);
  return { ...plan, volumes: [planVolume(prng, plan.hostCount, 1, stripes)] };
}

function planVolume(
  prng: Prng,
  hostCount: number,
  failuresToTolerate: number,
  stripes: number,
): VolumePlan {
  const hosts = shuffled(
    prng,
    Array.from({ length: hostCount }, (_, host) => host),
  );
  const placement: { componentId: string; host: number }[] = [];
  const place = (host: number): string => {
    const componentId = idOf("c0", placement.length);
    placement.push({ componentId, host });
    return componentId;
  };
  const copies = failuresToTolerate + 1;
  const legHosts = hosts.slice(0, copies);
  const witnessHosts = hosts.slice(copies, copies + failuresToTolerate);
  // No other leg is on it, so that it takes no two of them along.
  const spare = hosts[copies + failuresToTolerate];
  const legs = legHosts.map((host, leg) =>
    planLeg(place, host, leg === 0 ? spare : undefined, stripes),
  );
  // Each stripe has something, the last one a little.
  const blocks = stripes === 1 ? prng.pick([200, 549]) : (stripes - 1) * STRIPE_UNIT_BLOCKS + 37;
  return {
    name: "v0",
    objectId: idOf("0b", 0),
    sizeBytes: blocks * BLOCK_SIZE_BYTES,
    tree: mirror([...legs, ...witnessHosts.map((host) => witness(place(host)))]),
    placement,
    failuresToTolerate,
    workload: planWorkload(prng, blocks),
  };
}

function planLeg(
  place: (host: number) => string,
  host: number,
  spare: number | undefined,
  stripes: number,
): LegNode {
  if (stripes === 1) return component(place(host));
  const children = Array.from({ length: stripes }, (_, column) =>
    component(place(column % 2 === 1 ? (spare ?? host) : host), column === 0 ? 1 : 0),
  );
  return stripe(children, STRIPE_UNIT_BLOCKS);
}
