/** What a benchmark is to the runner, and the little statistics they share. */
export interface BenchmarkOptions {
  /** Rounds; in each round every target runs every workload once, so that drift hits all alike. */
  readonly rounds: number;
  /** Measured seconds of one run. */
  readonly seconds: number;
  /** Folder for the data: it decides which storage is measured. */
  readonly folder: string;
  /** Only workloads, and only targets, whose names contain one of these; all if empty. */
  readonly workloads: readonly string[];
  readonly targets: readonly string[];
  /** Progress, one line, for people. */
  progress(line: string): void;
}

/** One measured figure, or a ratio of two. */
export interface Figure {
  readonly workload: string;
  readonly target: string;
  readonly metric: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly runs: number;
}

export interface BenchmarkResult {
  readonly figures: readonly Figure[];
  /** What a reader must know to judge the figures: durability of each target, sizes, settings. */
  readonly notes: readonly string[];
}

export interface Benchmark {
  readonly name: string;
  readonly summary: string;
  readonly defaults: { readonly rounds: number; readonly seconds: number; readonly folder: string };
  run(options: BenchmarkOptions): Promise<BenchmarkResult>;
}

/** True if a name was asked for: contains one of the parts, or there are none. */
export function isWanted(name: string, parts: readonly string[]): boolean {
  return parts.length === 0 || parts.some((part) => name.includes(part));
}

export function figure(
  name: { readonly workload: string; readonly target: string; readonly metric: string },
  values: readonly number[],
): Figure {
  if (values.length === 0) throw new Error(`${name.workload} on ${name.target}: no value`);
  const sorted = values.toSorted((a, b) => a - b);
  return {
    ...name,
    median: median(sorted),
    min: sorted[0]!,
    max: sorted[sorted.length - 1]!,
    runs: sorted.length,
  };
}

function median(sorted: readonly number[]): number {
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle]!;
  return (sorted[middle - 1]! + sorted[middle]!) / 2;
}
