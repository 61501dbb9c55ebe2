/**
 * What each block of a volume may hold: what was acknowledged last, and everything that was called
 * since. A block is one of these, whole: anything else was lost, torn, or came from nowhere.
 */
import { BLOCK_SIZE_BYTES } from "../../src/base/index.ts";

/** The versions that one request made, by block. */
export type Change = ReadonlyMap<number, Uint8Array>;

export class BlockHistory {
  readonly sizeBytes: number;
  readonly #versions: Uint8Array[][];

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    const count = Math.ceil(sizeBytes / BLOCK_SIZE_BYTES);
    this.#versions = Array.from({ length: count }, () => [new Uint8Array(BLOCK_SIZE_BYTES)]);
  }

  get blockCount(): number {
    return this.#versions.length;
  }

  /** Bytes of the block that lie within the volume. */
  lengthOf(block: number): number {
    return Math.min(BLOCK_SIZE_BYTES, this.sizeBytes - block * BLOCK_SIZE_BYTES);
  }

  /** A change was called: in the order of the calls where they overlap. */
  change(offset: number, bytes: Uint8Array): Change {
    const change = new Map<number, Uint8Array>();
    for (let at = offset; at < offset + bytes.length;) {
      const block = Math.floor(at / BLOCK_SIZE_BYTES);
      const end = Math.min((block + 1) * BLOCK_SIZE_BYTES, offset + bytes.length);
      const version = this.#versions[block]!.at(-1)!.slice();
      version.set(bytes.subarray(at - offset, end - offset), at - block * BLOCK_SIZE_BYTES);
      this.#versions[block]!.push(version);
      change.set(block, version);
      at = end;
    }
    return change;
  }

  acknowledge(change: Change): void {
    for (const [block, version] of change) {
      const versions = this.#versions[block]!;
      versions.splice(0, versions.indexOf(version));
    }
  }

  /** Whether the block may hold this after a restart. If so, it holds nothing else from now on. */
  settle(block: number, found: Uint8Array): boolean {
    const length = this.lengthOf(block);
    const version = this.#versions[block]!.find(
      (candidate) => Buffer.compare(candidate.subarray(0, length), found) === 0,
    );
    if (version === undefined) return false;
    this.#versions[block] = [version];
    return true;
  }
}
