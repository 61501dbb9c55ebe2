/**
 * Whether a host keeps to the memory that its configuration gives it: for each budget, what is the
 * process's own after more was written and read than the budget holds, beyond what a host has that
 * has only started.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { Prng } from "../src/base/index.ts";
import { watchMemory } from "../test/e2e/memory-watch.ts";
import { NbdClient } from "../test/e2e/nbd-client.ts";
import { processUsage } from "../test/e2e/process.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult } from "./benchmark.ts";
import { StartedHost } from "./started-host.ts";

const MIB = 2 ** 20;
const BUDGETS_MIB = [64, 192, 384] as const;
/** Of the budget, so that everything that may fill is full. */
const WRITTEN_SHARE = 1.5;
/** Larger reads go past the cache. */
const CHUNK = 64 << 10;
const AT_ONCE = 8;

export const memoryBenchmark: Benchmark = {
  name: "memory",
  summary: "Memory of a host beside the budget of its configuration",
  defaults: { rounds: 1, seconds: 1, folder: "/var/tmp" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const figures = [];
  for (const budget of BUDGETS_MIB) {
    const workload = `memory: ${budget}M`;
    if (!isWanted(workload, options.workloads)) continue;
    const grown: number[] = [];
    const peaks: number[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      const { startedBytes, peakBytes } = await measure(options.folder, budget);
      options.progress(
        `round ${round}  ${workload}  ${Math.round(startedBytes / MIB)} MiB at the start, ` +
          `${Math.round(peakBytes / MIB)} MiB at the most`,
      );
      grown.push((peakBytes - startedBytes) / MIB);
      peaks.push(peakBytes / MIB);
    }
    const target = "host";
    figures.push(
      figure({ workload, target, metric: "peak MiB" }, peaks),
      figure({ workload, target, metric: "beyond the start, MiB" }, grown),
      figure(
        { workload, target, metric: "of the budget" },
        grown.map((mib) => mib / budget),
      ),
    );
  }
  const notes = [
    `${WRITTEN_SHARE} times the budget is written, each block once, then read twice`,
    "resident memory without a file: what is mapped of files is page cache",
  ];
  return { figures, notes };
}

async function measure(
  parent: string,
  budgetMib: number,
): Promise<{ readonly startedBytes: number; readonly peakBytes: number }> {
  const folder = fs.mkdtempSync(path.join(parent, "drystone-bench-"));
  const host = await StartedHost.configure(folder, { deviceSize: "4G", memory: `${budgetMib}M` });
  try {
    await host.start();
    const startedBytes = processUsage(host.pid).withoutFileBytes;
    const socket = path.join(folder, "v.sock");
    await host.cli(["volume", "create", "v", "--size", "2G"]);
    await host.cli(["volume", "attach", "v", "--nbd", socket]);
    const client = await NbdClient.connect({ socket, exportName: "v" });
    const watch = watchMemory(() => [host.pid]);
    const chunks = Math.ceil((WRITTEN_SHARE * budgetMib * MIB) / CHUNK);
    const prng = new Prng(1);
    const data = Buffer.alloc(CHUNK);
    await each(chunks, async (at) => {
      const bytes = Buffer.from(data);
      prng.fork().fill(bytes);
      await client.write(at * CHUNK, bytes);
    });
    for (let pass = 0; pass < 2; pass++)
      await each(chunks, async (at) => void (await client.read(at * CHUNK, CHUNK)));
    const peakBytes = watch.stop().withoutFile;
    await client.close();
    return { startedBytes, peakBytes };
  } finally {
    await host.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** Some at a time. */
async function each(count: number, work: (index: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, lane));
}
