/**
 * Places in our address space for pages of other processes' files. A place is never unmapped while
 * a view of it may exist: when its pages go, zero pages of our own come in, and the place waits for
 * the next mapping. So no view is ever over memory that does not exist, and few views are made.
 *
 * Other processes choose the lengths. So places are powers of two, and a mapping takes the shortest
 * free one that holds it: there are never more places than there were mappings at once, whatever
 * lengths come.
 */
import { assert } from "../../base/index.ts";
import type { DiskMemory, MemoryHandle } from "../../ports/index.ts";
import { mapFileAt } from "./shared-sys.ts";
import { discardMapping, mapAnonymous, PAGE_BYTES, unmap, viewMemory } from "../sys.ts";
import { VIEW_BYTES_MAX } from "../sys.ts";

/** Who maps pieces of memory up to here bounds their number, as the cache of sections does. */
const SMALL_EXPONENT_MAX = 21;
const EXPONENT_MAX = 32;
/** Of longer places for other processes' files, in all: more than logs of any machines take. */
const LARGE_BYTES_MAX = 64 * 2 ** 30;

/** By the exponent of their length. */
const freePlaces: DiskMemory[][] = Array.from({ length: EXPONENT_MAX + 1 }, () => []);
let largeBytes = 0;
const retiredPlaces = new FinalizationRegistry<MemoryHandle>((handle) => {
  unmap(handle.address, handle.lengthBytes);
  if (isLarge(handle.lengthBytes)) largeBytes -= handle.lengthBytes;
});

/**
 * Pages of a file, at the start of a place that may be longer. Fails with an error that says why
 * not: of the system, or, where `isBounded`, that clients have so much already.
 */
export function mapShared(
  fd: number,
  offset: number,
  lengthBytes: number,
  isBounded = false,
): DiskMemory {
  const place = takePlace(lengthBytes) ?? newPlace(lengthBytes, isBounded);
  try {
    mapFileAt(place.handle.address, fd, offset, lengthBytes);
  } catch (error) {
    giveBack(place);
    throw error;
  }
  return place;
}

/** Nobody reads from or writes to the pages any more, no thread and not the kernel. */
export function unmapShared(place: DiskMemory): void {
  discardMapping(place.handle.address, place.handle.lengthBytes);
  giveBack(place);
}

/** The pages go; the place does when the last view of it has gone. */
export function retireShared(place: DiskMemory): void {
  discardMapping(place.handle.address, place.handle.lengthBytes);
  retiredPlaces.register(place.bytes.buffer, place.handle);
}

/** Small pieces take no large place: there they would count as what is bounded. */
function takePlace(lengthBytes: number): DiskMemory | undefined {
  const first = exponentOf(lengthBytes);
  const last = first <= SMALL_EXPONENT_MAX ? SMALL_EXPONENT_MAX : EXPONENT_MAX;
  for (let exponent = first; exponent <= last; exponent++) {
    const place = freePlaces[exponent]!.pop();
    if (place !== undefined) return place;
  }
  return undefined;
}

function newPlace(lengthBytes: number, isBounded: boolean): DiskMemory {
  assert(lengthBytes <= VIEW_BYTES_MAX, "a place has a view");
  const placeBytes = Math.min(2 ** exponentOf(lengthBytes), VIEW_BYTES_MAX);
  if (isLarge(placeBytes)) {
    if (isBounded && largeBytes + placeBytes > LARGE_BYTES_MAX)
      throw new Error(`clients have ${LARGE_BYTES_MAX / 2 ** 30} GiB of address space already`);
    largeBytes += placeBytes;
  }
  const address = mapAnonymous(placeBytes);
  const view = new Uint8Array(viewMemory(address, placeBytes));
  return { bytes: view, handle: { address, lengthBytes: placeBytes } };
}

function giveBack(place: DiskMemory): void {
  freePlaces[exponentOf(place.handle.lengthBytes)]!.push(place);
}

function exponentOf(lengthBytes: number): number {
  return Math.ceil(Math.log2(Math.max(lengthBytes, PAGE_BYTES)));
}

function isLarge(lengthBytes: number): boolean {
  return exponentOf(lengthBytes) > SMALL_EXPONENT_MAX;
}
