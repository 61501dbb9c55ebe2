/**
 * Whether an object can be served from where somebody stands: more than half of its votes and one
 * whole copy can be reached. Told from its record, without asking its components: whoever then
 * takes it is told more.
 */
import { leavesOf, legsOf, componentsOf, votesOf } from "../cluster/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import type { OwnerState } from "../object/index.ts";

/** Returns why not, or undefined if it is accessible. */
export function inaccessibility(
  record: ObjectRecord,
  isReachable: (hostId: string) => boolean,
): string | undefined {
  const reached = new Set(
    record.components
      .filter(({ hostId }) => isReachable(hostId))
      .map(({ componentId }) => componentId),
  );
  const votes = leavesOf(record.tree)
    .filter(({ componentId }) => reached.has(componentId))
    .reduce((sum, leaf) => sum + leaf.votes, 0);
  const all = votesOf(record.tree);
  if (2 * votes <= all) return `only ${votes} of ${all} votes of ${record.name} are in reach`;
  const active = new Set(
    record.components
      .filter(({ state }) => state.kind === "active")
      .map(({ componentId }) => componentId),
  );
  const isWhole = legsOf(record.tree).some((leg) =>
    componentsOf(leg).every(({ componentId: id }) => active.has(id) && reached.has(id)),
  );
  return isWhole ? undefined : `no complete copy of ${record.name} is in reach`;
}

/**
 * What an owner says of its object, and what it would find out with the next request: it notices
 * that copies are gone when it asks them for something. `nameOf` is for people.
 */
export function withReach(
  state: OwnerState,
  isReachable: (hostId: string) => boolean,
  nameOf: (hostId: string) => string,
): OwnerState {
  if (!state.accessible) return state;
  const away = new Map<string, string>();
  for (const { componentId, hostId, state: known } of state.components) {
    const why = known.kind === "active" ? "cannot be reached" : `is ${known.kind}`;
    if (known.kind !== "active" || !isReachable(hostId))
      away.set(componentId, `${componentId.slice(0, 8)} on ${nameOf(hostId)} ${why}`);
  }
  const legs = legsOf(state.tree).map((leg) =>
    componentsOf(leg).map(({ componentId }) => componentId),
  );
  // Each column may be read from another leg, where they have the same ones.
  const columns = legs[0]!.map((_, column) => legs.map((leg) => leg[column]));
  const isHere = (componentId: string | undefined): boolean =>
    componentId !== undefined && !away.has(componentId);
  if (legs.some((leg) => leg.every(isHere)) || columns.every((column) => column.some(isHere)))
    return state;
  const missing = legs.flat().flatMap((componentId) => away.get(componentId) ?? []);
  const reason = `no complete copy is in reach: ${missing.join(", ")}`;
  return { ...state, accessible: false, reason };
}
