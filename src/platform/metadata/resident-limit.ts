/**
 * Keeps a mapped file from taking more memory than the process may have. Pages of a mapping count
 * as memory of the process from their first use until the kernel runs short, although they are no
 * more than page cache. Where the kernel lets a fault take one page alone, it does.
 */
import { closeSync, openSync, readFileSync, readSync, realpathSync, statSync } from "node:fs";
import { decodeAscii } from "../../base/index.ts";
import { SinglePageFaults } from "./single-page-faults.ts";
import { PAGE_BYTES, dropMappedPages } from "../sys.ts";

/**
 * Files of the whole process that stay mapped whatever else it has: the program itself has some 45
 * MB, and what is taken out of the rest comes back one fault at a time.
 */
export const MAPPED_BYTES_MIN: number = 80 * 2 ** 20;
/** Taken out at once, going round the file: as much as has to go and little more. */
const PIECE_BYTES = 4 * 2 ** 20;

/** The rest is for what comes between two looks. */
const LIMIT_SHARE = 15 / 16;
/** Once there is too much, so much less than the limit is left. */
const STEP_BYTES = 8 * 2 ** 20;

export interface Resident {
  readonly totalBytes: number;
  /** Of it: pages of files. */
  readonly mappedBytes: number;
}

export class ResidentLimit {
  readonly #path: string;
  readonly #address: number;
  readonly #lengthBytes: number;
  /** Of the whole process. */
  readonly #totalBytesMax: number;
  readonly #faults: SinglePageFaults | undefined;
  readonly #statm = new Statm();
  /** The piece whose turn is next. */
  #nextAt = 0;

  /** Undefined if the file is not mapped, or if there is no /proc to tell. */
  static of(path: string, residentBytesMax: number): ResidentLimit | undefined {
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
    const address = parseInt(range[1]!, 16);
    const lengthBytes = parseInt(range[2]!, 16) - address;
    return new ResidentLimit({ path: name, address, lengthBytes, residentBytesMax });
  }

  private constructor(of: {
    readonly path: string;
    readonly address: number;
    readonly lengthBytes: number;
    readonly residentBytesMax: number;
  }) {
    this.#path = of.path;
    this.#address = of.address;
    this.#lengthBytes = of.lengthBytes;
    this.#totalBytesMax = of.residentBytesMax * LIMIT_SHARE;
    this.#faults = SinglePageFaults.of(of.address, of.lengthBytes);
  }

  /** The mapping is gone. */
  close(): void {
    this.#faults?.close();
    this.#statm.close();
  }

  /**
   * To be called now and then, while the file is mapped. `roomBytes`: what is about to be needed at
   * once, so that there is room for it.
   */
  enforce(roomBytes = 0): void {
    if (!this.#isTooMuch(roomBytes)) return;
    const usedBytes = Math.min(statSync(this.#path).size, this.#lengthBytes);
    const wantedBytes = Math.max(roomBytes, STEP_BYTES);
    for (let left = usedBytes; left > 0 && this.#isTooMuch(wantedBytes); left -= PIECE_BYTES) {
      if (this.#nextAt >= usedBytes) this.#nextAt = 0;
      const pieceBytes = Math.min(PIECE_BYTES, this.#lengthBytes - this.#nextAt);
      dropMappedPages(this.#address + this.#nextAt, pieceBytes);
      this.#nextAt += PIECE_BYTES;
    }
  }

  #isTooMuch(roomBytes: number): boolean {
    const { totalBytes, mappedBytes } = this.#statm.read();
    return totalBytes + roomBytes > this.#totalBytesMax && mappedBytes > MAPPED_BYTES_MIN;
  }
}

/** Kept open: it is asked hundreds of times a second. */
class Statm {
  readonly #fd: number = openSync("/proc/self/statm", "r");
  readonly #text = new Uint8Array(256);

  read(): Resident {
    const lengthBytes = readSync(this.#fd, this.#text, 0, this.#text.length, 0);
    // Sizes in pages: total, resident, resident of files.
    const fields = decodeAscii(this.#text.subarray(0, lengthBytes)).split(" ");
    return {
      totalBytes: Number(fields[1]) * PAGE_BYTES,
      mappedBytes: Number(fields[2]) * PAGE_BYTES,
    };
  }

  close(): void {
    closeSync(this.#fd);
  }
}

/** Of this process. Fails where there is no /proc to tell. */
export function residentNow(): Resident {
  const statm = new Statm();
  try {
    return statm.read();
  } finally {
    statm.close();
  }
}
