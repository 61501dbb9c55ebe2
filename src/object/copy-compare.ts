/**
 * Compares the copies of an object with each other while it is in use, by the digests of regions: a
 * window at a time, so that changes are held back for a moment only. Where they differ, of each
 * block the newest version is brought to whoever lacks it; versions with one number and different
 * contents are made equal by writing again what is read.
 */
import { BLOCK_SIZE_BYTES, CodedError, REGION_BLOCKS, toHex } from "../base/index.ts";
import { REGION_DIGEST_BYTES } from "../format/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { Clock } from "../ports/index.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_DATA } from "../store/index.ts";
import type { Component } from "../store/index.ts";
import { BlockTransfer, reachable } from "./block-transfer.ts";
import type { BlockCopy } from "./block-transfer.ts";
import type { Leg, Legs, ObjectMember } from "./legs.ts";
import type { ObjectVolume } from "./object-volume.ts";
import type { TransferMemory } from "./transfer-memory.ts";

/** 1 GiB of the object. */
const WINDOW_REGIONS = 1024;
const SETTLE_ATTEMPTS_MAX = 250;
const SETTLE_DELAY_MS = 20;

export interface CopyComparison {
  readonly regionsCompared: number;
  readonly regionsDiffered: number;
}

export interface CopyCompareWorld {
  readonly legs: Legs<Component>;
  readonly volume: ObjectVolume;
  readonly clock: Clock;
  readonly memory: TransferMemory;
}

interface Version {
  readonly sequence: number;
  readonly kind: number;
  readonly content: string;
}

export class CopyCompare {
  readonly #world: CopyCompareWorld;

  constructor(world: CopyCompareWorld) {
    this.#world = world;
  }

  /** Fails as components do. */
  async run(): Promise<CopyComparison> {
    const { volume } = this.#world;
    let regionsCompared = 0;
    let regionsDiffered = 0;
    for (let first = 0; first < this.#regionCount; first += WINDOW_REGIONS) {
      if (volume.isStopped) throw stopped();
      const count = Math.min(WINDOW_REGIONS, this.#regionCount - first);
      const rewrites: number[] = [];
      try {
        await volume.pause();
        const { compared, differing } = await this.#window(first, count);
        regionsCompared += compared;
        regionsDiffered += differing.length;
        for (const region of differing) rewrites.push(...(await this.#level(region)));
      } finally {
        volume.resume();
      }
      for (const block of rewrites) await volume.rewrite(block);
    }
    return { regionsCompared, regionsDiffered };
  }

  get #regionCount(): number {
    return Math.ceil(this.#blockCount / REGION_BLOCKS);
  }

  get #blockCount(): number {
    return Math.ceil(this.#world.volume.sizeBytes / BLOCK_SIZE_BYTES);
  }

  get #copies(): readonly Leg<Component>[] {
    const { legs } = this.#world;
    return legs.legs.slice(0, legs.copyCount);
  }

  /** No change is under way. */
  async #window(
    first: number,
    count: number,
  ): Promise<{ readonly compared: number; readonly differing: readonly number[] }> {
    const all = await Promise.all(this.#copies.map((leg) => this.#digestsOf(leg, first, count)));
    const differing: number[] = [];
    let compared = 0;
    for (let i = 0; i < count; i++) {
      const found = all.flatMap((digests) => digests[i] ?? []);
      if (found.length > 1) compared++;
      if (found.some((digest) => digest !== found[0])) differing.push(first + i);
    }
    return { compared, differing };
  }

  /** By region of the object; undefined where the leg has no good member. */
  async #digestsOf(
    leg: Leg<Component>,
    first: number,
    count: number,
  ): Promise<readonly (string | undefined)[]> {
    const digests: (string | undefined)[] = Array.from({ length: count });
    const blocks = this.#blockCount;
    const end = Math.min(blocks, (first + count) * REGION_BLOCKS);
    for (const [column, member] of leg.members.entries()) {
      if (member.role !== "active") continue;
      const from = leg.layout.componentBlockCount(column, first * REGION_BLOCKS) / REGION_BLOCKS;
      const to = Math.ceil(leg.layout.componentBlockCount(column, end) / REGION_BLOCKS);
      if (to === from) continue;
      const bytes = await this.#settled(member, from, to - from);
      for (let i = 0; i < to - from; i++) {
        const block = leg.layout.objectBlockOf(column, (from + i) * REGION_BLOCKS);
        const at = i * REGION_DIGEST_BYTES;
        digests[block / REGION_BLOCKS - first] = toHex(
          bytes.subarray(at, at + REGION_DIGEST_BYTES),
        );
      }
    }
    return digests;
  }

  async #settled(member: ObjectMember, first: number, count: number): Promise<Uint8Array> {
    const { legs, volume, clock } = this.#world;
    for (let attempt = 0; ; attempt++) {
      legs.commit(volume.epoch, volume.watermark);
      legs.submit();
      try {
        return await reachable(member).digests(volume.epoch, first, count);
      } catch (error) {
        const isEarly = error instanceof CodedError && error.code === "not-settled";
        if (!isEarly || attempt === SETTLE_ATTEMPTS_MAX) throw error;
      }
      await new Promise<void>((resolve) => void clock.after(SETTLE_DELAY_MS, resolve));
    }
  }

  /** Returns the blocks of which nobody can say which version is the newer one. */
  async #level(region: number): Promise<readonly number[]> {
    const { legs, volume, memory } = this.#world;
    const first = region * REGION_BLOCKS;
    const end = Math.min(first + REGION_BLOCKS, this.#blockCount);
    const copies = this.#copies.filter((leg) => leg.memberAt(first).role === "active");
    const versions = await Promise.all(copies.map((leg) => this.#versions(leg, first, end)));
    const missing = new Map<ObjectMember, BlockCopy[]>();
    const unclear = new Set<number>();
    for (let block = first; block < end; block++) {
      const here = versions.map((known) => known.get(block));
      const newest = Math.max(...here.map((one) => one?.sequence ?? 0));
      const at = here.findIndex((one) => (one?.sequence ?? 0) === newest);
      const best = here[at];
      if (best === undefined) continue;
      for (const [i, leg] of copies.entries()) {
        const own = here[i];
        if (own?.sequence === newest && own.content !== best.content) unclear.add(block);
        if (own?.sequence === newest) continue;
        const member = leg.memberAt(block);
        const source = copies[at]!.memberAt(block);
        const targetBlock = leg.layout.componentBlockOf(block);
        const { kind } = best;
        const list = missing.get(member) ?? [];
        list.push({
          ...{ objectBlock: block, targetBlock, blockCount: 1 },
          ...{ sequence: newest, kind, source },
        });
        missing.set(member, list);
      }
    }
    const transfer = new BlockTransfer(legs, volume.epoch, memory);
    for (const [member, list] of missing) await transfer.send(member, list);
    return [...unclear];
  }

  async #versions(
    leg: Leg<Component>,
    first: number,
    end: number,
  ): Promise<ReadonlyMap<number, Version>> {
    const known = new Map<number, Version>();
    const from = leg.layout.componentBlockOf(first);
    for (let at = from; at >= 0;) {
      const batch = await reachable(leg.memberAt(first)).changes({
        epoch: this.#world.volume.epoch,
        since: 0,
        fromBlock: at,
        toBlock: from + end - first,
        blocksMax: CHANGE_BLOCKS_MAX,
        withFingerprints: true,
      });
      let data = 0;
      for (const [run, start] of batch.starts.entries())
        for (let i = 0; i < batch.counts[run]!; i++) {
          const kind = batch.kinds[run]!;
          const print = kind === CHANGE_DATA ? data++ * FINGERPRINT_BYTES : -1;
          const content =
            print < 0
              ? String(kind)
              : toHex(batch.fingerprints.subarray(print, print + FINGERPRINT_BYTES));
          const version = { sequence: batch.sequences[run]!, kind, content };
          known.set(first + start + i - from, version);
        }
      at = batch.nextBlock;
    }
    return known;
  }
}

function stopped(): CodedError {
  return new CodedError({ code: "not-owner", message: "the volume has stopped" });
}
