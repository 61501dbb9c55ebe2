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
import { nbdUri, NbdkitMemory, QemuNbd } from "../test/e2e/block-server.ts";
import type { BlockServer } from "../test/e2e/block-server.ts";
import { fio } from "../test/e2e/fio.ts";
import type { FioJob } from "../test/e2e/fio.ts";
import { DevHost } from "../test/e2e/harness.ts";
import type { NbdAddress } from "../test/e2e/nbd-client.ts";
import { usageOf } from "../test/e2e/process.ts";
import { destagedStats } from "../test/e2e/stats.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";

interface Workload {
  readonly name: string;
  readonly kind: "read" | "write";
  readonly args: readonly string[];
}

interface Target {
  readonly name: string;
  /** What it is compared in: a server may take part in reads only. */
  readonly kinds: readonly Workload["kind"][];
  readonly server: BlockServer;
  /** Waits for work that the server put off, so that it does not fall into another one's run. */
  settle(): Promise<void>;
}

interface Sample {
  readonly iops: number;
  readonly megabytesPerSecond: number;
  readonly meanUs: number;
  readonly p99Us: number;
  readonly serverCpuUs: number;
  readonly residentMb: number;
}

const VOLUME_BYTES = 1 << 30;
/** Fits into every server's memory; reads are of this much. */
const WORKING_SET_BYTES = 128 << 20;
const WRITE_SET_BYTES = 512 << 20;
const RAMP_SECONDS = 1;

const WORKLOADS: readonly Workload[] = [
  workload("4k-randread-qd32", "read", ["--rw=randread", "--bs=4k", "--iodepth=32"]),
  workload("4k-randread-qd1", "read", ["--rw=randread", "--bs=4k", "--iodepth=1"]),
  workload("128k-read-qd8", "read", ["--rw=read", "--bs=128k", "--iodepth=8"]),
  workload("4k-randwrite-qd32", "write", ["--rw=randwrite", "--bs=4k", "--iodepth=32"]),
  workload("4k-randwrite-qd1", "write", ["--rw=randwrite", "--bs=4k", "--iodepth=1"]),
  workload("128k-write-qd8", "write", ["--rw=write", "--bs=128k", "--iodepth=8"]),
];

export const nbdBenchmark: Benchmark = {
  name: "nbd",
  summary: "Drystone, qemu-nbd and nbdkit as NBD servers under the same fio jobs",
  defaults: { rounds: 3, seconds: 3, folder: "/var/tmp" },
  run,
};

function workload(name: string, kind: Workload["kind"], args: readonly string[]): Workload {
  const size = kind === "read" ? WORKING_SET_BYTES : WRITE_SET_BYTES;
  const common = ["--norandommap", "--randrepeat=0", "--refill_buffers", `--size=${size}`];
  return { name, kind, args: [...args, ...common] };
}

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
          const sample = await measure(target, addresses.get(target)!, work, options.seconds);
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
  const args = ["--rw=write", "--bs=256k", "--iodepth=8", "--refill_buffers", `--size=${size}`];
  await fio({ uri: nbdUri(address), args, timeoutMs: 300_000 });
  await target.settle();
  return address;
}

async function measure(
  target: Target,
  address: NbdAddress,
  work: Workload,
  seconds: number,
): Promise<Sample> {
  const { server } = target;
  const timed = ["--time_based", `--runtime=${seconds}`, `--ramp_time=${RAMP_SECONDS}`];
  const cpuBefore = usageOf(server.pids).cpuSeconds;
  const job = await fio({
    uri: nbdUri(address),
    args: [...work.args, ...timed],
    timeoutMs: (seconds + 60) * 1000,
  });
  const { residentBytes } = usageOf(server.pids);
  await target.settle();
  const cpu = usageOf(server.pids).cpuSeconds - cpuBefore;
  return sampleOf(job, work.kind, { cpu, residentBytes, seconds });
}

function sampleOf(
  job: FioJob,
  kind: Workload["kind"],
  used: { readonly cpu: number; readonly residentBytes: number; readonly seconds: number },
): Sample {
  const side = job[kind];
  if (side.total_ios === 0) throw new Error("fio did no I/O");
  // CPU time was taken over the ramp as well; the rate of I/O there is taken to be the same.
  const requests = side.total_ios * ((used.seconds + RAMP_SECONDS) / used.seconds);
  return {
    iops: side.iops,
    megabytesPerSecond: side.bw_bytes / 1e6,
    meanUs: side.clat_ns.mean / 1000,
    p99Us: (side.clat_ns.percentile?.["99.000000"] ?? 0) / 1000,
    serverCpuUs: (used.cpu * 1e6) / requests,
    residentMb: used.residentBytes / 1e6,
  };
}

const METRICS: readonly (readonly [keyof Sample, string])[] = [
  ["iops", "IOPS"],
  ["megabytesPerSecond", "MB/s"],
  ["meanUs", "mean us"],
  ["p99Us", "p99 us"],
  ["serverCpuUs", "server CPU us/IO"],
  ["residentMb", "server RSS MB"],
];

function figuresOf(samples: ReadonlyMap<string, readonly Sample[]>): Figure[] {
  const figures: Figure[] = [];
  for (const [key, list] of samples) {
    const [workloadName, target] = key.split(" ") as [string, string];
    for (const [field, metric] of METRICS) {
      const values = list.map((sample) => sample[field]);
      figures.push(figure({ workload: workloadName, target, metric }, values));
    }
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
    "reads: working set of 128 MiB in memory everywhere; qemu-nbd runs with cache=writeback",
    "writes: durable before the answer on drystone and on qemu-nbd (cache=directsync, aio=io_uring)",
    "nbdkit-memory is never durable: it is the limit of an NBD server on this machine",
    "server CPU of drystone includes destaging until its journal was empty, and the ramp of 1 s",
  ];
}
