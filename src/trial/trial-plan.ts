/**
 * What one seed decides before anything happens: how many hosts, how volumes are spread over them,
 * what clients do and which faults there are. Seeds differ in kind, not only in timing: some have
 * slow networks, some many small writes, some only a single kind of fault, and that often.
 */
import { BLOCK_SIZE_BYTES, Prng, REGION_BLOCKS } from "../base/index.ts";
import { component, mirror, stripe, STRIPE_UNIT_BLOCKS, witness } from "../cluster/index.ts";
import type { LegNode, TreeNode } from "../cluster/index.ts";
import { AIMED_FAULTS } from "./aimed-faults.ts";
import { FAULT_KINDS } from "./fault-kinds.ts";
import type { FaultKind } from "./fault.ts";
import { LATE_FAULTS, RETURN_CUT_SHORT } from "./late-faults.ts";
import { idOf, shuffled } from "./names.ts";
import { UNHEARD_FAULTS } from "./unheard-faults.ts";
import { widened } from "./wide-plan.ts";
import { planWorkload } from "./workload.ts";
import type { Workload } from "./workload.ts";
import { planSkew } from "./version-skew.ts";

export interface TrialPlan {
  readonly hostCount: number;
  /** Where hosts have names of their own. */
  readonly hostNames?: readonly string[];
  /** Where several hosts fail together. */
  readonly faultDomains?: readonly string[];
  readonly volumes: readonly VolumePlan[];
  readonly faults: FaultPlan;
  readonly network: { readonly minMs: number; readonly maxMs: number };
  /** How much faster each host's clock runs than true time. */
  readonly clockRates: readonly number[];
  readonly buggify: boolean;
  /** Changes that a device's log for returning mirrors holds. */
  readonly changesMax: number;
  /** How long hosts that are away are waited for, and how much is made anew at a time. */
  readonly repairs: { readonly repairDelayMs: number; readonly rebuildsAtOnce: number };
  /**
   * Copies of one volume that are to be forked may be that much apart: writes that should not come
   * in between have time to. 0: as it happens.
   */
  readonly lateForksMsMax: number;
  /**
   * Half of what copies are asked for, so that another one can catch up, may come that late: what
   * is written meanwhile has time to come in between. 0: as it happens.
   */
  readonly lateChangesMsMax: number;
  /** The same of half of what a copy is sent while it catches up. */
  readonly lateCopiesMsMax: number;
  /**
   * How many times sooner than in production hosts look for damage, each device once within 24
   * hours of that time. Undefined: as soon, which no trial lives to see.
   */
  readonly scrubTimesSooner: number | undefined;
  /** In hours of that time. */
  readonly compareHours: number;
  /** The host that has not been upgraded yet, if hosts are being upgraded. */
  readonly olderHost: number | undefined;
  /** Undefined: nobody takes snapshots or changes anything. */
  readonly operator: OperatorPlan | undefined;
}

export type OperatorTask =
  | "snapshot"
  | "read-snapshot"
  | "delete-snapshot"
  | "clone"
  | "roll-back"
  | "change-policy";

export interface OperatorPlan {
  readonly everyMs: number;
  readonly tasks: readonly OperatorTask[];
}

export interface VolumePlan {
  readonly name: string;
  readonly objectId: string;
  readonly sizeBytes: number;
  readonly tree: TreeNode;
  readonly placement: readonly { readonly componentId: string; readonly host: number }[];
  readonly failuresToTolerate: number;
  readonly workload: Workload;
}

export interface FaultPlan {
  readonly kinds: readonly FaultKind[];
  /** Mean time between two faults. */
  readonly everyMs: number;
  readonly durationMs: number;
  /**
   * The only host that anything happens to, and that may forget or change what it stored: the other
   * copies are good and stay so. Undefined where disks keep their promises.
   */
  readonly sickHost: number | undefined;
}

export function planTrial(seed: number): TrialPlan {
  return widened(seed, planUsual(seed));
}

function planUsual(seed: number): TrialPlan {
  const prng = new Prng(seed ^ 0x5eed);
  const hostCount = prng.pick([3, 3, 4, 4, 4, 5]);
  const sickHost = prng.chance(0.25) ? prng.below(hostCount) : undefined;
  const volumes = Array.from({ length: prng.pick([1, 1, 2]) }, (_, i) =>
    planVolume(prng, i, hostCount),
  );
  const isSlow = prng.chance(0.25);
  return {
    hostCount,
    volumes,
    faults: withFaultsApart(seed, planFaults(prng, sickHost)),
    network: isSlow ? { minMs: 1, maxMs: 25 } : { minMs: 0.05, maxMs: 0.5 },
    clockRates: Array.from({ length: hostCount }, () =>
      prng.chance(0.3) ? 1 + (prng.below(81) - 40) / 1000 : 1,
    ),
    buggify: prng.chance(0.5),
    changesMax: prng.pick([64, 1024, 8192]),
    repairs: {
      repairDelayMs: prng.pick([500, 500, 3000, 3_600_000]),
      rebuildsAtOnce: prng.pick([1, 2, 4]),
    },
    operator: planOperator(prng),
    lateForksMsMax: planLateForks(new Prng(seed ^ 0xf02c)),
    lateChangesMsMax: planLateChanges(seed, sickHost),
    lateCopiesMsMax: 0,
    ...planScrub(new Prng(seed ^ 0x5c2b), sickHost),
    olderHost: planSkew(new Prng(seed ^ 0x01de), hostCount),
  };
}

function planOperator(prng: Prng): OperatorPlan | undefined {
  if (prng.chance(0.4)) return undefined;
  const share = prng.pick([0.3, 0.6, 1]);
  const others = [
    "read-snapshot",
    "delete-snapshot",
    "clone",
    "roll-back",
    "change-policy",
  ] as const;
  return {
    everyMs: prng.pick([300, 1500, 5000]),
    tasks: ["snapshot", ...others.filter(() => prng.chance(share))],
  };
}

/** Drawn apart: that one of two forks is late, and by more than a write takes, is a coincidence. */
function planLateForks(prng: Prng): number {
  return prng.chance(0.3) ? prng.pick([100, 500, 1500]) : 0;
}

/** Always where disks lie: all that they have lost is found and mended in the end. */
function planScrub(
  prng: Prng,
  sickHost: number | undefined,
): Pick<TrialPlan, "scrubTimesSooner" | "compareHours"> {
  const isDone = prng.chance(0.5) || sickHost !== undefined;
  const compareHours = prng.pick([1, 4, 24]);
  return { scrubTimesSooner: isDone ? prng.pick([3600, 14_400]) : undefined, compareHours };
}

/** Only where hosts go while they catch up. */
function planLateChanges(seed: number, sickHost: number | undefined): number {
  const prng = new Prng(seed ^ 0x2e7a);
  return sickHost === undefined && prng.chance(0.15) ? prng.pick([300, 1000]) : 0;
}

function planFaults(prng: Prng, sickHost: number | undefined): FaultPlan {
  const apart = [...LATE_FAULTS, ...UNHEARD_FAULTS, ...AIMED_FAULTS];
  const possible = FAULT_KINDS.filter((kind) => !apart.includes(kind)).filter((kind) =>
    sickHost === undefined ? kind.needs !== "sick-host" : kind.needs !== "any-host",
  );
  const share = prng.pick([0.15, 0.4, 1]);
  const chosen = possible.filter(() => prng.chance(share));
  return {
    kinds: chosen.length > 0 ? chosen : [prng.pick(possible)],
    everyMs: prng.pick([500, 2000, 6000]),
    durationMs: prng.pick([10_000, 30_000, 90_000]),
    sickHost,
  };
}

/** Drawn apart, and often: they take the place of a coincidence that trials would wait for. */
function withLateFaults(seed: number, plan: FaultPlan): FaultPlan {
  const prng = new Prng(seed ^ 0x1a7e);
  if (plan.sickHost !== undefined || !prng.chance(0.25)) return plan;
  const kind = prng.pick(LATE_FAULTS.filter((one) => one !== RETURN_CUT_SHORT));
  return { ...plan, kinds: [...plan.kinds, kind, kind] };
}

/** As often as one of the others where there are few of those. */
function withUnheard(seed: number, plan: FaultPlan): FaultPlan {
  const prng = new Prng(seed ^ 0x0a1d);
  if (plan.sickHost !== undefined || !prng.chance(0.2)) return plan;
  const kind = prng.pick(UNHEARD_FAULTS);
  return { ...plan, kinds: [...plan.kinds, kind, kind] };
}

function withFaultsApart(seed: number, plan: FaultPlan): FaultPlan {
  return withUnheard(seed, withCutReturns(seed, withLateFaults(seed, plan)));
}

function withCutReturns(seed: number, plan: FaultPlan): FaultPlan {
  if (planLateChanges(seed, plan.sickHost) === 0) return plan;
  return { ...plan, kinds: [...plan.kinds, RETURN_CUT_SHORT, RETURN_CUT_SHORT] };
}

function planVolume(prng: Prng, number: number, hostCount: number): VolumePlan {
  const failuresToTolerate = hostCount === 5 && prng.chance(0.5) ? 2 : 1;
  const hosts = shuffled(
    prng,
    Array.from({ length: hostCount }, (_, host) => host),
  );
  const placement: { componentId: string; host: number }[] = [];
  const place = (host: number): string => {
    const componentId = idOf(`c${number}`, placement.length);
    placement.push({ componentId, host });
    return componentId;
  };
  const blocks = prng.pick([REGION_BLOCKS - 56, 2 * REGION_BLOCKS, 3 * REGION_BLOCKS + 37]);
  const legHosts = hosts.slice(0, failuresToTolerate + 1);
  const witnessHosts = hosts.slice(failuresToTolerate + 1, 2 * failuresToTolerate + 1);
  const spare = hosts.slice(2 * failuresToTolerate + 1);
  const legs = legHosts.map((host) => planLeg(prng, host, spare, place));
  const tree = mirror([...legs, ...witnessHosts.map((host) => witness(place(host)))]);
  return {
    name: `v${number}`,
    objectId: idOf("0b", number),
    sizeBytes: blocks * BLOCK_SIZE_BYTES - (prng.chance(0.3) ? 512 : 0),
    tree,
    placement,
    failuresToTolerate,
    workload: planWorkload(prng, blocks),
  };
}

/** Legs of one object are striped alike or not, over one host or two. */
function planLeg(
  prng: Prng,
  host: number,
  spare: number[],
  place: (host: number) => string,
): LegNode {
  const columns = prng.pick([1, 1, 1, 2, 3]);
  if (columns === 1) return component(place(host));
  // Legs share no host, so that none takes two of them along.
  const other = prng.chance(0.5) ? spare.shift() : undefined;
  const children = Array.from({ length: columns }, (_, column) =>
    component(place(column % 2 === 1 ? (other ?? host) : host), column === 0 ? 1 : 0),
  );
  return stripe(children, STRIPE_UNIT_BLOCKS);
}
