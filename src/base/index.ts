export { AssertionError, assert, assertDefined, unreachable } from "./assert.ts";
export {
  BLOCK_SIZE_BYTES,
  REGION_BLOCKS,
  REGION_SIZE_BYTES,
  SECTOR_SIZE_BYTES,
  VOLUME_SIZE_BYTES_MAX,
} from "./block.ts";
export { BoundedQueue } from "./bounded-queue.ts";
export type { Branded } from "./brand.ts";
export {
  compareBytes,
  equalBytes,
  fromHex,
  getU16,
  getU32,
  getU40,
  getU48,
  getU64,
  isZero,
  setU16,
  setU32,
  setU40,
  setU48,
  setU64,
  toHex,
} from "./bytes.ts";
export { crc32c } from "./crc32c.ts";
export { CodedError, errorText } from "./errors.ts";
export type { Fault } from "./errors.ts";
export { marks } from "./marks.ts";
export type { ExpectedMark } from "./marks.ts";
export { Prng } from "./prng.ts";
export { SHA256_BYTES, sha256 } from "./sha256.ts";
export { formatSize, parseSize } from "./sizes.ts";
export { decodeUtf8, encodeUtf8 } from "./utf8.ts";
