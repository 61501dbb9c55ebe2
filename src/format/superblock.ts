/**
 * The superblock: who a device belongs to and where its parts lie. Written when a device is
 * formatted, twice; both copies are checked at every start and a damaged one is written again from
 * the other.
 */
import {
  assert,
  BLOCK_SIZE_BYTES,
  crc32c,
  equalBytes,
  fromHex,
  getU16,
  getU32,
  getU64,
  setU16,
  setU32,
  setU64,
  toHex,
} from "../base/index.ts";
import { bytes, layout, reservedIsZero, u16, u32, u64, zeroes } from "./layout.ts";
import type { Layout } from "./layout.ts";

export const FORMAT_VERSION = 1;
export const SUPERBLOCK_OFFSETS: readonly number[] = [0, 32_768];
/** Where the journal begins; all before it is kept for superblocks. */
export const JOURNAL_OFFSET_BYTES: number = 1 << 20;

const MAGIC: Uint8Array = Uint8Array.from("DRYSTONE", (char) => char.charCodeAt(0));

export const SuperblockLayout: Layout<
  | "magic"
  | "formatVersion"
  | "reserved0"
  | "checksum"
  | "deviceId"
  | "clusterId"
  | "hostId"
  | "sizeBytes"
  | "journalOffset"
  | "segmentBytes"
  | "segmentCount"
  | "blocksOffset"
  | "blockCount"
  | "createdMs"
  | "reserved1"
> = layout("superblock", "Superblock", BLOCK_SIZE_BYTES, {
  magic: bytes(8, "`DRYSTONE`"),
  formatVersion: u16("version of everything on the device"),
  reserved0: zeroes(2),
  checksum: u32("CRC32C of the 4096 bytes with this field zero"),
  deviceId: bytes(16, "identity of the device"),
  clusterId: bytes(16, "identity of the cluster that it belongs to"),
  hostId: bytes(16, "host that formatted it"),
  sizeBytes: u64("bytes of the device that are in use"),
  journalOffset: u64("byte offset of the journal"),
  segmentBytes: u32("size of a journal segment"),
  segmentCount: u32("number of journal segments"),
  blocksOffset: u64("byte offset of the block store"),
  blockCount: u64("blocks in the block store"),
  createdMs: u64("when the device was formatted, milliseconds since 1970"),
  reserved1: zeroes(3984),
});

export interface Superblock {
  /** Identities as 32 hexadecimal digits. */
  readonly deviceId: string;
  readonly clusterId: string;
  readonly hostId: string;
  readonly sizeBytes: number;
  readonly journalOffset: number;
  readonly segmentBytes: number;
  readonly segmentCount: number;
  readonly blocksOffset: number;
  readonly blockCount: number;
  readonly createdMs: number;
}

export function encodeSuperblock(superblock: Superblock, target: Uint8Array): void {
  assert(target.length === BLOCK_SIZE_BYTES, "a superblock fills one block");
  const at = SuperblockLayout.at;
  target.fill(0);
  target.set(MAGIC, at.magic);
  setU16(target, at.formatVersion, FORMAT_VERSION);
  target.set(fromHex(superblock.deviceId), at.deviceId);
  target.set(fromHex(superblock.clusterId), at.clusterId);
  target.set(fromHex(superblock.hostId), at.hostId);
  setU64(target, at.sizeBytes, superblock.sizeBytes);
  setU64(target, at.journalOffset, superblock.journalOffset);
  setU32(target, at.segmentBytes, superblock.segmentBytes);
  setU32(target, at.segmentCount, superblock.segmentCount);
  setU64(target, at.blocksOffset, superblock.blocksOffset);
  setU64(target, at.blockCount, superblock.blockCount);
  setU64(target, at.createdMs, superblock.createdMs);
  setU32(target, at.checksum, crc32c(target));
}

export type SuperblockReading =
  | { readonly kind: "valid"; readonly superblock: Superblock }
  | { readonly kind: "blank" }
  | { readonly kind: "foreign" }
  | { readonly kind: "unknown-version"; readonly formatVersion: number }
  | { readonly kind: "damaged"; readonly reason: string };

/** What one 4096-byte copy says. Nothing in it is trusted before its checksum holds. */
export function readSuperblock(source: Uint8Array): SuperblockReading {
  assert(source.length === BLOCK_SIZE_BYTES, "a superblock fills one block");
  const at = SuperblockLayout.at;
  if (!equalBytes(source.subarray(0, MAGIC.length), MAGIC)) {
    return source.every((byte) => byte === 0) ? { kind: "blank" } : { kind: "foreign" };
  }
  const formatVersion = getU16(source, at.formatVersion);
  if (formatVersion !== FORMAT_VERSION) return { kind: "unknown-version", formatVersion };
  const copy = source.slice();
  setU32(copy, at.checksum, 0);
  if (crc32c(copy) !== getU32(source, at.checksum)) {
    return { kind: "damaged", reason: "its checksum does not match" };
  }
  if (!reservedIsZero(SuperblockLayout, source, 0)) {
    return { kind: "damaged", reason: "reserved bytes are not zero" };
  }
  const id = (start: number): string => toHex(source.subarray(start, start + 16));
  const superblock: Superblock = {
    deviceId: id(at.deviceId),
    clusterId: id(at.clusterId),
    hostId: id(at.hostId),
    sizeBytes: getU64(source, at.sizeBytes),
    journalOffset: getU64(source, at.journalOffset),
    segmentBytes: getU32(source, at.segmentBytes),
    segmentCount: getU32(source, at.segmentCount),
    blocksOffset: getU64(source, at.blocksOffset),
    blockCount: getU64(source, at.blockCount),
    createdMs: getU64(source, at.createdMs),
  };
  const invalid = superblockInvalid(superblock);
  return invalid === undefined
    ? { kind: "valid", superblock }
    : { kind: "damaged", reason: invalid };
}

/** Why the geometry makes no sense, or undefined. */
export function superblockInvalid(superblock: Superblock): string | undefined {
  const { journalOffset, segmentBytes, segmentCount, blocksOffset, blockCount } = superblock;
  if (journalOffset !== JOURNAL_OFFSET_BYTES) return "the journal is not where it belongs";
  if (segmentBytes === 0 || segmentBytes % BLOCK_SIZE_BYTES !== 0) return "odd segment size";
  if (segmentCount < 2) return "fewer than two journal segments";
  if (journalOffset + segmentBytes * segmentCount > blocksOffset)
    return "journal and blocks overlap";
  if (blockCount < 1) return "no blocks";
  if (blocksOffset + blockCount * BLOCK_SIZE_BYTES > superblock.sizeBytes) {
    return "the block store reaches beyond the device";
  }
  return undefined;
}
