/**
 * What components are read into for other hosts, before it goes into a link: pieces of two sizes,
 * for all links together. Who finds no room waits until a read has ended.
 */
import { assert, assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import { DiskPieces } from "../object/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import { WIRE_BLOCKS_MAX } from "./component-wire.ts";

export const SMALL_READ_BYTES: number = 64 << 10;
export const LARGE_READ_BYTES: number = WIRE_BLOCKS_MAX * BLOCK_SIZE_BYTES;
/** Pieces of each size: more than a device has under way at its quickest. */
const SMALL_READS_MAX = 128;
/** Of copies and of long requests; a few of them keep a fast network busy. */
const LARGE_READS_MAX = 16;
export const SERVED_BYTES_MAX: number =
  SMALL_READS_MAX * SMALL_READ_BYTES + LARGE_READS_MAX * LARGE_READ_BYTES;

export class ServedMemory {
  readonly #small: DiskPieces;
  readonly #large: DiskPieces;
  #waiting: (() => void)[] = [];

  constructor(allocate: (lengthBytes: number) => DiskMemory) {
    const small = { sizeBytes: SMALL_READ_BYTES, countMax: SMALL_READS_MAX };
    const large = { sizeBytes: LARGE_READ_BYTES, countMax: LARGE_READS_MAX };
    this.#small = new DiskPieces(allocate, small);
    this.#large = new DiskPieces(allocate, large);
  }

  /** Taken from the disks so far. */
  get bytes(): number {
    return this.#small.bytes + this.#large.bytes;
  }

  hasRoom(lengthBytes: number): boolean {
    return this.#of(lengthBytes).hasRoom;
  }

  /** Only where there is room. */
  take(lengthBytes: number): DiskMemory {
    const memory = this.#of(lengthBytes).take();
    return assertDefined(memory, "who takes memory has looked for room");
  }

  /** Nothing reads into it or from it any more. Those who wait are called, each once. */
  give(memory: DiskMemory): void {
    this.#of(memory.bytes.length).give(memory);
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const callback of waiting) callback();
  }

  /** Calls back once, when something was given back: others may have been quicker. */
  onceGiven(callback: () => void): void {
    this.#waiting.push(callback);
  }

  #of(lengthBytes: number): DiskPieces {
    assert(lengthBytes === SMALL_READ_BYTES || lengthBytes === LARGE_READ_BYTES, "of two sizes");
    return lengthBytes === SMALL_READ_BYTES ? this.#small : this.#large;
  }
}
