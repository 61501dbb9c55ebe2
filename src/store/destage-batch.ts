/**
 * Chooses what one destage round publishes: walks the journal's frames in memory from the oldest
 * one that is not destaged, and keeps the newest committed version of each block. Stops at the
 * first frame that is not durable or holds an undecided transaction, and at the size limit.
 */
import { assert, BLOCK_SIZE_BYTES, getU16, getU32, getU64 } from "../base/index.ts";
import {
  decodeRecord,
  FrameHeaderLayout,
  newRecordHeader,
  NOT_PLACED,
  RECORD_COMMIT,
  RECORD_DATA,
  RECORD_DROP,
  RECORD_ZERO,
  recordAt,
} from "../format/index.ts";
import type { RecordHeader } from "../format/index.ts";
import { blockKey, blockOfKey, BlockTable, componentOfKey } from "./block-table.ts";
import type { DeviceState } from "./device-state.ts";
import {
  LOCATION_DAMAGED,
  LOCATION_HOLE,
  LOCATION_ZERO,
  RANGE_BLOCKS_MIN,
} from "./pending-blocks.ts";
import type { PendingRange } from "./pending-blocks.ts";

/** Where the walk goes on: a block within a segment of the journal's memory. */
export interface JournalCursor {
  readonly generation: number;
  readonly blockInSegment: number;
}

export class DestageBatch {
  readonly blocksMax: number;
  /** Versions that a newer range makes pointless: forgotten when the batch is published. */
  readonly orphans: { readonly key: number; readonly sequence: number }[] = [];
  /** Runs of the block store with payload of the frames taken, oldest first. */
  readonly places: number[] = [];
  /** Per chosen block: its key, newest sequence, and location or marker. */
  readonly #table: BlockTable;
  /** Keys of the table in the order in which they came: a small batch looks at nothing else. */
  readonly #chosen: Float64Array;
  /** Keys in ascending order, after `choose`. */
  keys: Float64Array<ArrayBufferLike> = new Float64Array(0);
  readonly ranges: PendingRange[] = [];
  lastFrame = 0;
  payloadBlocks = 0;
  superseded = 0;
  /** Components with records in the batch. */
  readonly touched: Set<number> = new Set<number>();
  cursor: JournalCursor;
  readonly #record: RecordHeader = newRecordHeader();

  constructor(blocksMax: number, start: JournalCursor) {
    this.blocksMax = blocksMax;
    // A frame is never split, so the last one may exceed the limit by what one frame holds.
    this.#table = new BlockTable(blocksMax + 4096);
    this.#chosen = new Float64Array(this.#table.capacity);
    this.cursor = start;
  }

  get isEmpty(): boolean {
    return this.payloadBlocks === 0 && this.#table.size === 0 && this.ranges.length === 0;
  }

  locationOf(key: number): number {
    const slot = this.#table.find(key);
    assert(slot >= 0, "key is not in the batch");
    return this.#table.values[slot]!;
  }

  sequenceOf(key: number): number {
    return this.#table.sequences[this.#table.find(key)]!;
  }

  /** Fills the batch with frames after `afterFrame`; returns whether any was taken. */
  choose(state: DeviceState, afterFrame: number): boolean {
    this.#table.clear(this.#chosen);
    this.ranges.length = 0;
    this.touched.clear();
    this.orphans.length = 0;
    this.places.length = 0;
    this.payloadBlocks = 0;
    this.superseded = 0;
    this.lastFrame = afterFrame;
    let frames = 0;
    while (this.#table.size < this.blocksMax && this.ranges.length < 64) {
      const next = this.#nextFrame(state);
      if (next === undefined || !this.#isDecided(state, next)) break;
      this.#takeFrame(state, next);
      frames++;
    }
    this.keys = this.#chosen.slice(0, this.#table.size).sort();
    return frames > 0;
  }

  /**
   * The frame at the cursor: its first memory block, or undefined at the end of what is durable.
   */
  #nextFrame(state: DeviceState): number | undefined {
    const { journal } = state;
    for (;;) {
      const { generation, blockInSegment } = this.cursor;
      const slot = journal.slotGeneration.indexOf(generation);
      if (slot >= 0 && blockInSegment < journal.slotUsed[slot]!) {
        const frameAt = slot * journal.segmentBlocks + blockInSegment;
        const number = getU64(
          journal.memory.bytes,
          frameAt * BLOCK_SIZE_BYTES + FrameHeaderLayout.at.frameNumber,
        );
        if (number > journal.durableFrame) return undefined;
        if (number > this.lastFrame) {
          assert(number === this.lastFrame + 1, "a frame is missing in journal memory");
          return frameAt;
        }
        this.#advance(journal.memory.bytes, frameAt);
        continue;
      }
      if (generation >= journal.generation) return undefined;
      this.cursor = { generation: generation + 1, blockInSegment: 0 };
    }
  }

  #advance(bytes: Uint8Array, frameAt: number): void {
    const at = frameAt * BLOCK_SIZE_BYTES + FrameHeaderLayout.at.payloadBlocks;
    const blocks = getU32(bytes, at) + 2;
    this.cursor = { ...this.cursor, blockInSegment: this.cursor.blockInSegment + blocks };
  }

  /** Visits the records that hold a version of blocks. */
  #eachRecord(state: DeviceState, frameAt: number, visit: (record: RecordHeader) => void): void {
    const bytes = state.journal.memory.bytes;
    const at = frameAt * BLOCK_SIZE_BYTES;
    const count = getU16(bytes, at + FrameHeaderLayout.at.recordCount);
    const frame = getU64(bytes, at + FrameHeaderLayout.at.frameNumber);
    for (let index = 0; index < count; index++) {
      decodeRecord(bytes, recordAt(at, index), this.#record);
      const { kind } = this.#record;
      if (kind === RECORD_COMMIT || kind === RECORD_DROP) continue;
      if (!state.voids.has(this.#record, frame)) visit(this.#record);
    }
  }

  #isDecided(state: DeviceState, frameAt: number): boolean {
    let decided = true;
    this.#eachRecord(state, frameAt, (record) => {
      const info = state.components.at(record.component);
      if (info === undefined || info.deleting) return;
      if (record.sequence > info.committedSequence) decided = false;
    });
    return decided;
  }

  /** Payload of all records: also of those that never happened, or whose component is gone. */
  #takePlaces(bytes: Uint8Array, at: number): void {
    if (getU32(bytes, at + FrameHeaderLayout.at.placedBlocks) === 0) return;
    const count = getU16(bytes, at + FrameHeaderLayout.at.recordCount);
    for (let index = 0; index < count; index++) {
      decodeRecord(bytes, recordAt(at, index), this.#record);
      if (this.#record.place !== NOT_PLACED) this.places.push(this.#record.place);
    }
  }

  #takeFrame(state: DeviceState, frameAt: number): void {
    const bytes = state.journal.memory.bytes;
    const at = frameAt * BLOCK_SIZE_BYTES;
    this.#takePlaces(bytes, at);
    this.#eachRecord(state, frameAt, (record) => {
      const info = state.components.at(record.component);
      if (info === undefined || info.deleting) return;
      this.touched.add(record.component);
      if (record.kind === RECORD_DATA)
        this.#takeData(state, record, state.journal.locationOf(record, frameAt));
      else this.#takeMarker(state, record);
    });
    this.lastFrame = getU64(bytes, at + FrameHeaderLayout.at.frameNumber);
    this.payloadBlocks += getU32(bytes, at + FrameHeaderLayout.at.payloadBlocks);
    this.#advance(bytes, frameAt);
  }

  #takeData(state: DeviceState, record: RecordHeader, first: number): void {
    const { pending } = state;
    for (let i = 0; i < record.blockCount; i++) {
      const location = first + i;
      const slot = pending.table.find(blockKey(record.component, record.blockIndex + i));
      const isDamaged =
        slot >= 0 &&
        pending.table.values[slot] === LOCATION_DAMAGED &&
        pending.table.sequences[slot] === record.sequence;
      const isHole = state.journal.isZeroAt(location);
      const value = isDamaged ? LOCATION_DAMAGED : isHole ? LOCATION_HOLE : location;
      this.#take(state, record, record.blockIndex + i, value);
    }
  }

  #takeMarker(state: DeviceState, record: RecordHeader): void {
    const location = record.kind === RECORD_ZERO ? LOCATION_ZERO : LOCATION_HOLE;
    if (record.blockCount >= RANGE_BLOCKS_MIN) {
      const { component, blockIndex, blockCount, sequence } = record;
      this.ranges.push({
        component,
        start: blockIndex,
        end: blockIndex + blockCount,
        sequence,
        location,
      });
      return;
    }
    for (let i = 0; i < record.blockCount; i++) {
      this.#take(state, record, record.blockIndex + i, location);
    }
  }

  /** Notes a version of a block unless a newer committed one makes it pointless. */
  #take(state: DeviceState, record: RecordHeader, blockIndex: number, location: number): void {
    const info = state.components.at(record.component)!;
    state.pending.locate(record.component, blockIndex);
    const newest = state.pending.locatedSequence;
    const key = blockKey(record.component, blockIndex);
    const slot = this.#table.find(key);
    if (slot >= 0) this.superseded++;
    // The newer version is durable and decided, so replay would find it: this one need not be kept.
    if (newest > record.sequence && newest <= info.committedSequence) {
      if (slot < 0) this.superseded++;
      this.orphans.push({ key, sequence: record.sequence });
      return;
    }
    if (slot < 0) this.#chosen[this.#table.size] = key;
    this.#table.set(key, location, record.sequence);
  }

  static componentOf(key: number): number {
    return componentOfKey(key);
  }

  static blockOf(key: number): number {
    return blockOfKey(key);
  }
}
