/**
 * What of an object has changed since a sequence, in blocks of the object, and a digest of all that
 * it holds. Both come from the maps of one whole leg: no data are read, and neither depends on how
 * the leg is striped.
 */
import {
  BLOCK_SIZE_BYTES,
  CodedError,
  getU32,
  REGION_BLOCKS,
  setU32,
  toHex,
} from "../base/index.ts";
import { REGION_DIGEST_BYTES } from "../format/index.ts";
import type { Clock } from "../ports/index.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_DATA, CHANGE_ZERO } from "../store/index.ts";
import type { ChangeBatch, Component } from "../store/index.ts";
import type { Leg, Legs } from "./legs.ts";
import type { LegLayout } from "./object-layout.ts";
import type { ObjectVolume } from "./object-volume.ts";

/** 64 MiB: what one answer tells of. */
const WINDOW_BLOCKS = 16_384;
const REGIONS_AT_ONCE = 1024;
const SETTLE_ATTEMPTS_MAX = 250;
const SETTLE_DELAY_MS = 20;
const KINDS = new Map<number, ChangedRun["kind"]>([
  [CHANGE_DATA, "data"],
  [CHANGE_ZERO, "allocated-zero"],
]);

export interface ChangedRun {
  readonly kind: "data" | "allocated-zero" | "hole";
  readonly blockIndex: number;
  readonly blockCount: number;
}

export interface ObjectChanges {
  readonly runs: readonly ChangedRun[];
  /** Where to go on; undefined at the end. */
  readonly nextBlock: number | undefined;
}

export class ObjectChangesReader {
  readonly #legs: Legs<Component>;
  readonly #volume: ObjectVolume;

  constructor(legs: Legs<Component>, volume: ObjectVolume) {
    this.#legs = legs;
    this.#volume = volume;
  }

  async since(since: number, fromBlock: number): Promise<ObjectChanges> {
    const leg = this.#wholeLeg();
    const end = this.#blockCount;
    const toBlock = Math.min(end, fromBlock + WINDOW_BLOCKS);
    const runs: ChangedRun[] = [];
    for (const [column, component] of componentsOf(leg).entries()) {
      const from = leg.layout.componentBlockCount(column, fromBlock);
      const to = leg.layout.componentBlockCount(column, toBlock);
      for (let at = from; at >= 0 && at < to;) {
        const batch = await component.changes({
          epoch: this.#volume.epoch,
          since,
          fromBlock: at,
          toBlock: to,
          blocksMax: CHANGE_BLOCKS_MAX,
          withFingerprints: false,
        });
        addRuns(runs, leg.layout, column, batch);
        at = batch.nextBlock;
      }
    }
    return { runs: merged(runs), nextBlock: toBlock < end ? toBlock : undefined };
  }

  /** Equal for two objects that hold the same data, on whatever devices. */
  async digest(clock: Clock): Promise<string> {
    const leg = this.#wholeLeg();
    const total = new Uint8Array(REGION_DIGEST_BYTES);
    for (const [column, component] of componentsOf(leg).entries()) {
      const blocks = leg.layout.componentBlockCount(column, this.#blockCount);
      const regionCount = Math.ceil(blocks / REGION_BLOCKS);
      for (let first = 0; first < regionCount; first += REGIONS_AT_ONCE) {
        const count = Math.min(REGIONS_AT_ONCE, regionCount - first);
        const digests = await this.#settled(component, first, count, clock);
        for (let i = 0; i < count; i++) {
          const block = leg.layout.objectBlockOf(column, (first + i) * REGION_BLOCKS);
          addDigest(total, digests, i * REGION_DIGEST_BYTES, block / REGION_BLOCKS);
        }
      }
    }
    return toHex(total);
  }

  async #settled(
    component: Component,
    first: number,
    count: number,
    clock: Clock,
  ): Promise<Uint8Array> {
    for (let attempt = 0; ; attempt++) {
      this.#legs.commit(this.#volume.epoch, this.#volume.watermark);
      this.#legs.submit();
      try {
        return await component.digests(this.#volume.epoch, first, count);
      } catch (error) {
        const isEarly = error instanceof CodedError && error.code === "not-settled";
        if (!isEarly || attempt === SETTLE_ATTEMPTS_MAX) throw error;
      }
      await new Promise<void>((resolve) => void clock.after(SETTLE_DELAY_MS, resolve));
    }
  }

  get #blockCount(): number {
    return Math.ceil(this.#volume.sizeBytes / BLOCK_SIZE_BYTES);
  }

  #wholeLeg(): Leg<Component> {
    const leg = this.#legs.legs.slice(0, this.#legs.copyCount).find((one) => one.isComplete);
    if (leg !== undefined) return leg;
    throw new CodedError({
      code: "object-inaccessible",
      message: `no copy of ${this.#volume.name} is whole by itself`,
      hint: "wait until what is stale has caught up: `drystone resync list`",
    });
  }
}

function componentsOf(leg: Leg<Component>): Component[] {
  return leg.members.flatMap(({ component }) => component ?? []);
}

function addRuns(
  runs: ChangedRun[],
  layout: LegLayout,
  column: number,
  { starts, counts, kinds }: ChangeBatch,
): void {
  for (const [i, start] of starts.entries()) {
    const kind = KINDS.get(kinds[i]!) ?? "hole";
    const end = start + counts[i]!;
    for (let block = start; block < end;) {
      const blockIndex = layout.objectBlockOf(column, block);
      const blockCount = Math.min(end - block, layout.runBlocks(blockIndex));
      runs.push({ kind, blockIndex, blockCount });
      block += blockCount;
    }
  }
}

function merged(runs: ChangedRun[]): ChangedRun[] {
  runs.sort((a, b) => a.blockIndex - b.blockIndex);
  const result: { kind: ChangedRun["kind"]; blockIndex: number; blockCount: number }[] = [];
  for (const run of runs) {
    const last = result.at(-1);
    const isNext = last !== undefined && last.blockIndex + last.blockCount === run.blockIndex;
    if (isNext && last.kind === run.kind) last.blockCount += run.blockCount;
    else result.push({ ...run });
  }
  return result;
}

/** The order of regions counts; regions without data do not. */
function addDigest(total: Uint8Array, digests: Uint8Array, at: number, region: number): void {
  for (let lane = 0; lane < REGION_DIGEST_BYTES; lane += 4) {
    const word = getU32(digests, at + lane);
    if (word === 0) continue;
    const mixed = Math.imul(word ^ Math.imul(region + 1, 0x9e3779b1), 0x85ebca6b);
    setU32(total, lane, (getU32(total, lane) + ((mixed ^ (mixed >>> 15)) >>> 0)) % 2 ** 32);
  }
}
