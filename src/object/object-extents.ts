/** What of a volume is data and what is not, told by the nearest leg, in order and merged. */
import { assert, BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import type { BlockRun } from "../store/index.ts";
import type { Legs } from "./legs.ts";
import type { Extent } from "./volume-io.ts";

/** Fails with `unreachable`. */
export async function collectExtents(
  legs: Legs,
  offset: number,
  lengthBytes: number,
  extentsMax: number,
): Promise<readonly Extent[]> {
  assert(lengthBytes > 0 && extentsMax > 0, "a range has extents");
  const list = new ExtentList(offset, offset + lengthBytes);
  const end = Math.ceil((offset + lengthBytes) / BLOCK_SIZE_BYTES);
  let block = Math.floor(offset / BLOCK_SIZE_BYTES);
  while (block < end && list.count <= extentsMax) {
    const count = Math.min(end - block, legs.runBlocks(block));
    const runs = await runsAt(legs, block, count, extentsMax + 1 - list.count);
    assert(runs.length > 0, "a component tells of its first block at least");
    for (const run of runs) {
      list.add(run.kind, block, run.blockCount);
      block += run.blockCount;
    }
  }
  return list.first(extentsMax);
}

async function runsAt(
  legs: Legs,
  block: number,
  count: number,
  runsMax: number,
): Promise<readonly BlockRun[]> {
  let generation = legs.generation;
  for (let attempt = 0; ; attempt++) {
    if (generation !== legs.generation) {
      generation = legs.generation;
      attempt = 0;
    }
    const leg = legs.readableLeg(block, attempt);
    const member = leg?.memberAt(block);
    const component = member?.component;
    if (leg === undefined || component === undefined)
      throw new CodedError({ code: "unreachable", message: "no copy can be asked for extents" });
    if (member?.isHollow === true) continue;
    try {
      const run = Math.min(count, leg.layout.runBlocks(block));
      return await component.extents(leg.layout.componentBlockOf(block), run, runsMax);
    } catch (error) {
      if (!(error instanceof CodedError)) throw error;
    }
  }
}

/** Joins neighbours of one kind and cuts at the ends of the range that was asked for. */
class ExtentList {
  readonly #start: number;
  readonly #end: number;
  readonly #extents: { kind: Extent["kind"]; offset: number; lengthBytes: number }[] = [];

  constructor(start: number, end: number) {
    this.#start = start;
    this.#end = end;
  }

  get count(): number {
    return this.#extents.length;
  }

  add(kind: Extent["kind"], block: number, blockCount: number): void {
    const from = Math.max(block * BLOCK_SIZE_BYTES, this.#start);
    const to = Math.min((block + blockCount) * BLOCK_SIZE_BYTES, this.#end);
    const last = this.#extents.at(-1);
    assert(to > from, "a run lies in the range");
    assert(from === (last === undefined ? this.#start : last.offset + last.lengthBytes), "a gap");
    if (last?.kind === kind) last.lengthBytes += to - from;
    else this.#extents.push({ kind, offset: from, lengthBytes: to - from });
  }

  first(extentsMax: number): readonly Extent[] {
    return this.#extents.slice(0, extentsMax);
  }
}
