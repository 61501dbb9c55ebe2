/** Where the parts of a device lie. */
import { assert, BLOCK_SIZE_BYTES, CodedError, fromHex, getU32 } from "../base/index.ts";
import { JOURNAL_OFFSET_BYTES } from "../format/index.ts";
import type { Superblock } from "../format/index.ts";
import type { JournalGeometry } from "./journal-geometry.ts";

export const SEGMENT_BYTES_DEFAULT: number = 4 << 20;
const BLOCKS_OFFSET_ALIGNMENT = 1 << 20;
/** A segment holds at least one frame of the largest size. */
const SEGMENT_BYTES_MIN: number = 2 << 20;
/** The smallest block store that makes sense. */
const BLOCKS_MIN = 256;

/** What large writes may place before destage has to make room: 256 MiB, less on small devices. */
const BACKLOG_BLOCKS_MAX = 65_536;
const BACKLOG_SHARE = 1 / 4;

export interface FormatOptions {
  /** Identities as 32 hexadecimal digits. */
  readonly clusterId: string;
  readonly hostId: string;
  readonly deviceId: string;
  /** Size of the journal on disk; default a tenth of the device, 64 MiB to 1 GiB. */
  readonly journalBytes?: number;
  readonly segmentBytes?: number;
}

export function geometryOf(superblock: Superblock): JournalGeometry {
  return {
    offset: superblock.journalOffset,
    segmentBytes: superblock.segmentBytes,
    segmentCount: superblock.segmentCount,
    deviceTag: getU32(fromHex(superblock.deviceId), 0),
    blocksOffset: superblock.blocksOffset,
    blockStoreBytes: superblock.blockCount * BLOCK_SIZE_BYTES,
  };
}

export function backlogBlocksOf({ blockCount }: Pick<Superblock, "blockCount">): number {
  return Math.min(BACKLOG_BLOCKS_MAX, Math.floor(blockCount * BACKLOG_SHARE));
}

/** Where everything goes on a disk of this size. Fails with `device-too-small`. */
export function planDevice(
  sizeBytes: number,
  createdMs: number,
  options: FormatOptions,
): Superblock {
  const segmentBytes = options.segmentBytes ?? SEGMENT_BYTES_DEFAULT;
  assert(segmentBytes >= SEGMENT_BYTES_MIN, "a segment holds at least one frame");
  const tenth = Math.floor(sizeBytes / 10);
  const journalBytes = options.journalBytes ?? Math.min(1 << 30, Math.max(64 << 20, tenth));
  const segmentCount = Math.max(4, Math.floor(journalBytes / segmentBytes));
  const journalEnd = JOURNAL_OFFSET_BYTES + segmentCount * segmentBytes;
  const blocksOffset = Math.ceil(journalEnd / BLOCKS_OFFSET_ALIGNMENT) * BLOCKS_OFFSET_ALIGNMENT;
  const blockCount = Math.floor((sizeBytes - blocksOffset) / BLOCK_SIZE_BYTES);
  if (blockCount < BLOCKS_MIN) {
    const needed = blocksOffset + BLOCKS_MIN * BLOCK_SIZE_BYTES;
    throw new CodedError({
      code: "device-too-small",
      message: `a device of ${sizeBytes} bytes is too small: at least ${needed} are needed`,
      hint: "Give a larger device, or a smaller journal",
      details: { sizeBytes, needed },
    });
  }
  const { clusterId, hostId, deviceId } = options;
  const journalOffset = JOURNAL_OFFSET_BYTES;
  return {
    deviceId,
    clusterId,
    hostId,
    sizeBytes,
    journalOffset,
    segmentBytes,
    segmentCount,
    blocksOffset,
    blockCount,
    createdMs,
  };
}
