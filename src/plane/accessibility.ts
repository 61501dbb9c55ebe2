/**
 * Whether an object can be served from where somebody stands: more than half of its votes and one
 * whole copy can be reached. Told from its record, without asking its components: whoever then
 * takes it is told more.
 */
import { leavesOf, legsOf, componentsOf, votesOf } from "../cluster/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";

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
