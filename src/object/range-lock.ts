/**
 * Orders requests that touch the same blocks: a request starts when no earlier one overlaps with
 * it, unless both only read. Requests are named by their slot. Cost: one comparison of two ranges
 * per request in flight.
 */
import { assert } from "../base/index.ts";

const NONE = -1;

export class RangeLock {
  /** Entered and not left, in no order: slot, range and mode side by side. */
  #slots: Int32Array;
  #firsts: Float64Array;
  #ends: Float64Array;
  #exclusives: Uint8Array;
  #count = 0;
  /** By slot. */
  #positions: Int32Array;
  #blockerCounts: Int32Array;
  #edgeHeads: Int32Array;
  /** Who waits for whom: singly linked lists of waiting slots, with a list of free edges. */
  #edgeSlots = new Int32Array(64);
  #edgeNexts = new Int32Array(64);
  #edgeCount = 0;
  #edgeFree = NONE;

  constructor(slotCount: number) {
    this.#slots = new Int32Array(slotCount);
    this.#firsts = new Float64Array(slotCount);
    this.#ends = new Float64Array(slotCount);
    this.#exclusives = new Uint8Array(slotCount);
    this.#positions = new Int32Array(slotCount).fill(NONE);
    this.#blockerCounts = new Int32Array(slotCount);
    this.#edgeHeads = new Int32Array(slotCount).fill(NONE);
  }

  get count(): number {
    return this.#count;
  }

  /** Makes room for slots below `slotCount`. */
  grow(slotCount: number): void {
    const before = this.#slots.length;
    assert(slotCount >= before, "a lock does not shrink");
    this.#slots = resized(this.#slots, slotCount);
    this.#exclusives = resizedBytes(this.#exclusives, slotCount);
    this.#firsts = resizedFloats(this.#firsts, slotCount);
    this.#ends = resizedFloats(this.#ends, slotCount);
    this.#positions = resized(this.#positions, slotCount).fill(NONE, before);
    this.#blockerCounts = resized(this.#blockerCounts, slotCount);
    this.#edgeHeads = resized(this.#edgeHeads, slotCount).fill(NONE, before);
  }

  /**
   * Blocks `[first, end)`. True if the request may start; otherwise `leave` of another one names
   * it.
   */
  enter(slot: number, first: number, end: number, isExclusive: boolean): boolean {
    assert(this.#positions[slot] === NONE, "the slot has entered already");
    const exclusive = isExclusive ? 1 : 0;
    const firsts = this.#firsts;
    const ends = this.#ends;
    const count = this.#count;
    let blockers = 0;
    for (let i = 0; i < count; i++) {
      if (firsts[i]! >= end || ends[i]! <= first) continue;
      if ((exclusive | this.#exclusives[i]!) === 0) continue;
      this.#addEdge(this.#slots[i]!, slot);
      blockers++;
    }
    this.#slots[count] = slot;
    firsts[count] = first;
    ends[count] = end;
    this.#exclusives[count] = exclusive;
    this.#positions[slot] = count;
    this.#blockerCounts[slot] = blockers;
    this.#count = count + 1;
    return blockers === 0;
  }

  /** Whether a request that changes some of these blocks has entered, and not left. */
  isChanging(first: number, end: number): boolean {
    for (let i = this.#count - 1; i >= 0; i--) {
      if (this.#exclusives[i] === 0) continue;
      if (this.#firsts[i]! < end && this.#ends[i]! > first) return true;
    }
    return false;
  }

  /** Appends the slots that may start now to `ready`, in the order in which they entered. */
  leave(slot: number, ready: number[]): void {
    const position = this.#positions[slot]!;
    assert(
      position !== NONE && this.#blockerCounts[slot] === 0,
      "the slot does not hold its range",
    );
    this.#remove(position);
    this.#positions[slot] = NONE;
    let edge = this.#edgeHeads[slot]!;
    if (edge === NONE) return;
    this.#edgeHeads[slot] = NONE;
    const from = ready.length;
    while (edge !== NONE) {
      const waiting = this.#edgeSlots[edge]!;
      const blockers = this.#blockerCounts[waiting]! - 1;
      this.#blockerCounts[waiting] = blockers;
      if (blockers === 0) ready.push(waiting);
      const next = this.#edgeNexts[edge]!;
      this.#edgeNexts[edge] = this.#edgeFree;
      this.#edgeFree = edge;
      edge = next;
    }
    // Edges were added in front, so the latest came out first.
    reverseFrom(ready, from);
  }

  #remove(position: number): void {
    const last = --this.#count;
    if (position === last) return;
    const moved = this.#slots[last]!;
    this.#slots[position] = moved;
    this.#firsts[position] = this.#firsts[last]!;
    this.#ends[position] = this.#ends[last]!;
    this.#exclusives[position] = this.#exclusives[last]!;
    this.#positions[moved] = position;
  }

  #addEdge(from: number, to: number): void {
    let edge = this.#edgeFree;
    if (edge === NONE) {
      edge = this.#edgeCount++;
      if (edge === this.#edgeSlots.length) {
        this.#edgeSlots = resized(this.#edgeSlots, 2 * edge);
        this.#edgeNexts = resized(this.#edgeNexts, 2 * edge);
      }
    } else {
      this.#edgeFree = this.#edgeNexts[edge]!;
    }
    this.#edgeSlots[edge] = to;
    this.#edgeNexts[edge] = this.#edgeHeads[from]!;
    this.#edgeHeads[from] = edge;
  }
}

function reverseFrom(items: number[], from: number): void {
  for (let i = from, j = items.length - 1; i < j; i++, j--) {
    const item = items[i]!;
    items[i] = items[j]!;
    items[j] = item;
  }
}

function resized(array: Int32Array, length: number): Int32Array<ArrayBuffer> {
  const larger = new Int32Array(length);
  larger.set(array);
  return larger;
}

function resizedBytes(array: Uint8Array, length: number): Uint8Array {
  const larger = new Uint8Array(length);
  larger.set(array);
  return larger;
}

function resizedFloats(array: Float64Array, length: number): Float64Array {
  const larger = new Float64Array(length);
  larger.set(array);
  return larger;
}
