/**
 * Hash table from a block of a component to two numbers, in typed arrays: open addressing with
 * linear probing and backward-shift deletion, so that look-ups allocate nothing and deletions leave
 * no tombstones.
 */
import { assert } from "../base/index.ts";

/** Blocks per component: 2^34 blocks of 4096 bytes are 64 TiB, above the largest volume. */
const COMPONENT_STRIDE = 2 ** 34;
/** Components per device: keys stay below 2^53. */
export const COMPONENTS_MAX: number = 2 ** 19;

export function blockKey(component: number, blockIndex: number): number {
  return component * COMPONENT_STRIDE + blockIndex;
}

export function componentOfKey(key: number): number {
  return Math.floor(key / COMPONENT_STRIDE);
}

export function blockOfKey(key: number): number {
  return key % COMPONENT_STRIDE;
}

const EMPTY = -1;
/** With fewer keys than one in so many slots, taking each out is quicker than going over all. */
const FEW_SLOTS_PER_KEY = 32;

export class BlockTable {
  readonly capacity: number;
  /** Per slot: key or -1. Read-only for callers. */
  readonly keys: Float64Array;
  readonly values: Int32Array;
  readonly sequences: Float64Array;
  readonly #mask: number;
  #size = 0;

  /** Room for `capacity` keys. */
  constructor(capacity: number) {
    assert(capacity >= 1 && capacity <= 2 ** 26, "table capacity out of range");
    this.capacity = capacity;
    const slots = 2 ** Math.ceil(Math.log2(capacity * 2));
    this.#mask = slots - 1;
    this.keys = new Float64Array(slots).fill(EMPTY);
    this.values = new Int32Array(slots);
    this.sequences = new Float64Array(slots);
  }

  get size(): number {
    return this.#size;
  }

  #home(key: number): number {
    const low = key >>> 0;
    const high = (key / 2 ** 32) | 0;
    let hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b);
    hash ^= hash >>> 15;
    return Math.imul(hash, 0xc2b2ae35) & this.#mask;
  }

  /** The slot of `key`, or -1. */
  find(key: number): number {
    const { keys } = this;
    const mask = this.#mask;
    let slot = this.#home(key);
    for (;;) {
      const found = keys[slot]!;
      if (found === key) return slot;
      if (found === EMPTY) return -1;
      slot = (slot + 1) & mask;
    }
  }

  set(key: number, value: number, sequence: number): void {
    const { keys } = this;
    const mask = this.#mask;
    let slot = this.#home(key);
    while (keys[slot] !== key) {
      if (keys[slot] === EMPTY) {
        assert(this.#size < this.capacity, "block table is full");
        keys[slot] = key;
        this.#size++;
        break;
      }
      slot = (slot + 1) & mask;
    }
    this.values[slot] = value;
    this.sequences[slot] = sequence;
  }

  removeSlot(slot: number): void {
    const { keys, values, sequences } = this;
    const mask = this.#mask;
    assert(keys[slot] !== EMPTY, "slot is empty");
    let hole = slot;
    let next = (slot + 1) & mask;
    while (keys[next] !== EMPTY) {
      const home = this.#home(keys[next]!);
      // The entry may move into the hole iff its home is not between the hole (exclusive) and
      // itself.
      if (((next - home) & mask) >= ((next - hole) & mask)) {
        keys[hole] = keys[next]!;
        values[hole] = values[next]!;
        sequences[hole] = sequences[next]!;
        hole = next;
      }
      next = (next + 1) & mask;
    }
    keys[hole] = EMPTY;
    this.#size--;
  }

  /**
   * Forgets everything. The first of `known` are all keys that are here: a few among many slots are
   * taken out one by one.
   */
  clear(known?: Float64Array): void {
    if (known !== undefined && this.#size < this.keys.length / FEW_SLOTS_PER_KEY) {
      for (let left = this.#size; left > 0; left--) this.removeSlot(this.find(known[left - 1]!));
      return;
    }
    this.keys.fill(EMPTY);
    this.#size = 0;
  }
}
