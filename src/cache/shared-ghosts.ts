/**
 * The ghosts of a shared cache: fingerprints of keys that lately left the cold queue, in sets of
 * eight, the oldest of a set overwritten. A ghost is advice. Whatever two workers make of a set at
 * the same moment, or a dying one leaves, is at worst bad advice, so there is no lock here.
 *
 * All that is done to one key's ghost is done under the lock of that key's bucket, so that a key is
 * never resident and a ghost at once.
 */
import { fingerprintOf, hashOf } from "./key-hash.ts";
import { GHOST_WAYS, GHOST_WORDS } from "./shared-layout.ts";
import type { SharedLayout } from "./shared-layout.ts";

const SET_WORDS = GHOST_WAYS * GHOST_WORDS;

export class SharedGhosts {
  readonly #words: Int32Array;
  readonly #ghostsAt: number;
  readonly #setScale: number;

  constructor(words: Int32Array, layout: SharedLayout) {
    this.#words = words;
    this.#ghostsAt = layout.ghostsAt;
    this.#setScale = layout.ghostSets / 2 ** 32;
  }

  /** Where the ghost of a key is, or 0. */
  find(low: number, high: number): number {
    const fingerprint = fingerprintOf(low, high);
    const set = this.#setOf(low, high);
    for (let at = set; at < set + SET_WORDS; at += GHOST_WORDS) {
      if (this.#words[at] === fingerprint) return at;
    }
    return 0;
  }

  admittedAt(ghost: number): number {
    return this.#words[ghost + 1]!;
  }

  push(low: number, high: number, admitted: number): void {
    const words = this.#words;
    const set = this.#setOf(low, high);
    let oldest = set;
    for (let at = set; at < set + SET_WORDS; at += GHOST_WORDS) {
      if (words[at] === 0) {
        oldest = at;
        break;
      }
      if (((words[at + 1]! - words[oldest + 1]!) | 0) < 0) oldest = at;
    }
    Atomics.store(words, oldest + 1, admitted);
    Atomics.store(words, oldest, fingerprintOf(low, high));
  }

  remove(low: number, high: number): void {
    const fingerprint = fingerprintOf(low, high);
    const set = this.#setOf(low, high);
    for (let at = set; at < set + SET_WORDS; at += GHOST_WORDS) {
      if (Atomics.load(this.#words, at) !== fingerprint) continue;
      Atomics.compareExchange(this.#words, at, fingerprint, 0);
    }
  }

  #setOf(low: number, high: number): number {
    return this.#ghostsAt + (((hashOf(low, high) >>> 0) * this.#setScale) | 0) * SET_WORDS;
  }
}
