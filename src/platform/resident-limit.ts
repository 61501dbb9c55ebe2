/**
 * Keeps the resident memory of a mapped file small. Pages of a mapping count as memory of the
 * process from their first use until the kernel runs short, although they are no more than page
 * cache.
 */
import { readFileSync, realpathSync } from "node:fs";
import { PAGE_BYTES, dropMappedPages } from "./sys.ts";

/** Of the whole process: the program itself has some 45 MB of files mapped. */
const MAPPED_BYTES_MAX = 64 * 1024 * 1024;

export class ResidentLimit {
  readonly #address: number;
  readonly #lengthBytes: number;

  /** Undefined if the file is not mapped, or if there is no /proc to tell. */
  static of(path: string): ResidentLimit | undefined {
    let maps: string;
    let name: string;
    try {
      maps = readFileSync("/proc/self/maps", "utf8");
      name = realpathSync(path);
    } catch {
      // Resident memory stays as large as the kernel lets it.
      return undefined;
    }
    // 7f0000000000-7f4000000000 r--s 00000000 fe:00 4711    /var/lib/drystone/metadata
    const line = maps.split("\n").find((one) => one.endsWith(` ${name}`));
    const range = /^([0-9a-f]+)-([0-9a-f]+) /.exec(line ?? "");
    if (range === null) return undefined;
    const start = parseInt(range[1]!, 16);
    return new ResidentLimit(start, parseInt(range[2]!, 16) - start);
  }

  private constructor(address: number, lengthBytes: number) {
    this.#address = address;
    this.#lengthBytes = lengthBytes;
  }

  /** To be called now and then, while the file is mapped. */
  enforce(): void {
    // Sizes in pages: total, resident, resident of files.
    const fields = readFileSync("/proc/self/statm", "latin1").split(" ");
    if (Number(fields[2]) * PAGE_BYTES > MAPPED_BYTES_MAX) {
      dropMappedPages(this.#address, this.#lengthBytes);
    }
  }
}
