/**
 * Compares what a component holds with its mirrors, by the digests of regions. Stripe units are
 * whole regions, so each region of a component is one region of the object, and one of exactly one
 * component in every other leg.
 */
import { assert, REGION_BLOCKS } from "../base/index.ts";
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

/** The regions of the component that differ from an active member of another leg. */
export async function compareRegions(
  legs: Legs<Component>,
  place: MemberPlace,
  digestsOf: DigestsOf,
): Promise<number[]> {
  const known = new Map<ObjectMember, Uint8Array>();
  const digests = async (member: ObjectMember): Promise<Uint8Array> => {
    const found = known.get(member) ?? (await allDigests(member, digestsOf));
    known.set(member, found);
    return found;
  };
  const own = await digests(place.member);
  const differing: number[] = [];
  for (let region = 0; region * DIGEST_BYTES < own.length; region++) {
    const block = place.leg.layout.objectBlockOf(place.column, region * REGION_BLOCKS);
    const other = legs.legs.find((leg) => {
      return leg !== place.leg && leg.memberAt(block).role === "active";
    });
    if (other === undefined) continue;
    const otherBlock = other.layout.componentBlockOf(block);
    assert(otherBlock % REGION_BLOCKS === 0, "a region lies in one component");
    const theirs = await digests(other.memberAt(block));
    const at = (otherBlock / REGION_BLOCKS) * DIGEST_BYTES;
    if (!isEqual(own, region * DIGEST_BYTES, theirs, at)) differing.push(region);
  }
  return differing;
}

async function allDigests(member: ObjectMember, digestsOf: DigestsOf): Promise<Uint8Array> {
  const regionCount = Math.ceil(reachable(member).blockCount / REGION_BLOCKS);
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
