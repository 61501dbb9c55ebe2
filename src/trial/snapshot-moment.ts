/**
 * Whether a snapshot is its volume at one moment. Of each sector it is known which writes can have
 * left what the snapshot holds, and for how long: from the write's call until the answer of the
 * first write that was called after its own answer. One moment must lie within that of all sectors,
 * whatever block, stripe and component they are on.
 */
import { assert, assertDefined } from "../base/index.ts";

export interface TimedWrite {
  readonly firstSector: number;
  readonly sectorCount: number;
  readonly content: number;
  readonly calledAt: number;
  /** Infinity if nobody knows what became of it. */
  readonly answeredAt: number;
}

/** What a snapshot holds, by sector; undefined where nobody has looked. */
export type SectorContents = readonly (number | undefined)[];

export interface SnapshotClaim {
  readonly contents: SectorContents;
  /** What the volume held before all writes. */
  readonly initial: (sector: number) => number | undefined;
  readonly writes: readonly TimedWrite[];
  /** The snapshot was taken after this moment and before the other. */
  readonly from: number;
  readonly until: number;
}

export type MomentVerdict =
  | { readonly isFound: true }
  /** The sector with which no moment was left. */
  | { readonly isFound: false; readonly sector: number; readonly content: number };

export function findMoment(claim: SnapshotClaim): MomentVerdict {
  const { contents, from, until } = claim;
  assert(from < until && until < Infinity, "a snapshot is taken within a time");
  const possible = new Uint8Array(until - from).fill(1);
  const writes = bySector(claim.writes, contents.length);
  for (const [sector, content] of contents.entries()) {
    if (content === undefined) continue;
    const initial = claim.initial(sector);
    const own = writes.get(sector);
    if (own === undefined && (initial === undefined || initial === content)) continue;
    const here = momentsOf(own ?? [], content, initial, from, until);
    let isLeft = false;
    for (let at = 0; at < possible.length; at++) {
      possible[at] = assertDefined(possible[at], "within") & assertDefined(here[at], "within");
      if (possible[at] === 1) isLeft = true;
    }
    if (!isLeft) return { isFound: false, sector, content };
  }
  return { isFound: true };
}

/** In the order of their calls. */
function bySector(
  writes: readonly TimedWrite[],
  sectorCount: number,
): Map<number, readonly TimedWrite[]> {
  const sectors = new Map<number, TimedWrite[]>();
  for (const write of writes) {
    const end = Math.min(write.firstSector + write.sectorCount, sectorCount);
    for (let sector = write.firstSector; sector < end; sector++) {
      const known = sectors.get(sector);
      if (known === undefined) sectors.set(sector, [write]);
      else known.push(write);
    }
  }
  return sectors;
}

/** 1 for each moment at which the sector can have held the content. */
function momentsOf(
  writes: readonly TimedWrite[],
  content: number,
  initial: number | undefined,
  from: number,
  until: number,
): Uint8Array {
  const moments = new Uint8Array(until - from);
  const overwrittenAt = (answeredAt: number): number =>
    writes.reduce(
      (first, other) => (other.calledAt > answeredAt ? Math.min(first, other.answeredAt) : first),
      Infinity,
    );
  const allow = (calledAt: number, answeredAt: number): void => {
    const begin = Math.max(calledAt, from) - from;
    const end = Math.min(overwrittenAt(answeredAt), until) - from;
    if (begin < end) moments.fill(1, begin, end);
  };
  if (initial === undefined || initial === content) allow(-Infinity, -1);
  for (const write of writes)
    if (write.content === content) allow(write.calledAt, write.answeredAt);
  return moments;
}
