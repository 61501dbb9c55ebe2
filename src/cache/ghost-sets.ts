/**
 * The keys that lately left the cold queue, as their mixes, in sets of seven: a key's hash chooses
 * its set, and in each set the one that came first is overwritten. A set is one cache line, so
 * asking for a ghost, adding and removing one touch one line each, where a queue with an index
 * touches six; and how long keys are remembered differs little, since sets fill evenly.
 *
 * That another key has the same mix happens once in billions of misses, and makes one key hot too
 * early.
 *
 * In shared memory, all that is done to one key's ghost is done under the lock of that key's
 * bucket, so that a key is never resident and a ghost at once. Workers that meet in a set with
 * different keys may overwrite one another: a ghost is advice, and at worst lost.
 */
import { hashOf, MIX_OF_ZERO } from "./key-hash.ts";

const WAYS = 7;
/** The mixes of a set, 0 for none; what comes next; then the times of admission. */
export const GHOST_SET_WORDS = 16;
const NEXT = WAYS;
const ADMITTED = WAYS + 1;

export class GhostSets {
  readonly #words: Int32Array;
  readonly #at: number;
  #setScale: number;

  /** On the words from `at` on; a set is 64 bytes, so that is best a multiple of 16. */
  constructor(words: Int32Array, at: number, setCount: number) {
    this.#words = words;
    this.#at = at;
    this.#setScale = setCount / 2 ** 32;
  }

  /** In memory of its own. */
  static of(keyCount: number): GhostSets {
    const setCount = ghostSetCount(keyCount);
    return new GhostSets(new Int32Array(setCount * GHOST_SET_WORDS), 0, setCount);
  }

  get sizeBytes(): number {
    return this.#words.byteLength;
  }

  /** Forgets all and remembers so many keys from now on, at most as many as at first. */
  resize(sizeMax: number): void {
    this.#words.fill(0);
    this.#setScale = ghostSetCount(sizeMax) / 2 ** 32;
  }

  /** A number for the ghost of a key until there is another change, or 0. */
  find(mix: number): number {
    const words = this.#words;
    const wanted = mix || MIX_OF_ZERO;
    const set = this.#setOf(mix);
    for (let at = set; at < set + WAYS; at++) if (words[at] === wanted) return at + 1;
    return 0;
  }

  admittedAt(ghost: number): number {
    return this.#words[ghost - 1 + ADMITTED]!;
  }

  push(mix: number, admitted: number): void {
    const words = this.#words;
    const set = this.#setOf(mix);
    // In shared memory it may be anything.
    const way = (words[set + NEXT]! >>> 0) % WAYS;
    words[set + NEXT] = way + 1;
    words[set + way + ADMITTED] = admitted;
    words[set + way] = mix || MIX_OF_ZERO;
  }

  remove(ghost: number): void {
    this.#words[ghost - 1] = 0;
  }

  #setOf(mix: number): number {
    return this.#at + (((hashOf(mix) >>> 0) * this.#setScale) | 0) * GHOST_SET_WORDS;
  }
}

export function ghostSetCount(keyCount: number): number {
  return Math.max(1, Math.ceil(keyCount / WAYS));
}
