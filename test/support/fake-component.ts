/**
 * A component in memory that completes in random order, refuses by chance, and checks what an owner
 * promises: sequences grow, nothing is read or written while a write of the same blocks is under
 * way, and whatever is called is submitted.
 */
import { assert, BLOCK_SIZE_BYTES, CodedError } from "../../src/base/index.ts";
import type { Prng } from "../../src/base/index.ts";
import type { DiskMemory } from "../../src/ports/index.ts";
import {
  CHANGE_DATA,
  CHANGE_HOLE,
  CHANGE_ZERO,
  ChangeBatchBuilder,
  dataBlocksOf,
} from "../../src/store/index.ts";
import type {
  BlockRun,
  ChangeBatch,
  ChangesRequest,
  Component,
  ComponentDone,
  ComponentFault,
  ComponentOpening,
  OfferAnswer,
  Transaction,
} from "../../src/store/index.ts";

const KINDS = { data: CHANGE_DATA, hole: CHANGE_HOLE, "allocated-zero": CHANGE_ZERO } as const;

interface Prepared {
  readonly transaction: Transaction;
  readonly done: ComponentDone;
  readonly token: number;
}

type Block = Uint8Array | "allocated-zero";

export function fakeMemory(lengthBytes: number): DiskMemory {
  return { bytes: new Uint8Array(lengthBytes), handle: { address: 0, lengthBytes } };
}

export class FakeComponent implements Component {
  /** False until it is opened again. */
  isOpen = true;
  /** What it says when it is opened. */
  isComplete = true;
  readonly componentId: string;
  blockCount: number;
  refusal = 0;
  completesReadsAtOnce = false;
  /** Everything is in memory: it can be read at once. */
  isInMemory = false;
  readNowCount = 0;
  faultOf: (transaction: Transaction) => ComponentFault | undefined = () => undefined;
  readFaultOf: (blockIndex: number, blockCount: number) => ComponentFault | undefined = () =>
    undefined;
  readonly sequences: number[] = [];
  committedSequence = 0;
  preparedSequence = 0;
  prepareCount = 0;
  refusedCount = 0;
  readonly #prng: Prng;
  readonly #blocks = new Map<number, Block>();
  readonly #versions = new Map<number, number>();
  #epoch = 1;
  /** Called and not submitted. */
  #called: (() => void)[] = [];
  /** Submitted: any of them may be next. */
  #actions: (() => void)[] = [];
  #preparing: Prepared[] = [];

  constructor(componentId: string, blockCount: number, prng: Prng) {
    this.componentId = componentId;
    this.blockCount = blockCount;
    this.#prng = prng;
  }

  get isQuiet(): boolean {
    return this.#actions.length === 0;
  }

  get unsubmittedCount(): number {
    return this.#called.length;
  }

  /** Completes one thing. False if nothing is under way. */
  step(): boolean {
    if (this.#actions.length === 0) return false;
    const index = this.#prng.below(this.#actions.length);
    const action = this.#actions[index]!;
    this.#actions[index] = this.#actions.at(-1)!;
    this.#actions.pop();
    action();
    return true;
  }

  /**
   * The machine dies. Of what was not answered a random number of the first transactions is
   * durable; the component can be opened again.
   */
  crash(): void {
    this.#preparing.sort((a, b) => a.transaction.sequence - b.transaction.sequence);
    const kept = this.#prng.below(this.#preparing.length + 1);
    for (const { transaction } of this.#preparing.slice(0, kept)) this.#apply(transaction);
    this.#preparing = [];
    this.#called = [];
    this.#actions = [];
    this.sequences.length = 0;
  }

  /** Somebody else opens it at a higher epoch. */
  takeOver(): void {
    this.#epoch++;
  }

  async open(epoch: number): Promise<ComponentOpening> {
    this.#fence(epoch);
    this.#epoch = epoch;
    this.isOpen = true;
    return {
      epoch,
      isComplete: this.isComplete,
      committedSequence: this.committedSequence,
      preparedSequence: this.preparedSequence,
    };
  }

  prepare(transaction: Transaction, done: ComponentDone, token: number): boolean {
    const { sequence, blockIndex, blockCount } = transaction;
    const last = this.sequences.at(-1) ?? this.preparedSequence;
    assert(sequence > last, "sequences of a component only grow");
    assert(blockCount > 0 && blockIndex + blockCount <= this.blockCount, "range out of bounds");
    this.#checkQuiet(blockIndex, blockCount);
    if (this.#prng.chance(this.refusal)) {
      this.refusedCount++;
      return false;
    }
    this.prepareCount++;
    this.sequences.push(sequence);
    const isData = transaction.kind === "data";
    const { source, sourceAt } = transaction;
    const end = sourceAt + blockCount * BLOCK_SIZE_BYTES;
    assert(!isData || end <= source.length, "the payload is too short");
    const payload = isData ? source.slice(sourceAt, end) : new Uint8Array(0);
    const copy = { ...transaction, source: payload, sourceAt: 0 };
    const prepared = { transaction: copy, done, token };
    this.#preparing.push(prepared);
    this.#called.push(() => this.#finish(prepared));
    return true;
  }

  commit(epoch: number, sequence: number): void {
    if (epoch < this.#epoch) return;
    assert(sequence >= this.committedSequence, "the watermark does not fall");
    const isUnderWay = this.#preparing.some(({ transaction }) => transaction.sequence <= sequence);
    assert(!isUnderWay, "a transaction is committed before it is prepared");
    this.committedSequence = sequence;
  }

  read(
    target: DiskMemory,
    targetAt: number,
    blockIndex: number,
    blockCount: number,
    done: ComponentDone,
    token: number,
  ): void {
    assert(targetAt % BLOCK_SIZE_BYTES === 0, "a target is aligned");
    assert(blockCount > 0 && blockIndex + blockCount <= this.blockCount, "range out of bounds");
    this.#checkQuiet(blockIndex, blockCount);
    const finish = (): void => {
      this.#checkQuiet(blockIndex, blockCount);
      const fault = this.readFaultOf(blockIndex, blockCount);
      const wanted = target.bytes.subarray(targetAt, targetAt + blockCount * BLOCK_SIZE_BYTES);
      if (fault === undefined) this.#copyTo(wanted, blockIndex);
      else wanted.fill(0xee);
      done(token, fault);
    };
    if (this.completesReadsAtOnce) finish();
    else this.#called.push(finish);
  }

  readNow(target: DiskMemory, targetAt: number, blockIndex: number, blockCount: number): boolean {
    if (!this.isInMemory) return false;
    this.#checkQuiet(blockIndex, blockCount);
    const end = targetAt + blockCount * BLOCK_SIZE_BYTES;
    this.#copyTo(target.bytes.subarray(targetAt, end), blockIndex);
    this.readNowCount++;
    return true;
  }

  async extents(
    blockIndex: number,
    blockCount: number,
    runsMax: number,
  ): Promise<readonly BlockRun[]> {
    const runs: BlockRun[] = [];
    for (let at = blockIndex; at < blockIndex + blockCount && runs.length < runsMax;) {
      const kind = this.#kindOf(at);
      let end = at + 1;
      while (end < blockIndex + blockCount && this.#kindOf(end) === kind) end++;
      runs.push({ kind, blockIndex: at, blockCount: end - at });
      at = end;
    }
    return runs;
  }

  async changes(request: ChangesRequest): Promise<ChangeBatch> {
    this.#fence(request.epoch);
    const builder = new ChangeBatchBuilder();
    for (let block = request.fromBlock; block < request.toBlock; block++) {
      if (!builder.hasRoom(request.blocksMax)) return builder.finish(block, true);
      const sequence = this.#versions.get(block) ?? 0;
      if (sequence > request.since) builder.add(block, 1, sequence, KINDS[this.#kindOf(block)]);
    }
    return builder.finish(-1, true);
  }

  async beginCatchUp(epoch: number, since: number): Promise<number> {
    this.#fence(epoch);
    return Math.min(since, this.committedSequence);
  }

  async offer(epoch: number, batch: ChangeBatch): Promise<OfferAnswer> {
    this.#fence(epoch);
    const missing = new Uint8Array(Math.ceil(dataBlocksOf(batch) / 8)).fill(255);
    return { missing, awaited: new Uint8Array(missing.length), blocksNext: 64 };
  }

  async offerAgain(epoch: number): Promise<undefined> {
    this.#fence(epoch);
  }

  async apply(epoch: number, batch: ChangeBatch, payload: Uint8Array): Promise<void> {
    this.#fence(epoch);
    let at = 0;
    for (const [run, start] of batch.starts.entries()) {
      const sequence = batch.sequences[run]!;
      const isData = batch.kinds[run] === CHANGE_DATA;
      for (let block = start; block < start + batch.counts[run]!; block++) {
        const bytes = payload.slice(at, at + BLOCK_SIZE_BYTES);
        if (isData) at += BLOCK_SIZE_BYTES;
        if ((this.#versions.get(block) ?? 0) >= sequence) continue;
        this.preparedSequence = Math.max(this.preparedSequence, sequence);
        this.#versions.set(block, sequence);
        if (isData) this.#blocks.set(block, bytes);
        else if (batch.kinds[run] === CHANGE_HOLE) this.#blocks.delete(block);
        else this.#blocks.set(block, "allocated-zero");
      }
    }
  }

  async endCatchUp(epoch: number): Promise<void> {
    this.#fence(epoch);
  }

  /** Not of contents: tests of digests use real components. */
  async digests(epoch: number, _firstRegion: number, regionCount: number): Promise<Uint8Array> {
    this.#fence(epoch);
    return new Uint8Array(regionCount * 16);
  }

  #fence(epoch: number): void {
    if (epoch >= this.#epoch) return;
    throw new CodedError({ code: "fenced", message: `epoch ${this.#epoch} was seen` });
  }

  onRoom(callback: () => void): void {
    this.#actions.push(callback);
  }

  submit(): void {
    this.#actions.push(...this.#called);
    this.#called = [];
  }

  #kindOf(blockIndex: number): BlockRun["kind"] {
    const block = this.#blocks.get(blockIndex);
    return block === undefined ? "hole" : block === "allocated-zero" ? block : "data";
  }

  #finish(prepared: Prepared): void {
    this.#preparing.splice(this.#preparing.indexOf(prepared), 1);
    const { transaction, done, token } = prepared;
    const fault = transaction.epoch < this.#epoch ? "fenced" : this.faultOf(transaction);
    if (fault === undefined) this.#apply(transaction);
    done(token, fault);
  }

  #apply(transaction: Transaction): void {
    const { blockIndex, blockCount, kind, source, sequence } = transaction;
    this.preparedSequence = Math.max(this.preparedSequence, sequence);
    for (let i = 0; i < blockCount; i++) {
      const at = i * BLOCK_SIZE_BYTES;
      this.#versions.set(blockIndex + i, sequence);
      if (kind === "data")
        this.#blocks.set(blockIndex + i, source.subarray(at, at + BLOCK_SIZE_BYTES));
      else if (kind === "zero") this.#blocks.set(blockIndex + i, "allocated-zero");
      else this.#blocks.delete(blockIndex + i);
    }
  }

  #copyTo(target: Uint8Array, blockIndex: number): void {
    for (let at = 0; at < target.length; at += BLOCK_SIZE_BYTES) {
      const block = this.#blocks.get(blockIndex + at / BLOCK_SIZE_BYTES);
      if (block instanceof Uint8Array) target.set(block, at);
      else target.fill(0, at, at + BLOCK_SIZE_BYTES);
    }
  }

  #checkQuiet(blockIndex: number, blockCount: number): void {
    for (const { transaction: other } of this.#preparing)
      assert(
        other.blockIndex >= blockIndex + blockCount ||
          other.blockIndex + other.blockCount <= blockIndex,
        "a write of these blocks is under way",
      );
  }
}
