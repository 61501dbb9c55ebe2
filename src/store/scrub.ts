/**
 * Scrub: is everything that the maps say true?
 *
 * - Each content's reference count equals the number of logical entries that point to it. Counts
 *   are taken in passes over slices of the content ids, so memory stays bounded whatever the
 *   device's size.
 * - Each stored block has the SHA-256 that its content entry says.
 * - The space map calls exactly the blocks in use that some content uses.
 * - Each region's digest and mapped-block count follow from the logical entries.
 *
 * What is found is reported, and nothing is changed.
 */
import { BLOCK_SIZE_BYTES, equalBytes } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { DiskMemory, MetadataStore } from "../ports/index.ts";
import {
  CONTENT_ID_BYTES,
  contentKey,
  getBigEndian,
  keyAfterPrefix,
  PAGE_BLOCKS,
  PAGE_ENTRIES_BYTES,
  PAGES_PER_GROUP,
  PHYSICAL_DAMAGED,
  PHYSICAL_MAX,
  TABLE_CONTENT,
  TABLE_LOGICAL,
} from "../format/index.ts";
import { decodeContent } from "./content-references.ts";
import type { StoredContent } from "./content-references.ts";
import type { ComponentInfo } from "./component-table.ts";
import { knownPages } from "./known-pages.ts";
import type { Destager } from "./destager.ts";
import type { DeviceState } from "./device-state.ts";
import { contentAt, decodePage, ENTRY_BYTES, physicalOf } from "./logical-map.ts";
import { RegionGroup, regionGroupOfPage } from "./region-map.ts";

const COUNTED_CONTENTS_MAX = 500_000;
/** Values, groups of digests, and blocks of the space map that are looked at in one turn. */
const VALUES_AT_ONCE = 512;
const GROUPS_AT_ONCE = 16;
const BLOCKS_AT_ONCE = 1 << 18;
const READ_BLOCKS = 256;
export const SCRUB_MEMORY_BYTES: number = READ_BLOCKS * BLOCK_SIZE_BYTES;

export interface ScrubOptions {
  /** Read every block and compare its fingerprint. Default true. */
  readonly readBlocks?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface ScrubReport {
  readonly contents: number;
  readonly logicalBlocks: number;
  /** Contents whose count is above the pointers: space that is not given back. */
  readonly countsTooHigh: number;
  /** Contents whose count is below the pointers: must never happen. */
  readonly countsTooLow: number;
  /** Logical blocks that point to no content, or to another address than their content has. */
  readonly danglingPointers: number;
  readonly damagedBlocks: number;
  /** Blocks that the space map calls used and no content uses. */
  readonly leakedBlocks: number;
  /** Blocks that a content uses and the space map calls free: must never happen. */
  readonly unprotectedBlocks: number;
  readonly wrongDigests: number;
  readonly damagedMetadata: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** `memory` is read into between two changes of the maps only: scrubs may have it in common. */
export async function scrubDevice(
  state: DeviceState,
  destager: Destager,
  options: ScrubOptions,
  memory: () => DiskMemory,
): Promise<ScrubReport> {
  const report: Mutable<ScrubReport> = {
    contents: 0,
    logicalBlocks: 0,
    countsTooHigh: 0,
    countsTooLow: 0,
    danglingPointers: 0,
    damagedBlocks: 0,
    leakedBlocks: 0,
    unprotectedBlocks: 0,
    wrongDigests: 0,
    damagedMetadata: 0,
  };
  const scrub = new Scrub(state, options, report);
  await destager.exclusive(() => scrub.checkMaps());
  if (options.readBlocks ?? true)
    await scrub.checkBlocks(memory(), (work) => destager.exclusive(work));
  state.emit({
    kind: "scrub-finished",
    level: isClean(report) ? "info" : "error",
    message: isClean(report) ? "scrub found nothing wrong" : "scrub found damage",
    details: { deviceId: state.superblock.deviceId, ...report },
  });
  return report;
}

export function isClean(report: ScrubReport): boolean {
  const { contents: _contents, logicalBlocks: _logicalBlocks, ...findings } = report;
  return Object.values(findings).every((count) => count === 0);
}

interface Counted {
  readonly physical: number;
  readonly references: number;
  pointers: number;
}

type StoredBatch = { readonly id: Uint8Array; readonly stored: StoredContent }[];

class Scrub {
  readonly #state: DeviceState;
  readonly #options: ScrubOptions;
  readonly #report: Mutable<ScrubReport>;

  constructor(state: DeviceState, options: ScrubOptions, report: Mutable<ScrubReport>) {
    this.#state = state;
    this.#options = options;
    this.#report = report;
  }

  /** A part at a time: clients' requests run in between, and nothing changes the maps. */
  async checkMaps(): Promise<void> {
    await this.#checkDigests();
    const used = new Uint8Array(Math.ceil(this.#state.superblock.blockCount / 8));
    let from: Uint8Array = Uint8Array.of(TABLE_CONTENT);
    const end = keyAfterPrefix(from);
    for (;;) {
      const slice = await this.#loadContents(from, end, used);
      const next = slice.next ?? end;
      await this.#countPointers(slice.contents, from, next);
      this.#judgeCounts(slice.contents);
      if (slice.next === undefined) break;
      from = slice.next;
    }
    await this.#checkSpace(used);
  }

  #othersTurn(): Promise<void> {
    return new Promise((resolve) => void this.#state.clock.after(0, resolve));
  }

  /** As `MetadataStore.scan`, in many turns. */
  async #scan(...[from, end, visit]: Parameters<MetadataStore["scan"]>): Promise<void> {
    let next: Uint8Array | undefined = from;
    while (next !== undefined) {
      const start: Uint8Array = next;
      let seen = 0;
      next = undefined;
      this.#state.metadata.scan(start, end, (key, value) => {
        if (seen++ < VALUES_AT_ONCE) return visit(key, value);
        next = key.slice();
        return false;
      });
      if (next !== undefined) await this.#othersTurn();
    }
  }

  /** Contents from `from` on, as many as fit; `next` is where to go on. */
  async #loadContents(
    from: Uint8Array,
    end: Uint8Array,
    used: Uint8Array,
  ): Promise<{ contents: Map<string, Counted>; next: Uint8Array | undefined }> {
    const contents = new Map<string, Counted>();
    let next: Uint8Array | undefined;
    await this.#scan(from, end, (key, value) => {
      if (contents.size >= COUNTED_CONTENTS_MAX) {
        next = key.slice();
        return false;
      }
      this.#report.contents++;
      const stored = decodeContent(key, value);
      if (stored === undefined) {
        this.#report.damagedMetadata++;
        return true;
      }
      used[byteOf(stored.physical)]! |= 1 << (stored.physical & 7);
      const { physical, references } = stored;
      contents.set(keyText(key, 1), { physical, references, pointers: 0 });
      return true;
    });
    return { contents, next };
  }

  async #countPointers(
    contents: Map<string, Counted>,
    from: Uint8Array,
    end: Uint8Array,
  ): Promise<void> {
    const key = new Uint8Array(1 + CONTENT_ID_BYTES);
    await this.#eachEntry((entries, at) => {
      contentKey(entries, contentAt(at), key);
      if (isBelow(key, from) || !isBelow(key, end)) return;
      this.#report.logicalBlocks++;
      const counted = contents.get(keyText(key, 1));
      if (counted === undefined || counted.physical !== physicalOf(entries, at)) {
        this.#report.danglingPointers++;
      } else {
        counted.pointers++;
      }
    });
  }

  async #eachEntry(visit: (entries: Uint8Array, at: number) => void): Promise<void> {
    const entries = new Uint8Array(PAGE_ENTRIES_BYTES);
    const first = Uint8Array.of(TABLE_LOGICAL);
    await this.#scan(first, keyAfterPrefix(first), (key, value) => {
      if (!decodePage(key, value, entries, 0)) return true;
      for (let at = 0; at < PAGE_ENTRIES_BYTES; at += ENTRY_BYTES) {
        if (physicalOf(entries, at) < PHYSICAL_MAX) visit(entries, at);
      }
      return true;
    });
  }

  #judgeCounts(contents: Map<string, Counted>): void {
    for (const { pointers, references } of contents.values()) {
      if (pointers < references) this.#report.countsTooHigh++;
      else if (pointers > references) this.#report.countsTooLow++;
    }
  }

  /** Blocks in use against blocks that contents use. */
  async #checkSpace(used: Uint8Array): Promise<void> {
    const { space } = this.#state;
    for (let block = 0; block < space.blockCount; block++) {
      if (block % BLOCKS_AT_ONCE === BLOCKS_AT_ONCE - 1) await this.#othersTurn();
      const isUsed = (used[byteOf(block)]! & (1 << (block & 7))) !== 0;
      const isTaken = space.isUsedOnDisk(block);
      if (isTaken && !isUsed) this.#report.leakedBlocks++;
      if (!isTaken && isUsed) this.#report.unprotectedBlocks++;
    }
  }

  /** Digests, page presence and mapped counts, recomputed from the logical entries. */
  async #checkDigests(): Promise<void> {
    const groups = new Map<string, RegionGroup>();
    const mapped = new Map<number, number>();
    const entries = new Uint8Array(PAGE_ENTRIES_BYTES);
    const first = Uint8Array.of(TABLE_LOGICAL);
    await this.#scan(first, keyAfterPrefix(first), (key, value) => {
      const component = getBigEndian(key, 1, 4);
      const page = getBigEndian(key, 5, 4);
      const name = `${component}:${regionGroupOfPage(page)}`;
      const group = groups.get(name) ?? new RegionGroup();
      groups.set(name, group);
      group.setPage(page, true);
      if (!decodePage(key, value, entries, 0)) {
        this.#report.damagedMetadata++;
        return true;
      }
      for (let i = 0; i < PAGE_BLOCKS; i++) {
        const at = i * ENTRY_BYTES;
        if (physicalOf(entries, at) === PHYSICAL_DAMAGED) this.#report.damagedBlocks++;
        if (physicalOf(entries, at) >= PHYSICAL_MAX) continue;
        group.change(page * PAGE_BLOCKS + i, entries, contentAt(at), 1);
        mapped.set(component, (mapped.get(component) ?? 0) + 1);
      }
      return true;
    });
    await this.#compareGroups(groups);
    for (const info of this.#state.components.all()) {
      // What a component shares is counted where it is.
      if (info.deleting || info.base !== 0) continue;
      if (info.mappedBlocks !== (mapped.get(info.index) ?? 0)) this.#report.wrongDigests++;
    }
  }

  async #compareGroups(groups: ReadonlyMap<string, RegionGroup>): Promise<void> {
    let compared = 0;
    for (const [name, expected] of groups) {
      if (++compared % GROUPS_AT_ONCE === 0) await this.#othersTurn();
      const [component, group] = name.split(":").map(Number);
      const info = this.#state.components.at(component!);
      if (info !== undefined && info.base !== 0) this.#addShared(info, group!, expected);
      const actual = this.#state.regions.group(component!, group!);
      if (!sameGroup(expected, actual)) this.#report.wrongDigests++;
    }
  }

  /** Digests of a group tell of all that the component holds, shared pages included. */
  #addShared(info: ComponentInfo, group: number, into: RegionGroup): void {
    const entries = new Uint8Array(PAGE_ENTRIES_BYTES);
    const first = group * PAGES_PER_GROUP;
    const end = Math.min(first + PAGES_PER_GROUP, info.basePages);
    for (const page of knownPages(this.#state, info.index, first, end - 1)) {
      if (into.hasPage(page)) continue;
      this.#state.logical.read(info.index, page, entries, 0);
      for (let i = 0; i < PAGE_BLOCKS; i++) {
        const at = i * ENTRY_BYTES;
        if (physicalOf(entries, at) >= PHYSICAL_MAX) continue;
        into.change(page * PAGE_BLOCKS + i, entries, contentAt(at), 1);
      }
    }
  }

  /**
   * Reads every stored block and compares its fingerprint. Blocks stay what they are for one batch
   * at a time: whoever else changes the maps, a new owner among them, waits for no more than that.
   */
  async checkBlocks(
    memory: DiskMemory,
    exclusive: (work: () => Promise<void>) => Promise<void>,
  ): Promise<void> {
    let from: Uint8Array = Uint8Array.of(TABLE_CONTENT);
    const end = keyAfterPrefix(from);
    let done = 0;
    for (;;) {
      let next: Uint8Array | undefined;
      await exclusive(async () => {
        const batch: StoredBatch = [];
        next = this.#loadBatch(from, end, batch);
        await this.#checkBatch(memory, batch);
        done += batch.length;
      });
      this.#options.onProgress?.(done, this.#report.contents);
      if (next === undefined) return;
      from = next;
    }
  }

  /** Returns where to go on. */
  #loadBatch(from: Uint8Array, end: Uint8Array, batch: StoredBatch): Uint8Array | undefined {
    let next: Uint8Array | undefined;
    this.#state.metadata.scan(from, end, (key, value) => {
      if (batch.length >= READ_BLOCKS) {
        next = key.slice();
        return false;
      }
      const stored = decodeContent(key, value);
      if (stored !== undefined) batch.push({ id: key.slice(1), stored });
      return true;
    });
    return next;
  }

  async #checkBatch(memory: DiskMemory, batch: Readonly<StoredBatch>): Promise<void> {
    const { requests, superblock, digests } = this.#state;
    const unreadable = new Set<number>();
    await Promise.all(
      batch.map(async ({ stored }, i) => {
        const offset = superblock.blocksOffset + stored.physical * BLOCK_SIZE_BYTES;
        try {
          await requests.read(memory, i * BLOCK_SIZE_BYTES, BLOCK_SIZE_BYTES, offset);
        } catch {
          unreadable.add(i);
        }
      }),
    );
    const offsets = Float64Array.from(batch, (_, i) => i * BLOCK_SIZE_BYTES);
    const fingerprints = new Uint8Array(batch.length * FINGERPRINT_BYTES);
    await digests.fingerprint(memory, offsets, batch.length, fingerprints);
    for (const [i, { id, stored }] of batch.entries()) {
      const at = i * FINGERPRINT_BYTES;
      const tail = fingerprints.subarray(at + CONTENT_ID_BYTES, at + FINGERPRINT_BYTES);
      // The last byte of an id may have been moved on by a collision.
      const sameHead = equalBytes(
        fingerprints.subarray(at, at + CONTENT_ID_BYTES - 1),
        id.subarray(0, -1),
      );
      if (!unreadable.has(i) && sameHead && equalBytes(tail, stored.fingerprintTail)) continue;
      this.#report.damagedBlocks++;
      this.#state.blockDamaged({
        component: 0,
        blockIndex: 0,
        physical: stored.physical,
        reason: unreadable.has(i) ? "scrub could not read it" : "scrub found another fingerprint",
      });
    }
  }
}

/** Of the map of used blocks. Not by a shift: there may be more than 2^32 of them. */
function byteOf(block: number): number {
  return Math.floor(block / 8);
}

function sameGroup(a: RegionGroup, b: RegionGroup): boolean {
  return (
    a.digests.every((word, i) => word === b.digests[i]) &&
    equalBytes(a.pagesPresent, b.pagesPresent)
  );
}

function keyText(key: Uint8Array, at: number): string {
  let text = "";
  for (let i = at; i < key.length; i += 2)
    text += String.fromCharCode(key[i]! | (key[i + 1]! << 8));
  return text;
}

function isBelow(a: Uint8Array, b: Uint8Array): boolean {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i]! < b[i]!;
  return a.length < b.length;
}
