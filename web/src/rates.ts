/** From counters that only grow to what happened per second. */
import type { StatsView } from "../../src/host/index.ts";

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

export interface Totals {
  readonly reads: number;
  readonly writes: number;
  readonly readBytes: number;
  readonly writeBytes: number;
  readonly readMs: number;
  readonly writeMs: number;
}

/** What all volumes, and each, had done at a moment: a small part of what the host answers. */
export interface Sample {
  readonly timeMs: number;
  readonly all: Totals;
  readonly volumes: ReadonlyMap<string, Totals>;
}

const NONE: Totals = { reads: 0, writes: 0, readBytes: 0, writeBytes: 0, readMs: 0, writeMs: 0 };

export function sampleOf(stats: StatsView, timeMs: number): Sample {
  const volumes = new Map<string, Totals>();
  const all: { -readonly [K in keyof Totals]: Totals[K] } = { ...NONE };
  for (const { name, io } of stats.volumes) {
    if (io === undefined) continue;
    const totals = {
      reads: io.reads.count,
      writes: io.writes.count,
      readBytes: io.reads.bytes,
      writeBytes: io.writes.bytes,
      readMs: io.reads.totalMs,
      writeMs: io.writes.totalMs,
    };
    volumes.set(name, totals);
    for (const key of Object.keys(totals) as (keyof Totals)[]) all[key] += totals[key];
  }
  return { timeMs, all, volumes };
}

/** One volume's, or all volumes' together. */
export function rates(samples: readonly Sample[], volume?: string): readonly Rate[] {
  const totals = (sample: Sample): Totals =>
    volume === undefined ? sample.all : (sample.volumes.get(volume) ?? NONE);
  const found: Rate[] = [];
  for (const [index, sample] of samples.entries()) {
    const before = samples[index - 1];
    if (before === undefined) continue;
    const seconds = (sample.timeMs - before.timeMs) / 1000;
    const [from, to] = [totals(before), totals(sample)];
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
