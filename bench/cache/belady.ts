/**
 * Belady's MIN (IBM Systems Journal 1966): evicts what is used again last. It knows the future, and
 * no policy can miss less often. Resident keys stand in a heap by their next use; a use adds a
 * newer element and leaves the older one behind, to be dropped when it comes up.
 */
import type { Policy, PolicySetting } from "./policy.ts";

export class Belady implements Policy {
  readonly #capacity: number;
  /** For each access, the position of the next one of the same key, or the length of the trace. */
  readonly #nextUse: Uint32Array;
  readonly #trace: Uint32Array;
  /** Next use of each resident key; 0 if it is not resident (a next use is never at 0). */
  readonly #residentUntil: Uint32Array;
  readonly #heap: Uint32Array;
  #heapSize = 0;
  #residentCount = 0;
  #position = 0;

  constructor({ capacity, uniqueCount, trace }: PolicySetting) {
    this.#capacity = capacity;
    this.#trace = trace;
    this.#nextUse = nextUses(trace, uniqueCount);
    this.#residentUntil = new Uint32Array(uniqueCount);
    this.#heap = new Uint32Array(trace.length + 1);
  }

  access(key: number): boolean {
    const hit = this.#residentUntil[key] !== 0;
    if (!hit) {
      if (this.#residentCount === this.#capacity) this.#evict();
      this.#residentCount++;
    }
    this.#residentUntil[key] = this.#nextUse[this.#position]!;
    this.#push(this.#position);
    this.#position++;
    return hit;
  }

  #evict(): void {
    for (;;) {
      const position = this.#pop();
      const key = this.#trace[position]!;
      // Elements of earlier uses of a key are stale: its next use has moved on.
      if (this.#residentUntil[key] !== this.#nextUse[position]) continue;
      this.#residentUntil[key] = 0;
      this.#residentCount--;
      return;
    }
  }

  #push(position: number): void {
    const heap = this.#heap;
    const use = this.#nextUse[position]!;
    let at = this.#heapSize++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.#nextUse[heap[parent]!]! >= use) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = position;
  }

  #pop(): number {
    const heap = this.#heap;
    const top = heap[0]!;
    const last = heap[--this.#heapSize]!;
    const use = this.#nextUse[last]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.#heapSize) break;
      if (child + 1 < this.#heapSize && this.#useAt(child + 1) > this.#useAt(child)) child++;
      if (this.#useAt(child) <= use) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
    return top;
  }

  #useAt(at: number): number {
    return this.#nextUse[this.#heap[at]!]!;
  }
}

function nextUses(trace: Uint32Array, uniqueCount: number): Uint32Array {
  const next = new Uint32Array(trace.length);
  const seen = new Uint32Array(uniqueCount).fill(trace.length);
  for (let position = trace.length - 1; position >= 0; position--) {
    const key = trace[position]!;
    next[position] = seen[key]!;
    seen[key] = position;
  }
  return next;
}
