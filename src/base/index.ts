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
export { crc32c, hastenCrc32c, portableCrc32c } from "./crc32c.ts";
export { escapeAll, escapeControls } from "./control-characters.ts";
export { bugStack, CodedError, errorText } from "./errors.ts";
export type { Fault } from "./errors.ts";
export { IDLE_BUFFER_BYTES_MAX, IdleBuffers, idleBufferSize } from "./idle-buffers.ts";
export { LATENCY_BOUNDS_MS, LatencyHistogram } from "./latency-histogram.ts";
export type { LatencyView } from "./latency-histogram.ts";
export { byHost, byName } from "./natural-order.ts";
export { marks } from "./marks.ts";
export type { ExpectedMark } from "./marks.ts";
export { Prng } from "./prng.ts";
export { SHA256_BYTES, sha256 } from "./sha256.ts";
export { shellWord } from "./shell-word.ts";
export { formatSize, parseSize } from "./sizes.ts";
export { SlabPool } from "./slab-pool.ts";
export { firstNotBefore, SortedList } from "./sorted-list.ts";
export { grown } from "./typed-arrays.ts";
export { hasBit, setBit } from "./bitmap.ts";
export { decodeAscii, decodeUtf8, encodeUtf8 } from "./utf8.ts";
