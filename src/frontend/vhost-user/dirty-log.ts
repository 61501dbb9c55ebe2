/**
 * Tells the front end which pages of the guest the device has written while the guest is being
 * migrated: one bit per page, in memory of the front end's.
 */
import type { SharedFile, SharedMapping } from "../../ports/index.ts";
import { SHARED_PAGE_BYTES } from "../../ports/index.ts";
import { demand } from "./violation.ts";

const LOG_PAGE_BYTES = 4096;
/** Enough for a guest of 32 TiB. */
const LOG_BYTES_MAX = 2 ** 30;

export class DirtyLog {
  readonly #file: SharedFile;
  readonly #mapping: SharedMapping;
  readonly #bits: Uint8Array;

  /** The file is the log's, and closed with it. */
  constructor(file: SharedFile, fileOffset: number, sizeBytes: number) {
    this.#file = file;
    try {
      demand(sizeBytes > 0 && sizeBytes <= LOG_BYTES_MAX, `a dirty log of ${sizeBytes} bytes`);
      demand(fileOffset + sizeBytes <= file.sizeBytes, "a dirty log ends beyond its file");
      const first = fileOffset - (fileOffset % SHARED_PAGE_BYTES);
      this.#mapping = file.map(first, fileOffset - first + sizeBytes);
    } catch (error) {
      file.close();
      throw error;
    }
    this.#bits = this.#mapping.memory.bytes.subarray(fileOffset % SHARED_PAGE_BYTES);
  }

  /** Whether writes to these bytes can be told. */
  covers(guestAddress: number, lengthBytes: number): boolean {
    return guestAddress + lengthBytes <= 8 * this.#bits.length * LOG_PAGE_BYTES;
  }

  mark(guestAddress: number, lengthBytes: number): void {
    demand(this.covers(guestAddress, lengthBytes), "a page beyond the dirty log was written");
    const last = Math.floor((guestAddress + lengthBytes - 1) / LOG_PAGE_BYTES);
    for (let page = Math.floor(guestAddress / LOG_PAGE_BYTES); page <= last; page++)
      Atomics.or(this.#bits, Math.floor(page / 8), 1 << (page % 8));
  }

  close(): void {
    this.#mapping.release();
    this.#file.close();
  }
}
