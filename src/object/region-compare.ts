/**
 * Compares what a component holds with its mirrors, by the digests of regions. Stripe units are
 * whole regions, so each region of a component is one region of the object, and one of exactly one
 * component in every other leg.
 */
import { assert, assertDefined, REGION_BLOCKS } from "../base/index.ts";
import type { Component } from "../store/index.ts";
import { reachable } from "./block-transfer.ts";
import type { Leg, Legs, ObjectMember } from "./legs.ts";

const DIGEST_BYTES = 16;
const REGIONS_AT_ONCE = 4096;

export interface MemberPlace {
  readonly leg: Leg<Component>;
  readonly column: number;
  readonly member: ObjectMember;
}

export type DigestsOf = (
  member: ObjectMember,
  firstRegion: number,
  regionCount: number,
) => Promise<Uint8Array>;

/**
 * The regions of the component that differ from an active member of another leg. All who are
 * compared are asked at once: changes are held back until the last one has answered.
 */
export async function compareRegions(
  legs: Legs<Component>,
  place: MemberPlace,
  digestsOf: DigestsOf,
): Promise<number[]> {
  const mirrors = mirrorsOf(legs, place);
  const members = [...new Set([place.member, ...mirrors.map(({ member }) => member)])];
  const all = await Promise.all(members.map((member) => allDigests(member, digestsOf)));
  const digests = new Map(members.map((member, i) => [member, all[i]!]));
  const own = assertDefined(digests.get(place.member), "it was asked");
  return mirrors
    .filter(({ member, region, theirRegion }) => {
      const theirs = assertDefined(digests.get(member), "it was asked");
      return !isEqual(own, region * DIGEST_BYTES, theirs, theirRegion * DIGEST_BYTES);
    })
    .map(({ region }) => region);
}

/** A region of a component, and the same one in an active member of another leg. */
interface MirroredRegion {
  readonly region: number;
  readonly member: ObjectMember;
  readonly theirRegion: number;
}

function mirrorsOf(legs: Legs<Component>, place: MemberPlace): MirroredRegion[] {
  const mirrors: MirroredRegion[] = [];
  const regions = regionCountOf(place.member);
  for (let region = 0; region < regions; region++) {
    const block = place.leg.layout.objectBlockOf(place.column, region * REGION_BLOCKS);
    const other = legs.legs.find((leg) => {
      return leg !== place.leg && leg.memberAt(block).role === "active";
    });
    if (other === undefined) continue;
    const otherBlock = other.layout.componentBlockOf(block);
    assert(otherBlock % REGION_BLOCKS === 0, "a region lies in one component");
    const theirRegion = otherBlock / REGION_BLOCKS;
    mirrors.push({ region, member: other.memberAt(block), theirRegion });
  }
  return mirrors;
}

function regionCountOf(member: ObjectMember): number {
  return Math.ceil(reachable(member).blockCount / REGION_BLOCKS);
}

async function allDigests(member: ObjectMember, digestsOf: DigestsOf): Promise<Uint8Array> {
  const regionCount = regionCountOf(member);
  const all = new Uint8Array(regionCount * DIGEST_BYTES);
  for (let first = 0; first < regionCount; first += REGIONS_AT_ONCE) {
    const count = Math.min(REGIONS_AT_ONCE, regionCount - first);
    all.set(await digestsOf(member, first, count), first * DIGEST_BYTES);
  }
  return all;
}

function isEqual(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): boolean {
  for (let i = 0; i < DIGEST_BYTES; i++) if (a[aAt + i] !== b[bAt + i]) return false;
  return true;
}
