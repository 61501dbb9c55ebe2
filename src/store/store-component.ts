/** A component on this device, as its owner talks to it. See `Component` for the promises. */
import { assert, CodedError, marks } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import {
  newRecordHeader,
  RECORD_COMMIT,
  RECORD_DATA,
  RECORD_DISCARD,
  RECORD_ZERO,
} from "../format/index.ts";
import type { RecordHeader } from "../format/index.ts";
import { ComponentSync } from "./component-sync.ts";
import type {
  BlockRun,
  ChangeBatch,
  ChangesRequest,
  ComponentDone,
  ComponentFault,
  ComponentOpening,
  LocalComponent,
  OfferAnswer,
  Transaction,
} from "./component.ts";
import { requireThere } from "./component-table.ts";
import type { ComponentInfo } from "./component-table.ts";
import type { DeviceState } from "./device-state.ts";
import type { ExtentWalks } from "./extent-walks.ts";
import type { JournalWaiter } from "./journal-waiters.ts";
import { LOCATION_HOLE, LOCATION_ZERO, RANGE_BLOCKS_MIN } from "./pending-blocks.ts";
import type { Reader } from "./reader.ts";

/** Longest data transaction, in blocks (1 MiB): one journal frame holds it whole. */
export const DATA_BLOCKS_MAX = 256;

export type Admission = "taken" | "later" | ComponentFault;

/** What the device decides for its components. */
export interface ComponentHost {
  readonly state: DeviceState;
  readonly reader: Reader;
  /** Whether a transaction may be journalled now, must wait, or cannot be at all. */
  admit(kind: Transaction["kind"], blockCount: number): Admission;
  /** Called whenever something became decided, so that destage may begin. */
  decided(): void;
  /** Called once when a refused transaction is worth trying again. */
  onRoom(callback: () => void): void;
  /** Writes the component's record; resolves when it is durable. */
  persist(info: ComponentInfo): Promise<void>;
  /** The component lacks nothing any more; resolves when that is durable. */
  complete(info: ComponentInfo): Promise<void>;
  /** Runs `work` while nothing is destaged. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
  /** Resolves when everything decided so far has left the journal. */
  destage(): Promise<void>;
  /** One at a time: whoever runs has the scratch memory to itself. */
  withScratch<T>(work: (memory: DiskMemory) => Promise<T>): Promise<T>;
}

/** A commit that no record has carried is journalled by itself after this many transactions. */
const SILENT_COMMIT_DISTANCE = 4096;
const NO_WAITER: JournalWaiter = { recordDurable: () => {} };

const RECORD_KINDS = { data: RECORD_DATA, zero: RECORD_ZERO, discard: RECORD_DISCARD } as const;

export class StoreComponent implements LocalComponent, JournalWaiter {
  readonly info: ComponentInfo;
  /** Nothing can come between a device and its components. */
  readonly isOpen: boolean = true;
  readonly #host: ComponentHost;
  readonly #walks: ExtentWalks;
  readonly #sync: ComponentSync;
  readonly #record: RecordHeader = newRecordHeader();
  readonly #payload: { bytes: Uint8Array; at: number } = { bytes: new Uint8Array(0), at: 0 };
  readonly #ticket: { waiter: JournalWaiter; tag: number } = { waiter: this, tag: 0 };
  /** Waiting transactions: what to call when the journal answers. Slots are reused. */
  readonly #dones: (ComponentDone | undefined)[] = [];
  readonly #tokens: number[] = [];
  readonly #freeTags: number[] = [];
  /** Refused without the journal: told at the end of the turn. */
  #refused: { done: ComponentDone; token: number; fault: ComponentFault }[] = [];

  constructor(info: ComponentInfo, host: ComponentHost, walks: ExtentWalks) {
    this.info = info;
    this.#host = host;
    this.#walks = walks;
    this.#sync = new ComponentSync(this, host);
  }

  get componentId(): string {
    return this.info.componentId;
  }

  get blockCount(): number {
    return this.info.blockCount;
  }

  async open(epoch: number): Promise<ComponentOpening> {
    const { info } = this;
    this.requireEpoch(epoch);
    // Refused from now on; answered when it is durable, whoever asked first.
    info.epoch = epoch;
    await this.#host.persist(info);
    // The new owner may show its clients what is prepared here: a crash must not take it back.
    const { journal } = this.#host.state;
    await journal.whenDurable();
    if (journal.hasFailed)
      throw new CodedError({
        code: "device-failed",
        message: `the journal of the device of component ${info.componentId} cannot be written`,
        hint: "restart the host once the device is in order, or replace the device",
      });
    return {
      epoch: info.epoch,
      isComplete: info.catchUpFrom === undefined,
      committedSequence: info.catchUpFrom ?? info.committedSequence,
      // What it knows as decided was given to somebody, too, even if it never came here.
      preparedSequence: Math.max(info.preparedSequence, info.committedSequence),
    };
  }

  /** Fails with `component-missing` or `fenced`. To be asked again after each wait. */
  requireEpoch(epoch: number): void {
    const { info } = this;
    requireThere(info);
    if (!this.#isFenced(epoch)) return;
    marks.hit("an owner was fenced off");
    throw new CodedError({
      code: "fenced",
      message: `component ${info.componentId} was opened with epoch ${info.epoch}, above ${epoch}`,
    });
  }

  #isFenced(epoch: number): boolean {
    return epoch < this.info.epoch && this.#host.state.rules.fences;
  }

  mayPrepare(epoch: number, sequence: number): boolean {
    return epoch < this.info.epoch || sequence > this.info.preparedSequence;
  }

  prepare(transaction: Transaction, done: ComponentDone, token: number): boolean {
    const mayPrepare = this.mayPrepare(transaction.epoch, transaction.sequence);
    assert(mayPrepare, "sequences of a component only grow");
    return this.append(transaction, done, token);
  }

  /** As `prepare`, for a version that may be older than others of the component. */
  append(transaction: Transaction, done: ComponentDone, token: number): boolean {
    const { info } = this;
    const { kind, blockIndex, blockCount, sequence } = transaction;
    assert(blockCount >= 1 && blockIndex + blockCount <= info.blockCount, "range beyond component");
    assert(kind !== "data" || blockCount <= DATA_BLOCKS_MAX, "data transaction too long");
    if (info.deleting) return this.#refuse(done, token, "unreachable");
    if (this.#isFenced(transaction.epoch)) {
      marks.hit("a write of an earlier owner was refused");
      return this.#refuse(done, token, "fenced");
    }
    const admission = this.#host.admit(kind, blockCount);
    if (admission === "later") return false;
    if (admission !== "taken") return this.#refuse(done, token, admission);
    const first = this.#journal(transaction, done, token);
    if (first < 0) return false;
    info.preparedSequence = Math.max(info.preparedSequence, sequence);
    this.#host.state.changeLog.note(info.index, sequence, blockIndex, blockCount);
    this.#notePending(transaction, first);
    return true;
  }

  #journal(transaction: Transaction, done: ComponentDone, token: number): number {
    const record = this.#record;
    record.component = this.info.index;
    record.kind = RECORD_KINDS[transaction.kind];
    record.epoch = transaction.epoch;
    record.sequence = transaction.sequence;
    record.blockIndex = transaction.blockIndex;
    record.blockCount = transaction.blockCount;
    record.committed = this.info.committedSequence;
    const isData = transaction.kind === "data";
    this.#payload.bytes = transaction.source;
    this.#payload.at = transaction.sourceAt;
    const tag = this.#freeTags.pop() ?? this.#dones.length;
    this.#ticket.tag = tag;
    const { journal } = this.#host.state;
    const isPlaced = isData && journal.placed.takes(transaction.blockCount);
    let first = isPlaced ? journal.appendPlaced(record, this.#payload, this.#ticket) : -1;
    // Where free blocks are scattered a large write goes the way of small ones.
    if (first < 0) first = journal.append(record, isData ? this.#payload : undefined, this.#ticket);
    if (first < 0) {
      if (tag < this.#dones.length) this.#freeTags.push(tag);
      return -1;
    }
    this.info.journalledCommit = record.committed;
    this.#dones[tag] = done;
    this.#tokens[tag] = token;
    return first;
  }

  #notePending(transaction: Transaction, first: number): void {
    const { pending } = this.#host.state;
    const { kind, blockIndex, blockCount, sequence } = transaction;
    const component = this.info.index;
    if (kind === "data") {
      for (let i = 0; i < blockCount; i++) {
        pending.put(component, blockIndex + i, sequence, first + i);
      }
      return;
    }
    const location = kind === "zero" ? LOCATION_ZERO : LOCATION_HOLE;
    if (blockCount >= RANGE_BLOCKS_MIN) {
      const end = blockIndex + blockCount;
      pending.putRange({ component, start: blockIndex, end, sequence, location });
      return;
    }
    for (let i = 0; i < blockCount; i++) pending.put(component, blockIndex + i, sequence, location);
  }

  #refuse(done: ComponentDone, token: number, fault: ComponentFault): true {
    this.#refused.push({ done, token, fault });
    if (this.#refused.length === 1) {
      void Promise.resolve().then(() => {
        const refused = this.#refused;
        this.#refused = [];
        for (const one of refused) one.done(one.token, one.fault);
      });
    }
    return true;
  }

  recordDurable(_sequence: number, tag: number, fault: ComponentFault | undefined): void {
    const done = this.#dones[tag];
    assert(done !== undefined, "a transaction was answered twice");
    const token = this.#tokens[tag]!;
    this.#dones[tag] = undefined;
    this.#freeTags.push(tag);
    done(token, fault);
  }

  commit(epoch: number, sequence: number): void {
    const { info } = this;
    // The watermark is the object's: what it passes may have been refused here, or be for other
    // components.
    if (this.#isFenced(epoch) || sequence <= info.committedSequence) return;
    info.committedSequence = sequence;
    if (sequence - info.journalledCommit >= SILENT_COMMIT_DISTANCE) this.#journalCommit();
    this.#host.decided();
  }

  /**
   * A component that nothing is written to would otherwise look far behind after a crash. If there
   * is no room now, the next commit tries again.
   */
  #journalCommit(): void {
    const { info } = this;
    const record = this.#record;
    record.component = info.index;
    record.kind = RECORD_COMMIT;
    record.epoch = info.epoch;
    record.sequence = info.committedSequence;
    record.blockIndex = 0;
    record.blockCount = 0;
    record.committed = info.committedSequence;
    const ticket = { waiter: NO_WAITER, tag: 0 };
    if (this.#host.state.journal.append(record, undefined, ticket) < 0) return;
    info.journalledCommit = info.committedSequence;
  }

  read(
    target: DiskMemory,
    targetAt: number,
    blockIndex: number,
    blockCount: number,
    done: ComponentDone,
    token: number,
  ): void {
    // Its maps go page by page: what they say no more was not zero.
    if (this.info.deleting) return void this.#refuse(done, token, "unreachable");
    this.#host.reader.read(this.info, { target, targetAt, blockIndex, blockCount }, done, token);
  }

  readNow(target: DiskMemory, targetAt: number, blockIndex: number, blockCount: number): boolean {
    if (this.info.deleting) return false;
    return this.#host.reader.readNow(this.info, target.bytes, targetAt, blockIndex, blockCount);
  }

  extents(blockIndex: number, blockCount: number, runsMax: number): Promise<readonly BlockRun[]> {
    return this.#walks.walk(this.info, blockIndex, blockCount, runsMax);
  }

  changes(request: ChangesRequest): Promise<ChangeBatch> {
    return this.#sync.changes(request);
  }

  beginCatchUp(epoch: number, since: number): Promise<number> {
    return this.#sync.begin(epoch, since);
  }

  offer(epoch: number, batch: ChangeBatch, isSecond: boolean): Promise<OfferAnswer> {
    return this.#sync.offer(epoch, batch, isSecond);
  }

  offerAgain(epoch: number, offer: number, blocks: number): Promise<OfferAnswer | undefined> {
    return this.#sync.offerAgain(epoch, offer, blocks);
  }

  apply(epoch: number, batch: ChangeBatch, payload: Uint8Array): Promise<void> {
    return this.#sync.apply(epoch, batch, payload);
  }

  endCatchUp(epoch: number): Promise<void> {
    return this.#sync.end(epoch);
  }

  digests(epoch: number, firstRegion: number, regionCount: number): Promise<Uint8Array> {
    return this.#sync.digests(epoch, firstRegion, regionCount);
  }

  onRoom(callback: () => void): void {
    this.#host.onRoom(callback);
  }

  submit(): void {
    const { journal, disk } = this.#host.state;
    journal.submit();
    disk.submit();
    this.#host.reader.drain();
  }
}
