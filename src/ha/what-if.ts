/**
 * What becomes of virtual machines if a host fails now. The very rules that would place them are
 * asked, again and again as long as they start something: each time on records as they would be
 * then. Nothing is changed.
 */
import { assert } from "../base/index.ts";
import { isProtected } from "../cluster/index.ts";
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import { LEASE_TTL_MS } from "../plane/index.ts";
import { planRounds } from "./plan-rounds.ts";
import type { PlanInput } from "./restart-plan.ts";

/** A lease is renewed four times in its life: on average so much of it is left at a failure. */
const LEASE_LEFT = 7 / 8;
/** From a decision until the machines that it was about are running, if none was seen to start. */
const START_MS = 1000;
/** Wall clocks of two hosts are compared: what is outside of this tells of them, not of starts. */
const START_MS_MIN = 50;
const START_MS_MAX = 60_000;

export interface Pace {
  /** What one start takes, from its decision on. Absent: as the machines' histories say. */
  readonly startMs?: number;
  /** Of the host that fails: the longest of its leases. */
  readonly leaseMs?: number;
}

export interface Foreseen {
  readonly vm: string;
  /** "restarts", "waits" for something, or "stays-down". */
  readonly outcome: "restarts" | "waits" | "stays-down";
  readonly hostId: string | undefined;
  /** From the failure until its process runs elsewhere. */
  readonly afterMs: number | undefined;
  readonly because: string;
}

/**
 * In the order in which machines start; then those that do not. `unusable` are volumes that nobody
 * can use without the host: machines elsewhere that have one of them stop, too.
 */
export function foreseeFailure(
  now: PlanInput,
  failedHostId: string,
  unusable: ReadonlySet<string>,
  { startMs = usualStartMs(now.vms), leaseMs = LEASE_TTL_MS }: Pace = {},
): readonly Foreseen[] {
  const name = now.nameOf(failedHostId);
  const lost = new Map<string, string>();
  for (const { record } of now.vms) {
    const volume = record.volumes.find((one) => unusable.has(one));
    if (volume !== undefined)
      lost.set(record.name, `volume ${volume} cannot be used without ${name}`);
  }
  const input = {
    ...now,
    alive: now.alive.filter((hostId) => hostId !== failedHostId),
    views: {
      whyNot: (hostId: string, vm: string) => lost.get(vm) ?? now.views.whyNot(hostId, vm),
      capacityOf: (hostId: string) => now.views.capacityOf(hostId),
      heardBy: (hostId: string) => (hostId === failedHostId ? [] : now.views.heardBy(hostId)),
    },
  };
  const affected = new Set(
    now.vms
      .filter(({ record }) => record.desired === "running")
      .filter(({ record }) => record.hostId === failedHostId || lost.has(record.name))
      .map(({ record }) => record.name),
  );
  const foreseen = new Map<string, Foreseen>();
  const planned = planRounds(input);
  for (const [round, starts] of planned.rounds.entries()) {
    const afterMs = leaseMs * LEASE_LEFT + (round + 1) * startMs;
    for (const { stored, hostId, because } of starts) {
      const vm = stored.record.name;
      if (affected.has(vm)) foreseen.set(vm, { vm, outcome: "restarts", hostId, afterMs, because });
    }
  }
  const waits = new Map(planned.waits.map((wait) => [wait.stored.record.name, wait.because]));
  for (const { record } of now.vms) {
    if (!affected.has(record.name) || foreseen.has(record.name)) continue;
    foreseen.set(record.name, left(record, waits.get(record.name) ?? lost.get(record.name), now));
  }
  return [...foreseen.values()];
}

/** The median of what starts of these machines took. */
function usualStartMs(vms: readonly StoredVm[]): number {
  const seen = vms
    .flatMap(({ record: { history } }) =>
      history.map(({ what, timeMs }, i) => {
        const isStart = what === "started" && history[i - 1]?.what.startsWith("placed on") === true;
        return isStart ? timeMs - history[i - 1]!.timeMs : -1;
      }),
    )
    .filter((ms) => ms >= START_MS_MIN && ms <= START_MS_MAX)
    .toSorted((a, b) => a - b);
  return seen[Math.floor(seen.length / 2)] ?? START_MS;
}

function left(record: VmRecord, because: string | undefined, { isArmed }: PlanInput): Foreseen {
  const known = { vm: record.name, hostId: undefined, afterMs: undefined };
  if (because !== undefined) return { ...known, outcome: "waits", because };
  const reason = isArmed ? "it is not protected" : "high availability is disarmed";
  assert(!isArmed || !isProtected(record), "a protected machine starts or waits");
  return { ...known, outcome: "stays-down", because: reason };
}
