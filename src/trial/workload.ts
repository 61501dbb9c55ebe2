/** What the users of a volume do. */
import type { Prng } from "../base/index.ts";

export interface Workload {
  /** How many requests are under way at most. */
  readonly clientCount: number;
  /** Clients that stay with their host whatever it takes, as a VM does. */
  readonly patientShare: number;
  /** Blocks that most requests go to. */
  readonly hotBlocks: readonly number[];
  readonly readShare: number;
  readonly zeroShare: number;
  /** Requests that cover blocks in part. */
  readonly partialShare: number;
  /** Writes of a content that others have written, too. */
  readonly commonShare: number;
  readonly blocksMax: number;
  readonly thinkMsMax: number;
}

export function planWorkload(prng: Prng, blocks: number): Workload {
  const hotCount = prng.pick([1, 4, 12, 24]);
  return {
    clientCount: prng.between(2, 6),
    patientShare: prng.pick([0, 0.5, 1]),
    hotBlocks: Array.from({ length: hotCount }, () => prng.below(blocks - 1)),
    readShare: prng.pick([0.3, 0.5, 0.8]),
    zeroShare: prng.pick([0, 0.1]),
    partialShare: prng.pick([0, 0.2, 0.5]),
    commonShare: prng.pick([0, 0.3]),
    blocksMax: prng.pick([1, 4, 16]),
    thinkMsMax: prng.pick([50, 500, 3000]),
  };
}
