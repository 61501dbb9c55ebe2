/**
 * Speed and memory of the cache beside npm's, each measurement in a process of its own, targets in
 * turns within a round, so that drift hits all alike. Ratios are medians of the ratios of a round.
 *
 * Workloads: `hit` looks up keys that are there; `get-or-set` sets what a look-up missed; `memory`
 * counts bytes of heap and buffers for each of 500,000 entries, key and value included; `pages` is
 * the private page cache beside the shared one on one worker; `workers` is the shared one on one
 * worker, on two, and on two that have one each, nearly all hits.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, Figure } from "./benchmark.ts";
import { SPEED_TARGETS } from "./cache/speed-targets.ts";
import type { SpeedOrder } from "./cache/speed-run.ts";
import type { SpeedSample } from "./cache/speed-work.ts";

const RUN = fileURLToPath(new URL("./cache/speed-run.js", import.meta.url));
const TIMEOUT_MS = 120_000;

const WORKLOADS: ReadonlyMap<string, readonly string[]> = new Map([
  ["hit", [...SPEED_TARGETS.keys()]],
  ["get-or-set", [...SPEED_TARGETS.keys()]],
  ["memory", [...SPEED_TARGETS.keys()]],
  ["pages", ["private", "shared"]],
  ["workers", ["1", "2", "2-apart"]],
]);

/** What ratios are taken of: the second target's figure is the divisor. */
const RATIOS: readonly (readonly [workload: string, target: string, base: string])[] = [
  ...[...SPEED_TARGETS.keys()].map((name) => ["hit", name, "lru-cache"] as const),
  ...[...SPEED_TARGETS.keys()].map((name) => ["get-or-set", name, "lru-cache"] as const),
  ["pages", "shared", "private"],
  ["workers", "2", "1"],
  ["workers", "2", "2-apart"],
  ["workers", "2-apart", "1"],
];

async function measure(order: SpeedOrder): Promise<SpeedSample> {
  const args = ["--expose-gc", RUN, JSON.stringify(order)];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: TIMEOUT_MS });
  return JSON.parse(stdout) as SpeedSample;
}

type Samples = Map<string, SpeedSample[]>;

async function takeSamples(options: BenchmarkOptions): Promise<Samples> {
  const samples: Samples = new Map();
  for (let round = 1; round <= options.rounds; round++) {
    for (const [workload, targets] of WORKLOADS) {
      if (!isWanted(workload, options.workloads)) continue;
      for (const target of rotated(targets, round)) {
        if (!isWanted(target, options.targets)) continue;
        const sample = await measure({ workload, target, seconds: options.seconds });
        const key = `${workload} ${target}`;
        samples.set(key, [...(samples.get(key) ?? []), sample]);
        options.progress(`round ${round}  ${key}  ${JSON.stringify(sample)}`);
      }
    }
  }
  return samples;
}

function rotated(list: readonly string[], by: number): string[] {
  const at = by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

const METRICS: readonly (readonly [keyof SpeedSample, string])[] = [
  ["callsPerSecond", "calls/s"],
  ["callsPerCpuSecond", "calls/CPU-s"],
  ["hitRatio", "hit ratio"],
  ["bytesPerEntry", "bytes/entry"],
];

function figuresOf(samples: Samples): Figure[] {
  const figures: Figure[] = [];
  for (const [key, list] of samples) {
    const [workload, target] = key.split(" ") as [string, string];
    for (const [field, metric] of METRICS) {
      const values = list.flatMap((sample) => sample[field] ?? []);
      if (values.length > 0) figures.push(figure({ workload, target, metric }, values));
    }
  }
  for (const [workload, target, base] of RATIOS) {
    const ours = samples.get(`${workload} ${target}`);
    const theirs = samples.get(`${workload} ${base}`);
    if (ours === undefined || theirs === undefined) continue;
    const values = ours.map((one, i) => one.callsPerSecond! / theirs[i]!.callsPerSecond!);
    const name = { workload, target: `${target} / ${base}`, metric: "ratio of calls/s" };
    figures.push(figure(name, values));
  }
  return figures;
}

export const cacheSpeedBenchmark: Benchmark = {
  name: "cache-speed",
  summary: "speed, memory and scaling of the cache beside npm's",
  defaults: { rounds: 5, seconds: 1, folder: "" },
  async run(options) {
    return {
      figures: figuresOf(await takeSamples(options)),
      notes: [
        "capacity 50,000; Zipf 0.9 over 40,000 resident keys (hit) or 500,000 keys (get-or-set)",
        "calls/s are per second of CPU time of the process, but for workers: wall-clock time",
        "memory: 500,000 entries, small integers as values, heap and buffers after collection",
        "mnemonist-lru-cache keeps small integer keys in an array: not its speed on other keys",
      ],
    };
  },
};
