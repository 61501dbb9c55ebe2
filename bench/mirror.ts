/**
 * Three hosts with their directory, each a process on this machine, and a volume of two copies
 * loaded at its owner: what a mirrored write costs. Ceph's figures for the same set-up are in
 * `docs/performance`; it is not started here.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { ClusterRun } from "../test/e2e/cluster-run.ts";
import type { NbdAddress } from "../test/e2e/nbd-client.ts";
import { destagedStats } from "../test/e2e/stats.ts";
import { isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";
import {
  figuresOfSamples,
  fill,
  measure,
  VOLUME_BYTES,
  WORKLOADS,
  WRITE_SET_BYTES,
} from "./fio-samples.ts";
import type { Loaded, Sample } from "./fio-samples.ts";

const TARGET = "three hosts";

export const mirrorBenchmark: Benchmark = {
  name: "mirror",
  summary: "A volume of two copies on three hosts under the fio jobs of `nbd`",
  defaults: { rounds: 3, seconds: 4, folder: "/dev/shm" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const cluster = await ClusterRun.create(path.join(folder, "c"));
  try {
    const address = await prepare(cluster, path.join(folder, "bench.sock"));
    const loaded: Loaded = { pids: cluster.pids, settle: () => untilDestaged(cluster) };
    options.progress("filling");
    await fill(address, WRITE_SET_BYTES);
    await loaded.settle();
    const figures: Figure[] = [];
    for (const work of WORKLOADS) {
      if (!isWanted(work.name, options.workloads)) continue;
      const samples: Sample[] = [];
      for (let round = 1; round <= options.rounds; round++) {
        const sample = await measure(loaded, address, work, options.seconds);
        samples.push(sample);
        options.progress(`round ${round}  ${work.name}  ${sample.iops.toFixed(0)} IOPS`);
      }
      figures.push(...figuresOfSamples(work.name, TARGET, samples));
    }
    return {
      figures,
      notes: [
        "two copies and a witness on three hosts; a write counts when it is durable in both",
        "the client speaks to the owner, which holds one of the copies: reads are local",
        "CPU and memory are those of all hosts, the directory and the supervisor together",
      ],
    };
  } finally {
    await cluster.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function prepare(cluster: ClusterRun, socket: string): Promise<NbdAddress> {
  const create = ["volume", "create", "bench", "--size", String(VOLUME_BYTES)];
  await cluster.cli(1, [...create, "--failures-to-tolerate", "1"]);
  const { components } = await cluster.cli<{
    readonly components: readonly { readonly host: string; readonly kind?: string }[];
  }>(1, ["volume", "show", "bench"]);
  const owner = components[0]?.host ?? "h1";
  await cluster.cli(1, ["volume", "attach", "bench", "--nbd", socket, "--host", owner]);
  return { exportName: "bench", socket };
}

/** Until no host has anything left in its journal. */
async function untilDestaged(cluster: ClusterRun): Promise<void> {
  for (const host of [1, 2, 3]) await destagedStats({ cli: (args) => cluster.cli(host, args) });
}
