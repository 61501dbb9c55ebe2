/** Runs of blocks of one kind, as another host asks for them and tells them. */
import type { BlockRun } from "../store/index.ts";
import { invalid } from "./change-codec.ts";

/** What one call may ask for: more than any front end does. */
const RUNS_MAX = 4096;

export interface RunsWanted {
  readonly blockIndex: number;
  readonly blockCount: number;
  readonly runsMax: number;
}

/** As a component takes it. Fails with `message-invalid`. */
export function checkedWanted(wanted: RunsWanted, componentBlocks: number): RunsWanted {
  const { blockIndex, blockCount, runsMax } = wanted;
  if (blockIndex < 0 || blockCount < 1 || blockIndex + blockCount > componentBlocks)
    throw invalid("extents beyond the component");
  if (runsMax < 1) throw invalid("no extents are asked for");
  return { blockIndex, blockCount, runsMax: Math.min(runsMax, RUNS_MAX) };
}

/**
 * What another host has answered. It must be what a component promises: from the first block on,
 * without gaps, within what was asked for. Fails with `message-invalid`.
 */
export function parseRuns(said: unknown, wanted: RunsWanted): readonly BlockRun[] {
  if (!Array.isArray(said)) throw invalid("extents are a list");
  if (said.length === 0 || said.length > wanted.runsMax)
    throw invalid(`${said.length} extents, not 1 to ${wanted.runsMax}`);
  const end = wanted.blockIndex + wanted.blockCount;
  let next = wanted.blockIndex;
  return said.map((one: unknown) => {
    const run = parseRun(one);
    if (run.blockIndex !== next) throw invalid("extents with a gap");
    next += run.blockCount;
    if (next > end) throw invalid("extents beyond what was asked for");
    return run;
  });
}

function parseRun(value: unknown): BlockRun {
  if (typeof value !== "object" || value === null) throw invalid("an extent is no object");
  const { kind, blockIndex, blockCount }: Partial<Record<keyof BlockRun, unknown>> = value;
  const isKind = kind === "data" || kind === "hole" || kind === "allocated-zero";
  if (!isKind || typeof blockIndex !== "number" || !isPositive(blockCount))
    throw invalid("an extent cannot be read");
  return { kind, blockIndex, blockCount };
}

function isPositive(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}
