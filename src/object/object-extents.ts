/** What of a volume is data and what is not, told by its first leg, in order and merged. */
import { assert, assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { BlockRun } from "../store/index.ts";
import type { Legs } from "./legs.ts";
import type { Extent } from "./volume-io.ts";

export function visitExtents(
  legs: Legs,
  offset: number,
  lengthBytes: number,
  visit: (extent: Extent) => boolean,
): void {
  if (lengthBytes === 0) return;
  const merger = new ExtentMerger(offset, offset + lengthBytes, visit);
  const end = Math.ceil((offset + lengthBytes) / BLOCK_SIZE_BYTES);
  let block = Math.floor(offset / BLOCK_SIZE_BYTES);
  while (block < end && !merger.isStopped) {
    const leg = assertDefined(legs.readableLeg(block, 0), "every block has an active member");
    const count = Math.min(end - block, legs.runBlocks(block));
    const componentBlock = leg.layout.componentBlockOf(block);
    const shift = block - componentBlock;
    const component = assertDefined(leg.memberAt(block).component, "an active member is there");
    component.extents(componentBlock, count, (run) => merger.add(run, shift));
    block += count;
  }
  merger.finish();
}

/** Joins neighbours of one kind and cuts at the ends of the range that was asked for. */
class ExtentMerger {
  readonly #start: number;
  readonly #end: number;
  readonly #visit: (extent: Extent) => boolean;
  #kind: Extent["kind"] | undefined = undefined;
  #from: number;
  #to: number;
  isStopped = false;

  constructor(start: number, end: number, visit: (extent: Extent) => boolean) {
    this.#start = start;
    this.#end = end;
    this.#visit = visit;
    this.#from = start;
    this.#to = start;
  }

  /** `shift` leads from blocks of the component to blocks of the object. */
  add(run: BlockRun, shift: number): boolean {
    const from = Math.max((run.blockIndex + shift) * BLOCK_SIZE_BYTES, this.#start);
    const to = Math.min((run.blockIndex + shift + run.blockCount) * BLOCK_SIZE_BYTES, this.#end);
    assert(from === this.#to && to > from, "runs of a component have gaps");
    if (run.kind !== this.#kind) {
      if (!this.#emit()) return false;
      this.#kind = run.kind;
      this.#from = from;
    }
    this.#to = to;
    return true;
  }

  finish(): void {
    if (this.isStopped) return;
    assert(this.#to === this.#end, "the runs of a component end early");
    this.#emit();
  }

  #emit(): boolean {
    if (this.#kind === undefined || this.#from === this.#to) return true;
    const lengthBytes = this.#to - this.#from;
    this.isStopped = !this.#visit({ kind: this.#kind, offset: this.#from, lengthBytes });
    return !this.isStopped;
  }
}
