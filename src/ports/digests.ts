import type { DiskMemory } from "./disk.ts";

export const FINGERPRINT_BYTES = 32;

/** Checksums and fingerprints, native on hosts, portable elsewhere. */
export interface Digests {
  /** CRC32C of `bytes[start..end)`, on this thread. */
  crc32c(bytes: Uint8Array, start: number, end: number): number;
  /**
   * SHA-256 of blocks of 4096 bytes at byte offsets `offsets[0..count)` of `memory`, 32 bytes each
   * into
   * `target`. May run on other threads: memory must not change until the promise settles.
   */
  fingerprint(
    memory: DiskMemory,
    offsets: Float64Array,
    count: number,
    target: Uint8Array,
  ): Promise<void>;
}
