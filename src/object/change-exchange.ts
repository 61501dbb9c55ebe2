/**
 * Brings what one source has to a member that lacks it, fingerprints first (US20190227727A1): pairs
 * of block and fingerprint are offered, what the member's device holds for any component gains a
 * reference there, and only what is missing is read and sent. The member says how much to offer
 * next. Where hardly anything is known there, data goes at once, and now and then it is asked
 * whether that has changed. A fingerprint that a batch has twice travels once.
 */
import { BLOCK_SIZE_BYTES, CodedError, getU48, hasBit, marks } from "../base/index.ts";
import {
  CHANGE_DATA,
  ChangeBatchBuilder,
  dataBlocksOf,
  pickDataBlocks,
  pickFingerprints,
} from "../store/index.ts";
import type { ChangeBatch, Component, OfferAnswer } from "../store/index.ts";
import { reachable } from "./block-transfer.ts";
import type { BlockCopy, BlockTransfer } from "./block-transfer.ts";
import type { Source } from "./catch-up-sources.ts";
import type { Leg, ObjectMember } from "./legs.ts";
import type { ResyncProgress } from "./resync-progress.ts";
import { TRANSFER_BLOCKS_MAX } from "./transfer-memory.ts";
import { UnderWay } from "./under-way.ts";

const FINGERPRINT_BYTES = 32;
const OFFERED_BLOCKS_FIRST = 512;
/** Batches on their way to one member at a time, from one source. */
const BATCHES_AT_ONCE = 4;
/** Below this share of known blocks, fingerprints cost more than they save. */
const KNOWN_SHARE_MIN = 1 / 32;
/** Blocks that are sent without being offered before it is tried again. */
const UNOFFERED_BLOCKS_MAX = 4096;

export interface Target {
  readonly member: ObjectMember;
  readonly leg: Leg<Component>;
  readonly column: number;
  readonly epoch: number;
  /** What has a higher sequence was written since: it reached the member as all writes do. */
  readonly sequenceMax: number;
  /** Test-only: whether it gets the blocks of its own column only. */
  readonly isFilteredByRange: boolean;
}

/** Who uses the volume comes first. */
export interface ResyncPace {
  /** Resolves when this much may be looked at, or sent, and says how many blocks at most. */
  turn(blocks: number): Promise<number>;
}

/** The part of a source's batch that lies in the target's range, in its own coordinates. */
interface MappedBatch {
  readonly batch: ChangeBatch;
  /** Of each data block. */
  readonly objectBlocks: readonly number[];
  readonly source: ObjectMember;
}

/** What became of an offer. */
interface Offered {
  /** Which data blocks are missing, ascending. */
  readonly left: readonly number[];
  /** Which of those are on their way to the member already. */
  readonly awaited: Uint8Array;
  readonly offer: number | undefined;
}

export interface ExchangeOptions {
  readonly pace: ResyncPace | undefined;
  /** Without, data goes at once, as in a plain copy. */
  readonly offersFingerprints: boolean;
  /** No other component is brought to the present: what it has in common with one is not sent. */
  readonly isAlone: () => boolean;
  /** The volume is given up: whoever has it next goes on with the copy. */
  readonly isGivenUp: () => boolean;
}

export class ChangeExchange {
  readonly #target: Target;
  readonly #transfer: BlockTransfer;
  readonly #progress: ResyncProgress;
  readonly #options: ExchangeOptions;
  #blocksNext = OFFERED_BLOCKS_FIRST;
  /** Of what was offered lately; at first it is worth asking. */
  #knownShare = 1;
  #unofferedBlocks = 0;
  /** The member's host is older than offers. */
  #isOfferUnknown = false;

  constructor(
    target: Target,
    transfer: BlockTransfer,
    progress: ResyncProgress,
    options: ExchangeOptions,
  ) {
    this.#target = target;
    this.#transfer = transfer;
    this.#progress = progress;
    this.#options = options;
  }

  /**
   * Walks what the source has that is newer than `since`; `number` is the source's for the
   * progress. Fails as any component does.
   */
  async bring(source: Source, since: number, number: number): Promise<void> {
    const underWay = new UnderWay(BATCHES_AT_ONCE);
    const { fromBlock, toBlock } = source;
    let reading: Promise<ChangeBatch> | undefined = this.#read(source, since, fromBlock);
    try {
      while (reading !== undefined) {
        const batch: ChangeBatch = await reading;
        const { nextBlock } = batch;
        const share = nextBlock < 0 ? 1 : (nextBlock - fromBlock) / (toBlock - fromBlock);
        this.#progress.walked(number, share);
        this.#requireFollowing();
        // The source looks for the next ones while the member is given these.
        reading = nextBlock < 0 ? undefined : this.#read(source, since, nextBlock);
        // Whoever waits for it hears of its failure; who fails before does not wait.
        reading?.catch(() => undefined);
        const mapped = this.#map(source, batch);
        if (mapped.batch.starts.length > 0) await underWay.begin(() => this.#give(mapped));
      }
    } finally {
      await reading?.catch(() => undefined);
      await underWay.end();
    }
  }

  /**
   * Once it lacks a write it begins anew: what it is sent now would only be in the way there. An
   * owner that leaves sends no more, either: it would not have left before the end, and nobody
   * would serve the volume. A copy that has been sent everything is compared, and counts.
   */
  #requireFollowing(): void {
    if (this.#options.isGivenUp()) {
      marks.hit("a catch-up ended because its owner leaves");
      throw new CodedError({ code: "not-owner", message: "the volume is given up" });
    }
    if (this.#target.member.role !== "catching-up")
      throw new CodedError({ code: "copies-differ", message: "it lacks a write, and begins anew" });
  }

  async #read(source: Source, since: number, fromBlock: number): Promise<ChangeBatch> {
    const { pace } = this.#options;
    this.#requireFollowing();
    const isOffered = this.#isOfferWorthwhile;
    if (isOffered) this.#unofferedBlocks = 0;
    const wanted = isOffered ? this.#blocksNext : UNOFFERED_BLOCKS_MAX;
    const blocksMax = (await pace?.turn(wanted)) ?? wanted;
    const batch = await reachable(source.member).changes({
      epoch: this.#target.epoch,
      since,
      fromBlock,
      toBlock: source.toBlock,
      blocksMax,
      withFingerprints: isOffered,
    });
    if (!isOffered) this.#unofferedBlocks += dataBlocksOf(batch);
    this.#progress.count("metadataBytes", batch.wireBytes ?? 0);
    return batch;
  }

  get #isOfferWorthwhile(): boolean {
    if (!this.#options.offersFingerprints || this.#isOfferUnknown) return false;
    if (!this.#options.isAlone()) return true;
    return this.#knownShare >= KNOWN_SHARE_MIN || this.#unofferedBlocks >= UNOFFERED_BLOCKS_MAX;
  }

  #map(source: Source, batch: ChangeBatch): MappedBatch {
    const builder = new ChangeBatchBuilder();
    const objectBlocks: number[] = [];
    const dataIndexes: number[] = [];
    const { layout } = this.#target.leg;
    let dataIndex = 0;
    for (const [run, start] of batch.starts.entries()) {
      const kind = batch.kinds[run]!;
      const isLive = batch.sequences[run]! > this.#target.sequenceMax;
      for (let done = 0; done < batch.counts[run]!;) {
        const from = source.leg.layout.objectBlockOf(source.column, start + done);
        const span = Math.min(source.leg.layout.runBlocks(from), layout.runBlocks(from));
        const count = Math.min(batch.counts[run]! - done, span);
        if (!isLive && this.#isMine(from)) {
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
    const fingerprints = pickFingerprints(batch.fingerprints, dataIndexes);
    const mine = builder.finish(-1, batch.fromJournal, fingerprints);
    return { batch: mine, objectBlocks, source: source.member };
  }

  #isMine(objectBlock: number): boolean {
    const { leg, column: mine, isFilteredByRange } = this.#target;
    const column = leg.layout.columnOf(objectBlock);
    return isFilteredByRange ? column === mine : column <= mine;
  }

  async #give(mapped: MappedBatch): Promise<void> {
    const { batch } = mapped;
    const blocks = dataBlocksOf(batch);
    this.#progress.count("bytesNeeded", blocks * BLOCK_SIZE_BYTES);
    const isOffered = batch.fingerprints.length > 0 || blocks === 0;
    const offered = isOffered ? await this.#firstOffer(mapped) : undefined;
    if (offered === undefined) {
      await this.#giveMarkers(batch);
      await this.#send(mapped, everyIndex(blocks));
      return;
    }
    const { firsts, repeats } = sortByContent(batch.fingerprints, offered);
    await this.#send(mapped, firsts);
    if (repeats.length === 0) return;
    // By now the member has their contents, or gets them in a moment from somebody else.
    const again = {
      batch: pickDataBlocks(batch, repeats),
      objectBlocks: repeats.map((index) => mapped.objectBlocks[index]!),
      source: mapped.source,
    };
    const { left } = (await this.#offerKept(offered, repeats)) ?? (await this.#offer(again, true));
    await this.#send(again, left);
  }

  /** Undefined if the member's host does not know what an offer is: it gets all of it at once. */
  async #firstOffer(mapped: MappedBatch): Promise<Offered | undefined> {
    if (this.#isOfferUnknown) return undefined;
    try {
      return await this.#offer(mapped, false);
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== "method-unknown") throw error;
      marks.hit("an older host was sent everything at once");
      this.#isOfferUnknown = true;
      return undefined;
    }
  }

  async #offer({ batch }: MappedBatch, isSecond: boolean): Promise<Offered> {
    const { member, epoch } = this.#target;
    const answer = await reachable(member).offer(epoch, batch, isSecond);
    return this.#heard(answer, dataBlocksOf(batch));
  }

  /**
   * A second offer of what the first one's answer said is awaited, if the member knows it still.
   */
  async #offerKept(
    { offer, awaited }: Offered,
    repeats: readonly number[],
  ): Promise<Offered | undefined> {
    const isAwaited = repeats.every((index) => hasBit(awaited, index));
    if (offer === undefined || !isAwaited || countBits(awaited) !== repeats.length)
      return undefined;
    const { member, epoch } = this.#target;
    const answer = await reachable(member).offerAgain(epoch, offer, repeats.length);
    if (answer !== undefined) return this.#heard(answer, repeats.length);
    marks.hit("an offer was forgotten before its second time");
    return undefined;
  }

  #heard({ missing, awaited, blocksNext, wireBytes, offer }: OfferAnswer, blocks: number): Offered {
    const left = everyIndex(blocks).filter((i) => hasBit(missing, i));
    this.#progress.count("metadataBytes", wireBytes ?? 0);
    this.#progress.count("bytesSkipped", (blocks - left.length) * BLOCK_SIZE_BYTES);
    this.#blocksNext = blocksNext;
    if (blocks > 0) this.#knownShare = (this.#knownShare + (blocks - left.length) / blocks) / 2;
    return { left, awaited, offer };
  }

  /** Holes and zeroes need no data. */
  async #giveMarkers(batch: ChangeBatch): Promise<void> {
    const builder = new ChangeBatchBuilder();
    for (const [run, start] of batch.starts.entries())
      if (batch.kinds[run] !== CHANGE_DATA)
        builder.add(start, batch.counts[run]!, batch.sequences[run]!, batch.kinds[run]!);
    if (builder.isEmpty) return;
    const { member, epoch } = this.#target;
    await reachable(member).apply(epoch, builder.finish(-1, true), new Uint8Array(0));
  }

  async #send(mapped: MappedBatch, indexes: readonly number[]): Promise<void> {
    if (indexes.length === 0) return;
    for (let from = 0; from < indexes.length; from += TRANSFER_BLOCKS_MAX) {
      this.#requireFollowing();
      const part = copiesOf(mapped, indexes.slice(from, from + TRANSFER_BLOCKS_MAX));
      this.#progress.count("bytesSent", await this.#transfer.send(this.#target.member, part));
    }
  }
}

function everyIndex(count: number): number[] {
  return Array.from({ length: count }, (_none, i) => i);
}

/** How many are set. */
function countBits(bitmap: Uint8Array): number {
  let count = 0;
  for (let i = 0; i < 8 * bitmap.length; i++) if (hasBit(bitmap, i)) count++;
  return count;
}

/** The first block of each content, and those that repeat one or need not be sent yet. */
function sortByContent(
  fingerprints: Uint8Array,
  { left, awaited }: Offered,
): { readonly firsts: number[]; readonly repeats: number[] } {
  // Few others begin with the same six bytes, and those are offered a second time, and sent then.
  const seen = new Set<number>();
  const firsts: number[] = [];
  const repeats: number[] = [];
  for (const index of left) {
    const content = getU48(fingerprints, index * FINGERPRINT_BYTES);
    (seen.has(content) || hasBit(awaited, index) ? repeats : firsts).push(index);
    seen.add(content);
  }
  return { firsts, repeats };
}

/** In runs. `indexes` ascend. */
function copiesOf(
  { batch, objectBlocks, source }: MappedBatch,
  indexes: readonly number[],
): BlockCopy[] {
  const copies: BlockCopy[] = [];
  let first = 0;
  let next = 0;
  for (let run = 0; run < batch.starts.length && next < indexes.length; run++) {
    if (batch.kinds[run] !== CHANGE_DATA) continue;
    const end = first + batch.counts[run]!;
    while (next < indexes.length && indexes[next]! < end) {
      const index = indexes[next]!;
      const objectBlock = objectBlocks[index]!;
      let blockCount = 1;
      while (
        indexes[next + blockCount] === index + blockCount &&
        index + blockCount < end &&
        objectBlocks[index + blockCount] === objectBlock + blockCount
      )
        blockCount++;
      const targetBlock = batch.starts[run]! + index - first;
      const sequence = batch.sequences[run]!;
      const what = { objectBlock, targetBlock, blockCount, sequence, kind: CHANGE_DATA };
      copies.push({ ...what, askedFirst: source });
      next += blockCount;
    }
    first = end;
  }
  return copies;
}
