/**
 * What a cluster costs as it grows, in simulated clusters that run the product's own code: each
 * point is `bench/scale-world.ts` in a process of its own. Counts do not depend on this machine.
 */
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";
import type { ScaleFigures } from "./scale-world.ts";

const WORLD = fileURLToPath(new URL("scale-world.js", import.meta.url));
const HEAP_MIB = 12_000;
const POINT_MS_MAX = 45 * 60_000;

/** Hosts, machines (each with a volume), volumes. */
type Size = readonly [hosts: number, machines: number, volumes: number];

/** In each series one thing grows; `large` is the goal. */
const SERIES: Readonly<Record<string, readonly Size[]>> = {
  hosts: [
    [4, 64, 64],
    [8, 64, 64],
    [16, 64, 64],
    [32, 64, 64],
    [64, 64, 64],
  ],
  machines: [
    [8, 16, 16],
    [8, 64, 64],
    [8, 256, 256],
  ],
  volumes: [
    [8, 8, 100],
    [8, 8, 1000],
    [8, 8, 10_000],
  ],
  large: [[64, 1000, 10_000]],
};

async function measure(size: Size): Promise<ScaleFigures> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--expose-gc", `--max-old-space-size=${HEAP_MIB}`, WORLD, ...size.map(String)],
    { timeout: POINT_MS_MAX },
  );
  return JSON.parse(stdout) as ScaleFigures; // What `scale-world.ts` prints.
}

function figuresOf(series: string, found: ScaleFigures): readonly Figure[] {
  const { hosts, machines, volumes } = found;
  const target = `${hosts} hosts, ${machines} machines, ${volumes} volumes`;
  const metrics: Readonly<Record<string, number>> = {
    "link messages/s per host": found.linkMessagesPerSecond / hosts,
    "directory calls/s per host": found.directoryCallsPerSecond / hosts,
    "directory kB/s": found.directoryBytesPerSecond / 1000,
    "idle CPU ms/s per host": found.idleCpuMs / hosts,
    "heap MB": found.heapBytes / 1e6,
    restarts: found.restarts,
    "first restart ms": found.firstRestartMs,
    "last restart ms": found.lastRestartMs,
    "failover directory calls": found.failoverDirectoryCalls,
    "failover CPU ms": found.failoverCpuMs,
  };
  return Object.entries(metrics).map(([metric, value]) => {
    return figure({ workload: series, target, metric }, [value]);
  });
}

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const figures: Figure[] = [];
  for (const [series, sizes] of Object.entries(SERIES)) {
    // It takes a long time, so that it is measured when it is asked for.
    const isAsked = options.workloads.length > 0 || series !== "large";
    if (!isAsked || !isWanted(series, options.workloads)) continue;
    for (const size of sizes) {
      options.progress(`${series}: ${size[0]} hosts, ${size[1]} machines, ${size[2]} volumes`);
      figures.push(...figuresOf(series, await measure(size)));
    }
  }
  const notes = [
    "virtual time; each machine has a mirrored volume of its own, other volumes are not attached",
    "idle: 10 s in which nothing happens; failover: a host loses its power",
    "processor time and heap are those of all hosts, their disks, networks and guests, simulated",
  ];
  return { figures, notes };
}

export const scaleBenchmark: Benchmark = {
  name: "scale",
  summary: "what a simulated cluster costs as hosts, machines and volumes grow",
  defaults: { rounds: 1, seconds: 10, folder: "/dev/shm" },
  run,
};
