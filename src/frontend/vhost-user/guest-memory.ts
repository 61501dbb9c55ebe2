/**
 * A guest's memory as its front end has described it: regions, each with an address for the guest
 * and one for the front end's own process, in files that are mapped section by section.
 *
 * Addresses are numbers. What exceeds 2^53 arrives rounded and lies in no region.
 */
import { assert } from "../../base/index.ts";
import { SHARED_PAGE_BYTES } from "../../ports/index.ts";
import type { SharedFile, SharedMapping } from "../../ports/index.ts";
import type { Section, SectionCache, SharedRange } from "../shared-memory/section-cache.ts";
import { demand } from "./violation.ts";

/** As many as the protocol's largest back ends take. */
export const MEMORY_REGIONS_MAX = 509;
const ADDRESS_MAX = 2 ** 52;
/** Of one region's file, and of all regions together: more than any machine has. */
const MEMORY_BYTES_MAX = 2 ** 44;

export interface RegionDescription {
  readonly guestAddress: number;
  readonly sizeBytes: number;
  readonly userAddress: number;
  readonly fileOffset: number;
}

class Region {
  readonly start: number;
  readonly end: number;
  readonly userAddress: number;
  readonly range: SharedRange;

  constructor(described: RegionDescription, range: SharedRange) {
    this.start = described.guestAddress;
    this.end = described.guestAddress + described.sizeBytes;
    this.userAddress = described.userAddress;
    this.range = range;
  }
}

/** A piece of memory mapped by itself, because a ring wants its bytes side by side. */
export interface MappedPiece {
  readonly bytes: Uint8Array;
  /** Where the piece begins in `bytes`. */
  readonly at: number;
  readonly mapping: SharedMapping;
}

export class GuestMemory {
  readonly #sections: SectionCache;
  /** By guest address. */
  #regions: Region[] = [];
  #lastRegion: Region | undefined;
  /** Told what the device has written, by guest address, while it is set. */
  onWritten: ((guestAddress: number, lengthBytes: number) => void) | undefined = undefined;
  /** What `locate` has found: bytes side by side in one section. */
  foundSection: Section | undefined = undefined;
  foundAt = 0;
  foundBytes = 0;

  constructor(sections: SectionCache) {
    this.#sections = sections;
  }

  get regionCount(): number {
    return this.#regions.length;
  }

  add(described: RegionDescription, file: SharedFile): void {
    checkRegion(described, file);
    demand(this.#regions.length < MEMORY_REGIONS_MAX, "too many memory regions");
    const totalBytes = this.#regions.reduce(
      (bytes, { range }) => bytes + range.sizeBytes,
      described.sizeBytes,
    );
    demand(totalBytes <= MEMORY_BYTES_MAX, "more than 16 TiB of memory");
    const start = described.guestAddress;
    const end = start + described.sizeBytes;
    const overlaps = this.#regions.some((region) => region.start < end && region.end > start);
    demand(!overlaps, "two memory regions overlap");
    const { fileOffset, sizeBytes } = described;
    const range = this.#sections.grant({ file, fileOffset, sizeBytes, mayWrite: true });
    this.#regions.push(new Region(described, range));
    this.#regions.sort((a, b) => a.start - b.start);
  }

  /** Takes the region with exactly these addresses away. */
  remove(described: RegionDescription): void {
    const index = this.#regions.findIndex(
      (region) =>
        region.start === described.guestAddress &&
        region.end - region.start === described.sizeBytes &&
        region.userAddress === described.userAddress,
    );
    demand(index >= 0, "a memory region is removed that is not there");
    for (const region of this.#regions.splice(index, 1)) drop(region);
    this.#lastRegion = undefined;
  }

  clear(): void {
    for (const region of this.#regions) drop(region);
    this.#regions = [];
    this.#lastRegion = undefined;
  }

  /** Whether all of these bytes are the guest's. They may lie in several regions side by side. */
  contains(address: number, lengthBytes: number): boolean {
    let region = this.#find(address);
    const end = address + lengthBytes;
    while (region !== undefined && region.end < end) region = this.#find(region.end);
    return region !== undefined;
  }

  /** False if the bytes are not all the guest's. */
  read(address: number, target: Uint8Array, targetAt: number, lengthBytes: number): boolean {
    let done = 0;
    while (done < lengthBytes) {
      const region = this.#find(address + done);
      if (region === undefined) return false;
      const count = Math.min(lengthBytes - done, region.end - address - done);
      region.range.read(address + done - region.start, target, targetAt + done, count);
      done += count;
    }
    return true;
  }

  /** False if the bytes are not all the guest's; those that are may have been written. */
  write(address: number, source: Uint8Array, sourceAt: number, lengthBytes: number): boolean {
    let done = 0;
    while (done < lengthBytes) {
      const region = this.#find(address + done);
      if (region === undefined) return false;
      const count = Math.min(lengthBytes - done, region.end - address - done);
      region.range.write(address + done - region.start, source, sourceAt + done, count);
      this.onWritten?.(address + done, count);
      done += count;
    }
    return true;
  }

  /** Finds where bytes are mapped, as many as lie side by side. False: they are not the guest's. */
  locate(address: number, lengthBytes: number): boolean {
    const region = this.#find(address);
    if (region === undefined) return false;
    const { range } = region;
    const section = range.sectionAt(address - region.start);
    const at = range.fileOffset + address - region.start - section.fileOffset;
    this.foundSection = section;
    this.foundAt = at;
    this.foundBytes = Math.min(lengthBytes, region.end - address, section.bytes.length - at);
    return true;
  }

  /** Keeps what was found mapped until `unpin`, so that a device may write to it. */
  pin(section: Section): boolean {
    return this.#sections.pin(section);
  }

  /** A device has put bytes there. */
  unpin(section: Section, guestAddress: number, lengthBytes: number): void {
    this.#sections.unpin(section);
    if (lengthBytes === 0) return;
    this.#sections.countDirect(lengthBytes);
    this.onWritten?.(guestAddress, lengthBytes);
  }

  /** Bytes were copied from memory to where `locate` found them. */
  wroteCached(guestAddress: number, lengthBytes: number): void {
    this.#sections.countCached(lengthBytes);
    this.onWritten?.(guestAddress, lengthBytes);
  }

  /** Maps a piece by the address that the front end's own process has for it. */
  mapUser(userAddress: number, lengthBytes: number): MappedPiece {
    const region = this.#regions.find(
      ({ userAddress: first, range }) =>
        userAddress >= first && userAddress + lengthBytes <= first + range.sizeBytes,
    );
    demand(region !== undefined, "a ring lies outside of the memory");
    const { range } = region;
    const start = range.fileOffset + userAddress - region.userAddress;
    const first = start - (start % SHARED_PAGE_BYTES);
    const end = Math.ceil((start + lengthBytes) / SHARED_PAGE_BYTES) * SHARED_PAGE_BYTES;
    const mapping = range.file.map(first, Math.min(end, range.file.sizeBytes) - first);
    return { bytes: mapping.memory.bytes, at: start - first, mapping };
  }

  #find(address: number): Region | undefined {
    const last = this.#lastRegion;
    if (last !== undefined && address >= last.start && address < last.end) return last;
    let low = 0;
    let high = this.#regions.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#regions[middle]!.end <= address) low = middle + 1;
      else high = middle;
    }
    const region = this.#regions[low];
    if (region === undefined || address < region.start) return undefined;
    this.#lastRegion = region;
    return region;
  }
}

function checkRegion(described: RegionDescription, file: SharedFile): void {
  const { guestAddress, sizeBytes, userAddress, fileOffset } = described;
  demand(sizeBytes > 0, "a memory region is empty");
  demand(guestAddress + sizeBytes <= ADDRESS_MAX, "a memory region ends beyond 2^52");
  demand(userAddress + sizeBytes <= ADDRESS_MAX, "a memory region's user address is beyond 2^52");
  demand(fileOffset + sizeBytes <= MEMORY_BYTES_MAX, "a memory region ends beyond 16 TiB");
  demand(fileOffset + sizeBytes <= file.sizeBytes, "a memory region ends beyond its file");
  assert(fileOffset >= 0 && guestAddress >= 0 && userAddress >= 0, "wire numbers have no sign");
}

function drop(region: Region): void {
  region.range.revoke();
  region.range.file.close();
}
