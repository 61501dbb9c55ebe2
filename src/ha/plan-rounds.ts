/** What the restart plan comes to in the end, if every start succeeds: round by round. */
import type { StoredVm } from "../cluster/index.ts";
import { planRestarts } from "./restart-plan.ts";
import type { PlanInput, Start, Wait } from "./restart-plan.ts";

export interface PlannedRounds {
  /** What is started at the same time, in the order of the decisions. */
  readonly rounds: readonly (readonly Start[])[];
  /** The machines as they are after the last one. */
  readonly vms: readonly StoredVm[];
  /** What still waits then. */
  readonly waits: readonly Wait[];
}

/** Asks the plan again and again for as long as it starts something. Nothing is changed. */
export function planRounds(input: PlanInput): PlannedRounds {
  const rounds: (readonly Start[])[] = [];
  let { vms } = input;
  let plan = planRestarts(input);
  while (plan.starts.length > 0) {
    rounds.push(plan.starts);
    const placed = new Map(plan.starts.map((start) => [start.stored.record.name, start.hostId]));
    vms = vms.map((stored) => startedOn(stored, placed.get(stored.record.name)));
    plan = planRestarts({ ...input, vms });
  }
  return { rounds, vms, waits: plan.waits };
}

function startedOn(stored: StoredVm, hostId: string | undefined): StoredVm {
  if (hostId === undefined) return stored;
  const epoch = stored.record.epoch + 1;
  return { ...stored, record: { ...stored.record, hostId, epoch, startedEpoch: epoch } };
}
