/** What a scrub says of a device. */
export interface ScrubReport {
  readonly contents: number;
  readonly logicalBlocks: number;
  /** Contents whose count is above the pointers: space that is not given back. */
  readonly countsTooHigh: number;
  /** Contents whose count is below the pointers: must never happen. */
  readonly countsTooLow: number;
  /** Logical blocks that point to no content, or to another address than their content has. */
  readonly danglingPointers: number;
  readonly damagedBlocks: number;
  /** Blocks that the space map calls used and no content uses. */
  readonly leakedBlocks: number;
  /** Blocks that a content uses and the space map calls free: must never happen. */
  readonly unprotectedBlocks: number;
  readonly wrongDigests: number;
  readonly damagedMetadata: number;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** While it is being made. */
export type ScrubFindings = Mutable<ScrubReport>;

export function newFindings(): ScrubFindings {
  return {
    contents: 0,
    logicalBlocks: 0,
    countsTooHigh: 0,
    countsTooLow: 0,
    danglingPointers: 0,
    damagedBlocks: 0,
    leakedBlocks: 0,
    unprotectedBlocks: 0,
    wrongDigests: 0,
    damagedMetadata: 0,
  };
}

export function isClean(report: ScrubReport): boolean {
  const { contents: _contents, logicalBlocks: _logicalBlocks, ...findings } = report;
  return Object.values(findings).every((count) => count === 0);
}
