import { compareBytes } from "../base/index.ts";

export interface Entry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

const CHUNK_ENTRIES_MAX = 256;

/**
 * An ordered map of byte strings: a list of sorted chunks, so that an insertion moves a few hundred
 * entries at most.
 */
export class SortedEntries {
  #chunks: Entry[][] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(key: Uint8Array): Entry | undefined {
    const chunk = this.#chunks[this.#chunkOf(key)];
    if (chunk === undefined) return undefined;
    const entry = chunk[lowerBound(chunk, key)];
    return entry !== undefined && compareBytes(entry.key, key) === 0 ? entry : undefined;
  }

  /** Returns the entry that was replaced. */
  put(entry: Entry): Entry | undefined {
    const index = this.#chunkOf(entry.key);
    const chunk = this.#chunks[index];
    if (chunk === undefined) {
      this.#chunks.push([entry]);
      this.#size++;
      return undefined;
    }
    const at = lowerBound(chunk, entry.key);
    const old = chunk[at];
    if (old !== undefined && compareBytes(old.key, entry.key) === 0) {
      chunk[at] = entry;
      return old;
    }
    chunk.splice(at, 0, entry);
    this.#size++;
    if (chunk.length > CHUNK_ENTRIES_MAX) {
      this.#chunks.splice(index + 1, 0, chunk.splice(CHUNK_ENTRIES_MAX / 2));
    }
    return undefined;
  }

  delete(key: Uint8Array): Entry | undefined {
    const index = this.#chunkOf(key);
    const chunk = this.#chunks[index];
    if (chunk === undefined) return undefined;
    const at = lowerBound(chunk, key);
    const old = chunk[at];
    if (old === undefined || compareBytes(old.key, key) !== 0) return undefined;
    chunk.splice(at, 1);
    this.#size--;
    if (chunk.length === 0) this.#chunks.splice(index, 1);
    return old;
  }

  /**
   * Visits entries with `from <= key < to` until the visitor returns false. The map must not change
   * meanwhile.
   */
  scan(from: Uint8Array, to: Uint8Array, visit: (entry: Entry) => boolean): void {
    let index = this.#chunkOf(from);
    let at = index < this.#chunks.length ? lowerBound(this.#chunks[index]!, from) : 0;
    for (; index < this.#chunks.length; index++) {
      const chunk = this.#chunks[index]!;
      for (; at < chunk.length; at++) {
        const entry = chunk[at]!;
        if (compareBytes(entry.key, to) >= 0 || !visit(entry)) return;
      }
      at = 0;
    }
  }

  /** Entries are shared; they are replaced, never changed. */
  clone(): SortedEntries {
    const copy = new SortedEntries();
    copy.#chunks = this.#chunks.map((chunk) => chunk.slice());
    copy.#size = this.#size;
    return copy;
  }

  /** The last chunk that begins at or before the key, or the first one. */
  #chunkOf(key: Uint8Array): number {
    let low = 0;
    let high = this.#chunks.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareBytes(this.#chunks[middle]![0]!.key, key) <= 0) low = middle + 1;
      else high = middle;
    }
    return Math.max(0, low - 1);
  }
}

function lowerBound(chunk: readonly Entry[], key: Uint8Array): number {
  let low = 0;
  let high = chunk.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareBytes(chunk[middle]!.key, key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
