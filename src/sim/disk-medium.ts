/**
 * The bytes of a simulated disk, apart from the process that has it open: what survives.
 *
 * `platter` is what a power cut cannot take. `visible` holds pages that differ from it because
 * of writes that completed and were not flushed. `unflushed` are those writes, and the ones
 * still under way, in the order of the requests. Pages of 4 KiB are never changed in place, so
 * a copy of a medium costs two maps; pages that hold nothing are not there, so a disk costs
 * what was written to it.
 */
import { assert, BLOCK_SIZE_BYTES, Prng, SECTOR_SIZE_BYTES } from "../base/index.ts";
import type { Survival } from "./crash-policy.ts";
import type { SimMedium } from "./sim-machine.ts";

const PAGE_BYTES = BLOCK_SIZE_BYTES;
/** A slab lives as long as one page of it does, so it is not larger than it must be. */
const SLAB_BYTES = 64 * 1024;

export interface DiskMediumOptions {
  readonly sizeBytes: number;
  /** Space of the file system under a thin file; `sizeBytes` if absent. */
  readonly capacityBytes?: number;
}

/** A write (`bytes` of its own) or a punch (no bytes). */
export interface MediumWrite {
  readonly operation: number;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly bytes: Uint8Array | undefined;
  /** The place among completions, 0 while under way. */
  completion: number;
}

type Pages = Map<number, Uint8Array | undefined>;

export class DiskMedium implements SimMedium {
  readonly sizeBytes: number;
  capacityBytes: number;
  /** True while a disk has it open. */
  isOpen = false;
  readonly #platter: Pages = new Map();
  readonly #visible: Pages = new Map();
  readonly #latent = new Set<number>();
  readonly #allocated = new Set<number>();
  #unflushed: MediumWrite[] = [];
  #completions = 0;
  #slab: Uint8Array = new Uint8Array(0);
  #slabUsed = 0;

  constructor(options: DiskMediumOptions) {
    assert(options.sizeBytes % SECTOR_SIZE_BYTES === 0, "a disk is a whole number of sectors");
    this.sizeBytes = options.sizeBytes;
    this.capacityBytes = options.capacityBytes ?? options.sizeBytes;
  }

  get allocatedBytes(): number {
    return this.#allocated.size * PAGE_BYTES;
  }

  get availableBytes(): number {
    return Math.max(0, this.capacityBytes - this.allocatedBytes);
  }

  /** Completions so far: what a flush requested now will cover. */
  get completions(): number {
    return this.#completions;
  }

  /** A copy for a write. Small ones share a slab: an allocation each would be most of the work. */
  copyIn(bytes: Uint8Array): Uint8Array {
    if (bytes.length > SLAB_BYTES / 4) return bytes.slice();
    if (this.#slabUsed + bytes.length > this.#slab.length) {
      this.#slab = new Uint8Array(SLAB_BYTES);
      this.#slabUsed = 0;
    }
    const copy = this.#slab.subarray(this.#slabUsed, this.#slabUsed + bytes.length);
    this.#slabUsed += bytes.length;
    copy.set(bytes);
    return copy;
  }

  /** The bytes a reader sees now. */
  copyOut(target: Uint8Array, offset: number): void {
    // Much of what is read was never written: what lies together there is filled at once.
    let emptyFrom = 0;
    for (let at = 0; at < target.length;) {
      const within = (offset + at) % PAGE_BYTES;
      const length = Math.min(PAGE_BYTES - within, target.length - at);
      const page = this.#page((offset + at - within) / PAGE_BYTES);
      if (page !== undefined) {
        if (emptyFrom < at) target.fill(0, emptyFrom, at);
        target.set(length === PAGE_BYTES ? page : page.subarray(within, within + length), at);
        emptyFrom = at + length;
      }
      at += length;
    }
    if (emptyFrom < target.length) target.fill(0, emptyFrom);
  }

  /** Indices of pages of 4 KiB that hold something durable, for faults to be aimed at. */
  usedPages(): number[] {
    const used: number[] = [];
    for (const [page, bytes] of this.#platter) if (bytes !== undefined) used.push(page);
    return used;
  }

  /** Sets space aside; false if there is not enough. */
  reserve(offset: number, lengthBytes: number): boolean {
    const fresh: number[] = [];
    const last = Math.ceil((offset + lengthBytes) / PAGE_BYTES);
    for (let page = Math.floor(offset / PAGE_BYTES); page < last; page++) {
      if (!this.#allocated.has(page)) fresh.push(page);
    }
    if (fresh.length * PAGE_BYTES > this.availableBytes) return false;
    for (const page of fresh) this.#allocated.add(page);
    return true;
  }

  begin(write: MediumWrite): void {
    this.#unflushed.push(write);
  }

  /** The write becomes visible, and from now on a flush covers it. */
  complete(write: MediumWrite): void {
    assert(write.completion === 0, "a write completes once");
    write.completion = ++this.#completions;
    this.#show(write);
    if (write.bytes === undefined) this.#release(write);
    if (this.#latent.size > 0) this.#heal(write);
  }

  /** A write that failed: each of its sectors holds the old or the new. */
  fail(write: MediumWrite, prng: Prng): void {
    const at = this.#unflushed.indexOf(write);
    assert(at >= 0, "unknown write");
    this.#unflushed.splice(at, 1);
    const survivors = randomRuns(write, prng);
    for (const run of survivors) {
      const part: MediumWrite = { ...run, operation: write.operation, completion: 0 };
      this.#unflushed.splice(at, 0, part);
      this.complete(part);
    }
  }

  /** What had completed when the flush was requested and lies within the range is durable. */
  flush(completions: number, offset = 0, end: number = this.sizeBytes): void {
    const covered: MediumWrite[] = [];
    const rest: MediumWrite[] = [];
    for (const write of this.#unflushed) {
      const isWithin = write.offset >= offset && write.offset + write.lengthBytes <= end;
      const isCovered = isWithin && write.completion !== 0 && write.completion <= completions;
      (isCovered ? covered : rest).push(write);
    }
    covered.sort((a, b) => a.completion - b.completion);
    for (const write of covered) applyRange(this.#platter, write, 0, write.lengthBytes);
    this.#unflushed = rest;
    this.#visible.clear();
    const shown = rest.filter((write) => write.completion !== 0);
    shown.sort((a, b) => a.completion - b.completion);
    for (const write of shown) this.#show(write);
  }

  unflushedOperations(): number[] {
    return this.#unflushed.map((write) => write.operation);
  }

  loseUnflushed(survival: Survival): void {
    if (survival.kind === "prefix") this.#keepPrefix(survival.before, survival.sectorsOfNext);
    else this.#keepRandom(new Prng(survival.seed));
    this.#unflushed = [];
    this.#visible.clear();
    this.#allocated.clear();
    // An iterator would make an object and an array for each page.
    this.#platter.forEach((bytes, page) => {
      if (bytes !== undefined) this.#allocated.add(page);
    });
    this.isOpen = false;
  }

  /**
   * The same bytes, faults and unflushed writes, for a life of its own. Nobody has the copy open.
   */
  fork(): DiskMedium {
    const copy = new DiskMedium(this);
    this.#platter.forEach((bytes, page) => void copy.#platter.set(page, bytes));
    this.#visible.forEach((bytes, page) => void copy.#visible.set(page, bytes));
    for (const sector of this.#latent) copy.#latent.add(sector);
    for (const page of this.#allocated) copy.#allocated.add(page);
    copy.#unflushed = this.#unflushed.map((write) => ({ ...write }));
    copy.#completions = this.#completions;
    return copy;
  }

  /** Fault: reads of these bytes fail until they are written again. */
  failReads(offset: number, lengthBytes: number): void {
    const end = Math.ceil((offset + lengthBytes) / SECTOR_SIZE_BYTES);
    for (let at = Math.floor(offset / SECTOR_SIZE_BYTES); at < end; at++) this.#latent.add(at);
  }

  hasLatentError(offset: number, lengthBytes: number): boolean {
    if (this.#latent.size === 0) return false;
    const end = Math.ceil((offset + lengthBytes) / SECTOR_SIZE_BYTES);
    for (let at = Math.floor(offset / SECTOR_SIZE_BYTES); at < end; at++) {
      if (this.#latent.has(at)) return true;
    }
    return false;
  }

  /** Takes all latent read errors back. */
  heal(): void {
    this.#latent.clear();
  }

  /** Fault: one bit of the byte at `offset` turns over, on the platter and in what readers see. */
  flipBit(offset: number, bit = 0): void {
    assert(offset >= 0 && offset < this.sizeBytes, "no such byte");
    const index = Math.floor(offset / PAGE_BYTES);
    for (const pages of [this.#platter, this.#visible]) {
      if (pages === this.#visible && !pages.has(index)) continue;
      const page = pages.get(index) ?? new Uint8Array(PAGE_BYTES);
      pages.set(index, withFlippedBit(page, offset % PAGE_BYTES, bit));
    }
    // Writes that completed carry their bytes to the platter later: the damage goes with them.
    this.#unflushed = this.#unflushed.map((write) => {
      const at = offset - write.offset;
      if (write.completion === 0 || write.bytes === undefined) return write;
      if (at < 0 || at >= write.lengthBytes) return write;
      return { ...write, bytes: withFlippedBit(write.bytes, at, bit) };
    });
  }

  #page(index: number): Uint8Array | undefined {
    if (this.#visible.size === 0) return this.#platter.get(index);
    // Undefined there means punched, or not there.
    const shown = this.#visible.get(index);
    return shown !== undefined || this.#visible.has(index) ? shown : this.#platter.get(index);
  }

  #show(write: MediumWrite): void {
    const last = Math.ceil((write.offset + write.lengthBytes) / PAGE_BYTES);
    for (let page = Math.floor(write.offset / PAGE_BYTES); page < last; page++) {
      if (!this.#visible.has(page)) this.#visible.set(page, this.#platter.get(page));
    }
    applyRange(this.#visible, write, 0, write.lengthBytes);
  }

  #release(punch: MediumWrite): void {
    const last = Math.floor((punch.offset + punch.lengthBytes) / PAGE_BYTES);
    for (let page = Math.ceil(punch.offset / PAGE_BYTES); page < last; page++) {
      this.#allocated.delete(page);
    }
  }

  #heal(write: MediumWrite): void {
    const end = (write.offset + write.lengthBytes) / SECTOR_SIZE_BYTES;
    for (let sector = write.offset / SECTOR_SIZE_BYTES; sector < end; sector++) {
      this.#latent.delete(sector);
    }
  }

  #keepPrefix(before: number, sectorsOfNext: number): void {
    for (const write of this.#unflushed) {
      const kept =
        write.operation < before
          ? write.lengthBytes
          : write.operation === before
            ? Math.min(write.lengthBytes, sectorsOfNext * SECTOR_SIZE_BYTES)
            : 0;
      applyRange(this.#platter, write, 0, kept);
    }
  }

  #keepRandom(prng: Prng): void {
    const order = this.#unflushed.toSorted(
      (a, b) =>
        (a.completion || Infinity) - (b.completion || Infinity) || a.operation - b.operation,
    );
    // Some cuts lose nearly all, some nearly nothing: the ends would be rare otherwise.
    const keeping = prng.pick([0.1, 0.5, 0.9]);
    for (const write of order) {
      const runs = prng.chance(0.5) ? randomRuns(write, prng) : prng.chance(keeping) ? [write] : [];
      for (const run of runs) applyRange(this.#platter, run, 0, run.lengthBytes);
    }
  }
}

type Extent = Pick<MediumWrite, "offset" | "lengthBytes" | "bytes">;

function withFlippedBit(bytes: Uint8Array, at: number, bit: number): Uint8Array {
  const damaged = bytes.slice();
  damaged[at]! ^= 1 << bit;
  return damaged;
}

/** A random subset of a write's sectors; how many is random, too. */
function randomRuns(write: Extent, prng: Prng): Extent[] {
  const probability = prng.pick([0.1, 0.5, 0.9]);
  const runs: Extent[] = [];
  for (let at = 0; at < write.lengthBytes; at += SECTOR_SIZE_BYTES) {
    if (!prng.chance(probability)) continue;
    const bytes = write.bytes?.subarray(at, at + SECTOR_SIZE_BYTES);
    runs.push({ offset: write.offset + at, lengthBytes: SECTOR_SIZE_BYTES, bytes });
  }
  return runs;
}

/** Writes bytes `[from, to)` of an extent into pages, replacing each page that is touched. */
function applyRange(pages: Pages, extent: Extent, from: number, to: number): void {
  for (let at = from; at < to;) {
    const offset = extent.offset + at;
    const within = offset % PAGE_BYTES;
    const length = Math.min(PAGE_BYTES - within, to - at);
    const index = (offset - within) / PAGE_BYTES;
    if (extent.bytes === undefined) punchPage(pages, index, within, length);
    else pages.set(index, patchedPage(pages.get(index), within, extent.bytes, at, length));
    at += length;
  }
}

function patchedPage(
  old: Uint8Array | undefined,
  within: number,
  bytes: Uint8Array,
  at: number,
  length: number,
): Uint8Array {
  // Bytes of a write belong to the medium and never change: a page may be a part of them.
  if (length === PAGE_BYTES) return bytes.subarray(at, at + length);
  const page = old?.slice() ?? new Uint8Array(PAGE_BYTES);
  page.set(bytes.subarray(at, at + length), within);
  return page;
}

function punchPage(pages: Pages, index: number, within: number, length: number): void {
  const old = pages.get(index);
  if (length === PAGE_BYTES || old === undefined) {
    pages.set(index, undefined);
    return;
  }
  const page = old.slice();
  page.fill(0, within, within + length);
  pages.set(index, page);
}
