import type { DiskMemory } from "../ports/index.ts";

/**
 * The part of an object that lives on one device, as the object's owner sees it. Units are blocks
 * of 4096 bytes, relative to the component. The component orders nothing: it does what the owner
 * numbers.
 */
export interface ComponentIo {
  readonly componentId: string;
  readonly blockCount: number;
  /**
   * Fences every owner with a lower epoch, durably, and tells what this component holds, which is
   * durable by then. Fails with code `fenced` if the component has seen a higher epoch, or
   * `device-failed` if its device takes no writes any more.
   */
  open(epoch: number): Promise<ComponentOpening>;
  /**
   * Journals one transaction. Returns false if there is no room in memory now: nothing happened,
   * try again after `onRoom`. The payload is copied before the call returns; `done` comes once it
   * is durable. Sequences of one component only grow.
   */
  prepare(transaction: Transaction, done: ComponentDone, token: number): boolean;
  /**
   * Everything up to `sequence` is decided: it may be destaged and counts as never to be taken
   * back.
   */
  commit(epoch: number, sequence: number): void;
  /**
   * Reads the newest prepared contents, verified. Zeroes for holes. The owner keeps reads away from
   * blocks with a write under way.
   */
  read(
    target: DiskMemory,
    targetAt: number,
    blockIndex: number,
    blockCount: number,
    done: ComponentDone,
    token: number,
  ): void;
  /**
   * As `read`, at once, if everything is in memory; absent where the device is on another host.
   * False: nothing was answered, though the target may have changed.
   */
  readNow?(target: DiskMemory, targetAt: number, blockIndex: number, blockCount: number): boolean;
  /**
   * Runs of blocks of one kind, in order and merged, from the first block on: at most `runsMax`,
   * which may cover a part of the range only.
   */
  extents(blockIndex: number, blockCount: number, runsMax: number): Promise<readonly BlockRun[]>;
  /** Called once after a refused `prepare`, when it is worth trying again. */
  onRoom(callback: () => void): void;
  /** Starts journal and device I/O for everything called in this turn. */
  submit(): void;
}

/**
 * A component whole: what an owner needs to make it equal to its mirrors, besides reading and
 * writing. Each method fails with `fenced` at a lower epoch.
 */
export interface Component extends ComponentIo {
  /** False if the way to it has broken since it was opened: it has to be opened again. */
  readonly isOpen: boolean;
  /**
   * What is newer than a sequence: of each block of the range the newest version, as runs in
   * ascending order. A batch covers a prefix of the range; `nextBlock` says where to go on.
   */
  changes(request: ChangesRequest): Promise<ChangeBatch>;
  /**
   * Notes durably that this component lacks things after `since`, and drops what it holds that
   * nobody has decided. Returns the sequence up to which it is complete, `since` at most. Until
   * `endCatchUp` it calls itself committed up to there and no further.
   */
  beginCatchUp(epoch: number, since: number): Promise<number>;
  /**
   * Takes holes, zeroes, and contents that this device holds already for any component; resolves
   * when they are durable. Needs fingerprints. Contents are taken for what is decided as far as the
   * component has been told.
   */
  offer(epoch: number, batch: ChangeBatch, isSecond: boolean): Promise<OfferAnswer>;
  /**
   * As a second offer of what was awaited of an earlier one, so many blocks, without saying again
   * what that is. Undefined if this is not known here any more.
   */
  offerAgain(epoch: number, offer: number, blocks: number): Promise<OfferAnswer | undefined>;
  /**
   * Journals the blocks of the batch that are newer than what is here; resolves when they are
   * durable. `payload` holds the data blocks, one after the other; it is good for the turn of the
   * call only. Doing it twice changes nothing.
   */
  apply(epoch: number, batch: ChangeBatch, payload: Uint8Array): Promise<void>;
  /** The component is complete up to what was committed to it, durably. */
  endCatchUp(epoch: number): Promise<void>;
  /**
   * Digests of regions of 1 MiB, 16 bytes each, over everything that is decided. Fails with
   * `not-settled` while something of the component is not.
   */
  digests(epoch: number, firstRegion: number, regionCount: number): Promise<Uint8Array>;
}

/** A component of this host, which others are served from. */
export interface LocalComponent extends Component {
  /**
   * Whether `prepare` may be called: transactions of an epoch come in order. Those of an epoch that
   * is over may be given to it, and are refused.
   */
  mayPrepare(epoch: number, sequence: number): boolean;
}

export interface ChangesRequest {
  readonly epoch: number;
  readonly since: number;
  readonly fromBlock: number;
  readonly toBlock: number;
  /** Bound for the data blocks of a batch. */
  readonly blocksMax: number;
  readonly withFingerprints: boolean;
}

export interface ChangeBatch {
  /** Per run: first block, number of blocks, sequence, kind. */
  readonly starts: Float64Array;
  readonly counts: Float64Array;
  readonly sequences: Float64Array;
  readonly kinds: Uint8Array;
  /** 32 bytes for each data block, in order; empty if nobody asked for them. */
  readonly fingerprints: Uint8Array;
  /** Where the next batch begins, or -1 if the range has come to its end. */
  readonly nextBlock: number;
  /** Whether the log of changes knew all of them, or the logical map had to be searched. */
  readonly fromJournal: boolean;
  /** What it took to come here from another host. */
  readonly wireBytes?: number;
}

export interface OfferAnswer {
  /** A bit for each data block of the batch: set, if it is missing and has to be sent. */
  readonly missing: Uint8Array;
  /**
   * Of those that are missing, the ones whose content somebody was told to send already, for
   * another block: worth a second offer.
   */
  readonly awaited: Uint8Array;
  /** How many blocks to offer next. */
  readonly blocksNext: number;
  /** What this offer is called if it is kept, for what is awaited to be offered again. */
  readonly offer?: number;
  /** What went to another host and came back. */
  readonly wireBytes?: number;
}

export const CHANGE_DATA = 0;
export const CHANGE_ZERO = 1;
export const CHANGE_HOLE = 2;

/** Bounds of one batch. */
export const CHANGE_RUNS_MAX = 4096;
export const CHANGE_BLOCKS_MAX = 4096;

export interface Transaction {
  epoch: number;
  sequence: number;
  kind: TransactionKind;
  blockIndex: number;
  blockCount: number;
  /** For "data": blockCount * 4096 bytes at `sourceAt`. */
  source: Uint8Array;
  sourceAt: number;
}

/** "zero" keeps the range reported as allocated, "discard" makes holes. */
export type TransactionKind = "data" | "zero" | "discard";

/** "unreachable": the link to it broke, and whether it was done is unknown. */
export type ComponentFault = "fenced" | "no-space" | "read-error" | "write-error" | "unreachable";

export type ComponentDone = (token: number, fault: ComponentFault | undefined) => void;

export interface ComponentOpening {
  readonly epoch: number;
  /** False if it lacks things and has not caught up yet: it must not count as a copy. */
  readonly isComplete: boolean;
  /** Everything up to here is committed. */
  readonly committedSequence: number;
  /** The newest sequence that is prepared; all between are too. */
  readonly preparedSequence: number;
}

export interface BlockRun {
  readonly kind: "data" | "hole" | "allocated-zero";
  readonly blockIndex: number;
  readonly blockCount: number;
}
