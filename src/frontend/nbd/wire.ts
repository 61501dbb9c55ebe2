/**
 * The NBD protocol's numbers, as data. Source: the protocol document of the NetworkBlockDevice
 * project (doc/proto.md). Only what this server speaks or has to refuse is listed.
 */
import { assert } from "../../base/index.ts";

/** 64-bit magics, as pairs of 32-bit halves. */
export const SERVER_MAGIC = [0x4e42444d, 0x41474943] as const; // "NBDMAGIC"
export const OPTION_MAGIC = [0x49484156, 0x454f5054] as const; // "IHAVEOPT"
export const OPTION_REPLY_MAGIC = [0x0003e889, 0x045565a9] as const;
export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;

export const GREETING_BYTES = 18;
export const CLIENT_FLAGS_BYTES = 4;
export const OPTION_HEADER_BYTES = 16;
export const OPTION_REPLY_HEADER_BYTES = 20;
export const REQUEST_BYTES = 28;
export const SIMPLE_REPLY_BYTES = 16;
export const CHUNK_HEADER_BYTES = 20;
/** A data chunk's header and the offset that opens its payload. */
export const DATA_CHUNK_OVERHEAD_BYTES = 28;
export const HOLE_CHUNK_BYTES = 32;
export const ERROR_CHUNK_BYTES = 26;
export const EXTENT_DESCRIPTOR_BYTES = 8;
/** Zeroes after the answer to EXPORT_NAME, unless the client asked to leave them out. */
export const EXPORT_NAME_PADDING_BYTES = 124;

export const HandshakeFlag = { fixedNewstyle: 1, noZeroes: 2 } as const;

export const Option = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structuredReply: 8,
  listMetaContext: 9,
  setMetaContext: 10,
  extendedHeaders: 11,
} as const;

/** The highest bit says error. */
export const OptionReply = {
  ack: 1,
  server: 2,
  info: 3,
  metaContext: 4,
  unsupported: 0x80000001,
  policy: 0x80000002,
  invalid: 0x80000003,
  tlsRequired: 0x80000005,
  unknown: 0x80000006,
  shutdown: 0x80000007,
  tooBig: 0x80000009,
} as const;

export const Info = { export: 0, name: 1, description: 2, blockSize: 3 } as const;

export const TransmissionFlag = {
  hasFlags: 0x1,
  readOnly: 0x2,
  sendFlush: 0x4,
  sendFua: 0x8,
  sendTrim: 0x20,
  sendWriteZeroes: 0x40,
  sendDontFragment: 0x80,
  canMultiConnection: 0x100,
  sendCache: 0x400,
  sendFastZero: 0x800,
} as const;

export const Command = {
  read: 0,
  write: 1,
  disconnect: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
} as const;

export const CommandFlag = {
  fua: 0x1,
  noHole: 0x2,
  dontFragment: 0x4,
  requestOne: 0x8,
  fastZero: 0x10,
} as const;

export const ChunkFlag = { done: 1 } as const;
export const ChunkType = {
  none: 0,
  offsetData: 1,
  offsetHole: 2,
  blockStatus: 5,
  error: 0x8001,
} as const;

export const Errno = {
  none: 0,
  notPermitted: 1,
  inputOutput: 5,
  invalid: 22,
  noSpace: 28,
  overflow: 75,
  shutdown: 108,
} as const;

/** Extent flags of the context `base:allocation`. */
export const AllocationFlag = { hole: 1, zero: 2 } as const;
export const ALLOCATION_CONTEXT = "base:allocation";
export const ALLOCATION_NAMESPACE = "base:";
export const ALLOCATION_CONTEXT_ID = 1;

/** The protocol's limit of every string. */
export const STRING_BYTES_MAX = 4096;
/** Longest option data that is looked at; a longer one is skipped and refused. */
export const OPTION_BYTES_MAX = 65_536;
/** Longest option data that is skipped; a longer one ends the connection. */
export const OPTION_SKIP_BYTES_MAX = 1_048_576;
/** Options of one handshake. */
export const OPTIONS_MAX = 1024;
export const META_QUERIES_MAX = 256;
/** Exports in the answer to LIST. */
export const EXPORTS_LISTED_MAX = 1024;

export const BLOCK_BYTES_MIN = 512;
export const BLOCK_BYTES_PREFERRED = 4096;
/** The largest payload of a READ or WRITE. */
export const PAYLOAD_BYTES_MAX = 33_554_432;
/**
 * Payload of a WRITE that is too long but still skipped and refused; beyond it the connection ends.
 */
export const PAYLOAD_SKIP_BYTES_MAX = 67_108_864;

assert(
  OPTION_BYTES_MAX > 2 * STRING_BYTES_MAX,
  "an option holds a name and a query of full length",
);
