/**
 * Doubly linked lists of dense keys, each key in at most one of them. The first key is the oldest.
 */
export const NO_LIST = 0;
/** Returned for a key that is not there. */
export const NONE = -1;

export class KeyLists {
  /** The list of each key, 1 to listCount, or NO_LIST. */
  readonly listOf: Uint8Array;
  readonly sizes: Uint32Array;
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #uniqueCount: number;

  constructor(uniqueCount: number, listCount: number) {
    this.#uniqueCount = uniqueCount;
    this.listOf = new Uint8Array(uniqueCount);
    this.sizes = new Uint32Array(listCount + 1);
    this.#next = new Int32Array(uniqueCount + listCount + 1);
    this.#previous = new Int32Array(uniqueCount + listCount + 1);
    for (let list = 0; list <= listCount; list++) {
      const end = uniqueCount + list;
      this.#next[end] = end;
      this.#previous[end] = end;
    }
  }

  size(list: number): number {
    return this.sizes[list]!;
  }

  oldest(list: number): number {
    return this.#keyOrNone(this.#next[this.#uniqueCount + list]!);
  }

  newest(list: number): number {
    return this.#keyOrNone(this.#previous[this.#uniqueCount + list]!);
  }

  /** The key that is one newer in the same list. */
  newer(key: number): number {
    return this.#keyOrNone(this.#next[key]!);
  }

  /** Makes the key the newest of the list, wherever it was. */
  push(list: number, key: number): void {
    if (this.listOf[key] !== NO_LIST) this.remove(key);
    const end = this.#uniqueCount + list;
    const last = this.#previous[end]!;
    this.#next[last] = key;
    this.#previous[key] = last;
    this.#next[key] = end;
    this.#previous[end] = key;
    this.listOf[key] = list;
    this.sizes[list]!++;
  }

  remove(key: number): void {
    const next = this.#next[key]!;
    const previous = this.#previous[key]!;
    this.#next[previous] = next;
    this.#previous[next] = previous;
    this.sizes[this.listOf[key]!]!--;
    this.listOf[key] = NO_LIST;
  }

  /** Takes the oldest key out of a list that is not empty. */
  pop(list: number): number {
    const key = this.#next[this.#uniqueCount + list]!;
    this.remove(key);
    return key;
  }

  #keyOrNone(node: number): number {
    return node < this.#uniqueCount ? node : NONE;
  }
}
