/**
 * Which version of the messages two hosts speak. Each says in its hello which ones it knows, from
 * the oldest to the newest; the newest that both know is spoken, and without one there is no link.
 */
import { LINK_SPOKEN_NEWEST, LINK_SPOKEN_OLDEST } from "../format/index.ts";

export interface SpokenVersions {
  readonly oldest: number;
  readonly newest: number;
}

export const SPOKEN_VERSIONS: SpokenVersions = {
  oldest: LINK_SPOKEN_OLDEST,
  newest: LINK_SPOKEN_NEWEST,
};

/** As they stand in a hello; undefined if that makes no sense. */
export function readVersions(version: unknown, oldest: unknown): SpokenVersions | undefined {
  const newest = version ?? 1;
  const first = oldest ?? newest;
  if (typeof newest !== "number" || typeof first !== "number") return undefined;
  if (!Number.isSafeInteger(newest) || !Number.isSafeInteger(first)) return undefined;
  return first >= 1 && first <= newest ? { oldest: first, newest } : undefined;
}

/** Undefined if there is none. */
export function commonVersion(a: SpokenVersions, b: SpokenVersions): number | undefined {
  const common = Math.min(a.newest, b.newest);
  return common >= Math.max(a.oldest, b.oldest) ? common : undefined;
}

export function describeVersions({ oldest, newest }: SpokenVersions): string {
  return oldest === newest ? `version ${newest}` : `versions ${oldest} to ${newest}`;
}
