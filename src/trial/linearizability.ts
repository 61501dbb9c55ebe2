/**
 * Whether one order explains what clients saw of one block: each request takes effect at one moment
 * between its call and its answer, and each read sees what the writes before it left. A block is a
 * register of eight sectors; a partial write changes some of them.
 *
 * The search is just in time (Lowe, Testing for Linearizability, 2017): a request is put in its
 * place only when its answer comes, so only requests that overlap are permuted. Writes whose
 * outcome nobody learned may take effect at any time or never; of two ways to the same state the
 * one that has used up fewer of them is kept. Blocks are independent of each other, because no
 * promise spans two (Herlihy and Wing, Linearizability, 1990: locality).
 */
import { assert, assertDefined } from "../base/index.ts";

export const BLOCK_SECTORS = 8;
/** Requests that overlap at one time; also the bits of a mask. */
const OVERLAP_MAX = 30;
/** Ways that may be looked at for one answer before the search gives up. */
const WAYS_MAX = 200_000;

/** One request, as far as it concerns one block. */
export interface BlockOperation {
  readonly kind: "read" | "write";
  /** Sectors of the block, from 0 to 8, the end excluded. */
  readonly firstSector: number;
  readonly endSector: number;
  /** What a write left in each of its sectors, or what a read saw there. */
  readonly contents: readonly number[];
  /** Places in the order of all calls and answers. */
  readonly calledAt: number;
  /** Infinity if no answer told what became of it. */
  readonly answeredAt: number;
}

export type Verdict =
  | { readonly kind: "linearizable" }
  | { readonly kind: "violated"; readonly operation: BlockOperation }
  /** Too many requests without an outcome: nothing was proven. */
  | { readonly kind: "undecided" };

/** A way to explain everything answered so far. */
interface Way {
  readonly state: number;
  /** Open requests that have taken effect, by slot. */
  readonly done: number;
  /** Writes without an outcome that have taken effect, by slot. */
  readonly used: number;
}

/** The block holds zeroes at first. */
export function checkBlock(operations: readonly BlockOperation[]): Verdict {
  return new BlockSearch(operations).run();
}

class BlockSearch {
  readonly #events: { readonly at: number; readonly operation: BlockOperation }[] = [];
  readonly #states = new StateTable();
  readonly #open: (BlockOperation | undefined)[] = [];
  readonly #lost: BlockOperation[] = [];
  #ways: readonly Way[] = [{ state: 0, done: 0, used: 0 }];

  constructor(operations: readonly BlockOperation[]) {
    const seen = new Set<number>();
    for (const operation of operations)
      if (operation.kind === "read") for (const content of operation.contents) seen.add(content);
    for (const operation of operations) {
      const isLost = operation.answeredAt === Infinity;
      // What was never seen need not have happened.
      if (isLost && operation.kind === "read") continue;
      if (isLost && !operation.contents.some((content) => seen.has(content))) continue;
      this.#events.push({ at: operation.calledAt, operation });
      if (!isLost) this.#events.push({ at: operation.answeredAt, operation });
    }
    this.#events.sort((a, b) => a.at - b.at);
  }

  run(): Verdict {
    for (const { at, operation } of this.#events) {
      if (at === operation.calledAt) {
        if (!this.#call(operation)) return { kind: "undecided" };
        continue;
      }
      const slot = this.#open.indexOf(operation);
      const ways = this.#answer(operation, slot);
      if (ways === undefined) return { kind: "undecided" };
      if (ways.length === 0) return { kind: "violated", operation };
      this.#ways = ways;
      this.#open[slot] = undefined;
    }
    return { kind: "linearizable" };
  }

  #call(operation: BlockOperation): boolean {
    if (operation.answeredAt === Infinity) return this.#lost.push(operation) <= OVERLAP_MAX;
    const free = this.#open.indexOf(undefined);
    if (free >= 0) this.#open[free] = operation;
    else this.#open.push(operation);
    return this.#open.length <= OVERLAP_MAX;
  }

  /** Every way in which the request has taken effect by now; undefined if there are too many. */
  #answer(operation: BlockOperation, slot: number): readonly Way[] | undefined {
    const [only] = this.#ways;
    const isAlone = this.#open.every((other) => other === undefined || other === operation);
    if (isAlone && this.#lost.length === 0 && this.#ways.length === 1 && only?.done === 0)
      return this.#answerAlone(operation, only);
    const found = new Map<string, Way[]>();
    const seen = new Set<string>();
    const stack = [...this.#ways];
    for (let way = stack.pop(); way !== undefined; way = stack.pop()) {
      const here = this.#withReads(way);
      const key = `${here.state} ${here.done} ${here.used}`;
      if (seen.has(key)) continue;
      seen.add(key);
      if (seen.size > WAYS_MAX) return undefined;
      if ((here.done & (1 << slot)) !== 0) keep(found, { ...here, done: here.done & ~(1 << slot) });
      else this.#expand(here, stack);
    }
    return [...found.values()].flat();
  }

  #answerAlone(operation: BlockOperation, way: Way): readonly Way[] {
    if (operation.kind === "write")
      return [{ state: this.#states.after(way.state, operation), done: 0, used: 0 }];
    return this.#states.shows(way.state, operation) ? [{ ...way, done: 0 }] : [];
  }

  /** A read that sees its state may as well take effect now: it changes nothing. */
  #withReads(way: Way): Way {
    let { done } = way;
    for (const [slot, operation] of this.#open.entries()) {
      if (operation?.kind !== "read" || (done & (1 << slot)) !== 0) continue;
      if (this.#states.shows(way.state, operation)) done |= 1 << slot;
    }
    return done === way.done ? way : { ...way, done };
  }

  #expand(way: Way, stack: Way[]): void {
    const { state, done, used } = way;
    for (const [slot, operation] of this.#open.entries()) {
      if (operation?.kind !== "write" || (done & (1 << slot)) !== 0) continue;
      stack.push({ state: this.#states.after(state, operation), done: done | (1 << slot), used });
    }
    for (const [slot, operation] of this.#lost.entries()) {
      if ((used & (1 << slot)) !== 0) continue;
      stack.push({ state: this.#states.after(state, operation), done, used: used | (1 << slot) });
    }
  }
}

/** Adds a way unless one that has used fewer writes leads to the same, and drops those it beats. */
function keep(found: Map<string, Way[]>, way: Way): void {
  const key = `${way.state} ${way.done}`;
  const others = found.get(key) ?? [];
  if (others.some((other) => (other.used & way.used) === other.used)) return;
  found.set(key, [...others.filter((other) => (other.used & way.used) !== way.used), way]);
}

/** Contents of the eight sectors, each combination once, under small numbers. 0: all zeroes. */
class StateTable {
  readonly #states: number[][] = [Array.from({ length: BLOCK_SECTORS }, () => 0)];
  readonly #numbers = new Map<string, number>([[this.#states[0]!.join(), 0]]);

  after(state: number, { firstSector, contents }: BlockOperation): number {
    const next = assertDefined(this.#states[state], "no such state").slice();
    for (const [i, content] of contents.entries()) next[firstSector + i] = content;
    assert(next.length === BLOCK_SECTORS, "a write leaves its block");
    const key = next.join();
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = this.#states.push(next) - 1;
      this.#numbers.set(key, number);
    }
    return number;
  }

  shows(state: number, { firstSector, contents }: BlockOperation): boolean {
    const sectors = assertDefined(this.#states[state], "no such state");
    return contents.every((content, i) => sectors[firstSector + i] === content);
  }
}
