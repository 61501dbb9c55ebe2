/**
 * What an address that stays good while hosts die costs: the volume `demo` of a development cluster
 * through the relay, and at the host that serves it. The same volume and the same jobs, one loaded
 * at a time, interleaved within every round.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { ClusterRun } from "../test/e2e/cluster-run.ts";
import type { NbdAddress } from "../test/e2e/nbd-client.ts";
import { destagedStats } from "../test/e2e/stats.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";
import { figuresOfSamples, fill, measure, WORKLOADS, WRITE_SET_BYTES } from "./fio-samples.ts";
import type { Loaded, Sample } from "./fio-samples.ts";

const HOSTS = [1, 2, 3] as const;
const TARGETS = ["direct", "relay"] as const;

export const relayBenchmark: Benchmark = {
  name: "relay",
  summary: "A volume of two copies at its host, and through the relay that follows it",
  defaults: { rounds: 3, seconds: 3, folder: "/dev/shm" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const cluster = await ClusterRun.create(path.join(folder, "c"));
  try {
    const addresses = await addressesOf(cluster);
    const settle = async (): Promise<void> => {
      for (const host of HOSTS) await destagedStats({ cli: (args) => cluster.cli(host, args) });
    };
    const loaded: Loaded = { pids: cluster.pids, settle };
    options.progress("filling");
    await fill(addresses.direct, WRITE_SET_BYTES);
    await settle();
    return { figures: await measureAll(options, loaded, addresses), notes: notes() };
  } finally {
    await cluster.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function measureAll(
  options: BenchmarkOptions,
  loaded: Loaded,
  addresses: Readonly<Record<(typeof TARGETS)[number], NbdAddress>>,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const work of WORKLOADS.filter(({ name }) => isWanted(name, options.workloads))) {
    const samples = { direct: [] as Sample[], relay: [] as Sample[] };
    for (let round = 1; round <= options.rounds; round++)
      for (const target of TARGETS) {
        const sample = await measure(loaded, addresses[target], work, options.seconds);
        samples[target].push(sample);
        const rate = `${sample.iops.toFixed(0)} IOPS`;
        options.progress(`round ${round}  ${work.name}  ${target}  ${rate}`);
      }
    for (const target of TARGETS)
      figures.push(...figuresOfSamples(work.name, target, samples[target]));
    const ratios = samples.relay.map(({ iops }, round) => iops / samples.direct[round]!.iops);
    const name = { workload: work.name, target: "relay / direct", metric: "ratio of IOPS" };
    figures.push(figure(name, ratios));
  }
  return figures;
}

async function addressesOf(
  cluster: ClusterRun,
): Promise<Readonly<Record<(typeof TARGETS)[number], NbdAddress>>> {
  const { attachment } = await cluster.cli<{
    readonly attachment?: { readonly address: string };
  }>(1, ["volume", "show", "demo"]);
  if (attachment === undefined) throw new Error("the volume demo is not served");
  return {
    direct: { exportName: "demo", socket: attachment.address },
    relay: { exportName: "demo", socket: path.join(cluster.folder, "demo.sock") },
  };
}

function notes(): readonly string[] {
  return [
    "two copies and a witness on three hosts; a write counts when it is durable in both",
    "the relay runs in the process of the development cluster, beside the directory",
    "CPU and memory are those of all hosts, the directory and the relay together",
  ];
}
