/**
 * Contents that came into the journal a moment ago, for whoever is offered the same. What came for
 * an offer is newer than it if the block was written meanwhile: only its fingerprint tells whether
 * it is what was offered.
 */
import { BLOCK_SIZE_BYTES, equalBytes } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { ChangeBatch } from "./component.ts";
import type { DeviceState } from "./device-state.ts";
import { isPlacedLocation } from "./placed-blocks.ts";

export interface ArrivedPlace {
  /** Of its fingerprint in the batch, in bytes. */
  readonly at: number;
  /** Block of journal memory. */
  readonly location: number;
}

/** By data block of a batch: where in journal memory its content is. */
export type Arrived = ReadonlyMap<number, number>;

export const NOTHING_ARRIVED: Arrived = new Map();

/** Where in journal memory it is that came for the offered content, or -1. */
export function locateArrived(
  { arriving, pending }: DeviceState,
  fingerprints: Uint8Array,
  at: number,
): number {
  const found = arriving.find(fingerprints, at);
  if (found === undefined) return -1;
  const location = pending.locate(found.component, found.blockIndex);
  if (isPlacedLocation(location) || pending.locatedSequence !== found.sequence) return -1;
  return location;
}

export function placesOfArrived(
  state: DeviceState,
  { fingerprints }: ChangeBatch,
  blocks: number,
): readonly ArrivedPlace[] {
  const places: ArrivedPlace[] = [];
  for (let at = 0; at < blocks * FINGERPRINT_BYTES; at += FINGERPRINT_BYTES) {
    const location = locateArrived(state, fingerprints, at);
    if (location >= 0) places.push({ at, location });
  }
  return places;
}

/** Those that hold what was offered. */
export async function verifiedPlaces(
  { digests, journal }: DeviceState,
  { fingerprints }: ChangeBatch,
  places: readonly ArrivedPlace[],
): Promise<Arrived> {
  const offsets = Float64Array.from(places, ({ location }) => location * BLOCK_SIZE_BYTES);
  const found = new Uint8Array(places.length * FINGERPRINT_BYTES);
  await digests.fingerprint(journal.memory, offsets, places.length, found);
  const arrived = new Map<number, number>();
  for (const [i, { at, location }] of places.entries()) {
    const from = i * FINGERPRINT_BYTES;
    const is = found.subarray(from, from + FINGERPRINT_BYTES);
    const wanted = fingerprints.subarray(at, at + FINGERPRINT_BYTES);
    if (equalBytes(is, wanted)) arrived.set(at / FINGERPRINT_BYTES, location);
  }
  return arrived;
}
