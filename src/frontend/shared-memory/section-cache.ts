/**
 * Mappings of other processes' memory. That memory is divided into sections of one size; a section
 * is mapped when it is first needed and stays mapped, because mapping per request costs a system
 * call and page faults. At most so many sections are mapped at once: the page cache's eviction
 * decides which go.
 *
 * Promise: bytes outside of the ranges that were granted are neither read nor written, and no
 * section is unmapped while it is pinned.
 */
import { assert } from "../../base/index.ts";
import { PageCache } from "../../cache/index.ts";
import { SHARED_PAGE_BYTES } from "../../ports/index.ts";
import type { DiskMemory, SharedFile, SharedMapping } from "../../ports/index.ts";

export interface SectionCacheOptions {
  /** A power of two, at least a page. */
  readonly sectionBytes: number;
  readonly sectionsMax: number;
}

export interface SectionStats {
  /** Sections mapped now. */
  readonly mapped: number;
  /** Sections mapped ever. */
  readonly mapsTotal: number;
  /** Sections that lost their mapping to others. */
  readonly evictionsTotal: number;
  /** Pieces of requests that found their section mapped. */
  readonly hitsTotal: number;
  /** Heads and answers of requests, and data that went through a buffer of ours. */
  readonly copiedBytesTotal: number;
  /** Data that was in memory: one copy, from there into the section. */
  readonly cachedBytesTotal: number;
  /** Data that devices have put into sections themselves: no copy of ours. */
  readonly directBytesTotal: number;
}

/** A part of a client's memory that it grants: `[fileOffset, fileOffset + sizeBytes)` of a file. */
export interface GrantedRange {
  readonly file: SharedFile;
  readonly fileOffset: number;
  readonly sizeBytes: number;
  readonly mayWrite: boolean;
}

/** Sections of one range, so that a key names range and section: 2^24 of them. */
const SECTIONS_PER_RANGE_MAX = 2 ** 24;
/** Shorter copies are faster byte by byte. */
const LOOP_BYTES_MAX = 64;

export class Section {
  readonly range: SharedRange;
  readonly index: number;
  readonly key: number;
  readonly slot: number;
  readonly memory: DiskMemory;
  readonly bytes: Uint8Array;
  /** Of the file: where `bytes` begins. */
  readonly fileOffset: number;
  readonly mapping: SharedMapping;
  pinCount = 0;
  isRevoked = false;

  constructor(
    place: { range: SharedRange; index: number; key: number; slot: number; fileOffset: number },
    mapping: SharedMapping,
  ) {
    this.range = place.range;
    this.index = place.index;
    this.key = place.key;
    this.slot = place.slot;
    this.fileOffset = place.fileOffset;
    this.mapping = mapping;
    this.memory = mapping.memory;
    this.bytes = mapping.memory.bytes;
  }
}

export class SectionCache {
  readonly sectionBytes: number;
  readonly #cache: PageCache;
  readonly #sections: (Section | undefined)[] = [];
  #lastTouched: Section | undefined;
  #nextRange = 0;
  #mappedCount = 0;
  #mapsTotal = 0;
  #evictionsTotal = 0;
  #hitsTotal = 0;
  #copiedBytesTotal = 0;
  #cachedBytesTotal = 0;
  #directBytesTotal = 0;
  #pinnedCount = 0;
  readonly #pinnedMax: number;

  constructor({ sectionBytes, sectionsMax }: SectionCacheOptions) {
    const isPower = Number.isInteger(Math.log2(sectionBytes));
    assert(isPower && sectionBytes >= SHARED_PAGE_BYTES, "a section is a power of two of pages");
    this.sectionBytes = sectionBytes;
    this.#cache = new PageCache({ capacity: sectionsMax });
    this.#pinnedMax = Math.floor(sectionsMax / 2);
  }

  get stats(): SectionStats {
    return {
      mapped: this.#mappedCount,
      mapsTotal: this.#mapsTotal,
      evictionsTotal: this.#evictionsTotal,
      hitsTotal: this.#hitsTotal,
      copiedBytesTotal: this.#copiedBytesTotal,
      cachedBytesTotal: this.#cachedBytesTotal,
      directBytesTotal: this.#directBytesTotal,
    };
  }

  /** From now on the range may be reached through the answer. */
  grant(range: GrantedRange): SharedRange {
    const { file, fileOffset, sizeBytes } = range;
    assert(fileOffset >= 0 && sizeBytes > 0, "a range has a place and a length");
    assert(fileOffset + sizeBytes <= file.sizeBytes, "a range lies within its file");
    const sectionCount = Math.ceil((fileOffset + sizeBytes) / this.sectionBytes);
    assert(sectionCount <= SECTIONS_PER_RANGE_MAX, "a range has too many sections");
    return new SharedRange(this, range, this.#nextRange++);
  }

  /** The section, mapped. Fails with `memory-not-mappable`. */
  obtain(range: SharedRange, index: number): Section {
    const last = this.#lastTouched;
    if (last?.index === index && last.range === range) {
      this.#hitsTotal++;
      return last;
    }
    const present = range.sections.get(index);
    if (present === undefined) return this.#map(range, index);
    this.#hitsTotal++;
    this.#cache.lookup(present.key);
    this.#lastTouched = present;
    return present;
  }

  /**
   * Keeps the section mapped until `unpin`. False if half of all sections are pinned: the others
   * are for copies, which need no pin.
   */
  pin(section: Section): boolean {
    if (section.pinCount === 0) {
      if (this.#pinnedCount === this.#pinnedMax) return false;
      this.#pinnedCount++;
    }
    section.pinCount++;
    this.#cache.pin(section.slot);
    return true;
  }

  unpin(section: Section): void {
    assert(section.pinCount > 0, "a section is unpinned as often as it was pinned");
    section.pinCount--;
    this.#cache.unpin(section.slot);
    if (section.pinCount > 0) return;
    this.#pinnedCount--;
    if (section.isRevoked) this.#unmap(section);
  }

  countCopied(lengthBytes: number): void {
    this.#copiedBytesTotal += lengthBytes;
  }

  countCached(lengthBytes: number): void {
    this.#cachedBytesTotal += lengthBytes;
  }

  countDirect(lengthBytes: number): void {
    this.#directBytesTotal += lengthBytes;
  }

  /** Unmaps the sections of a range; those that are pinned when their last pin goes. */
  revoke(range: SharedRange): void {
    for (const section of range.sections.values()) {
      if (this.#lastTouched === section) this.#lastTouched = undefined;
      this.#sections[section.slot] = undefined;
      this.#cache.remove(section.key);
      section.isRevoked = true;
      if (section.pinCount === 0) this.#unmap(section);
    }
    range.sections.clear();
  }

  #map(range: SharedRange, index: number): Section {
    const key = range.number * SECTIONS_PER_RANGE_MAX + index;
    const { start, end } = this.#pagesOf(range, index);
    this.#cache.lookup(key);
    const slot = this.#cache.insert(key);
    assert(slot >= 0, "more sections are pinned than may be mapped");
    this.#evict(slot);
    let mapping: SharedMapping;
    try {
      mapping = range.file.map(start, end - start);
    } catch (error) {
      this.#cache.remove(key);
      throw error;
    }
    const section = new Section({ range, index, key, slot, fileOffset: start }, mapping);
    range.sections.set(index, section);
    this.#sections[slot] = section;
    this.#lastTouched = section;
    this.#mapsTotal++;
    this.#mappedCount++;
    return section;
  }

  /** Whose slot a new section has got. */
  #evict(slot: number): void {
    const section = this.#sections[slot];
    if (section === undefined) return;
    section.range.sections.delete(section.index);
    this.#sections[slot] = undefined;
    this.#evictionsTotal++;
    this.#unmap(section);
  }

  #unmap(section: Section): void {
    this.#mappedCount--;
    if (this.#lastTouched === section) this.#lastTouched = undefined;
    section.mapping.release();
  }

  /** The pages of a section that the range touches: no others are mapped. */
  #pagesOf(range: SharedRange, index: number): { start: number; end: number } {
    const first = index * this.sectionBytes;
    const start = Math.max(first, floorPage(range.fileOffset));
    const rangeEnd = ceilPage(range.fileOffset + range.sizeBytes);
    const end = Math.min(first + this.sectionBytes, rangeEnd, range.file.sizeBytes);
    assert(start < end, "a section touches its range");
    return { start, end };
  }
}

/** Reads and writes by offset within the range. Whoever calls has checked the offsets. */
export class SharedRange {
  readonly number: number;
  readonly file: SharedFile;
  readonly fileOffset: number;
  readonly sizeBytes: number;
  readonly mayWrite: boolean;
  /** Those that are mapped, by index; maintained by the cache. */
  readonly sections: Map<number, Section> = new Map<number, Section>();
  readonly #cache: SectionCache;
  readonly #sectionBytes: number;

  constructor(cache: SectionCache, granted: GrantedRange, number: number) {
    this.#cache = cache;
    this.#sectionBytes = cache.sectionBytes;
    this.number = number;
    this.file = granted.file;
    this.fileOffset = granted.fileOffset;
    this.sizeBytes = granted.sizeBytes;
    this.mayWrite = granted.mayWrite;
  }

  /** The section that holds a byte, mapped. */
  sectionAt(offset: number): Section {
    const at = this.fileOffset + offset;
    return this.#cache.obtain(this, Math.floor(at / this.#sectionBytes));
  }

  read(offset: number, target: Uint8Array, targetAt: number, lengthBytes: number): void {
    this.#check(offset, lengthBytes);
    this.#cache.countCopied(lengthBytes);
    let done = 0;
    while (done < lengthBytes) {
      const section = this.sectionAt(offset + done);
      const at = this.fileOffset + offset + done - section.fileOffset;
      const count = Math.min(lengthBytes - done, section.bytes.length - at);
      copyBytes(section.bytes, at, target, targetAt + done, count);
      done += count;
    }
  }

  write(offset: number, source: Uint8Array, sourceAt: number, lengthBytes: number): void {
    this.#check(offset, lengthBytes);
    assert(this.mayWrite, "the range may not be written");
    this.#cache.countCopied(lengthBytes);
    let done = 0;
    while (done < lengthBytes) {
      const section = this.sectionAt(offset + done);
      const at = this.fileOffset + offset + done - section.fileOffset;
      const count = Math.min(lengthBytes - done, section.bytes.length - at);
      copyBytes(source, sourceAt + done, section.bytes, at, count);
      done += count;
    }
  }

  revoke(): void {
    this.#cache.revoke(this);
  }

  #check(offset: number, lengthBytes: number): void {
    assert(
      offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= this.sizeBytes,
      "an access lies within its range",
    );
  }
}

function copyBytes(
  source: Uint8Array,
  sourceAt: number,
  target: Uint8Array,
  targetAt: number,
  count: number,
): void {
  if (count > LOOP_BYTES_MAX) {
    target.set(source.subarray(sourceAt, sourceAt + count), targetAt);
    return;
  }
  for (let i = 0; i < count; i++) target[targetAt + i] = source[sourceAt + i]!;
}

function floorPage(offset: number): number {
  return Math.floor(offset / SHARED_PAGE_BYTES) * SHARED_PAGE_BYTES;
}

function ceilPage(offset: number): number {
  return Math.ceil(offset / SHARED_PAGE_BYTES) * SHARED_PAGE_BYTES;
}
