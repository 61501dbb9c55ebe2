/**
 * The return of a stale component (US9830234B2), and the first coming of one that is made anew:
 * what it lacks is told by the components of the other legs, in parallel, filtered by its range,
 * and of each block only the newest version is brought (`ChangeExchange`). New writes reach it
 * meanwhile. It counts again when, between two writes, the digests of its regions are equal to
 * those of its mirrors.
 */
import { assert, BLOCK_SIZE_BYTES, CodedError, marks, REGION_BLOCKS } from "../base/index.ts";
import type { Clock } from "../ports/index.ts";
import { CHANGE_DATA } from "../store/index.ts";
import type { Component } from "../store/index.ts";
import { BlockTransfer, reachable } from "./block-transfer.ts";
import type { BlockCopy } from "./block-transfer.ts";
import { sourcesOf } from "./catch-up-sources.ts";
import { ChangeExchange } from "./change-exchange.ts";
import type { ExchangeOptions } from "./change-exchange.ts";
import type { Leg, Legs, ObjectMember } from "./legs.ts";
import type { ObjectVolume } from "./object-volume.ts";
import { compareRegions } from "./region-compare.ts";
import type { ResyncProgress } from "./resync-progress.ts";
import type { TransferMemory } from "./transfer-memory.ts";

const SETTLE_ATTEMPTS_MAX = 500;
const SETTLE_DELAY_MS = 10;

export interface CatchUpWorld {
  readonly legs: Legs<Component>;
  readonly volume: ObjectVolume;
  readonly epoch: number;
  readonly clock: Clock;
  readonly memory: TransferMemory;
  /** Of this attempt, and of those before it. */
  readonly progress: ResyncProgress;
  readonly exchange: ExchangeOptions;
  /** Durably, by compare-and-swap: the component is active. */
  readonly activate: (member: ObjectMember) => Promise<void>;
  /**
   * If it counts only together with others: the member holds everything. Resolves when it is
   * active; until then `confirm` is called once, between two writes.
   */
  readonly together?: (catchUp: CatchUp) => Promise<void>;
  /** A region that differed although everything was sent. */
  readonly onMismatch: (member: ObjectMember, regions: readonly number[]) => void;
  /** Test-only: what a trial takes out to see that it is found. */
  readonly rules: CatchUpRules;
}

export interface CatchUpRules {
  readonly isVerified: boolean;
  readonly isFilteredByRange: boolean;
}

export class CatchUp {
  readonly #world: CatchUpWorld;
  readonly #member: ObjectMember;
  readonly #leg: Leg<Component>;
  readonly #column: number;
  readonly #transfer: BlockTransfer;
  #since: number | undefined;
  #forgetting: Promise<void> | undefined;

  constructor(world: CatchUpWorld, member: ObjectMember) {
    this.#world = world;
    this.#member = member;
    const leg = world.legs.legs.find((one) => one.members.includes(member));
    assert(leg !== undefined, "the member belongs to the object");
    this.#leg = leg;
    this.#column = leg.members.indexOf(member);
    this.#transfer = new BlockTransfer(world.legs, world.epoch, world.memory);
  }

  /**
   * `since` is what the directory says it holds. Fails if any component does; the member is absent
   * again then, and nothing is lost: it can be tried anew.
   */
  async run(since: number): Promise<void> {
    const { volume, legs, epoch } = this.#world;
    const member = this.#member;
    assert(member.role === "absent", "who takes part need not catch up");
    const complete = await reachable(member).beginCatchUp(epoch, since);
    this.#setRole("catching-up");
    this.#since = complete;
    try {
      // From here on new writes reach it; those before are decided first, and then looked for.
      await volume.quiet();
      legs.commit(epoch, volume.watermark);
      // A stripe may be wider than the object is large: what holds nothing lacks nothing.
      if (reachable(member).blockCount > 0) await this.#bring(complete);
      const { together } = this.#world;
      if (together !== undefined) await together(this);
      else
        await this.#betweenWrites(async () => {
          legs.commit(epoch, volume.watermark);
          await this.confirm();
          await this.#world.activate(member);
          this.#setRole("active");
        });
    } catch (error) {
      if (this.#member.role === "catching-up") this.#setRole("absent");
      await this.#forgetting;
      // More may have come meanwhile, and nobody knows when it is tried again.
      await this.#forget();
      throw error;
    } finally {
      this.#world.progress.end(this.#world.clock.nowMs());
    }
  }

  async #bring(complete: number): Promise<void> {
    const { legs, volume, progress, clock, rules } = this.#world;
    const place = { leg: this.#leg, column: this.#column };
    const { isFilteredByRange } = rules;
    const objectBlocks = Math.ceil(volume.sizeBytes / BLOCK_SIZE_BYTES);
    const sources = sourcesOf(legs, place, objectBlocks, isFilteredByRange);
    if (sources.length === 0) throw noSource();
    progress.begin(sources.length, clock.nowMs());
    const exchange = this.#exchange(progress, volume.watermark);
    await Promise.all(sources.map((source, i) => exchange().bring(source, complete, i)));
    // Most of what is left in the journals goes home while writes go on.
    const compared = new Set([this.#member, ...sources.map(({ member }) => member)]);
    await Promise.all([...compared].map((member) => this.#settledDigests(member, 0, 1)));
  }

  /**
   * Time passes. A member that was dropped hears of no decision any more, and what is undecided
   * there holds up everything that came after it on its device: what is still being copied to it,
   * and writes of other components, which may be this very object's. So it is told to forget that
   * at once, before what is under way comes to an end.
   */
  tick(): void {
    const isDropped = this.#since !== undefined && this.#member.role === "absent";
    if (!isDropped || this.#forgetting !== undefined) return;
    marks.hit("a dropped copy was told to forget what is undecided");
    this.#forgetting = this.#forget();
  }

  /**
   * If it is out of reach, the next attempt does it. Not once the volume has stopped: the record
   * may say that the member is active, without this owner having heard so.
   */
  async #forget(): Promise<void> {
    const { component } = this.#member;
    if (this.#world.volume.isStopped) return;
    await component?.beginCatchUp(this.#world.epoch, this.#since ?? 0).catch(() => undefined);
  }

  /** No change is under way. The component is complete afterwards, durably. */
  async confirm(): Promise<void> {
    if (this.#world.rules.isVerified) await this.#verify();
    this.#requireFollowing();
    await reachable(this.#member).endCatchUp(this.#world.epoch);
  }

  #exchange(progress: ResyncProgress, sequenceMax: number): () => ChangeExchange {
    const { epoch, exchange, rules } = this.#world;
    const { isFilteredByRange } = rules;
    const place = { member: this.#member, leg: this.#leg, column: this.#column };
    const target = { ...place, epoch, sequenceMax, isFilteredByRange };
    return () => new ChangeExchange(target, this.#transfer, progress, exchange);
  }

  /** Where it does not hold, copies rightly differ. */
  #requireFollowing(): void {
    // A volume that has stopped leaves writes half done.
    if (this.#world.volume.isStopped)
      throw new CodedError({ code: "not-owner", message: "the volume has stopped" });
    if (this.#member.role !== "catching-up")
      throw new CodedError({ code: "copies-differ", message: "a write went differently there" });
  }

  async #betweenWrites(work: () => Promise<void>): Promise<void> {
    const { volume } = this.#world;
    try {
      await volume.pause();
      await work();
    } finally {
      volume.resume();
    }
  }

  #setRole(role: ObjectMember["role"]): void {
    this.#member.role = role;
    this.#world.legs.rolesChanged();
    if (role === "absent") this.#world.volume.memberDropped(this.#member);
  }

  /** No change is under way. A region that differs is sent again, whole, as a newer version. */
  async #verify(): Promise<void> {
    const differing = await this.#compare();
    this.#requireFollowing();
    if (differing.length === 0) return;
    marks.hit("regions differed after a catch-up");
    this.#world.onMismatch(this.#member, differing);
    for (const region of differing) await this.#resend(region);
    this.#world.legs.commit(this.#world.epoch, this.#world.volume.watermark);
    const left = await this.#compare();
    if (left.length === 0) return;
    throw new CodedError({
      code: "copies-differ",
      message: `component ${this.#member.componentId} differs from its mirrors in ${left.length} regions`,
    });
  }

  #compare(): Promise<number[]> {
    const { legs } = this.#world;
    const place = { leg: this.#leg, column: this.#column, member: this.#member };
    return compareRegions(legs, place, (member, first, count) =>
      this.#settledDigests(member, first, count),
    );
  }

  /** What was prepared without being counted may take a moment to be durable. */
  async #settledDigests(member: ObjectMember, first: number, count: number): Promise<Uint8Array> {
    const { epoch, clock, legs, volume } = this.#world;
    for (let attempt = 0; ; attempt++) {
      try {
        return await reachable(member).digests(epoch, first, count);
      } catch (error) {
        const isEarly = error instanceof CodedError && error.code === "not-settled";
        // With writes going on there is always something that is not settled.
        if (isEarly && this.#isRunning) return new Uint8Array(0);
        if (!isEarly || attempt === SETTLE_ATTEMPTS_MAX) throw error;
      }
      legs.commit(epoch, volume.watermark);
      await new Promise<void>((resolve) => void clock.after(SETTLE_DELAY_MS, resolve));
    }
  }

  get #isRunning(): boolean {
    return !this.#world.volume.isPaused;
  }

  async #resend(region: number): Promise<void> {
    const { volume } = this.#world;
    const component = reachable(this.#member);
    const sequence = volume.takeSequence();
    const first = region * REGION_BLOCKS;
    const end = Math.min(first + REGION_BLOCKS, component.blockCount);
    const copies: BlockCopy[] = [];
    for (let block = first; block < end; block++)
      copies.push({
        objectBlock: this.#leg.layout.objectBlockOf(this.#column, block),
        targetBlock: block,
        blockCount: 1,
        sequence,
        kind: CHANGE_DATA,
      });
    await this.#transfer.send(this.#member, copies);
    volume.decideSequence(sequence);
  }
}

function noSource(): CodedError {
  return new CodedError({ code: "unreachable", message: "no copy can be reached" });
}
