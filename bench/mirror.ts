/**
 * Three hosts with their directory, each a process on this machine, and a volume of two copies
 * loaded at its owner: what a mirrored write costs. Beside it Ceph with three OSDs and two copies,
 * where that is installed: the same client (fio), the same storage, one at a time, interleaved.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { ClusterRun } from "../test/e2e/cluster-run.ts";
import type { NbdAddress } from "../test/e2e/nbd-client.ts";
import { destagedStats } from "../test/e2e/stats.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";
import { CephCluster, cephMissing } from "./ceph.ts";
import {
  figuresOfSamples,
  fill,
  measure,
  VOLUME_BYTES,
  WORKLOADS,
  WRITE_SET_BYTES,
} from "./fio-samples.ts";
import type { FioTarget, Loaded, Sample } from "./fio-samples.ts";

const OURS = "three hosts";
const CEPH = "ceph";

export interface MirrorTarget {
  readonly name: string;
  readonly loaded: Loaded;
  readonly address: FioTarget;
  kill(): Promise<void>;
}

export const mirrorBenchmark: Benchmark = {
  name: "mirror",
  summary: "A volume of two copies on three hosts beside Ceph, under the fio jobs of `nbd`",
  defaults: { rounds: 3, seconds: 4, folder: "/dev/shm" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const targets: MirrorTarget[] = [];
  try {
    if (isWanted(OURS, options.targets)) targets.push(await startOurs(folder));
    const missing = cephMissing();
    const hasCeph = missing === undefined && isWanted(CEPH, options.targets);
    if (hasCeph) targets.push(await startCeph(folder));
    for (const { name, address, loaded } of targets) {
      options.progress(`filling ${name}`);
      await fill(address, WRITE_SET_BYTES);
      await loaded.settle();
    }
    const notes = [
      "two copies and a witness on three hosts; a write counts when it is durable in both",
      "the client speaks to the owner, which holds one of the copies: reads are local",
      "CPU and memory are those of all processes together: hosts, directory and supervisor here",
      hasCeph
        ? "ceph: a monitor, a manager, three OSDs, two copies, without authentication or encryption"
        : `ceph was not measured: ${missing ?? "it was not asked for"}`,
    ];
    return { figures: await measureAll(targets, options), notes };
  } finally {
    for (const target of targets) await target.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function measureAll(
  targets: readonly MirrorTarget[],
  options: BenchmarkOptions,
): Promise<readonly Figure[]> {
  const figures: Figure[] = [];
  for (const work of WORKLOADS) {
    if (!isWanted(work.name, options.workloads)) continue;
    const samples = new Map(targets.map(({ name }) => [name, [] as Sample[]]));
    for (let round = 1; round <= options.rounds; round++) {
      for (const { name, loaded, address } of targets) {
        const sample = await measure(loaded, address, work, options.seconds);
        samples.get(name)?.push(sample);
        const said = `${work.name}  ${name}  ${sample.iops.toFixed(0)} IOPS`;
        options.progress(`round ${round}  ${said}`);
      }
    }
    for (const [name, all] of samples) figures.push(...figuresOfSamples(work.name, name, all));
    figures.push(...ratios(work.name, samples.get(OURS), samples.get(CEPH)));
  }
  return figures;
}

/** Round by round, so that whatever else the machine does hits both. */
function ratios(
  workload: string,
  ours: readonly Sample[] | undefined,
  theirs: readonly Sample[] | undefined,
): readonly Figure[] {
  if (ours === undefined || theirs === undefined) return [];
  const target = `${OURS} / ${CEPH}`;
  const over = (pick: (sample: Sample) => number): number[] =>
    ours.map((sample, round) => pick(sample) / pick(theirs[round]!));
  return [
    figure(
      { workload, target, metric: "IOPS" },
      over(({ iops }) => iops),
    ),
    figure(
      { workload, target, metric: "server CPU us/IO" },
      over(({ serverCpuUs }) => serverCpuUs),
    ),
    figure(
      { workload, target, metric: "server RSS MB" },
      over(({ residentMb }) => residentMb),
    ),
  ];
}

/** A development cluster with a volume of two copies. */
export async function startOurs(folder: string): Promise<MirrorTarget> {
  const cluster = await ClusterRun.create(path.join(folder, "c"));
  try {
    const address = await prepare(cluster, path.join(folder, "bench.sock"));
    const { pids } = cluster;
    const processes = byName(pids);
    const loaded: Loaded = { pids, processes, settle: () => untilDestaged(cluster) };
    return { name: OURS, loaded, address, kill: () => cluster.kill() };
  } catch (error) {
    await cluster.kill();
    throw error;
  }
}

/** By the folder of each host; the supervisor holds the directory. */
function byName(pids: readonly number[]): ReadonlyMap<string, readonly number[]> {
  const names = new Map<string, number[]>();
  for (const pid of pids) {
    const line = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8");
    const name = /\/(h\d+)\/host\.json/.exec(line)?.[1] ?? "directory";
    names.set(name, [...(names.get(name) ?? []), pid]);
  }
  return names;
}

export async function startCeph(folder: string): Promise<MirrorTarget> {
  const ceph = await CephCluster.create(path.join(folder, "ceph"));
  const { processes } = ceph;
  const pids = [...processes.values()].flat();
  return {
    name: CEPH,
    loaded: { pids, processes, settle: async () => undefined },
    address: { args: ceph.client, env: ceph.environment },
    kill: () => ceph.kill(),
  };
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
