/**
 * The first half of an owner's life: every component hears of the new epoch, and what they answer
 * decides whether the object can be served here and where its numbering goes on.
 */
import { CodedError, errorText } from "../base/index.ts";
import { leavesOf, votesOf } from "../cluster/index.ts";
import type { ComponentRecord, ObjectRecord } from "../cluster/index.ts";
import type { Component, ComponentOpening } from "../store/index.ts";
import { ActiveLeg, ActiveLegs } from "./active-legs.ts";
import type { ObjectLayout } from "./object-layout.ts";

export interface Answer {
  readonly component: Component;
  readonly opening: ComponentOpening;
}

export interface OpenedObject {
  readonly legs: ActiveLegs;
  /** By component id. */
  readonly answers: ReadonlyMap<string, Answer>;
  /** Active components that did not answer: stale from now on. */
  readonly silent: readonly ComponentRecord[];
  readonly lastSequence: number;
}

/**
 * Fails with `not-owner` if some component has seen a higher epoch, or with `object-inaccessible`.
 */
export async function openComponents(
  record: ObjectRecord,
  layout: ObjectLayout,
  find: (componentId: string) => Component | undefined,
): Promise<OpenedObject> {
  const answers = new Map<string, Answer>();
  const missing: string[] = [];
  await Promise.all(
    record.components.map(async ({ componentId, hostId }) => {
      const component = find(componentId);
      if (component === undefined) {
        missing.push(`component ${componentId} on host ${hostId} cannot be reached`);
        return;
      }
      try {
        answers.set(componentId, { component, opening: await component.open(record.epoch) });
      } catch (error) {
        if (isFenced(error)) throw replaced(record, error);
        missing.push(`component ${componentId} does not open: ${errorText(error)}`);
      }
    }),
  );
  checkQuorum(record, answers, missing);
  const legs = activeLegs(record, layout, answers);
  if (legs.length === 0) throw inaccessible(record, ["no copy is complete", ...missing]);
  return {
    legs: new ActiveLegs(legs),
    answers,
    silent: record.components.filter(
      (entry) => entry.state.kind === "active" && !answers.has(entry.componentId),
    ),
    lastSequence: settleTail(record, legs, answers),
  };
}

/**
 * Rolls forward what is prepared and not committed: it may have been acknowledged. Returns the
 * highest sequence. Legs that hold different tails would have to be made equal first, which a later
 * version does.
 */
function settleTail(
  record: ObjectRecord,
  legs: readonly ActiveLeg[],
  answers: ReadonlyMap<string, Answer>,
): number {
  const openings = legs.map((leg) =>
    leg.components.map((component) => answers.get(component.componentId)!.opening),
  );
  const tails = openings.map((leg) => Math.max(...leg.map((opening) => opening.preparedSequence)));
  const last = Math.max(...tails, ...openings.flat().map((opening) => opening.committedSequence));
  if (tails.some((tail) => tail !== tails[0]))
    throw inaccessible(record, ["its copies hold different last writes, and must be made equal"]);
  for (const leg of legs)
    for (const component of leg.components) component.commit(record.epoch, last);
  for (const leg of legs) for (const component of leg.components) component.submit();
  return last;
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
): ActiveLeg[] {
  const active = new Set(
    record.components
      .filter((entry) => entry.state.kind === "active" && answers.has(entry.componentId))
      .map((entry) => entry.componentId),
  );
  return layout.legs
    .filter((leg) => leg.componentIds.every((componentId) => active.has(componentId)))
    .map((leg) => {
      const components = leg.componentIds.map((id) => answers.get(id)!.component);
      return new ActiveLeg(leg, components);
    });
}

function isFenced(error: unknown): boolean {
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
