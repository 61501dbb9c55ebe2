/**
 * What of a component is data and what is not. A range goes over gigabytes and asks for nothing
 * that could make it wait, so the walk gives up its turn by itself: whoever asks, a client or
 * another host, keeps nobody else waiting. What is written meanwhile may or may not be seen.
 */
import { assert } from "../base/index.ts";
import {
  PAGE_BLOCKS,
  PAGE_ENTRIES_BYTES,
  PHYSICAL_HOLE,
  PHYSICAL_MAX,
  PHYSICAL_ZERO,
} from "../format/index.ts";
import { requireThere } from "./component-table.ts";
import type { ComponentInfo } from "./component-table.ts";
import type { BlockRun } from "./component.ts";
import type { DeviceState } from "./device-state.ts";
import { entryOffset, pageOf, physicalOf } from "./logical-map.ts";
import { LOCATION_HOLE, LOCATION_NONE, LOCATION_ZERO } from "./pending-blocks.ts";
import { WalkTurns } from "./walk-turns.ts";

/** Blocks that one walk goes through: 1 GiB. */
const WALK_BLOCKS_MAX = 262_144;
/** Steps: to look up the blocks of a page among those that are pending, ... */
const PENDING_STEPS = 2;
/** ... for so many pending ranges one step more, ... */
const RANGES_PER_STEP = 8;
/** ... and to read a page that is there. */
const PAGE_STEPS = 16;

export class ExtentWalks {
  readonly #state: DeviceState;
  readonly #turns: WalkTurns;
  /** Not the cache's: one look at all of a volume would drive out the pages that are in use. */
  readonly #entries = new Uint8Array(PAGE_ENTRIES_BYTES);

  constructor(state: DeviceState) {
    this.#state = state;
    this.#turns = new WalkTurns(state.clock);
  }

  /**
   * Runs from the first block on, in order and merged. Fails with `component-missing`, or with
   * `unreachable` if the device is closed meanwhile.
   */
  async walk(
    info: ComponentInfo,
    blockIndex: number,
    blockCount: number,
    runsMax: number,
  ): Promise<readonly BlockRun[]> {
    assert(blockIndex + blockCount <= info.blockCount, "range beyond component");
    requireThere(info);
    const runs = new Runs(blockIndex, runsMax);
    const end = blockIndex + Math.min(blockCount, WALK_BLOCKS_MAX);
    if (this.#turns.isTaken) await this.#nextTurn(info);
    for (let block = blockIndex; block < end && !runs.isFull;) {
      if (this.#turns.isOver) await this.#nextTurn(info);
      const pageEnd = Math.min(end, (pageOf(block) + 1) * PAGE_BLOCKS);
      this.#turns.spend(this.#addPage(info.index, block, pageEnd, runs));
      block = pageEnd;
    }
    return runs.list;
  }

  close(): void {
    this.#turns.close();
  }

  async #nextTurn(info: ComponentInfo): Promise<void> {
    await this.#turns.next();
    requireThere(info);
  }

  /** Returns how many steps it took. */
  #addPage(component: number, from: number, to: number, runs: Runs): number {
    const { pending, logical } = this.#state;
    const page = pageOf(from);
    const isMapped = this.#isMapped(component, page);
    const isPending = pending.mayHold(component, from, to);
    if (!isMapped && !isPending) {
      runs.add("hole", to - from);
      return 1;
    }
    if (isMapped) logical.copyPage(component, page, this.#entries, 0);
    for (let block = from; block < to; block++) {
      const location = isPending ? pending.locate(component, block) : LOCATION_NONE;
      if (location !== LOCATION_NONE) runs.add(pendingKind(location), 1);
      else runs.add(isMapped ? this.#mappedKind(block) : "hole", 1);
    }
    const pendingSteps = PENDING_STEPS + Math.ceil(pending.ranges.length / RANGES_PER_STEP);
    return (isMapped ? PAGE_STEPS : 0) + (isPending ? pendingSteps : 0);
  }

  /** Whether the page is there, its own or that of the component it shares pages with. */
  #isMapped(component: number, page: number): boolean {
    const { regions, components } = this.#state;
    for (let owner = component; owner !== 0; owner = components.baseOf(owner, page)) {
      if (regions.hasPage(owner, page)) return true;
    }
    return false;
  }

  #mappedKind(block: number): BlockRun["kind"] {
    const physical = physicalOf(this.#entries, entryOffset(block));
    if (physical < PHYSICAL_MAX) return "data";
    if (physical === PHYSICAL_ZERO) return "allocated-zero";
    // A damaged block must be read to be noticed: never call it a hole.
    return physical === PHYSICAL_HOLE ? "hole" : "data";
  }
}

function pendingKind(location: number): BlockRun["kind"] {
  if (location === LOCATION_HOLE) return "hole";
  return location === LOCATION_ZERO ? "allocated-zero" : "data";
}

/** Joins neighbours of one kind. Full when a run more than wanted begins. */
class Runs {
  readonly list: { kind: BlockRun["kind"]; blockIndex: number; blockCount: number }[] = [];
  readonly #runsMax: number;
  #next: number;
  isFull = false;

  constructor(blockIndex: number, runsMax: number) {
    this.#next = blockIndex;
    this.#runsMax = runsMax;
  }

  add(kind: BlockRun["kind"], blockCount: number): void {
    if (this.isFull) return;
    const last = this.list.at(-1);
    if (last?.kind === kind) last.blockCount += blockCount;
    else if (this.list.length === this.#runsMax) this.isFull = true;
    else this.list.push({ kind, blockIndex: this.#next, blockCount });
    this.#next += blockCount;
  }
}
