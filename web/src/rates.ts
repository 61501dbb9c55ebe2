/** From counters that only grow to what happened per second. */
import type { StatsView } from "../../src/host/index.ts";
import type { Sample } from "./cluster-store.ts";

export interface Rate {
  readonly timeMs: number;
  readonly reads: number;
  readonly writes: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  /** Milliseconds on average; undefined while there was nothing. */
  readonly readMs: number | undefined;
  readonly writeMs: number | undefined;
}

interface Totals {
  reads: number;
  writes: number;
  readBytes: number;
  writeBytes: number;
  readMs: number;
  writeMs: number;
}

/** One volume's, or all volumes' together. */
function totals(stats: StatsView, volume: string | undefined): Totals {
  const sum: Totals = { reads: 0, writes: 0, readBytes: 0, writeBytes: 0, readMs: 0, writeMs: 0 };
  for (const { name, io } of stats.volumes) {
    if (io === undefined || (volume !== undefined && name !== volume)) continue;
    sum.reads += io.reads.count;
    sum.writes += io.writes.count;
    sum.readBytes += io.reads.bytes;
    sum.writeBytes += io.writes.bytes;
    sum.readMs += io.reads.totalMs;
    sum.writeMs += io.writes.totalMs;
  }
  return sum;
}

export function rates(samples: readonly Sample[], volume?: string): readonly Rate[] {
  const found: Rate[] = [];
  for (const [index, sample] of samples.entries()) {
    const before = samples[index - 1];
    if (before === undefined) continue;
    const seconds = (sample.timeMs - before.timeMs) / 1000;
    const [from, to] = [totals(before.stats, volume), totals(sample.stats, volume)];
    // A host that started anew, or that did not answer, counts from nothing.
    const grown = (pick: (sum: Totals) => number): number => Math.max(0, pick(to) - pick(from));
    const reads = grown((sum) => sum.reads);
    const writes = grown((sum) => sum.writes);
    found.push({
      timeMs: sample.timeMs,
      reads: reads / seconds,
      writes: writes / seconds,
      readBytes: grown((sum) => sum.readBytes) / seconds,
      writeBytes: grown((sum) => sum.writeBytes) / seconds,
      readMs: reads === 0 ? undefined : grown((sum) => sum.readMs) / reads,
      writeMs: writes === 0 ? undefined : grown((sum) => sum.writeMs) / writes,
    });
  }
  return found;
}
