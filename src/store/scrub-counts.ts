/**
 * Scrub: do the reference counts follow from the pointers, and the space map from the contents?
 *
 * The block store is looked at in ranges, so that memory stays bounded whatever the device's size.
 * For each range there is one walk over all contents and pages, in many turns, during which the
 * maps change. What a change touches meanwhile is noted (`MapWatch`) and not judged: of the rest
 * every turn saw the same. Nothing is reported by that walk alone: blocks that do not add up are
 * counted again, each by itself (`scrub-recount.ts`), or looked up while nothing changes the maps.
 */
import { getU32, getU40 } from "../base/index.ts";
import {
  ContentValueLayout,
  keyAfterPrefix,
  PAGE_ENTRIES_BYTES,
  PHYSICAL_MAX,
  TABLE_CONTENT,
  TABLE_LOGICAL,
  getBigEndian,
} from "../format/index.ts";
import { contentIsIntact } from "./content-references.ts";
import { contentAt, decodePage, ENTRY_BYTES, physicalOf } from "./logical-map.ts";
import { MapWatch } from "./map-watch.ts";
import { recount, SUSPECTS_MAX } from "./scrub-recount.ts";
import type { ScrubFindings } from "./scrub-report.ts";
import type { ScrubWalk } from "./scrub-walk.ts";

/** 64 GiB of blocks: 64 MiB of counters. */
export const RANGE_BLOCKS_MAX: number = 1 << 24;
/** Blocks that are judged in one turn, and those that are looked up in one hold of the maps. */
const BLOCKS_AT_ONCE = 1 << 18;
const LOOKED_UP_AT_ONCE = 4096;
const CONTENT_AT = 1;

/** Memory for what is known of a range of so many blocks. */
export function countingBytes(rangeBlocks: number): number {
  return 4 * rangeBlocks + Math.ceil(rangeBlocks / 8) + MapWatch.bytesFor(rangeBlocks);
}

export interface CountScrubOptions {
  readonly rangeBlocks: number;
  /** Called for each page, in each walk over them. */
  readonly onPage: (component: number, page: number) => void;
  /** A range is done. */
  readonly onRange: () => void;
}

export class CountScrub {
  readonly #walk: ScrubWalk;
  readonly #findings: ScrubFindings;
  readonly #options: CountScrubOptions;
  readonly #blockCount: number;
  /**
   * By block: what its content says that the pointers come to, less what they come to, modulo 2^32.
   * A pointer to a content comes to an odd number made from the content's id. So of right pointers
   * any other number than the count says leaves something over, and a pointer to another content
   * that claims the same block does, too, except for one in 2^31.
   */
  readonly #left: Uint32Array;
  /** Bit set: a content has the block. */
  readonly #used: Uint8Array;
  #watch: MapWatch;

  constructor(walk: ScrubWalk, findings: ScrubFindings, options: CountScrubOptions) {
    this.#walk = walk;
    this.#findings = findings;
    this.#options = options;
    this.#blockCount = walk.state.superblock.blockCount;
    const rangeBlocks = Math.min(options.rangeBlocks, this.#blockCount);
    this.#left = new Uint32Array(rangeBlocks);
    this.#used = new Uint8Array(Math.ceil(rangeBlocks / 8));
    this.#watch = new MapWatch(0, 0);
  }

  async run(): Promise<void> {
    for (let first = 0; first < this.#blockCount; first += this.#left.length) {
      await this.#checkRange(first, Math.min(this.#left.length, this.#blockCount - first));
      this.#options.onRange();
    }
  }

  async #checkRange(first: number, blockCount: number): Promise<void> {
    const { watches } = this.#walk.state.contents;
    const watch = new MapWatch(first, blockCount);
    this.#watch = watch;
    this.#used.fill(0);
    try {
      await this.#walk.alone(() => void watches.add(watch));
      await this.#addContents();
      await this.#takePointers();
      await this.#judge();
    } finally {
      watches.delete(watch);
    }
  }

  get #isFirst(): boolean {
    return this.#watch.first === 0;
  }

  async #addContents(): Promise<void> {
    const { first, blockCount } = this.#watch;
    const { at } = ContentValueLayout;
    const from = Uint8Array.of(TABLE_CONTENT);
    await this.#walk.scan(from, keyAfterPrefix(from), (key, value) => {
      if (this.#isFirst) this.#countContent(key, value);
      // Whether it can be believed matters to one of the walks only.
      if (value.length !== ContentValueLayout.sizeBytes) return true;
      const block = getU40(value, at.physical) - first;
      if (block < 0 || block >= blockCount || !contentIsIntact(key, value)) return true;
      const references = getU32(value, at.references);
      this.#left[block]! += Math.imul(references, pointerWorth(key, CONTENT_AT));
      this.#used[block >>> 3]! |= 1 << (block & 7);
      return true;
    });
  }

  #countContent(key: Uint8Array, value: Uint8Array): void {
    this.#findings.contents++;
    if (!contentIsIntact(key, value)) this.#findings.damagedMetadata++;
    else if (getU40(value, ContentValueLayout.at.physical) >= this.#blockCount)
      this.#findings.unprotectedBlocks++;
  }

  async #takePointers(): Promise<void> {
    const entries = new Uint8Array(PAGE_ENTRIES_BYTES);
    const from = Uint8Array.of(TABLE_LOGICAL);
    const { first, blockCount } = this.#watch;
    await this.#walk.scan(from, keyAfterPrefix(from), (key, value) => {
      this.#options.onPage(getBigEndian(key, 1, 4), getBigEndian(key, 5, 4));
      if (!decodePage(key, value, entries, 0)) return true;
      for (let at = 0; at < PAGE_ENTRIES_BYTES; at += ENTRY_BYTES) {
        const physical = physicalOf(entries, at);
        if (physical >= PHYSICAL_MAX) continue;
        if (this.#isFirst) this.#countPointer(physical);
        const block = physical - first;
        if (block >= 0 && block < blockCount)
          this.#left[block]! -= pointerWorth(entries, contentAt(at));
      }
      return true;
    });
  }

  #countPointer(physical: number): void {
    this.#findings.logicalBlocks++;
    if (physical >= this.#blockCount) this.#findings.danglingPointers++;
  }

  /** Leaves the counters zero for the next range. */
  async #judge(): Promise<void> {
    const { space } = this.#walk.state;
    const { first, blockCount } = this.#watch;
    let suspects = new Set<number>();
    let doubtful: number[] = [];
    for (let block = 0; block < blockCount; block++) {
      if (block % BLOCKS_AT_ONCE === BLOCKS_AT_ONCE - 1) await this.#walk.othersTurn();
      const left = this.#left[block]!;
      if (left !== 0) this.#left[block] = 0;
      const physical = first + block;
      const isEven = this.#isUsed(block) === space.isUsedOnDisk(physical);
      if ((left === 0 && isEven) || this.#watch.hasBlock(physical)) continue;
      if (left !== 0) suspects.add(physical);
      if (!isEven) doubtful.push(physical);
      if (suspects.size === SUSPECTS_MAX) {
        await recount(this.#walk, this.#findings, suspects);
        suspects = new Set();
      }
      if (doubtful.length === LOOKED_UP_AT_ONCE) {
        await this.#judgeSpace(doubtful);
        doubtful = [];
      }
    }
    await this.#judgeSpace(doubtful);
    await recount(this.#walk, this.#findings, suspects);
  }

  /** Blocks may be taken for contents that come with the next batch: not while nothing changes. */
  async #judgeSpace(blocks: readonly number[]): Promise<void> {
    if (blocks.length === 0) return;
    const { space } = this.#walk.state;
    await this.#walk.alone(() => {
      for (const physical of blocks) {
        if (this.#watch.hasBlock(physical)) continue;
        const isUsed = this.#isUsed(physical - this.#watch.first);
        const isTaken = space.isUsedOnDisk(physical);
        if (isTaken && !isUsed) this.#findings.leakedBlocks++;
        if (!isTaken && isUsed) this.#findings.unprotectedBlocks++;
      }
    });
  }

  #isUsed(block: number): boolean {
    return (this.#used[block >>> 3]! & (1 << (block & 7))) !== 0;
  }
}

/** Odd, so that no number of them below 2^32 comes to nothing; another one for another id. */
function pointerWorth(ids: Uint8Array, at: number): number {
  let word = getU32(ids, at);
  word ^= Math.imul(getU32(ids, at + 4), 0x9e3779b1);
  word ^= Math.imul(getU32(ids, at + 8), 0x85ebca77);
  // The last byte is what tells ids apart that a collision has moved on.
  word = Math.imul(word ^ (word >>> 15), 0xc2b2ae3d) ^ rotated(getU32(ids, at + 12));
  return word | 1;
}

/** Its last byte comes before the bit that is always set. */
function rotated(word: number): number {
  return (word >>> 7) | (word << 25);
}
