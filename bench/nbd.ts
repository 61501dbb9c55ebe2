/**
 * Drystone as an NBD server beside qemu-nbd on a raw file and nbdkit with a disk in memory: the
 * same client (fio), the same storage, one server loaded at a time, servers interleaved within
 * every round.
 *
 * Like is compared with like: reads come from memory on both sides (the working set is cached), and
 * a write counts when it is durable on both sides. nbdkit's memory disk is durable never; it stands
 * for what an NBD server can reach here at all.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { NbdkitMemory, QemuNbd } from "../test/e2e/block-server.ts";
import type { BlockServer } from "../test/e2e/block-server.ts";
import { DevHost } from "../test/e2e/harness.ts";
import type { NbdAddress } from "../test/e2e/nbd-client.ts";
import { destagedStats } from "../test/e2e/stats.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";
import { figuresOfSamples, fill, measure, VOLUME_BYTES, WORKING_SET_BYTES } from "./fio-samples.ts";
import { WORKLOADS, WRITE_SET_BYTES } from "./fio-samples.ts";
import type { Loaded, Sample, Workload } from "./fio-samples.ts";

interface Target {
  readonly name: string;
  /** What it is compared in: a server may take part in reads only. */
  readonly kinds: readonly Workload["kind"][];
  readonly server: BlockServer;
  /** Waits for work that the server put off, so that it does not fall into another one's run. */
  settle(): Promise<void>;
}

export const nbdBenchmark: Benchmark = {
  name: "nbd",
  summary: "Drystone, qemu-nbd and nbdkit as NBD servers under the same fio jobs",
  defaults: { rounds: 3, seconds: 3, folder: "/var/tmp" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const targets = (await makeTargets(folder)).filter(({ name }) => isWanted(name, options.targets));
  try {
    const addresses = new Map<Target, NbdAddress>();
    for (const target of targets) {
      options.progress(`filling ${target.name}`);
      addresses.set(target, await prepare(target));
    }
    const samples = new Map<string, Sample[]>();
    for (let round = 1; round <= options.rounds; round++) {
      for (const work of WORKLOADS) {
        if (!isWanted(work.name, options.workloads)) continue;
        for (const target of targets.filter(({ kinds }) => kinds.includes(work.kind))) {
          const sample = await measure(
            loaded(target),
            addresses.get(target)!,
            work,
            options.seconds,
          );
          const key = `${work.name} ${target.name}`;
          samples.set(key, [...(samples.get(key) ?? []), sample]);
          options.progress(`round ${round}  ${key}  ${sample.iops.toFixed(0)} IOPS`);
        }
      }
    }
    return { figures: figuresOf(samples), notes: notes() };
  } finally {
    for (const { server } of targets) await server.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

function loaded(target: Target): Loaded {
  return { pids: target.server.pids, settle: () => target.settle() };
}

async function makeTargets(folder: string): Promise<Target[]> {
  const host = await DevHost.create(path.join(folder, "drystone"));
  fs.mkdirSync(host.folder);
  const nothingToSettle = (): Promise<void> => Promise.resolve();
  const both = ["read", "write"] as const;
  return [
    {
      name: "drystone",
      kinds: both,
      server: host,
      settle: async () => void (await destagedStats(host)),
    },
    {
      name: "qemu-nbd",
      kinds: ["read"],
      server: new QemuNbd(path.join(folder, "qemu-cached"), "writeback"),
      settle: nothingToSettle,
    },
    {
      name: "qemu-nbd",
      kinds: ["write"],
      server: new QemuNbd(path.join(folder, "qemu-durable"), "directsync"),
      settle: nothingToSettle,
    },
    {
      name: "nbdkit-memory",
      kinds: both,
      server: new NbdkitMemory(path.join(folder, "nbdkit")),
      settle: nothingToSettle,
    },
  ];
}

/**
 * Starts a server and fills what the workloads touch with data that nothing can compress or share.
 */
async function prepare(target: Target): Promise<NbdAddress> {
  await target.server.start();
  const address = await target.server.volume("bench", VOLUME_BYTES);
  const size = target.kinds.includes("write") ? WRITE_SET_BYTES : WORKING_SET_BYTES;
  await fill(address, size);
  await target.settle();
  return address;
}

function figuresOf(samples: ReadonlyMap<string, readonly Sample[]>): Figure[] {
  const figures: Figure[] = [];
  for (const [key, list] of samples) {
    const [workloadName, target] = key.split(" ") as [string, string];
    figures.push(...figuresOfSamples(workloadName, target, list));
  }
  return [...figures, ...ratios(samples, "qemu-nbd"), ...ratios(samples, "nbdkit-memory")];
}

/** Drystone's rate over a peer's, round by round. */
function ratios(samples: ReadonlyMap<string, readonly Sample[]>, peer: string): Figure[] {
  const figures: Figure[] = [];
  for (const { name } of WORKLOADS) {
    const ours = samples.get(`${name} drystone`);
    const theirs = samples.get(`${name} ${peer}`);
    if (ours === undefined || theirs === undefined) continue;
    const values = ours.map((sample, round) => sample.iops / theirs[round]!.iops);
    const target = `drystone / ${peer}`;
    figures.push(figure({ workload: name, target, metric: "ratio of IOPS" }, values));
  }
  return figures;
}

function notes(): string[] {
  return [
    "reads: working set of 96 MiB in memory everywhere; qemu-nbd runs with cache=writeback",
    "writes: durable before the answer on drystone and on qemu-nbd (cache=directsync, aio=io_uring)",
    "nbdkit-memory is never durable: it is the limit of an NBD server on this machine",
    "server CPU of drystone includes destaging until its journal was empty, and the ramp of 1 s",
  ];
}
