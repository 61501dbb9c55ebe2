/**
 * The side of a component that makes it equal to its mirrors: says what is newer here than a
 * sequence, takes what is newer elsewhere, compares. A version enters the journal only if it is
 * newer than what the block has, so applying anything twice, late or in any order changes nothing.
 *
 * Sources: US9830234B2 (a returning component gets what it missed, filtered and merged by
 * sequence), US20190227727A1 (fingerprints first; what this device holds for any component is not
 * sent).
 */
import {
  BLOCK_SIZE_BYTES,
  CodedError,
  hasBit,
  isZero,
  marks,
  setBit,
  setU32,
} from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { Timer } from "../ports/index.ts";
import {
  newRecordHeader,
  RECORD_DROP,
  REGION_DIGEST_BYTES,
  REGIONS_PER_GROUP,
} from "../format/index.ts";
import {
  locateArrived,
  NOTHING_ARRIVED,
  placesOfArrived,
  verifiedPlaces,
} from "./arrived-places.ts";
import { changeBatchInvalid, dataBlocksOf, pickDataBlocks } from "./change-batch.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_DATA, CHANGE_ZERO } from "./component.ts";
import type { ChangeBatch, ChangesRequest, ComponentFault } from "./component.ts";
import type { OfferAnswer, Transaction } from "./component.ts";
import { collectChanges, newestSequence } from "./component-changes.ts";
import type { ComponentInfo } from "./component-table.ts";
import { ContentAdoption, findContent } from "./content-adoption.ts";
import type { WantedBlock } from "./content-adoption.ts";
import { rebuildPending } from "./pending-rebuild.ts";
import { isPlacedLocation } from "./placed-blocks.ts";
import type { ComponentHost, StoreComponent } from "./store-component.ts";

/** Blocks of the scratch memory of a device, and the longest data transaction. */
export const SCRATCH_BLOCKS = 256;
const OFFERED_BLOCKS_MIN = 256;
/** How long a second offer waits for what others were told to send. */
const AWAITED_MS_MAX = 10_000;
/** That is how often it is waited anew while others of the contents that are sent here come. */
const AWAITED_TURNS_MAX = 5;
/** Bits set in each value of a byte. */
const BITS = Uint8Array.from({ length: 256 }, (_none, byte) => {
  let bits = 0;
  for (let rest = byte; rest > 0; rest >>>= 1) bits += rest & 1;
  return bits;
});

const NO_PAYLOAD = new Uint8Array(0);

interface Missing {
  readonly missing: Uint8Array;
  readonly awaited: Uint8Array;
}

/** Transactions of one batch in the journal: one promise for all of them. */
class AppendsUnderWay {
  #left = 0;
  #fault: ComponentFault | undefined;
  #resolve: () => void = () => {};

  /** False if there is no room now. */
  begin(component: StoreComponent, transaction: Transaction): boolean {
    if (!component.append(transaction, this.#done, 0)) return false;
    this.#left++;
    return true;
  }

  readonly #done = (_token: number, fault: ComponentFault | undefined): void => {
    this.#fault ??= fault;
    if (--this.#left === 0) this.#resolve();
  };

  /** Resolves when all are durable. Fails with the first fault. */
  async ended(): Promise<void> {
    if (this.#left > 0)
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
      });
    if (this.#fault !== undefined) throw failed(this.#fault);
  }
}

export class ComponentSync {
  readonly #component: StoreComponent;
  readonly #info: ComponentInfo;
  readonly #host: ComponentHost;

  constructor(component: StoreComponent, host: ComponentHost) {
    this.#component = component;
    this.#info = component.info;
    this.#host = host;
  }

  async changes(request: ChangesRequest): Promise<ChangeBatch> {
    return await this.#host.exclusive(() => {
      this.#component.requireEpoch(request.epoch);
      return collectChanges(this.#host.state, this.#info, request);
    });
  }

  async begin(epoch: number, since: number): Promise<number> {
    this.#component.requireEpoch(epoch);
    const info = this.#info;
    this.#host.state.keptOffers.forget(info.index);
    await this.#dropTail();
    const complete = Math.min(since, info.catchUpFrom ?? info.committedSequence);
    info.catchUpFrom = complete;
    // Persisted also if it has not changed: the epoch may have.
    await this.#host.persist(info);
    return complete;
  }

  async end(epoch: number): Promise<void> {
    this.#component.requireEpoch(epoch);
    this.#host.state.keptOffers.forget(this.#info.index);
    await this.#host.complete(this.#info);
  }

  /**
   * What is prepared here and was never decided did not happen, or is fetched again. First for the
   * running device, then in the journal: a crash in between brings the tail back, undecided as
   * before.
   */
  async #dropTail(): Promise<void> {
    const info = this.#info;
    if (info.preparedSequence <= info.committedSequence) return;
    marks.hit("an undecided tail was dropped");
    const above = info.committedSequence;
    await this.#host.exclusive(async () => {
      const { journal, voids } = this.#host.state;
      voids.add(info.index, journal.seal(), above);
      rebuildPending(this.#host.state, info.index);
      info.preparedSequence = above;
    });
    const record = newRecordHeader();
    record.component = info.index;
    record.kind = RECORD_DROP;
    record.epoch = info.epoch;
    record.sequence = above;
    record.committed = above;
    await this.#journalled((done) => {
      const waiter = {
        recordDurable: (_sequence: number, _tag: number, fault: ComponentFault | undefined) =>
          done(fault),
      };
      return this.#host.state.journal.append(record, undefined, { waiter, tag: 0 }) >= 0;
    });
  }

  async offer(epoch: number, batch: ChangeBatch, isSecond: boolean): Promise<OfferAnswer> {
    this.#check(epoch, batch);
    const blocks = dataBlocksOf(batch);
    if (batch.fingerprints.length !== blocks * FINGERPRINT_BYTES)
      throw invalid("an offer comes with fingerprints");
    if (isSecond) {
      await this.#untilCome(batch, blocks);
      if (this.#hasPlaced(batch, blocks)) await this.#host.destage();
    }
    this.#component.requireEpoch(epoch);
    const places = placesOfArrived(this.#host.state, batch, blocks);
    const arrived =
      places.length === 0 ? NOTHING_ARRIVED : await verifiedPlaces(this.#host.state, batch, places);
    const missing = new Uint8Array(Math.ceil(blocks / 8));
    const awaited = new Uint8Array(missing.length);
    const appends = new AppendsUnderWay();
    const wanted: WantedBlock[] = [];
    const into = { wanted, arrived, missing, awaited, appends };
    let dataIndex = 0;
    for (let run = 0; run < batch.starts.length; run++) {
      if (batch.kinds[run] !== CHANGE_DATA) continue;
      for (let i = 0; i < batch.counts[run]!; i++, dataIndex++)
        this.#sort(batch, { run, offset: i, dataIndex }, into);
    }
    await this.#take(batch, undefined, appends);
    if (wanted.length > 0) await this.#adopt(epoch, batch, wanted, { missing, awaited });
    await appends.ended();
    const answer = { missing, awaited, blocksNext: this.#blocksNext(blocks, missing) };
    if (isSecond || isZero(awaited, 0, awaited.length)) return answer;
    const indexes = Array.from({ length: blocks }, (_none, i) => i).filter((i) =>
      hasBit(awaited, i),
    );
    const kept = pickDataBlocks(batch, indexes);
    return { ...answer, offer: this.#host.state.keptOffers.keep(this.#info.index, epoch, kept) };
  }

  async offerAgain(epoch: number, offer: number, blocks: number): Promise<OfferAnswer | undefined> {
    this.#component.requireEpoch(epoch);
    const wanted = { component: this.#info.index, epoch };
    const batch = this.#host.state.keptOffers.take(offer, wanted, blocks);
    return batch === undefined ? undefined : await this.offer(epoch, batch, true);
  }

  /** Not wanted, known here, on its way here, or missing. */
  #sort(
    batch: ChangeBatch,
    { run, offset, dataIndex }: { run: number; offset: number; dataIndex: number },
    into: Missing & {
      wanted: WantedBlock[];
      arrived: ReadonlyMap<number, number>;
      appends: AppendsUnderWay;
    },
  ): void {
    const { state } = this.#host;
    const blockIndex = batch.starts[run]! + offset;
    const sequence = batch.sequences[run]!;
    if (!this.#isNewer(blockIndex, sequence)) return;
    const at = dataIndex * FINGERPRINT_BYTES;
    const physical = findContent(state, batch.fingerprints, at);
    // Only what is decided leaves the journal, or goes past it.
    if (physical !== undefined && sequence <= this.#info.committedSequence) {
      into.wanted.push({ blockIndex, sequence, dataIndex, physical });
      return;
    }
    const location = into.arrived.get(dataIndex);
    const arrived = { fingerprints: batch.fingerprints, at, location };
    if (!this.#copyArrived(blockIndex, sequence, arrived, into.appends))
      this.#miss(batch, { blockIndex, sequence, dataIndex }, into);
  }

  #miss(
    batch: ChangeBatch,
    block: { blockIndex: number; sequence: number; dataIndex: number },
    { missing, awaited }: Missing,
  ): void {
    const { blockIndex, sequence, dataIndex } = block;
    const { arriving } = this.#host.state;
    setBit(missing, dataIndex);
    const arrived = { component: this.#info.index, blockIndex, sequence };
    const at = dataIndex * FINGERPRINT_BYTES;
    if (this.#hasCome(batch.fingerprints, at)) {
      setBit(awaited, dataIndex);
      return;
    }
    if (arriving.isAwaited(arrived, batch.fingerprints, at)) setBit(awaited, dataIndex);
    arriving.expect(arrived, batch.fingerprints, at);
  }

  /** What somebody else was told to send comes in a moment, or does not come. */
  async #untilCome({ fingerprints }: ChangeBatch, blocks: number): Promise<void> {
    const { arriving, clock } = this.#host.state;
    const places: number[] = [];
    const coming: Promise<void>[] = [];
    for (let at = 0; at < blocks * FINGERPRINT_BYTES; at += FINGERPRINT_BYTES) {
      const one = arriving.come(fingerprints, at);
      if (one === undefined) continue;
      places.push(at);
      coming.push(one);
    }
    const all = Promise.all(coming);
    await new Promise<void>((resolve) => {
      let timer: Timer | undefined;
      // A slow link is no reason to send it twice: as long as something comes, it is waited for.
      const watch = (turnsLeft: number, arrivals: number): void => {
        timer = clock.after(AWAITED_MS_MAX, () => {
          if (turnsLeft > 0 && arriving.arrivals !== arrivals) {
            watch(turnsLeft - 1, arriving.arrivals);
            return;
          }
          for (const at of places) arriving.giveUp(fingerprints, at);
          resolve();
        });
      };
      watch(AWAITED_TURNS_MAX, arriving.arrivals);
      void all.then(() => {
        timer?.cancel();
        resolve();
      });
    });
  }

  #hasPlaced({ fingerprints }: ChangeBatch, blocks: number): boolean {
    for (let i = 0; i < blocks; i++)
      if (this.#isPlaced(fingerprints, i * FINGERPRINT_BYTES)) return true;
    return false;
  }

  /**
   * It came a moment ago, perhaps while what came before was looked at: whoever offers it again
   * finds it in the journal or, once the maps know of it, in the block store.
   */
  #hasCome(fingerprints: Uint8Array, at: number): boolean {
    return (
      this.#isPlaced(fingerprints, at) || locateArrived(this.#host.state, fingerprints, at) >= 0
    );
  }

  /** It came past the journal: others find it when the maps know of it. */
  #isPlaced(fingerprints: Uint8Array, at: number): boolean {
    const { arriving, pending } = this.#host.state;
    const found = arriving.find(fingerprints, at);
    if (found === undefined) return false;
    const location = pending.locate(found.component, found.blockIndex);
    return isPlacedLocation(location) && pending.locatedSequence === found.sequence;
  }

  /** From journal memory, if the content came a moment ago and is there still. */
  #copyArrived(
    blockIndex: number,
    sequence: number,
    arrived: { fingerprints: Uint8Array; at: number; location: number | undefined },
    appends: AppendsUnderWay,
  ): boolean {
    const { fingerprints, at, location } = arrived;
    // Memory that a block has pointed to all along was not used for anything else meanwhile.
    if (location === undefined || locateArrived(this.#host.state, fingerprints, at) !== location)
      return false;
    const { journal } = this.#host.state;
    const transaction: Transaction = {
      epoch: this.#info.epoch,
      sequence,
      kind: "data",
      blockIndex,
      blockCount: 1,
      source: journal.memory.bytes,
      sourceAt: location * BLOCK_SIZE_BYTES,
    };
    if (!appends.begin(this.#component, transaction)) return false;
    marks.hit("a content on its way home was copied");
    return true;
  }

  async #adopt(
    epoch: number,
    batch: ChangeBatch,
    wanted: readonly WantedBlock[],
    into: Missing,
  ): Promise<void> {
    const adoption = new ContentAdoption(this.#host, this.#info, batch.fingerprints);
    const left = await adoption.run(wanted, () => this.#component.requireEpoch(epoch));
    for (const one of left) this.#miss(batch, one, into);
  }

  /**
   * How many blocks to offer next: more, the more of them were known here and the more memory is
   * free for those that are not.
   */
  #blocksNext(blocks: number, missing: Uint8Array): number {
    const { journal } = this.#host.state;
    let missingBlocks = 0;
    for (const byte of missing) missingBlocks += BITS[byte]!;
    const knownShare = blocks === 0 ? 1 : 1 - missingBlocks / blocks;
    const memoryBlocks = journal.memory.bytes.length / BLOCK_SIZE_BYTES;
    const freeShare = Math.max(0, 1 - journal.payloadBlocksHeld / memoryBlocks);
    const next = OFFERED_BLOCKS_MIN + knownShare * freeShare * CHANGE_BLOCKS_MAX;
    return Math.min(CHANGE_BLOCKS_MAX, Math.round(next));
  }

  async apply(epoch: number, batch: ChangeBatch, payload: Uint8Array): Promise<void> {
    this.#check(epoch, batch);
    if (payload.length !== dataBlocksOf(batch) * BLOCK_SIZE_BYTES)
      throw invalid(`${payload.length} bytes of payload do not fit the batch`);
    const appends = new AppendsUnderWay();
    await this.#take(batch, payload, appends);
    await appends.ended();
  }

  /**
   * Journals what is newer than what is here: all of a batch with its payload, or without one what
   * needs none. The payload is the caller's, who waits for nothing but the first turn: only what
   * finds no room then is copied.
   */
  async #take(
    batch: ChangeBatch,
    payload: Uint8Array | undefined,
    appends: AppendsUnderWay,
  ): Promise<void> {
    const { epoch } = this.#info;
    let source = payload ?? NO_PAYLOAD;
    let at = 0;
    for (let run = 0; run < batch.starts.length; run++) {
      const kind = batch.kinds[run]!;
      const isData = kind === CHANGE_DATA;
      if (isData && payload === undefined) continue;
      const blockCount = batch.counts[run]!;
      const range = {
        epoch,
        sequence: batch.sequences[run]!,
        kind: isData ? "data" : kind === CHANGE_ZERO ? "zero" : "discard",
        blockIndex: batch.starts[run]!,
        blockCount,
        sourceAt: at,
      } as const;
      const end = range.blockIndex + blockCount;
      let block = range.blockIndex;
      while ((block = this.#takeRange({ ...range, source }, block, appends)) < end) {
        if (source === payload) source = payload.slice();
        this.#component.submit();
        await this.#room();
      }
      if (isData) at += blockCount * BLOCK_SIZE_BYTES;
    }
    this.#component.submit();
  }

  /** From `from` on; returns the first block that found no room, or the end. */
  #takeRange(range: Transaction, from: number, appends: AppendsUnderWay): number {
    const end = range.blockIndex + range.blockCount;
    let block = from;
    while (block < end) {
      // Asked again after each wait: newer versions may have come meanwhile.
      if (!this.#isNewer(block, range.sequence)) {
        block++;
        continue;
      }
      let next = block + 1;
      const limit = range.kind === "data" ? Math.min(end, block + SCRATCH_BLOCKS) : end;
      while (next < limit && this.#isNewer(next, range.sequence)) next++;
      const blockCount = next - block;
      const sourceAt = range.sourceAt + (block - range.blockIndex) * BLOCK_SIZE_BYTES;
      const part = { ...range, blockIndex: block, blockCount, sourceAt };
      if (!appends.begin(this.#component, part)) return block;
      if (range.kind === "data")
        this.#host.state.arriving.arrive(this.#info.index, block, blockCount, range.sequence);
      block = next;
    }
    return end;
  }

  #isNewer(blockIndex: number, sequence: number): boolean {
    return newestSequence(this.#host.state, this.#info, blockIndex) < sequence;
  }

  #room(): Promise<void> {
    return new Promise((resolve) => this.#host.onRoom(resolve));
  }

  /** Appends until there is room, and resolves when that is durable. */
  async #journalled(
    append: (done: (fault: ComponentFault | undefined) => void) => boolean,
  ): Promise<void> {
    for (;;) {
      if (this.#host.state.journal.hasFailed) throw failed("write-error");
      let isTaken = false;
      const durable = new Promise<ComponentFault | undefined>((resolve) => {
        isTaken = append(resolve);
        if (!isTaken) resolve(undefined);
      });
      this.#component.submit();
      const fault = await durable;
      if (fault !== undefined) throw failed(fault);
      if (isTaken) return;
      await this.#room();
    }
  }

  async digests(epoch: number, firstRegion: number, regionCount: number): Promise<Uint8Array> {
    this.#component.requireEpoch(epoch);
    await this.#host.destage();
    // Deleted meanwhile, it would seem to hold less, and not what its mirrors do.
    this.#component.requireEpoch(epoch);
    if (this.#host.state.pending.holds(this.#info.index))
      throw new CodedError({
        code: "not-settled",
        message: `component ${this.#info.componentId} holds writes that are not destaged`,
      });
    const result = new Uint8Array(regionCount * REGION_DIGEST_BYTES);
    const { regions } = this.#host.state;
    for (let i = 0; i < regionCount; i++) {
      const region = firstRegion + i;
      const group = regions.group(this.#info.index, Math.floor(region / REGIONS_PER_GROUP));
      const lanes = REGION_DIGEST_BYTES / 4;
      const words = group.digests.subarray(
        (region % REGIONS_PER_GROUP) * lanes,
        ((region % REGIONS_PER_GROUP) + 1) * lanes,
      );
      for (const [lane, word] of words.entries())
        setU32(result, i * REGION_DIGEST_BYTES + lane * 4, word);
    }
    return result;
  }

  #check(epoch: number, batch: ChangeBatch): void {
    this.#component.requireEpoch(epoch);
    const why = changeBatchInvalid(batch, this.#info.blockCount);
    if (why !== undefined) throw invalid(why);
  }
}

function invalid(why: string): CodedError {
  return new CodedError({
    code: "message-invalid",
    message: `a batch of changes is invalid: ${why}`,
  });
}

function failed(fault: ComponentFault): CodedError {
  return new CodedError({ code: fault, message: `a change could not be made durable: ${fault}` });
}
