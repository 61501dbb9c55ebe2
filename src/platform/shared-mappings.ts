/**
 * Places in our address space for pages of other processes' files. A place is never unmapped:
 * when its pages go, zero pages of our own come in, and the place waits for the next mapping of its
 * length. So no view is ever over memory that does not exist, and no view is made twice.
 */
import type { DiskMemory, MemoryHandle } from "../ports/index.ts";
import { mapFileAt } from "./shared-sys.ts";
import { discardMapping, mapAnonymous, unmap, viewMemory } from "./sys.ts";

const retiredPlaces = new FinalizationRegistry<MemoryHandle>((handle) => {
  unmap(handle.address, handle.lengthBytes);
});
const freePlaces = new Map<number, DiskMemory[]>();

/** Pages of a file in a place of their own. Fails with `SystemCallError`. */
export function mapShared(fd: number, offset: number, lengthBytes: number): DiskMemory {
  const place = freePlaces.get(lengthBytes)?.pop() ?? newPlace(lengthBytes);
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

function newPlace(lengthBytes: number): DiskMemory {
  const address = mapAnonymous(lengthBytes);
  const view = new Uint8Array(viewMemory(address, lengthBytes));
  return { bytes: view, handle: { address, lengthBytes } };
}

function giveBack(place: DiskMemory): void {
  const { lengthBytes } = place.handle;
  const free = freePlaces.get(lengthBytes);
  if (free === undefined) freePlaces.set(lengthBytes, [place]);
  else free.push(place);
}
