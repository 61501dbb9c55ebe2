/**
 * The first half of an owner's life: every component hears of the new epoch, and what they answer
 * decides whether the object can be served here and where its numbering goes on.
 */
import { BLOCK_SIZE_BYTES, CodedError, errorText } from "../base/index.ts";
import { leavesOf, votesOf } from "../cluster/index.ts";
import type { ComponentRecord, ObjectRecord } from "../cluster/index.ts";
import type { Clock } from "../ports/index.ts";
import type { Component, ComponentOpening } from "../store/index.ts";
import { Leg, LegMember, Legs } from "./legs.ts";
import type { ObjectLayout } from "./object-layout.ts";
import { tailBounds } from "./tail-settling.ts";
import type { TailBounds } from "./tail-settling.ts";
import { ALL_RULES } from "./owner-world.ts";
import type { OwnerRules, OwnerWorld } from "./owner-world.ts";

/**
 * A device that has not answered by then hangs; it may still be fenced later, which does no harm.
 */
const OPENING_MS_MAX = 10_000;

interface Answer {
  readonly component: Component;
  readonly opening: ComponentOpening;
}

export interface OpenedObject {
  readonly legs: Legs<Component>;
  /** Active components that did not answer, or lack what they should hold: stale from now on. */
  readonly silent: readonly ComponentRecord[];
  /** The highest sequence that any active component knows as decided. */
  readonly committed: number;
  /** What may differ between the active components. */
  readonly tail: TailBounds;
}

/**
 * Fails with `not-owner` if some component has seen a higher epoch, or with `object-inaccessible`.
 */
export async function openComponents(
  record: ObjectRecord,
  layout: ObjectLayout,
  world: OwnerWorld,
): Promise<OpenedObject> {
  const answers = new Map<string, Answer>();
  const missing: string[] = [];
  await Promise.all(
    record.components.map(async ({ componentId, hostId }) => {
      const component = world.components(componentId, hostId);
      if (component === undefined) {
        missing.push(
          `component ${short(componentId)} on ${world.nameOf(hostId)} cannot be reached`,
        );
        return;
      }
      try {
        const opening = await inTime(world.clock, component.open(record.epoch));
        answers.set(componentId, { component, opening });
        if (!opening.isComplete)
          missing.push(`component ${short(componentId)} lacks what it should hold`);
      } catch (error) {
        if (isFenced(error)) throw replaced(record, error);
        missing.push(`component ${short(componentId)} does not open: ${errorText(error)}`);
      }
    }),
  );
  checkQuorum(record, answers, missing);
  const rules = world.rules ?? ALL_RULES;
  const legs = new Legs(activeLegs(record, layout, answers, rules), world.isNear);
  if (!legs.covers(Math.ceil(record.sizeBytes / BLOCK_SIZE_BYTES)))
    throw inaccessible(record, ["no copy is complete", ...missing]);
  const openings = legs.members
    .filter((member) => member.role === "active")
    .map((member) => answers.get(member.componentId)!.opening);
  const isData = new Set(legs.members.map((member) => member.componentId));
  return {
    legs,
    silent: record.components.filter(
      ({ state, componentId }) =>
        state.kind === "active" && isData.has(componentId) && !isWhole(answers.get(componentId)),
    ),
    committed: Math.max(...openings.map((opening) => opening.committedSequence)),
    tail: tailBounds(openings),
  };
}

/** As commands show it. */
function short(componentId: string): string {
  return componentId.slice(0, 8);
}

function inTime<T>(clock: Clock, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(OPENING_MS_MAX, () => {
      const message = `its device has not answered for ${OPENING_MS_MAX / 1000} s`;
      reject(new CodedError({ code: "device-hung", message }));
    });
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}

function checkQuorum(
  record: ObjectRecord,
  answers: ReadonlyMap<string, Answer>,
  missing: readonly string[],
): void {
  const votes = leavesOf(record.tree)
    .filter((leaf) => answers.has(leaf.componentId))
    .reduce((sum, leaf) => sum + leaf.votes, 0);
  const all = votesOf(record.tree);
  if (2 * votes <= all)
    throw inaccessible(record, [`only ${votes} of ${all} votes are here`, ...missing]);
}

function activeLegs(
  record: ObjectRecord,
  layout: ObjectLayout,
  answers: ReadonlyMap<string, Answer>,
  rules: OwnerRules,
): Leg<Component>[] {
  const active = new Set(
    record.components
      .filter((entry) => entry.state.kind === "active" || !rules.excludesStale)
      .map((entry) => entry.componentId),
  );
  return layout.legs.map((leg) => {
    const members = leg.componentIds.map((componentId) => {
      const answer = answers.get(componentId);
      const isActive = isWhole(answer) && active.has(componentId);
      return new LegMember(componentId, answer?.component, isActive ? "active" : "absent");
    });
    return new Leg(leg, members);
  });
}

/** A device that turned out to be an old copy of itself answers, and holds nothing to rely on. */
function isWhole(answer: Answer | undefined): boolean {
  return answer?.opening.isComplete === true;
}

export function isFenced(error: unknown): boolean {
  return error instanceof CodedError && error.code === "fenced";
}

export function replaced(record: ObjectRecord, cause?: unknown): CodedError {
  return new CodedError(
    {
      code: "not-owner",
      message: `another host has taken ${record.name} over since epoch ${record.epoch}`,
      hint: "ask that host, or try again if it has failed",
    },
    { cause },
  );
}

function inaccessible(record: ObjectRecord, reasons: readonly string[]): CodedError {
  return new CodedError({
    code: "object-inaccessible",
    message: `${record.name} cannot be used here: ${reasons.join("; ")}`,
    hint: "check the hosts and devices that hold its components: `drystone host list`",
    details: { objectId: record.objectId, epoch: record.epoch },
  });
}
