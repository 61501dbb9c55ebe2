/**
 * Messages between hosts: a header of fixed size and a body. Both ways over one byte stream. The
 * header has a checksum of its own, so that a stream that has lost its place is noticed before a
 * length is believed; bodies are protected by the transport (TLS, or TCP on a network of one's
 * own).
 */
import { crc32c, getU32, setU16, setU32, getU16 } from "../base/index.ts";
import { layout, u16, u32, u40, u48, u8, zeroes } from "./layout.ts";
import type { Layout } from "./layout.ts";

export const LINK_MAGIC = 0x4b4c5344; // "DSLK"
/** Of the header, and of hello, welcome and refusal: the same for ever. */
export const LINK_VERSION = 1;
/** What is spoken once both hosts know each other: the newest that both know. */
export const LINK_SPOKEN_NEWEST = 1;
export const LINK_SPOKEN_OLDEST = 1;

export const LinkHeaderLayout: Layout<
  "magic" | "version" | "type" | "reserved" | "bodyBytes" | "requestId" | "checksum"
> = layout("link-header", "Message header", 20, {
  magic: u32("`DSLK`"),
  version: u16("version of the header; what is spoken is agreed at connect"),
  type: u8("what the body is, see below"),
  reserved: zeroes(1),
  bodyBytes: u32("bytes that follow"),
  requestId: u32("chosen by the asker, repeated in the answer; 0 where nothing is answered"),
  checksum: u32("CRC32C of the header up to here"),
});

export const LINK_HEADER_BYTES: number = LinkHeaderLayout.sizeBytes;
/** The longest body: a megabyte of data and what describes it. */
export const LINK_BODY_BYTES_MAX: number = (1 << 20) + (1 << 18);

/** Types of messages. */
export const LINK_HELLO = 1;
export const LINK_WELCOME = 2;
export const LINK_REFUSAL = 3;
export const LINK_PING = 4;
export const LINK_PONG = 5;
export const LINK_CALL = 6;
export const LINK_RESULT = 7;
export const LINK_FAULT = 8;
export const LINK_PREPARE = 16;
export const LINK_PREPARED = 17;
export const LINK_READ = 18;
export const LINK_READ_DONE = 19;
export const LINK_COMMIT = 20;
export const LINK_TYPE_MAX = 20;

export const LinkPrepareLayout: Layout<
  "handle" | "kind" | "epoch" | "sequence" | "blockIndex" | "blockCount"
> = layout("link-prepare", "Prepare (16); for data the payload follows", 26, {
  handle: u32("number that opening the component has answered"),
  kind: u8("1 data, 2 zero, 3 discard"),
  epoch: u48("of the owner"),
  sequence: u48("of the transaction"),
  blockIndex: u40("first block of the range, within the component"),
  blockCount: u32("blocks in the range"),
});

export const LinkReadLayout: Layout<"handle" | "blockIndex" | "blockCount"> = layout(
  "link-read",
  "Read (18)",
  13,
  {
    handle: u32("number that opening the component has answered"),
    blockIndex: u40("first block, within the component"),
    blockCount: u32("blocks, at most 256"),
  },
);

export const LinkDoneLayout: Layout<"fault"> = layout(
  "link-done",
  "Prepared (17) and read done (19); after a read without fault the data follow",
  1,
  { fault: u8("0 done, 1 fenced, 2 no space, 3 read error, 4 write error, 5 unreachable") },
);

export const LinkCommitLayout: Layout<"handle" | "epoch" | "sequence"> = layout(
  "link-commit",
  "Commit (20)",
  16,
  {
    handle: u32("number that opening the component has answered"),
    epoch: u48("of the owner"),
    sequence: u48("everything up to here is decided"),
  },
);

export interface LinkHeader {
  type: number;
  bodyBytes: number;
  requestId: number;
}

export function encodeLinkHeader(
  target: Uint8Array,
  start: number,
  type: number,
  bodyBytes: number,
  requestId: number,
): void {
  const at = LinkHeaderLayout.at;
  setU32(target, start + at.magic, LINK_MAGIC);
  setU16(target, start + at.version, LINK_VERSION);
  target[start + at.type] = type;
  target[start + at.reserved] = 0;
  setU32(target, start + at.bodyBytes, bodyBytes);
  setU32(target, start + at.requestId, requestId);
  setU32(target, start + at.checksum, crc32c(target, start, start + at.checksum));
}

/** Returns why these bytes are no header, or undefined after filling `into`. */
export function decodeLinkHeader(
  source: Uint8Array,
  start: number,
  into: LinkHeader,
): string | undefined {
  const at = LinkHeaderLayout.at;
  if (getU32(source, start + at.magic) !== LINK_MAGIC) return "bad magic";
  if (getU32(source, start + at.checksum) !== crc32c(source, start, start + at.checksum))
    return "bad checksum";
  const version = getU16(source, start + at.version);
  if (version !== LINK_VERSION) return `unknown version ${version}`;
  if (source[start + at.reserved] !== 0) return "reserved byte in use";
  into.type = source[start + at.type]!;
  into.bodyBytes = getU32(source, start + at.bodyBytes);
  into.requestId = getU32(source, start + at.requestId);
  if (into.type < 1 || into.type > LINK_TYPE_MAX) return `unknown type ${into.type}`;
  if (into.bodyBytes > LINK_BODY_BYTES_MAX) return `a body of ${into.bodyBytes} bytes`;
  return undefined;
}
