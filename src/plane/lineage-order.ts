/**
 * In which order objects are made anew that are equally near to being lost: volumes before
 * snapshots, which nobody writes to, and of the snapshots of a volume the newest first. So each
 * finds the next newer one on its device when it is complete, and shares the pages of its map.
 */
import type { ObjectRecord } from "../cluster/index.ts";

/** Below 0 if the first one is made first, 0 if nothing speaks for either. */
export function byLineage({ snapshot: a }: ObjectRecord, { snapshot: b }: ObjectRecord): number {
  if (a === undefined || b === undefined) return Number(a !== undefined) - Number(b !== undefined);
  if (a.objectId !== b.objectId) return a.objectId < b.objectId ? -1 : 1;
  return b.sequence - a.sequence;
}
