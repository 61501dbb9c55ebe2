/**
 * The return of a stale component (US9830234B2): what it missed is read from the components of the
 * other legs, in parallel, filtered by its range, and of each block only the newest version is
 * offered, by fingerprint first; what it holds already for any component stays where it is. New
 * writes reach it meanwhile. It counts again when, between two writes, the digests of its regions
 * are equal to those of its mirrors.
 */
import { assert, BLOCK_SIZE_BYTES, CodedError, REGION_BLOCKS } from "../base/index.ts";
import type { Clock } from "../ports/index.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_DATA, ChangeBatchBuilder } from "../store/index.ts";
import type { ChangeBatch, Component } from "../store/index.ts";
import { BlockTransfer, reachable } from "./block-transfer.ts";
import type { BlockCopy } from "./block-transfer.ts";
import type { Leg, Legs, ObjectMember } from "./legs.ts";
import type { ObjectVolume } from "./object-volume.ts";
import { compareRegions } from "./region-compare.ts";
import { TRANSFER_BLOCKS_MAX } from "./transfer-memory.ts";
import type { TransferMemory } from "./transfer-memory.ts";

const FINGERPRINT_BYTES = 32;
const SETTLE_ATTEMPTS_MAX = 500;
const SETTLE_DELAY_MS = 10;

/** Bytes of data that returning components needed, and what became of them. */
export interface ResyncTraffic {
  bytesNeeded: number;
  bytesSent: number;
  bytesSkipped: number;
}

export interface CatchUpWorld {
  readonly legs: Legs<Component>;
  readonly volume: ObjectVolume;
  readonly epoch: number;
  readonly clock: Clock;
  readonly memory: TransferMemory;
  readonly traffic: ResyncTraffic;
  /** Durably, by compare-and-swap: the component is active. */
  readonly activate: (member: ObjectMember) => Promise<void>;
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
    try {
      // From here on new writes reach it; those before are decided first, and then looked for.
      await volume.quiet();
      await Promise.all(this.#sources().map((source) => this.#bring(source, complete)));
      // Most of what is left in the journals goes home while writes go on.
      await this.#settledDigests(member, 0, 1);
      await this.#betweenWrites(async () => {
        legs.commit(epoch, volume.watermark);
        if (this.#world.rules.isVerified) await this.#verify();
        this.#requireFollowing();
        await reachable(member).endCatchUp(epoch);
        await this.#world.activate(member);
        this.#setRole("active");
      });
    } catch (error) {
      if (this.#member.role === "catching-up") this.#setRole("absent");
      throw error;
    }
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

  /** One whole leg if there is one, else every active member of every other leg. */
  #sources(): readonly Source[] {
    const others = this.#world.legs.legs.filter((leg) => leg !== this.#leg);
    const whole = others.find((leg) => leg.isComplete);
    const legs = whole === undefined ? others : [whole];
    return legs.flatMap((leg) =>
      leg.members
        .map((member, column) => ({ leg, column, member }))
        .filter(({ member }) => member.role === "active"),
    );
  }

  /** Walks what one source has that is newer. */
  async #bring(source: Source, since: number): Promise<void> {
    const { epoch } = this.#world;
    const component = reachable(source.member);
    for (let fromBlock = 0; fromBlock >= 0;) {
      const batch = await component.changes({
        epoch,
        since,
        fromBlock,
        toBlock: component.blockCount,
        blocksMax: CHANGE_BLOCKS_MAX,
        withFingerprints: true,
      });
      const mapped = this.#map(source, batch);
      if (mapped.batch.starts.length > 0) await this.#offer(mapped);
      fromBlock = batch.nextBlock;
    }
  }

  /** The part of a source's batch that lies in the member's range, in its own coordinates. */
  #map(source: Source, batch: ChangeBatch): MappedBatch {
    const builder = new ChangeBatchBuilder();
    const objectBlocks: number[] = [];
    const dataIndexes: number[] = [];
    const { layout } = this.#leg;
    let dataIndex = 0;
    for (const [run, start] of batch.starts.entries()) {
      const kind = batch.kinds[run]!;
      for (let done = 0; done < batch.counts[run]!;) {
        const from = source.leg.layout.objectBlockOf(source.column, start + done);
        const span = Math.min(source.leg.layout.runBlocks(from), layout.runBlocks(from));
        const count = Math.min(batch.counts[run]! - done, span);
        if (this.#isMine(from)) {
          builder.add(layout.componentBlockOf(from), count, batch.sequences[run]!, kind);
          const dataCount = kind === CHANGE_DATA ? count : 0;
          for (let i = 0; i < dataCount; i++) {
            objectBlocks.push(from + i);
            dataIndexes.push(dataIndex + i);
          }
        }
        if (kind === CHANGE_DATA) dataIndex += count;
        done += count;
      }
    }
    const fingerprints = new Uint8Array(dataIndexes.length * FINGERPRINT_BYTES);
    for (const [i, index] of dataIndexes.entries()) {
      const at = index * FINGERPRINT_BYTES;
      fingerprints.set(batch.fingerprints.subarray(at, at + FINGERPRINT_BYTES), i * 32);
    }
    return { batch: builder.finish(-1, batch.fromJournal, fingerprints), objectBlocks };
  }

  #isMine(objectBlock: number): boolean {
    const column = this.#leg.layout.columnOf(objectBlock);
    if (this.#world.rules.isFilteredByRange) return column === this.#column;
    return column <= this.#column;
  }

  async #offer({ batch, objectBlocks }: MappedBatch): Promise<void> {
    const { epoch, traffic } = this.#world;
    const missing = await reachable(this.#member).offer(epoch, batch);
    const copies: BlockCopy[] = [];
    let index = 0;
    for (const [run, start] of batch.starts.entries()) {
      if (batch.kinds[run] !== CHANGE_DATA) continue;
      for (let i = 0; i < batch.counts[run]!; i++, index++) {
        traffic.bytesNeeded += BLOCK_SIZE_BYTES;
        if ((missing[index >>> 3]! & (1 << (index & 7))) === 0) {
          traffic.bytesSkipped += BLOCK_SIZE_BYTES;
          continue;
        }
        copies.push({
          objectBlock: objectBlocks[index]!,
          targetBlock: start + i,
          sequence: batch.sequences[run]!,
          kind: CHANGE_DATA,
        });
      }
    }
    for (let from = 0; from < copies.length; from += TRANSFER_BLOCKS_MAX) {
      const part = copies.slice(from, from + TRANSFER_BLOCKS_MAX);
      traffic.bytesSent += await this.#transfer.send(this.#member, part);
    }
  }

  /** No change is under way. A region that differs is sent again, whole, as a newer version. */
  async #verify(): Promise<void> {
    const differing = await this.#compare();
    this.#requireFollowing();
    if (differing.length === 0) return;
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
        sequence,
        kind: CHANGE_DATA,
      });
    await this.#transfer.send(this.#member, copies);
    volume.decideSequence(sequence);
  }
}

interface Source {
  readonly leg: Leg<Component>;
  readonly column: number;
  readonly member: ObjectMember;
}

interface MappedBatch {
  readonly batch: ChangeBatch;
  /** Of each data block. */
  readonly objectBlocks: readonly number[];
}
