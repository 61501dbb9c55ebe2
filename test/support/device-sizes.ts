/**
 * Sizes of simulated devices: small enough that tests wrap journals and drive pages and blocks out
 * of caches, and that a test of some hosts does not spend its time on getting and clearing memory.
 */
import { BLOCK_SIZE_BYTES } from "../../src/base/index.ts";
import type { OpenOptions } from "../../src/store/device-options.ts";
import type { FormatOptions } from "../../src/store/device-plan.ts";

const SEGMENT_BYTES = 2 << 20;

/** Of a device as it is formatted. */
export const DEVICE_GEOMETRY: Pick<FormatOptions, "journalBytes" | "segmentBytes"> = {
  journalBytes: 4 * SEGMENT_BYTES,
  segmentBytes: SEGMENT_BYTES,
};

/** Of an open device. */
export const DEVICE_MEMORY: Omit<OpenOptions, "clusterId"> = {
  journalMemoryBytes: 3 * SEGMENT_BYTES,
  pageCacheBytes: 1 << 18,
  blockCacheBytes: 64 * BLOCK_SIZE_BYTES,
};
