/**
 * The side of a component that makes it equal to its mirrors: says what is newer here than a
 * sequence, takes what is newer elsewhere, compares. A version enters the journal only if it is
 * newer than what the block has, so applying anything twice, late or in any order changes nothing.
 *
 * Sources: US9830234B2 (a returning component gets what it missed, filtered and merged by
 * sequence), US20190227727A1 (fingerprints first; what this device holds for any component is not
 * sent).
 */
import { BLOCK_SIZE_BYTES, CodedError, marks, setU32 } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { Timer } from "../ports/index.ts";
import {
  newRecordHeader,
  RECORD_DATA,
  RECORD_DROP,
  RECORD_ZERO,
  REGION_DIGEST_BYTES,
  REGIONS_PER_GROUP,
} from "../format/index.ts";
import {
  locateArrived,
  NOTHING_ARRIVED,
  placesOfArrived,
  verifiedPlaces,
} from "./arrived-places.ts";
import { blockKey } from "./block-table.ts";
import { changeBatchInvalid, dataBlocksOf } from "./change-batch.ts";
import { CHANGE_BLOCKS_MAX, CHANGE_DATA, CHANGE_ZERO } from "./component.ts";
import type { ChangeBatch, ChangesRequest, ComponentFault } from "./component.ts";
import type { OfferAnswer, Transaction } from "./component.ts";
import { collectChanges, newestSequence } from "./component-changes.ts";
import type { ComponentInfo } from "./component-table.ts";
import { ContentAdoption, findContent } from "./content-adoption.ts";
import type { WantedBlock } from "./content-adoption.ts";
import { walkJournal } from "./journal-walk.ts";
import {
  LOCATION_DAMAGED,
  LOCATION_HOLE,
  LOCATION_ZERO,
  RANGE_BLOCKS_MIN,
} from "./pending-blocks.ts";
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

interface Missing {
  readonly missing: Uint8Array;
  readonly awaited: Uint8Array;
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
    this.#component.requireEpoch(request.epoch);
    return await this.#host.exclusive(() => collectChanges(this.#host.state, this.#info, request));
  }

  async begin(epoch: number, since: number): Promise<number> {
    this.#component.requireEpoch(epoch);
    const info = this.#info;
    await this.#dropTail();
    const complete = Math.min(since, info.catchUpFrom ?? info.committedSequence);
    info.catchUpFrom = complete;
    // Persisted also if it has not changed: the epoch may have.
    await this.#host.persist(info);
    return complete;
  }

  async end(epoch: number): Promise<void> {
    this.#component.requireEpoch(epoch);
    this.#info.catchUpFrom = undefined;
    await this.#host.persist(this.#info);
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
      this.#rebuildPending();
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

  /** From the frames, without what never happened: a dropped version may hide an older one. */
  #rebuildPending(): void {
    const { journal, pending, voids } = this.#host.state;
    const component = this.#info.index;
    const damaged = new Map<number, number>();
    for (const [slot, key] of pending.table.keys.entries())
      if (key >= 0 && pending.table.values[slot] === LOCATION_DAMAGED)
        damaged.set(key, pending.table.sequences[slot]!);
    pending.forget(component);
    walkJournal(journal, (record, first, frame) => {
      if (record.component !== component || voids.has(record, frame)) return;
      const { kind, blockIndex, blockCount, sequence } = record;
      const end = blockIndex + blockCount;
      const marker = kind === RECORD_ZERO ? LOCATION_ZERO : LOCATION_HOLE;
      if (kind !== RECORD_DATA && blockCount >= RANGE_BLOCKS_MIN) {
        pending.putRange({ component, start: blockIndex, end, sequence, location: marker });
        return;
      }
      for (let i = 0; i < blockCount; i++) {
        const isDamaged = damaged.get(blockKey(component, blockIndex + i)) === sequence;
        const location = isDamaged ? LOCATION_DAMAGED : first + i;
        pending.put(component, blockIndex + i, sequence, kind === RECORD_DATA ? location : marker);
      }
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
    const durable: Promise<void>[] = [];
    const wanted: WantedBlock[] = [];
    let dataIndex = 0;
    for (let run = 0; run < batch.starts.length; run++) {
      if (batch.kinds[run] !== CHANGE_DATA) {
        begin(durable, this.#applyRun(batch, run, undefined, 0));
        continue;
      }
      for (let i = 0; i < batch.counts[run]!; i++, dataIndex++)
        this.#sort(
          batch,
          { run, offset: i, dataIndex },
          { wanted, arrived, missing, awaited, durable },
        );
    }
    if (wanted.length > 0) await this.#adopt(epoch, batch, wanted, { missing, awaited });
    this.#component.submit();
    await Promise.all(durable);
    return { missing, awaited, blocksNext: this.#blocksNext(blocks, missing) };
  }

  /** Not wanted, known here, on its way here, or missing. */
  #sort(
    batch: ChangeBatch,
    { run, offset, dataIndex }: { run: number; offset: number; dataIndex: number },
    into: Missing & {
      wanted: WantedBlock[];
      arrived: ReadonlyMap<number, number>;
      durable: Promise<void>[];
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
    const copied = this.#copyArrived(blockIndex, sequence, {
      fingerprints: batch.fingerprints,
      at,
      location: into.arrived.get(dataIndex),
    });
    if (copied !== undefined) begin(into.durable, copied);
    else this.#miss(batch, { blockIndex, sequence, dataIndex }, into);
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
    if (this.#isPlaced(batch.fingerprints, at)) {
      setBit(awaited, dataIndex);
      return;
    }
    if (arriving.isAwaited(arrived, batch.fingerprints, at)) setBit(awaited, dataIndex);
    arriving.expect(arrived, batch.fingerprints, at);
  }

  /** What somebody else was told to send comes in a moment, or does not come. */
  async #untilCome({ fingerprints }: ChangeBatch, blocks: number): Promise<void> {
    const { arriving, clock } = this.#host.state;
    const places = Array.from({ length: blocks }, (_none, i) => i * FINGERPRINT_BYTES);
    const all = Promise.all(places.map((at) => arriving.come(fingerprints, at)));
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

  /** It came a moment ago, past the journal: others find it when the maps know of it. */
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
  ): Promise<void> | undefined {
    const { fingerprints, at, location } = arrived;
    // Memory that a block has pointed to all along was not used for anything else meanwhile.
    if (location === undefined || locateArrived(this.#host.state, fingerprints, at) !== location)
      return undefined;
    marks.hit("a content on its way home was copied");
    const { journal } = this.#host.state;
    return this.#append({
      epoch: this.#info.epoch,
      sequence,
      kind: "data",
      blockIndex,
      blockCount: 1,
      source: journal.memory.bytes,
      sourceAt: location * BLOCK_SIZE_BYTES,
    });
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
    const durable: Promise<void>[] = [];
    let at = 0;
    for (let run = 0; run < batch.starts.length; run++) {
      begin(durable, this.#applyRun(batch, run, payload, at));
      if (batch.kinds[run] === CHANGE_DATA) at += batch.counts[run]! * BLOCK_SIZE_BYTES;
    }
    this.#component.submit();
    await Promise.all(durable);
  }

  async #applyRun(
    batch: ChangeBatch,
    run: number,
    payload: Uint8Array | undefined,
    payloadAt: number,
  ): Promise<void> {
    const kind = batch.kinds[run]!;
    const isData = kind === CHANGE_DATA;
    await this.#applyRange({
      epoch: this.#info.epoch,
      sequence: batch.sequences[run]!,
      kind: isData ? "data" : kind === CHANGE_ZERO ? "zero" : "discard",
      blockIndex: batch.starts[run]!,
      blockCount: batch.counts[run]!,
      source: payload ?? new Uint8Array(0),
      sourceAt: payloadAt,
    });
  }

  /** Journals the parts of the range that are newer than what is here. */
  async #applyRange(range: Transaction): Promise<void> {
    const end = range.blockIndex + range.blockCount;
    let block = range.blockIndex;
    while (block < end) {
      // Asked again after each wait: newer versions may have come meanwhile.
      if (!this.#isNewer(block, range.sequence)) {
        block++;
        continue;
      }
      let next = block + 1;
      const limit = range.kind === "data" ? Math.min(end, block + SCRATCH_BLOCKS) : end;
      while (next < limit && this.#isNewer(next, range.sequence)) next++;
      const skipped = (block - range.blockIndex) * BLOCK_SIZE_BYTES;
      const part: Transaction = {
        ...range,
        blockIndex: block,
        blockCount: next - block,
        sourceAt: range.sourceAt + skipped,
      };
      const durable = this.#append(part);
      if (durable === undefined) {
        await this.#room();
        continue;
      }
      if (range.kind === "data")
        this.#host.state.arriving.arrive(this.#info.index, block, next - block, range.sequence);
      await durable;
      block = next;
    }
  }

  #isNewer(blockIndex: number, sequence: number): boolean {
    return newestSequence(this.#host.state, this.#info, blockIndex) < sequence;
  }

  /** Undefined if there is no room now. */
  #append(transaction: Transaction): Promise<void> | undefined {
    let settle: (fault: ComponentFault | undefined) => void = () => {};
    const durable = new Promise<void>((resolve, reject) => {
      settle = (fault) => (fault === undefined ? resolve() : reject(failed(fault)));
    });
    if (!this.#component.append(transaction, (_token, fault) => settle(fault), 0)) return undefined;
    this.#component.submit();
    return durable;
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

/** Adds work whose failure is heard of when all of it is awaited, however early it comes. */
function begin(durable: Promise<void>[], work: Promise<void>): void {
  work.catch(() => {});
  durable.push(work);
}

function setBit(bitmap: Uint8Array, index: number): void {
  bitmap[index >>> 3]! |= 1 << (index & 7);
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
