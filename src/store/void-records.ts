/**
 * Transactions that never happened although they are in the journal: the tail of a component that
 * was away while its object's new owner settled without it. A record in the journal says so, and
 * what came before that record with a higher sequence is neither destaged nor read.
 */
import type { RecordHeader } from "../format/index.ts";

interface VoidTail {
  readonly frame: number;
  readonly above: number;
}

export class VoidRecords {
  readonly #byComponent = new Map<number, VoidTail[]>();

  /** The component's records up to `frame` with a sequence above `above` never happened. */
  add(component: number, frame: number, above: number): void {
    const tails = this.#byComponent.get(component) ?? [];
    tails.push({ frame, above });
    this.#byComponent.set(component, tails);
  }

  has(record: RecordHeader, frame: number): boolean {
    if (this.#byComponent.size === 0) return false;
    const tails = this.#byComponent.get(record.component);
    if (tails === undefined) return false;
    return tails.some((tail) => frame <= tail.frame && record.sequence > tail.above);
  }

  /** Frames up to this one are destaged: nobody asks about them again. */
  release(frame: number): void {
    for (const [component, tails] of this.#byComponent) {
      const kept = tails.filter((tail) => tail.frame > frame);
      if (kept.length === 0) this.#byComponent.delete(component);
      else this.#byComponent.set(component, kept);
    }
  }
}
