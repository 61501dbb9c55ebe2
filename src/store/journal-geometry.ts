/** Where a journal lies, and where it goes on. */

export interface JournalGeometry {
  readonly offset: number;
  readonly segmentBytes: number;
  readonly segmentCount: number;
  readonly deviceTag: number;
  /** Where the block store begins, and how long it is. */
  readonly blocksOffset: number;
  readonly blockStoreBytes: number;
}

/** Where the next frame goes, and what came before it. */
export interface JournalPosition {
  readonly generation: number;
  readonly frameNext: number;
  readonly incarnation: number;
}
