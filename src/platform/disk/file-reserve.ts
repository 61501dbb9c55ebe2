/**
 * Room that a growing file has set aside behind its end, so that a file system that others fill
 * does not keep it from growing a little more. What has to be written then (whoever starts, deletes
 * or discards has to) finds room; it survives restarts.
 *
 * Setting aside is tried, not promised: on a full file system, or on one that cannot, what is there
 * has to do.
 */
import { fstatSync } from "node:fs";
import { FALLOCATE_KEEP_SIZE, SystemCallError, fallocate } from "../sys.ts";

export class FileReserve {
  readonly #fd: number;
  readonly #bytes: number;
  /** Up to where it is known that there is room. */
  #end = 0;

  /** Behind the end of the file, `bytes` are set aside whenever less than half of them are left. */
  constructor(fd: number, bytes: number) {
    this.#fd = fd;
    this.#bytes = bytes;
    this.keep();
  }

  /** To be called when the file may have grown. */
  keep(): void {
    const { size } = fstatSync(this.#fd);
    if (this.#end >= size + this.#bytes / 2) return;
    try {
      fallocate(this.#fd, FALLOCATE_KEEP_SIZE, size, this.#bytes);
      this.#end = size + this.#bytes;
    } catch (error) {
      if (!(error instanceof SystemCallError)) throw error;
      // Full, or not able to: the next growth of the file asks again.
      this.#end = size;
    }
  }
}
