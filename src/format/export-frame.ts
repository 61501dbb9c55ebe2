/**
 * The stream of an exported volume: frames one after the other, the first one a head, the last one
 * an end. Every frame says what it is, where in the stream it stands, and has a checksum: a stream
 * that is cut, damaged or put together from parts of others is noticed at the frame where it is.
 */
import { crc32c, getU16, getU32, getU64, setU16, setU32, setU64 } from "../base/index.ts";
import { layout, u16, u32, u64, u8, zeroes } from "./layout.ts";
import type { Layout } from "./layout.ts";

export const EXPORT_MAGIC = 0x45565344; // "DSVE"
export const EXPORT_VERSION = 1;

export const ExportFrameLayout: Layout<
  | "magic"
  | "version"
  | "kind"
  | "reserved"
  | "index"
  | "bodyBytes"
  | "offset"
  | "lengthBytes"
  | "checksum"
> = layout("export-frame", "Frame of an exported volume", 36, {
  magic: u32("`DSVE`"),
  version: u16("version of the stream"),
  kind: u8("1 head, 2 data, 3 zeroes, 4 end"),
  reserved: zeroes(1),
  index: u32("frames before this one"),
  bodyBytes: u32("bytes that follow: data, or JSON in head and end"),
  offset: u64("kinds 2 and 3: where in the volume"),
  lengthBytes: u64("kinds 2 and 3: how much of the volume"),
  checksum: u32("CRC32C of the frame up to here and of its body"),
});

export const EXPORT_HEAD = 1;
export const EXPORT_DATA = 2;
export const EXPORT_ZEROES = 3;
export const EXPORT_END = 4;
/** The longest body. */
export const EXPORT_BODY_BYTES_MAX: number = 1 << 20;

export interface ExportFrame {
  readonly kind: number;
  readonly index: number;
  readonly bodyBytes: number;
  readonly offset: number;
  readonly lengthBytes: number;
}

function checksumOf(header: Uint8Array, body: Uint8Array): number {
  return crc32c(body, 0, body.length, crc32c(header, 0, ExportFrameLayout.at.checksum));
}

export function encodeExportFrame(frame: ExportFrame, body: Uint8Array): Uint8Array {
  const at = ExportFrameLayout.at;
  const header = new Uint8Array(ExportFrameLayout.sizeBytes);
  setU32(header, at.magic, EXPORT_MAGIC);
  setU16(header, at.version, EXPORT_VERSION);
  header[at.kind] = frame.kind;
  setU32(header, at.index, frame.index);
  setU32(header, at.bodyBytes, frame.bodyBytes);
  setU64(header, at.offset, frame.offset);
  setU64(header, at.lengthBytes, frame.lengthBytes);
  setU32(header, at.checksum, checksumOf(header, body));
  return header;
}

/** Undefined if it is no frame of such a stream, or of another version. */
export function decodeExportFrame(header: Uint8Array): ExportFrame | undefined {
  const at = ExportFrameLayout.at;
  if (getU32(header, at.magic) !== EXPORT_MAGIC) return undefined;
  if (getU16(header, at.version) !== EXPORT_VERSION) return undefined;
  return {
    kind: header[at.kind]!,
    index: getU32(header, at.index),
    bodyBytes: getU32(header, at.bodyBytes),
    offset: getU64(header, at.offset),
    lengthBytes: getU64(header, at.lengthBytes),
  };
}

export function exportFrameIsIntact(header: Uint8Array, body: Uint8Array): boolean {
  return getU32(header, ExportFrameLayout.at.checksum) === checksumOf(header, body);
}
