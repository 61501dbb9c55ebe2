/**
 * Logical map: block of a component -> where its content lies, which content it is, which
 * transaction wrote it, and the checksum that a read must match. Pages of 64 blocks; decoded pages
 * are cached in fixed memory. A page that was never written is absent from the metadata store and
 * reads as its base's page, or as holes of sequence 0; the region record says which pages must
 * exist, so a lost page is an error, not a hole.
 */
import { assert, getU32, getU40, getU48, isZero, setU32, setU40, setU48 } from "../base/index.ts";
import { PageCache } from "../cache/index.ts";
import type { MetadataStore } from "../ports/index.ts";
import {
  logicalKey,
  LogicalEntryLayout,
  PAGE_BLOCKS,
  PAGE_ENTRIES_BYTES,
  PAGE_KIND_ENTRIES,
  PAGE_KIND_HOLE,
  PAGE_KIND_ZERO,
  PageHeaderLayout,
  PHYSICAL_DAMAGED,
  PHYSICAL_HOLE,
  PHYSICAL_ZERO,
  sealValue,
  VALUE_CHECKSUM_BYTES,
  valueIsIntact,
} from "../format/index.ts";
import type { ComponentTable } from "./component-table.ts";
import type { RegionMap } from "./region-map.ts";

const ENTRY = LogicalEntryLayout.at;
export const ENTRY_BYTES: number = LogicalEntryLayout.sizeBytes;

export const physicalOf = (entries: Uint8Array, at: number): number =>
  getU40(entries, at + ENTRY.physical);
export const sequenceOf = (entries: Uint8Array, at: number): number =>
  getU48(entries, at + ENTRY.sequence);
export const checksumOf = (entries: Uint8Array, at: number): number =>
  getU32(entries, at + ENTRY.checksum);
/** Offset of the 16 bytes of the content id. */
export const contentAt = (at: number): number => at + ENTRY.content;

/** Writes an entry without content: a hole, an allocated zero, a damaged block. */
export function setMarker(entries: Uint8Array, at: number, marker: number, sequence: number): void {
  entries.fill(0, at, at + ENTRY_BYTES);
  setU40(entries, at + ENTRY.physical, marker);
  setU48(entries, at + ENTRY.sequence, sequence);
}

/** Writes all of an entry but its content id. */
export function setMapped(
  entries: Uint8Array,
  at: number,
  mapping: { readonly physical: number; readonly sequence: number; readonly checksum: number },
): void {
  setU40(entries, at + ENTRY.physical, mapping.physical);
  setU48(entries, at + ENTRY.sequence, mapping.sequence);
  setU32(entries, at + ENTRY.checksum, mapping.checksum);
}

/** `encodePage` writes here: callers copy what they keep. */
const scratch = new Uint8Array(
  PageHeaderLayout.sizeBytes + PAGE_ENTRIES_BYTES + VALUE_CHECKSUM_BYTES,
);

/**
 * The value of a page, valid until the next call: short if all 64 blocks are holes or allocated
 * zeroes of one transaction.
 */
export function encodePage(key: Uint8Array, entries: Uint8Array, at: number): Uint8Array {
  const marker = physicalOf(entries, at);
  const uniform = (marker === PHYSICAL_HOLE || marker === PHYSICAL_ZERO) && isUniform(entries, at);
  const header = PageHeaderLayout.sizeBytes;
  const size = header + (uniform ? 0 : PAGE_ENTRIES_BYTES) + VALUE_CHECKSUM_BYTES;
  const value = size === scratch.length ? scratch : scratch.subarray(0, size);
  value.fill(0, 0, header);
  if (uniform) {
    value[PageHeaderLayout.at.kind] = marker === PHYSICAL_HOLE ? PAGE_KIND_HOLE : PAGE_KIND_ZERO;
    setU48(value, PageHeaderLayout.at.sequence, sequenceOf(entries, at));
  } else {
    value[PageHeaderLayout.at.kind] = PAGE_KIND_ENTRIES;
    value.set(entries.subarray(at, at + PAGE_ENTRIES_BYTES), header);
  }
  sealValue(key, value);
  return value;
}

function isUniform(entries: Uint8Array, at: number): boolean {
  for (let i = ENTRY_BYTES; i < PAGE_ENTRIES_BYTES; i++) {
    if (entries[at + i] !== entries[at + i - ENTRY_BYTES]) return false;
  }
  return isZero(entries, contentAt(at), at + ENTRY_BYTES);
}

/** Decodes a page value; returns false if it cannot be believed. */
export function decodePage(
  key: Uint8Array,
  value: Uint8Array,
  into: Uint8Array,
  at: number,
): boolean {
  const header = PageHeaderLayout.sizeBytes;
  if (!valueIsIntact(key, value)) return false;
  const kind = value[PageHeaderLayout.at.kind];
  if (kind === PAGE_KIND_ENTRIES) {
    if (value.length !== header + PAGE_ENTRIES_BYTES + VALUE_CHECKSUM_BYTES) return false;
    into.set(value.subarray(header, header + PAGE_ENTRIES_BYTES), at);
    return true;
  }
  if (kind !== PAGE_KIND_HOLE && kind !== PAGE_KIND_ZERO) return false;
  const sequence = getU48(value, PageHeaderLayout.at.sequence);
  fillPage(into, at, kind === PAGE_KIND_HOLE ? PHYSICAL_HOLE : PHYSICAL_ZERO, sequence);
  return true;
}

function fillPage(into: Uint8Array, at: number, marker: number, sequence: number): void {
  setMarker(into, at, marker, sequence);
  // Doubling: each copy takes what is there already.
  for (let filled = ENTRY_BYTES; filled < PAGE_ENTRIES_BYTES; filled *= 2) {
    const length = Math.min(filled, PAGE_ENTRIES_BYTES - filled);
    into.copyWithin(at + filled, at, at + length);
  }
}

export interface PageDamage {
  readonly component: number;
  readonly page: number;
  readonly reason: "page-missing" | "page-checksum";
}

export class LogicalMap {
  /** Entries of all cached pages; `load` says where. */
  readonly entries: Uint8Array;
  readonly #metadata: MetadataStore;
  readonly #regions: RegionMap;
  readonly #components: ComponentTable;
  readonly #cache: PageCache;
  readonly #onDamage: (damage: PageDamage) => void;
  readonly #key: Uint8Array = new Uint8Array(9);
  pageReads = 0;

  constructor(
    metadata: MetadataStore,
    regions: RegionMap,
    components: ComponentTable,
    options: { readonly pagesMax: number; readonly onDamage: (damage: PageDamage) => void },
  ) {
    this.#metadata = metadata;
    this.#regions = regions;
    this.#components = components;
    this.#cache = new PageCache({ capacity: options.pagesMax });
    this.#onDamage = options.onDamage;
    this.entries = new Uint8Array(options.pagesMax * PAGE_ENTRIES_BYTES);
  }

  get cacheStats(): PageCache["stats"] {
    return this.#cache.stats;
  }

  /** Offset in `entries` of the page's 64 entries, until the next call. */
  load(component: number, page: number): number {
    const cacheKey = component * 2 ** 32 + page;
    let slot = this.#cache.lookup(cacheKey);
    if (slot >= 0) return slot * PAGE_ENTRIES_BYTES;
    slot = this.#cache.insert(cacheKey);
    assert(slot >= 0, "the page cache pins nothing");
    this.read(component, page, this.entries, slot * PAGE_ENTRIES_BYTES);
    return slot * PAGE_ENTRIES_BYTES;
  }

  /**
   * Reads a page from the metadata store past the cache. A damaged page reads as damaged blocks.
   */
  read(component: number, page: number, into: Uint8Array, at: number): void {
    this.pageReads++;
    const key = logicalKey(component, page, this.#key);
    const value = this.#metadata.get(key);
    if (value === undefined) {
      if (!this.#regions.hasPage(component, page)) {
        const base = this.#components.baseOf(component, page);
        if (base !== 0) return this.copyPage(base, page, into, at);
        return fillPage(into, at, PHYSICAL_HOLE, 0);
      }
      this.#onDamage({ component, page, reason: "page-missing" });
      return fillPage(into, at, PHYSICAL_DAMAGED, 0);
    }
    if (decodePage(key, value, into, at)) return;
    this.#onDamage({ component, page, reason: "page-checksum" });
    fillPage(into, at, PHYSICAL_DAMAGED, 0);
  }

  /** Copies a page as it is now. */
  copyPage(component: number, page: number, into: Uint8Array, at: number): void {
    const slot = this.#cache.lookup(component * 2 ** 32 + page);
    if (slot < 0) return this.read(component, page, into, at);
    const start = slot * PAGE_ENTRIES_BYTES;
    into.set(this.entries.subarray(start, start + PAGE_ENTRIES_BYTES), at);
  }

  /** Makes a committed page visible to cached readers. */
  publish(component: number, page: number, source: Uint8Array, at: number): void {
    const slot = this.#cache.peek(component * 2 ** 32 + page);
    if (slot < 0) return;
    this.entries.set(source.subarray(at, at + PAGE_ENTRIES_BYTES), slot * PAGE_ENTRIES_BYTES);
  }

  /** A page that no longer exists. */
  forget(component: number, page: number): void {
    this.#cache.remove(component * 2 ** 32 + page);
  }
}

export function pageOf(blockIndex: number): number {
  return Math.floor(blockIndex / PAGE_BLOCKS);
}

/** Offset of a block's entry within its page. */
export function entryOffset(blockIndex: number): number {
  return (blockIndex % PAGE_BLOCKS) * ENTRY_BYTES;
}
