import { assert } from "./assert.ts";

/** The unit of mapping, deduplication and checksums. */
export const BLOCK_SIZE_BYTES: number = 4096;
/** The unit in which a disk may tear a write, and the smallest unit a client may address. */
export const SECTOR_SIZE_BYTES: number = 512;
/** Digests of mirrors are compared region by region. */
export const REGION_SIZE_BYTES: number = 1 << 20;
export const REGION_BLOCKS: number = REGION_SIZE_BYTES / BLOCK_SIZE_BYTES;
/** The largest volume: 62 TiB, the limit of the systems we are compared with. */
export const VOLUME_SIZE_BYTES_MAX: number = 62 * 2 ** 40;

assert(BLOCK_SIZE_BYTES % SECTOR_SIZE_BYTES === 0, "a block is a whole number of sectors");
assert(REGION_SIZE_BYTES % BLOCK_SIZE_BYTES === 0, "a region is a whole number of blocks");
assert(VOLUME_SIZE_BYTES_MAX < Number.MAX_SAFE_INTEGER, "byte offsets fit into a number");
