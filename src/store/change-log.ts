/**
 * What the journal's records were about, kept beyond the frames themselves: a ring of (component,
 * sequence, range) in fixed memory. A returning mirror is served from it: which blocks changed
 * since a sequence, without a search of the logical map. Contents are where they are: in the
 * journal's memory or, once destaged, at their home.
 *
 * For each component it knows from which sequence on it is complete. Older questions go to the
 * logical map, whose entries carry sequences for ever.
 */
import { assert } from "../base/index.ts";

const CAPACITY_DEFAULT = 1 << 17;

export interface BlockRange {
  readonly start: number;
  readonly end: number;
}

export class ChangeLog {
  readonly #components: Uint32Array;
  readonly #sequences: Float64Array;
  readonly #starts: Float64Array;
  readonly #counts: Float64Array;
  /** By component: changes up to this sequence may be missing from the ring. */
  readonly #floors = new Map<number, number>();
  readonly #capacity: number;
  #next = 0;
  #size = 0;

  constructor(capacity: number = CAPACITY_DEFAULT) {
    assert(capacity >= 1, "a log holds at least one change");
    this.#capacity = capacity;
    this.#components = new Uint32Array(capacity);
    this.#sequences = new Float64Array(capacity);
    this.#starts = new Float64Array(capacity);
    this.#counts = new Float64Array(capacity);
  }

  /** Everything of the component after `sequence` will be noted from now on. */
  begin(component: number, sequence: number): void {
    this.#floors.set(component, sequence);
  }

  forget(component: number): void {
    this.#floors.delete(component);
  }

  note(component: number, sequence: number, blockIndex: number, blockCount: number): void {
    const at = this.#next;
    if (this.#size === this.#capacity) this.#lose(at);
    else this.#size++;
    this.#components[at] = component;
    this.#sequences[at] = sequence;
    this.#starts[at] = blockIndex;
    this.#counts[at] = blockCount;
    this.#next = at + 1 === this.#capacity ? 0 : at + 1;
  }

  #lose(at: number): void {
    const component = this.#components[at]!;
    const floor = this.#floors.get(component);
    if (floor !== undefined && this.#sequences[at]! > floor)
      this.#floors.set(component, this.#sequences[at]!);
  }

  /**
   * The ranges that changed after `since`, within [from, to), merged and in order; undefined if
   * the log does not reach back that far.
   */
  since(
    component: number,
    since: number,
    from: number,
    to: number,
  ): readonly BlockRange[] | undefined {
    const floor = this.#floors.get(component);
    if (floor === undefined || floor > since) return undefined;
    const found: BlockRange[] = [];
    for (let at = 0; at < this.#size; at++) {
      if (this.#components[at] !== component || this.#sequences[at]! <= since) continue;
      const start = Math.max(from, this.#starts[at]!);
      const end = Math.min(to, this.#starts[at]! + this.#counts[at]!);
      if (start < end) found.push({ start, end });
    }
    return merged(found);
  }
}

/** Sorts ranges and joins those that touch. */
export function merged(ranges: BlockRange[]): BlockRange[] {
  ranges.sort((a, b) => a.start - b.start);
  const result: { start: number; end: number }[] = [];
  for (const { start, end } of ranges) {
    const last = result.at(-1);
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else result.push({ start, end });
  }
  return result;
}
