import type { DiskMemory } from "../ports/index.ts";

/**
 * The part of an object that lives on one device, as the object's owner sees it. Units are blocks
 * of 4096 bytes, relative to the component. The component orders nothing: it does what the owner
 * numbers.
 */
export interface Component {
  readonly componentId: string;
  readonly blockCount: number;
  /** Memory for the targets of `read`, where `targetAt` is a multiple of 4096. */
  allocate(lengthBytes: number): DiskMemory;
  /**
   * Fences every owner with a lower epoch, durably, and tells what this component holds. Fails with
   * code
   * `fenced` if the component has seen a higher epoch.
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
  /** Visits runs of blocks of one kind in order until the visitor returns false. */
  extents(blockIndex: number, blockCount: number, visit: (run: BlockRun) => boolean): void;
  /** Called once after a refused `prepare`, when it is worth trying again. */
  onRoom(callback: () => void): void;
  /** Starts journal and device I/O for everything called in this turn. */
  submit(): void;
}

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

export type ComponentFault = "fenced" | "no-space" | "read-error" | "write-error";

export type ComponentDone = (token: number, fault: ComponentFault | undefined) => void;

export interface ComponentOpening {
  readonly epoch: number;
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
