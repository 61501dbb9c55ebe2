/**
 * Whether all protected machines could run if hosts failed: told by placing them, in the order and
 * by the rules by which they would be placed then. That enough memory is left in all is no proof:
 * it may be left in pieces of which each is too small, or be in use by machines that are not
 * protected.
 */
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import type { HostViews } from "./host-views.ts";
import { planRounds } from "./plan-rounds.ts";
import type { PlanInput, Wait } from "./restart-plan.ts";

/** So many sets of hosts that fail are tried; of more, the worst host of each step. */
const SETS_MAX = 500;

export interface AdmissionInput {
  readonly vms: readonly VmRecord[];
  /** Ids of hosts that look after machines. */
  readonly alive: readonly string[];
  readonly views: Pick<HostViews, "capacityOf">;
  /** Hosts that are being taken out of service. */
  readonly closed: ReadonlySet<string>;
  readonly nameOf: (hostId: string) => string;
  /** Hosts that may fail at once. */
  readonly toleratedHosts: number;
}

export interface AdmissionProblem {
  /** Ids of the hosts whose failure is the worst; none where there is too little room already. */
  readonly failed: readonly string[];
  /** Protected machines that have no place then. */
  readonly unplaced: readonly string[];
  /** Bytes of memory that these need. */
  readonly unplacedBytes: number;
  /** A sentence for operators. */
  readonly because: string;
}

/** What is lacking at the worst failure of so many hosts, or undefined if nothing ever is. */
export function admissionProblem(input: AdmissionInput): AdmissionProblem | undefined {
  const settled = planRounds(planInput(input, input.vms.map(asInCalm), input.alive));
  const now = problemOf(input, [], settled.waits);
  if (now !== undefined) return now;
  const { toleratedHosts, alive } = input;
  if (toleratedHosts === 0 || alive.length === 0) return undefined;
  const after = (failed: readonly string[]): AdmissionProblem | undefined => {
    const left = alive.filter((hostId) => !failed.includes(hostId));
    return problemOf(input, failed, planRounds(planInput(input, settled.vms, left)).waits);
  };
  return setsOf(alive, toleratedHosts, after).map(after).reduce(worse, undefined);
}

/** Nothing but room keeps it from being started: protection that is wanted counts. */
function asInCalm(vm: VmRecord): StoredVm {
  const { protectionSequence: persistedSequence } = vm;
  const record = { ...vm, persistedSequence, failureCount: 0, isLeaving: false };
  return { record: { ...record, startedEpoch: vm.epoch }, revision: 0 };
}

/** Of room only: as if every host reached the objects of all machines. */
function planInput(
  { views, closed, nameOf }: AdmissionInput,
  vms: readonly StoredVm[],
  alive: readonly string[],
): PlanInput {
  const capacityOf: HostViews["capacityOf"] = (hostId) => views.capacityOf(hostId);
  const inCalm = { whyNot: () => undefined, capacityOf, heardBy: () => [] };
  return { vms, alive, views: inCalm, closed, wallMs: 0, nameOf, isArmed: true };
}

function problemOf(
  { nameOf, alive }: AdmissionInput,
  failed: readonly string[],
  waits: readonly Wait[],
): AdmissionProblem | undefined {
  const lacking = waits.filter(({ stored }) => stored.record.isProtected);
  const [first] = lacking;
  if (first === undefined) return undefined;
  const records = lacking.map(({ stored }) => stored.record);
  const names = records.map(({ name }) => name);
  const others = names.length - 1;
  const more = others === 0 ? "" : ` (and ${others} more ${others === 1 ? "machine" : "machines"})`;
  const whose = failed.map(nameOf).toSorted().join(" and ");
  const when = failed.length === 0 ? "" : `if ${whose} of ${alive.length} hosts failed, `;
  return {
    failed,
    unplaced: names,
    unplacedBytes: records.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0),
    because: `${when}${names[0]}${more} would have no place: ${first.lack ?? first.because}`,
  };
}

function worse(
  one: AdmissionProblem | undefined,
  other: AdmissionProblem | undefined,
): AdmissionProblem | undefined {
  return (other?.unplacedBytes ?? 0) > (one?.unplacedBytes ?? 0) ? other : one;
}

/** Which hosts may fail at once; all sets of so many, if these are not too many. */
function setsOf(
  hosts: readonly string[],
  count: number,
  after: (failed: readonly string[]) => AdmissionProblem | undefined,
): readonly (readonly string[])[] {
  if (count >= hosts.length) return [hosts];
  if (combinations(hosts.length, count) <= SETS_MAX) return subsetsOf(hosts, count);
  let worst: readonly string[] = [];
  while (worst.length < count) {
    const left = hosts.filter((hostId) => !worst.includes(hostId));
    const bytesAfter = (one: readonly string[]): number => after(one)?.unplacedBytes ?? 0;
    const next = left.map((hostId) => [...worst, hostId]);
    worst = next.reduce((a, b) => (bytesAfter(b) > bytesAfter(a) ? b : a));
  }
  return [worst];
}

function combinations(of: number, count: number): number {
  let product = 1;
  for (let i = 0; i < count; i++) product = (product * (of - i)) / (i + 1);
  return product;
}

function subsetsOf(hosts: readonly string[], count: number): readonly (readonly string[])[] {
  if (count === 0) return [[]];
  return hosts.flatMap((hostId, i) =>
    subsetsOf(hosts.slice(i + 1), count - 1).map((rest) => [hostId, ...rest]),
  );
}
