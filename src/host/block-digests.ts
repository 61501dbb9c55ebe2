/** Checksums and fingerprints on the calling thread, with what Node and its packages bring. */
import { createHash } from "node:crypto";
import { crc32c } from "@node-rs/crc32";
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { Digests, DiskMemory } from "../ports/index.ts";

export class BlockDigests implements Digests {
  crc32c(bytes: Uint8Array, start: number, end: number): number {
    return crc32c(Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start));
  }

  async fingerprint(
    memory: DiskMemory,
    offsets: Float64Array,
    count: number,
    target: Uint8Array,
  ): Promise<void> {
    for (let index = 0; index < count; index++) {
      const start = offsets[index]!;
      const block = memory.bytes.subarray(start, start + BLOCK_SIZE_BYTES);
      target.set(createHash("sha256").update(block).digest(), index * FINGERPRINT_BYTES);
    }
  }
}
