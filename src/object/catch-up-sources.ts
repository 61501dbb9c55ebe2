/**
 * Who tells a component what it lacks, and which part of it. A near whole copy tells all: what
 * others would send had to come here first. Several far ones share it, each a part of the object,
 * so that their disks and networks work at the same time. Where no copy is whole everybody tells
 * what there is.
 */
import { REGION_BLOCKS } from "../base/index.ts";
import type { Component } from "../store/index.ts";
import type { Leg, Legs, ObjectMember } from "./legs.ts";
import type { LegLayout } from "./object-layout.ts";

export interface MemberPlace {
  readonly leg: Leg<Component>;
  readonly column: number;
}

export interface Source extends MemberPlace {
  readonly member: ObjectMember;
  /** Its blocks of which it tells. */
  readonly fromBlock: number;
  readonly toBlock: number;
}

/** A part of an object, in its blocks. */
interface Part {
  readonly start: number;
  readonly end: number;
  /** Up to the end of each component: it may have been grown before the object was. */
  readonly isLast: boolean;
}

/**
 * `isFilteredByRange` is test-only: without, columns are asked that hold nothing of the target's.
 */
export function sourcesOf(
  legs: Legs<Component>,
  target: MemberPlace,
  objectBlocks: number,
  isFilteredByRange: boolean,
): readonly Source[] {
  const others = legs.inReadOrder.filter((leg) => leg !== target.leg);
  const whole = others.filter((leg) => leg.isComplete);
  const [nearest] = whole;
  const isMine = ({ leg, column }: MemberPlace): boolean =>
    !isFilteredByRange || haveCommon(leg.layout, column, target.leg.layout, target.column);
  const all = { start: 0, end: objectBlocks, isLast: true };
  if (nearest === undefined) return others.flatMap((leg) => membersOf(leg, all)).filter(isMine);
  const telling = legs.isNear(nearest) ? [nearest] : whole;
  return telling
    .flatMap((leg, i) => membersOf(leg, partOf(objectBlocks, i, telling.length)))
    .filter(isMine);
}

function membersOf(leg: Leg<Component>, part: Part): readonly Source[] {
  return leg.members
    .map((member, column) => ({
      ...{ leg, column, member },
      fromBlock: leg.layout.componentBlockCount(column, part.start),
      toBlock: part.isLast
        ? (member.component?.blockCount ?? 0)
        : leg.layout.componentBlockCount(column, part.end),
    }))
    .filter(({ member, fromBlock, toBlock }) => member.role === "active" && fromBlock < toBlock);
}

/** Whole regions, so that nobody looks at half of a page. */
function partOf(objectBlocks: number, index: number, count: number): Part {
  const regions = Math.ceil(objectBlocks / REGION_BLOCKS);
  const boundary = (of: number): number =>
    Math.min(objectBlocks, Math.ceil((of * regions) / count) * REGION_BLOCKS);
  return { start: boundary(index), end: boundary(index + 1), isLast: index === count - 1 };
}

/** Whether a column of one leg and a column of another hold a block of the object both. */
function haveCommon(
  one: LegLayout,
  column: number,
  other: LegLayout,
  otherColumn: number,
): boolean {
  if (one.columnCount === 1 || other.columnCount === 1) return true;
  for (let block = 0; ;) {
    if (one.columnOf(block) === column && other.columnOf(block) === otherColumn) return true;
    block += Math.min(one.runBlocks(block), other.runBlocks(block));
    // From here on everything is as from the first block on.
    if (isTurn(one, block) && isTurn(other, block)) return false;
  }
}

function isTurn({ columnCount, unitBlocks }: LegLayout, block: number): boolean {
  return block % (columnCount * unitBlocks) === 0;
}
