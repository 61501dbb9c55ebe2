/**
 * What a component has that is newer than a sequence. The log of changes says where to look, if it
 * reaches back far enough; otherwise every page of the logical map that exists is looked at, since
 * each entry carries the sequence that wrote it. Either way the answer is exact: it is made of what
 * each block is now.
 */
import { assert, BLOCK_SIZE_BYTES, marks } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import {
  CONTENT_ID_BYTES,
  contentKey,
  ContentValueLayout,
  PAGE_BLOCKS,
  PHYSICAL_HOLE,
  PHYSICAL_MAX,
  PHYSICAL_ZERO,
  valueIsIntact,
} from "../format/index.ts";
import { blockKey, blockOfKey } from "./block-table.ts";
import { ChangeBatchBuilder } from "./change-batch.ts";
import { merged } from "./change-log.ts";
import type { BlockRange } from "./change-log.ts";
import { CHANGE_DATA, CHANGE_HOLE, CHANGE_ZERO } from "./component.ts";
import type { ChangeBatch, ChangesRequest } from "./component.ts";
import type { ComponentInfo } from "./component-table.ts";
import { knownPages, PAGES_FOUND_MAX } from "./known-pages.ts";
import type { DeviceState } from "./device-state.ts";
import { contentAt, entryOffset, pageOf, physicalOf, sequenceOf } from "./logical-map.ts";
import { LOCATION_HOLE, LOCATION_NONE, LOCATION_ZERO } from "./pending-blocks.ts";
import { isPlacedLocation } from "./placed-blocks.ts";

/** Blocks that one batch looks at: it must come to an end although nothing is new. */
const SCANNED_BLOCKS_MAX = 1 << 17;

/** A sequence that the newest version of each block can be compared with. */
export function newestSequence(
  state: DeviceState,
  info: ComponentInfo,
  blockIndex: number,
): number {
  if (state.pending.locate(info.index, blockIndex) !== LOCATION_NONE)
    return state.pending.locatedSequence;
  const page = state.logical.load(info.index, pageOf(blockIndex));
  return sequenceOf(state.logical.entries, page + entryOffset(blockIndex));
}

/** Nothing may be destaged until the promise settles: journal memory is fingerprinted in place. */
export async function collectChanges(
  state: DeviceState,
  info: ComponentInfo,
  request: ChangesRequest,
): Promise<ChangeBatch> {
  return await new ChangeCollector(state, info, request).run();
}

class ChangeCollector {
  readonly #state: DeviceState;
  readonly #info: ComponentInfo;
  readonly #request: ChangesRequest;
  readonly #builder = new ChangeBatchBuilder();
  readonly #fingerprints: Uint8Array;
  /** Blocks in journal memory, and which data blocks of the batch they are. */
  readonly #offsets: number[] = [];
  readonly #positions: number[] = [];
  /** Of blocks that large writes have placed. */
  readonly #placed: { readonly location: number; readonly position: number }[] = [];

  constructor(state: DeviceState, info: ComponentInfo, request: ChangesRequest) {
    assert(request.blocksMax >= 1, "a batch of nothing");
    this.#state = state;
    this.#info = info;
    this.#request = request;
    const bytes = request.withFingerprints ? request.blocksMax * FINGERPRINT_BYTES : 0;
    this.#fingerprints = new Uint8Array(bytes);
  }

  async run(): Promise<ChangeBatch> {
    const { fromBlock, since } = this.#request;
    const toBlock = Math.min(this.#request.toBlock, this.#info.blockCount);
    const logged = this.#state.changeLog.since(this.#info.index, since, fromBlock, toBlock);
    if (logged === undefined) marks.hit("changes were looked for beyond the log");
    const candidates = logged ?? this.#search(toBlock);
    const horizon = logged === undefined ? this.#horizon : toBlock;
    const stoppedAt = this.#scan(candidates);
    const next = stoppedAt ?? horizon;
    if (this.#request.withFingerprints) {
      await this.#fingerprintJournal();
      await this.#fingerprintPlaced();
    }
    const used = this.#builder.dataBlocks * FINGERPRINT_BYTES;
    return this.#builder.finish(
      next >= toBlock ? -1 : next,
      logged !== undefined,
      this.#request.withFingerprints ? this.#fingerprints.slice(0, used) : undefined,
    );
  }

  #horizon = 0;

  /** Pages that exist, and blocks in the journal; sets how far they were searched. */
  #search(toBlock: number): readonly BlockRange[] {
    const { fromBlock } = this.#request;
    const component = this.#info.index;
    this.#horizon = toBlock;
    if (fromBlock >= toBlock) return [];
    const lastPage = pageOf(toBlock - 1);
    const pages = knownPages(this.#state, component, pageOf(fromBlock), lastPage);
    const last = pages.at(-1);
    const isCut = pages.length === PAGES_FOUND_MAX && last !== undefined && last < lastPage;
    if (isCut) this.#horizon = (last + 1) * PAGE_BLOCKS;
    const end = this.#horizon;
    const ranges: BlockRange[] = [];
    const add = (from: number, to: number): void => {
      const range = { start: Math.max(from, fromBlock), end: Math.min(to, end) };
      if (range.start < range.end) ranges.push(range);
    };
    for (const page of pages) add(page * PAGE_BLOCKS, (page + 1) * PAGE_BLOCKS);
    const first = blockKey(component, fromBlock);
    const limit = blockKey(component, end);
    for (const key of this.#state.pending.table.keys)
      if (key >= first && key < limit) add(blockOfKey(key), blockOfKey(key) + 1);
    for (const range of this.#state.pending.ranges)
      if (range.component === component) add(range.start, range.end);
    return merged(ranges);
  }

  /** Returns the first block that was not looked at, if the batch filled up before the end. */
  #scan(candidates: readonly BlockRange[]): number | undefined {
    let scanned = 0;
    for (const { start, end } of candidates) {
      for (let block = start; block < end; block++) {
        if (!this.#builder.hasRoom(this.#request.blocksMax)) return block;
        if (++scanned > SCANNED_BLOCKS_MAX) return block;
        this.#look(block);
      }
    }
    return undefined;
  }

  #look(block: number): void {
    const { pending, logical } = this.#state;
    const { since } = this.#request;
    const location = pending.locate(this.#info.index, block);
    if (location !== LOCATION_NONE) {
      const sequence = pending.locatedSequence;
      if (sequence <= since) return;
      if (location === LOCATION_HOLE) return this.#builder.add(block, 1, sequence, CHANGE_HOLE);
      if (location === LOCATION_ZERO) return this.#builder.add(block, 1, sequence, CHANGE_ZERO);
      // A damaged block keeps a fingerprint of zeroes, which nothing has.
      if (isPlacedLocation(location)) {
        this.#placed.push({ location, position: this.#builder.dataBlocks });
      } else if (location >= 0) {
        this.#offsets.push(location * BLOCK_SIZE_BYTES);
        this.#positions.push(this.#builder.dataBlocks);
      }
      return this.#builder.add(block, 1, sequence, CHANGE_DATA);
    }
    const at = logical.load(this.#info.index, pageOf(block)) + entryOffset(block);
    const sequence = sequenceOf(logical.entries, at);
    const physical = physicalOf(logical.entries, at);
    if (physical < PHYSICAL_MAX) {
      if (sequence <= since) return;
      if (this.#request.withFingerprints) this.#copyFingerprint(logical.entries, contentAt(at));
      return this.#builder.add(block, 1, sequence, CHANGE_DATA);
    }
    if (physical !== PHYSICAL_HOLE && physical !== PHYSICAL_ZERO) {
      // Damaged: it is offered so that whoever needs it learns that it cannot be read here.
      return this.#builder.add(block, 1, Math.max(sequence, since + 1), CHANGE_DATA);
    }
    if (sequence <= since) return;
    this.#builder.add(block, 1, sequence, physical === PHYSICAL_HOLE ? CHANGE_HOLE : CHANGE_ZERO);
  }

  #copyFingerprint(entries: Uint8Array, idAt: number): void {
    const into = this.#builder.dataBlocks * FINGERPRINT_BYTES;
    const key = contentKey(entries, idAt);
    const value = this.#state.metadata.get(key);
    if (value === undefined || value.length !== ContentValueLayout.sizeBytes) return;
    if (!valueIsIntact(key, value)) return;
    this.#fingerprints.set(entries.subarray(idAt, idAt + CONTENT_ID_BYTES), into);
    const tail = ContentValueLayout.at.fingerprintTail;
    this.#fingerprints.set(value.subarray(tail, tail + CONTENT_ID_BYTES), into + CONTENT_ID_BYTES);
  }

  async #fingerprintJournal(): Promise<void> {
    const count = this.#offsets.length;
    if (count === 0) return;
    const { digests, journal } = this.#state;
    const found = new Uint8Array(count * FINGERPRINT_BYTES);
    await digests.fingerprint(journal.memory, Float64Array.from(this.#offsets), count, found);
    for (let i = 0; i < count; i++) {
      const from = i * FINGERPRINT_BYTES;
      const one = found.subarray(from, from + FINGERPRINT_BYTES);
      this.#fingerprints.set(one, this.#positions[i]! * FINGERPRINT_BYTES);
    }
  }

  async #fingerprintPlaced(): Promise<void> {
    if (this.#placed.length === 0) return;
    const { placed } = this.#state.journal;
    await placed.whenFingerprinted();
    for (const { location, position } of this.#placed)
      placed.copyFingerprint(location, this.#fingerprints, position * FINGERPRINT_BYTES);
  }
}
