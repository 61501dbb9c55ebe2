/**
 * The log of a device's metadata: what was committed and is not in the tree of the metadata file
 * yet. A header, then two halves that take turns. A half holds chunks of one generation; a batch is
 * one chunk or several, of which the last says so, and counts only when that one is there.
 *
 * A half is written over when its generation is in the tree. What an earlier generation left behind
 * the newest chunk is told from it by its generation.
 */
import { crc32c, getU16, getU32, getU64, setU16, setU32, setU64 } from "../../base/index.ts";

export const METADATA_LOG_VERSION = 1;
const LOG_MAGIC = 0x4c_4d_52_59;
const CHUNK_MAGIC = 0x43_4d_52_59;

/** Offsets within the header of the log, of 64 bytes; what is not named is zero. */
const LogAt = { checksum: 0, magic: 4, formatVersion: 8, halfBytes: 16, storeTag: 24 } as const;
const LOG_HEADER_BYTES = 64;

/** Offsets within the header of a chunk. */
const ChunkAt = {
  checksum: 0,
  magic: 4,
  formatVersion: 8,
  isLast: 10,
  reserved: 11,
  lengthBytes: 12,
  generation: 16,
  batch: 24,
  number: 32,
} as const;
export const CHUNK_HEADER_BYTES = 40;

/** Offsets within the mark of the log in the tree; what is not named is zero. */
const MarkAt = { storeTag: 0, merged: 8, isEmpty: 16, checksum: 20 } as const;
const MARK_BYTES = 24;

/** Where the first half begins, and where every chunk begins within its half. */
export const METADATA_LOG_ALIGNMENT = 4096;
/** An entry: length of its key, length of its value (all bits set: deleted), key, value. */
export const LOGGED_ENTRY_BYTES = 5;
export const LOGGED_DELETION = 0xffff_ffff;

export interface MetadataLogHeader {
  readonly halfBytes: number;
  readonly storeTag: number;
}

export function encodeMetadataLogHeader(header: MetadataLogHeader): Uint8Array {
  const bytes = new Uint8Array(LOG_HEADER_BYTES);
  setU32(bytes, LogAt.magic, LOG_MAGIC);
  setU16(bytes, LogAt.formatVersion, METADATA_LOG_VERSION);
  setU64(bytes, LogAt.halfBytes, header.halfBytes);
  setU64(bytes, LogAt.storeTag, header.storeTag);
  setU32(bytes, LogAt.checksum, crc32c(bytes, LogAt.magic, LOG_HEADER_BYTES));
  return bytes;
}

/** The version of a log that this release does not read, or undefined if it is damaged. */
export function decodeMetadataLogHeader(
  bytes: Uint8Array,
): MetadataLogHeader | { readonly unknownVersion: number } | undefined {
  if (bytes.length < LOG_HEADER_BYTES || getU32(bytes, LogAt.magic) !== LOG_MAGIC) return undefined;
  if (getU32(bytes, LogAt.checksum) !== crc32c(bytes, LogAt.magic, LOG_HEADER_BYTES))
    return undefined;
  const version = getU16(bytes, LogAt.formatVersion);
  if (version !== METADATA_LOG_VERSION) return { unknownVersion: version };
  return { halfBytes: getU64(bytes, LogAt.halfBytes), storeTag: getU64(bytes, LogAt.storeTag) };
}

export interface MetadataChunk {
  readonly isLast: boolean;
  readonly lengthBytes: number;
  readonly generation: number;
  readonly batch: number;
  readonly number: number;
}

/** Writes the header of a chunk whose entries are there already. */
export function sealMetadataChunk(target: Uint8Array, chunk: MetadataChunk): void {
  setU32(target, ChunkAt.magic, CHUNK_MAGIC);
  setU16(target, ChunkAt.formatVersion, METADATA_LOG_VERSION);
  target[ChunkAt.isLast] = chunk.isLast ? 1 : 0;
  target[ChunkAt.reserved] = 0;
  setU32(target, ChunkAt.lengthBytes, chunk.lengthBytes);
  setU64(target, ChunkAt.generation, chunk.generation);
  setU64(target, ChunkAt.batch, chunk.batch);
  setU64(target, ChunkAt.number, chunk.number);
  setU32(
    target,
    ChunkAt.checksum,
    crc32c(target, ChunkAt.magic, CHUNK_HEADER_BYTES + chunk.lengthBytes),
  );
}

/** The chunk that begins at `start`, or undefined if none that is whole does. */
export function readMetadataChunk(bytes: Uint8Array, start: number): MetadataChunk | undefined {
  if (start + CHUNK_HEADER_BYTES > bytes.length) return undefined;
  if (getU32(bytes, start + ChunkAt.magic) !== CHUNK_MAGIC) return undefined;
  const lengthBytes = getU32(bytes, start + ChunkAt.lengthBytes);
  const end = start + CHUNK_HEADER_BYTES + lengthBytes;
  if (end > bytes.length) return undefined;
  if (getU32(bytes, start + ChunkAt.checksum) !== crc32c(bytes, start + ChunkAt.magic, end))
    return undefined;
  return {
    isLast: bytes[start + ChunkAt.isLast] === 1,
    lengthBytes,
    generation: getU64(bytes, start + ChunkAt.generation),
    batch: getU64(bytes, start + ChunkAt.batch),
    number: getU64(bytes, start + ChunkAt.number),
  };
}

export interface MetadataLogMark {
  readonly storeTag: number;
  readonly merged: number;
  readonly isEmpty: boolean;
}

export function encodeMetadataLogMark(mark: MetadataLogMark): Uint8Array {
  const bytes = new Uint8Array(MARK_BYTES);
  setU64(bytes, MarkAt.storeTag, mark.storeTag);
  setU64(bytes, MarkAt.merged, mark.merged);
  bytes[MarkAt.isEmpty] = mark.isEmpty ? 1 : 0;
  setU32(bytes, MarkAt.checksum, crc32c(bytes, 0, MarkAt.checksum));
  return bytes;
}

/** Undefined if it cannot be believed. One of an earlier release has no checksum. */
export function decodeMetadataLogMark(bytes: Uint8Array): MetadataLogMark | undefined {
  if (bytes.length !== MARK_BYTES) return undefined;
  const checksum = getU32(bytes, MarkAt.checksum);
  if (checksum !== 0 && checksum !== crc32c(bytes, 0, MarkAt.checksum)) return undefined;
  return {
    storeTag: getU64(bytes, MarkAt.storeTag),
    merged: getU64(bytes, MarkAt.merged),
    isEmpty: bytes[MarkAt.isEmpty] === 1,
  };
}
