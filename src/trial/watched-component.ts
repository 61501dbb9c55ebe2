/**
 * A component between its device and everybody who talks to it: checks what must hold whoever is
 * right, and leaves out a rule where a mutant says so.
 */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import { dataBlocksOf } from "../store/index.ts";
import type {
  BlockRun,
  ChangeBatch,
  ChangesRequest,
  LocalComponent,
  ComponentDone,
  ComponentOpening,
  OfferAnswer,
  Transaction,
} from "../store/index.ts";

export interface ComponentRules {
  readonly isDestagedDecided: boolean;
  /** False: of what a copy is sent while it catches up, something is lost now and then. */
  readonly isAppliedWhole: boolean;
  /** False: what a copy is sent while it catches up replaces what was written meanwhile. */
  readonly isNewestKept: boolean;
  /** False: now and then a copy says that it has what it was offered, and has not. */
  readonly isOfferChecked: boolean;
}

/** Lets time pass now and then. */
export interface Lateness {
  /** Before others are told what they lack. */
  readonly changes?: () => Promise<void>;
  /** Before what it lacks itself is taken. */
  readonly copies?: () => Promise<void>;
}

const ALL: ComponentRules = {
  isDestagedDecided: true,
  isAppliedWhole: true,
  isNewestKept: true,
  isOfferChecked: true,
};

export class WatchedComponent implements LocalComponent {
  readonly #inner: LocalComponent;
  readonly #rules: ComponentRules;
  readonly #onViolation: (what: string) => void;
  readonly #late: Lateness;
  /** The highest epoch whose opening was answered since the device was opened. */
  #epoch = 0;
  #applications = 0;
  #isCatchingUp = false;
  #offers = 0;
  #lastSequence = 0;

  constructor(
    inner: LocalComponent,
    rules: Partial<ComponentRules>,
    onViolation: (what: string) => void,
    late: Lateness = {},
  ) {
    this.#inner = inner;
    this.#rules = { ...ALL, ...rules };
    this.#onViolation = onViolation;
    this.#late = late;
  }

  get componentId(): string {
    return this.#inner.componentId;
  }

  get blockCount(): number {
    return this.#inner.blockCount;
  }

  get isOpen(): boolean {
    return this.#inner.isOpen;
  }

  async open(epoch: number): Promise<ComponentOpening> {
    this.#isCatchingUp = false;
    const opening = await this.#inner.open(epoch);
    if (epoch < this.#epoch)
      this.#onViolation(`opened at epoch ${epoch} after epoch ${this.#epoch}`);
    this.#epoch = Math.max(this.#epoch, epoch);
    return opening;
  }

  mayPrepare(epoch: number, sequence: number): boolean {
    return this.#inner.mayPrepare(epoch, sequence);
  }

  prepare(transaction: Transaction, done: ComponentDone, token: number): boolean {
    const { epoch, sequence } = transaction;
    this.#lastSequence = Math.max(this.#lastSequence, sequence);
    const isLate = epoch < this.#epoch;
    const answer: ComponentDone = isLate
      ? (one, fault) => {
          if (fault === undefined)
            this.#onViolation(`took a write of epoch ${epoch} after epoch ${this.#epoch}`);
          done(one, fault);
        }
      : done;
    const isTaken = this.#inner.prepare(transaction, answer, token);
    if (isTaken && !this.#rules.isDestagedDecided) this.#inner.commit(epoch, sequence);
    return isTaken;
  }

  commit(epoch: number, sequence: number): void {
    this.#inner.commit(epoch, sequence);
  }

  read(
    target: DiskMemory,
    targetAt: number,
    blockIndex: number,
    blockCount: number,
    done: ComponentDone,
    token: number,
  ): void {
    this.#inner.read(target, targetAt, blockIndex, blockCount, done, token);
  }

  readNow(target: DiskMemory, targetAt: number, blockIndex: number, blockCount: number): boolean {
    return this.#inner.readNow?.(target, targetAt, blockIndex, blockCount) ?? false;
  }

  extents(blockIndex: number, blockCount: number, runsMax: number): Promise<readonly BlockRun[]> {
    return this.#inner.extents(blockIndex, blockCount, runsMax);
  }

  onRoom(callback: () => void): void {
    this.#inner.onRoom(callback);
  }

  submit(): void {
    this.#inner.submit();
  }

  async changes(request: ChangesRequest): Promise<ChangeBatch> {
    await this.#late.changes?.();
    return await this.#inner.changes(request);
  }

  beginCatchUp(epoch: number, since: number): Promise<number> {
    this.#isCatchingUp = true;
    return this.#inner.beginCatchUp(epoch, since);
  }

  async offer(epoch: number, batch: ChangeBatch, isSecond: boolean): Promise<OfferAnswer> {
    return this.#believed(await this.#inner.offer(epoch, batch, isSecond));
  }

  async offerAgain(epoch: number, offer: number, blocks: number): Promise<OfferAnswer | undefined> {
    const answer = await this.#inner.offerAgain(epoch, offer, blocks);
    return answer === undefined ? undefined : this.#believed(answer);
  }

  #believed(answer: OfferAnswer): OfferAnswer {
    if (this.#rules.isOfferChecked || this.#offers++ % 2 === 1) return answer;
    return { ...answer, missing: new Uint8Array(answer.missing.length) };
  }

  async apply(epoch: number, batch: ChangeBatch, payload: Uint8Array): Promise<void> {
    const { copies } = this.#late;
    if (copies === undefined || !this.#isCatchingUp) {
      await this.#apply(epoch, batch, payload);
      return;
    }
    // Both are the caller's.
    const sent = { batch: withoutRuns(batch, 0), payload: payload.slice() };
    await copies();
    await this.#apply(epoch, sent.batch, sent.payload);
  }

  #apply(epoch: number, batch: ChangeBatch, payload: Uint8Array): Promise<void> {
    // What is sent while a tail is settled is compared by nobody.
    const isTried = !this.#rules.isAppliedWhole && this.#isCatchingUp;
    const isDue = isTried && this.#applications++ % 2 === 0;
    if (isDue && batch.starts.length > 1) {
      const rest = withoutRuns(batch, 1);
      const bytes = dataBlocksOf(rest) * BLOCK_SIZE_BYTES;
      return this.#inner.apply(epoch, rest, payload.subarray(0, bytes));
    }
    if (!this.#rules.isNewestKept && this.#isCatchingUp)
      batch.sequences.forEach((sequence, run) => {
        batch.sequences[run] = Math.max(sequence, this.#lastSequence);
      });
    return this.#inner.apply(epoch, batch, payload);
  }

  endCatchUp(epoch: number): Promise<void> {
    this.#isCatchingUp = false;
    return this.#inner.endCatchUp(epoch);
  }

  digests(epoch: number, firstRegion: number, regionCount: number): Promise<Uint8Array> {
    return this.#inner.digests(epoch, firstRegion, regionCount);
  }
}

/** A copy, without the last ones. */
function withoutRuns(batch: ChangeBatch, count: number): ChangeBatch {
  const end = batch.starts.length - count;
  return {
    ...batch,
    starts: batch.starts.slice(0, end),
    counts: batch.counts.slice(0, end),
    sequences: batch.sequences.slice(0, end),
    kinds: batch.kinds.slice(0, end),
  };
}
