/**
 * The journal on disk: segments of frames. A frame is what one group commit writes: one head block
 * (header, record table, checksum of every payload block), the payload blocks, and a tail block
 * that repeats the head, so that one unreadable block never hides which blocks a frame carried.
 *
 * The payload of large writes is written to its place in the block store at once: such records have
 * their checksums in the head block like others, and no payload between head and tail.
 *
 * A frame belongs to the journal iff its checksum holds, it carries the next frame number, the
 * segment generation of its place, and an incarnation not below its predecessor's: what an earlier
 * start of the device wrote behind a torn tail can therefore never be taken for a continuation.
 */
import {
  assert,
  BLOCK_SIZE_BYTES,
  getU16,
  getU32,
  getU40,
  getU48,
  getU64,
  setU16,
  setU32,
  setU40,
  setU48,
  setU64,
} from "../base/index.ts";
import { layout, reservedIsZero, u16, u32, u40, u48, u64, u8, zeroes } from "./layout.ts";
import type { Layout } from "./layout.ts";
import { FORMAT_VERSION } from "./superblock.ts";

const FRAME_MAGIC = 0x4a_44_52_59;

export const FrameHeaderLayout: Layout<
  | "checksum"
  | "magic"
  | "formatVersion"
  | "recordCount"
  | "payloadBlocks"
  | "frameNumber"
  | "generation"
  | "durableFrame"
  | "incarnation"
  | "deviceTag"
  | "placedBlocks"
  | "reserved"
> = layout("journal-frame-header", "Journal frame header", 64, {
  checksum: u32("CRC32C of the rest of the head block"),
  magic: u32("`YRDJ`"),
  formatVersion: u16("version of the frame"),
  recordCount: u16("records in the table that follows this header"),
  payloadBlocks: u32("payload blocks between head and tail"),
  frameNumber: u64("counts up by one, for ever"),
  generation: u64("number of the segment since the device was formatted"),
  durableFrame: u64("highest frame known to be durable when this one was written"),
  incarnation: u64("counts the starts of the device"),
  deviceTag: u32("first four bytes of the device's identity"),
  placedBlocks: u32("payload blocks that lie in the block store instead"),
  reserved: zeroes(8),
});

export const RecordHeaderLayout: Layout<
  | "component"
  | "kind"
  | "reserved0"
  | "payloadIndex"
  | "epoch"
  | "sequence"
  | "blockIndex"
  | "reserved1"
  | "blockCount"
  | "committed"
  | "place"
  | "reserved2"
> = layout("journal-record-header", "Journal record header", 64, {
  component: u32("number of the component on this device"),
  kind: u8("1 data, 2 zero, 3 discard, 4 commit watermark only, 5 tail dropped"),
  reserved0: zeroes(1),
  payloadIndex: u16("first payload block of this record within the frame, or its checksum's index"),
  epoch: u48("epoch of the owner that sent it"),
  sequence: u48("number of the transaction within its object"),
  blockIndex: u40("first block of the range, within the component"),
  reserved1: zeroes(3),
  blockCount: u40("blocks in the range"),
  committed: u48("every sequence up to here was committed when the record was written"),
  place: u40("1 + first block of the block store with the payload, 0 if it is in the frame"),
  reserved2: zeroes(20),
});

export const RECORD_DATA = 1;
export const RECORD_ZERO = 2;
export const RECORD_DISCARD = 3;
export const RECORD_COMMIT = 4;
/** What the component journalled before this record with a higher sequence never happened. */
export const RECORD_DROP = 5;

/** Bytes of the head block for records and payload checksums. */
export const FRAME_TABLE_BYTES: number = BLOCK_SIZE_BYTES - FrameHeaderLayout.sizeBytes;
/** Payload of one frame, in blocks (1 MiB). */
export const FRAME_PAYLOAD_BLOCKS_MAX = 256;
/** Head, payload, tail. */
export const FRAME_BLOCKS_MAX: number = FRAME_PAYLOAD_BLOCKS_MAX + 2;

const PAYLOAD_CHECKSUM_BYTES = 4;
assert(
  FRAME_TABLE_BYTES >=
    RecordHeaderLayout.sizeBytes + FRAME_PAYLOAD_BLOCKS_MAX * PAYLOAD_CHECKSUM_BYTES,
  "one record with the largest payload fits into a head block",
);

/** Whether a frame with these counts still fits into one head block. */
export function frameFits(
  recordCount: number,
  payloadBlocks: number,
  placedBlocks: number,
): boolean {
  const tableBytes =
    recordCount * RecordHeaderLayout.sizeBytes +
    (payloadBlocks + placedBlocks) * PAYLOAD_CHECKSUM_BYTES;
  return payloadBlocks <= FRAME_PAYLOAD_BLOCKS_MAX && tableBytes <= FRAME_TABLE_BYTES;
}

export function recordAt(frameAt: number, index: number): number {
  return frameAt + FrameHeaderLayout.sizeBytes + index * RecordHeaderLayout.sizeBytes;
}

/** Payload checksums are packed against the end of the head block, the first one last. */
export function payloadChecksumAt(frameAt: number, payloadIndex: number): number {
  return frameAt + BLOCK_SIZE_BYTES - (payloadIndex + 1) * PAYLOAD_CHECKSUM_BYTES;
}

export interface FrameHeader {
  readonly recordCount: number;
  readonly payloadBlocks: number;
  readonly placedBlocks: number;
  readonly frameNumber: number;
  readonly generation: number;
  readonly durableFrame: number;
  readonly incarnation: number;
}

type Crc = (bytes: Uint8Array, start: number, end: number) => number;

/** Fills in header and checksum of a head block whose tables are complete. */
export function sealFrame(
  target: Uint8Array,
  frameAt: number,
  header: FrameHeader & { readonly deviceTag: number },
  crc: Crc,
): void {
  const at = FrameHeaderLayout.at;
  const { recordCount, payloadBlocks, placedBlocks } = header;
  assert(frameFits(recordCount, payloadBlocks, placedBlocks), "frame exceeds its head block");
  setU32(target, frameAt + at.magic, FRAME_MAGIC);
  setU16(target, frameAt + at.formatVersion, FORMAT_VERSION);
  setU16(target, frameAt + at.recordCount, recordCount);
  setU32(target, frameAt + at.payloadBlocks, payloadBlocks);
  setU64(target, frameAt + at.frameNumber, header.frameNumber);
  setU64(target, frameAt + at.generation, header.generation);
  setU64(target, frameAt + at.durableFrame, header.durableFrame);
  setU64(target, frameAt + at.incarnation, header.incarnation);
  setU32(target, frameAt + at.deviceTag, header.deviceTag);
  setU32(target, frameAt + at.placedBlocks, placedBlocks);
  target.fill(0, frameAt + at.reserved, frameAt + FrameHeaderLayout.sizeBytes);
  setU32(target, frameAt, crc(target, frameAt + 4, frameAt + BLOCK_SIZE_BYTES));
}

/** The header of a head or tail block, or undefined if these bytes are no frame of this device. */
export function readFrameHeader(
  source: Uint8Array,
  frameAt: number,
  deviceTag: number,
  crc: Crc,
): FrameHeader | undefined {
  const at = FrameHeaderLayout.at;
  if (getU32(source, frameAt + at.magic) !== FRAME_MAGIC) return undefined;
  if (getU16(source, frameAt + at.formatVersion) !== FORMAT_VERSION) return undefined;
  if (getU32(source, frameAt + at.deviceTag) !== deviceTag) return undefined;
  if (crc(source, frameAt + 4, frameAt + BLOCK_SIZE_BYTES) !== getU32(source, frameAt)) {
    return undefined;
  }
  if (!reservedIsZero(FrameHeaderLayout, source, frameAt)) return undefined;
  const recordCount = getU16(source, frameAt + at.recordCount);
  const payloadBlocks = getU32(source, frameAt + at.payloadBlocks);
  const placedBlocks = getU32(source, frameAt + at.placedBlocks);
  if (!frameFits(recordCount, payloadBlocks, placedBlocks)) return undefined;
  return {
    recordCount,
    payloadBlocks,
    placedBlocks,
    frameNumber: getU64(source, frameAt + at.frameNumber),
    generation: getU64(source, frameAt + at.generation),
    durableFrame: getU64(source, frameAt + at.durableFrame),
    incarnation: getU64(source, frameAt + at.incarnation),
  };
}

/** A record as numbers; reused by whoever walks a frame. */
export interface RecordHeader {
  component: number;
  kind: number;
  payloadIndex: number;
  epoch: number;
  sequence: number;
  blockIndex: number;
  blockCount: number;
  committed: number;
  /** First block of the payload in the block store, or `NOT_PLACED`. */
  place: number;
}

export const NOT_PLACED = -1;

export function newRecordHeader(): RecordHeader {
  return {
    component: 0,
    kind: 0,
    payloadIndex: 0,
    epoch: 0,
    sequence: 0,
    blockIndex: 0,
    blockCount: 0,
    committed: 0,
    place: NOT_PLACED,
  };
}

export function encodeRecord(record: RecordHeader, target: Uint8Array, start: number): void {
  const at = RecordHeaderLayout.at;
  target.fill(0, start, start + RecordHeaderLayout.sizeBytes);
  setU32(target, start + at.component, record.component);
  target[start + at.kind] = record.kind;
  setU16(target, start + at.payloadIndex, record.payloadIndex);
  setU48(target, start + at.epoch, record.epoch);
  setU48(target, start + at.sequence, record.sequence);
  setU40(target, start + at.blockIndex, record.blockIndex);
  setU40(target, start + at.blockCount, record.blockCount);
  setU48(target, start + at.committed, record.committed);
  setU40(target, start + at.place, record.place + 1);
}

export function decodeRecord(source: Uint8Array, start: number, into: RecordHeader): void {
  const at = RecordHeaderLayout.at;
  into.component = getU32(source, start + at.component);
  into.kind = source[start + at.kind]!;
  into.payloadIndex = getU16(source, start + at.payloadIndex);
  into.epoch = getU48(source, start + at.epoch);
  into.sequence = getU48(source, start + at.sequence);
  into.blockIndex = getU40(source, start + at.blockIndex);
  into.blockCount = getU40(source, start + at.blockCount);
  into.committed = getU48(source, start + at.committed);
  into.place = getU40(source, start + at.place) - 1;
}
