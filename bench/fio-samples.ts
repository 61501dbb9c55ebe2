/** The jobs that block servers are compared in, and what is measured of each. */
import { nbdUri } from "../test/e2e/block-server.ts";
import { fio } from "../test/e2e/fio.ts";
import type { FioJob, FioOptions } from "../test/e2e/fio.ts";
import type { NbdAddress } from "../test/e2e/nbd-client.ts";
import { usageOf } from "../test/e2e/process.ts";
import { figure } from "./benchmark.ts";
import type { Figure } from "./benchmark.ts";

export interface Workload {
  readonly name: string;
  readonly kind: "read" | "write";
  readonly args: readonly string[];
}

/** A server under load. */
export interface Loaded {
  readonly pids: readonly number[];
  /** Them by name, where each is to be told apart. */
  readonly processes?: ReadonlyMap<string, readonly number[]>;
  /** Waits for work that the server put off, so that it does not fall into another one's run. */
  settle(): Promise<void>;
}

export interface Sample {
  readonly iops: number;
  readonly megabytesPerSecond: number;
  readonly meanUs: number;
  readonly p99Us: number;
  readonly serverCpuUs: number;
  readonly residentMb: number;
  /** Of each process, microseconds of CPU for each I/O; empty where they are not told apart. */
  readonly cpuUsByProcess: ReadonlyMap<string, number>;
}

/** What fio is pointed at. */
export type FioTarget = NbdAddress | Exclude<FioOptions["uri"], string>;

function uriOf(target: FioTarget): FioOptions["uri"] {
  return "args" in target ? target : nbdUri(target);
}

export const VOLUME_BYTES: number = 1 << 30;
/** Fits into every server's memory; reads are of this much. */
export const WORKING_SET_BYTES: number = 96 << 20;
export const WRITE_SET_BYTES: number = 512 << 20;
const RAMP_SECONDS = 1;

export const WORKLOADS: readonly Workload[] = [
  workload("4k-randread-qd32", "read", ["--rw=randread", "--bs=4k", "--iodepth=32"]),
  workload("4k-randread-qd1", "read", ["--rw=randread", "--bs=4k", "--iodepth=1"]),
  workload("128k-read-qd8", "read", ["--rw=read", "--bs=128k", "--iodepth=8"]),
  workload("4k-randwrite-qd32", "write", ["--rw=randwrite", "--bs=4k", "--iodepth=32"]),
  workload("4k-randwrite-qd1", "write", ["--rw=randwrite", "--bs=4k", "--iodepth=1"]),
  workload("128k-write-qd8", "write", ["--rw=write", "--bs=128k", "--iodepth=8"]),
];

function workload(name: string, kind: Workload["kind"], args: readonly string[]): Workload {
  const size = kind === "read" ? WORKING_SET_BYTES : WRITE_SET_BYTES;
  const common = ["--norandommap", "--randrepeat=0", "--refill_buffers", `--size=${size}`];
  return { name, kind, args: [...args, ...common] };
}

/**
 * Without a ramp every request is counted, and processor time for each is exact; with one it is
 * taken to be the same there.
 */
export async function measure(
  target: Loaded,
  address: FioTarget,
  work: Workload,
  seconds: number,
  rampSeconds: number = RAMP_SECONDS,
): Promise<Sample> {
  const timed = ["--time_based", `--runtime=${seconds}`, `--ramp_time=${rampSeconds}`];
  const cpuBefore = usageOf(target.pids).cpuSeconds;
  const before = cpuByProcess(target);
  const job = await fio({
    uri: uriOf(address),
    args: [...work.args, ...timed],
    timeoutMs: (seconds + 60) * 1000,
  });
  const { residentBytes } = usageOf(target.pids);
  await target.settle();
  const cpu = usageOf(target.pids).cpuSeconds - cpuBefore;
  const byProcess = new Map(
    [...cpuByProcess(target)].map(([name, after]) => [name, after - (before.get(name) ?? 0)]),
  );
  return sampleOf(job, work.kind, { cpu, byProcess, residentBytes, seconds, rampSeconds });
}

function cpuByProcess({ processes = new Map() }: Loaded): ReadonlyMap<string, number> {
  return new Map([...processes].map(([name, pids]) => [name, usageOf(pids).cpuSeconds]));
}

function sampleOf(
  job: FioJob,
  kind: Workload["kind"],
  used: {
    readonly cpu: number;
    readonly byProcess: ReadonlyMap<string, number>;
    readonly residentBytes: number;
    readonly seconds: number;
    readonly rampSeconds: number;
  },
): Sample {
  const side = job[kind];
  if (side.total_ios === 0) throw new Error("fio did no I/O");
  // CPU time was taken over the ramp as well.
  const requests = side.total_ios * ((used.seconds + used.rampSeconds) / used.seconds);
  return {
    iops: side.iops,
    megabytesPerSecond: side.bw_bytes / 1e6,
    meanUs: side.clat_ns.mean / 1000,
    p99Us: (side.clat_ns.percentile?.["99.000000"] ?? 0) / 1000,
    serverCpuUs: (used.cpu * 1e6) / requests,
    residentMb: used.residentBytes / 1e6,
    cpuUsByProcess: new Map(
      [...used.byProcess].map(([name, cpu]) => [name, (cpu * 1e6) / requests]),
    ),
  };
}

type Metric = Exclude<keyof Sample, "cpuUsByProcess">;

const METRICS: readonly (readonly [Metric, string])[] = [
  ["iops", "IOPS"],
  ["megabytesPerSecond", "MB/s"],
  ["meanUs", "mean us"],
  ["p99Us", "p99 us"],
  ["serverCpuUs", "server CPU us/IO"],
  ["residentMb", "server RSS MB"],
];

/** Fills what the workloads touch with data that nothing can compress or share. */
export async function fill(address: FioTarget, sizeBytes: number): Promise<void> {
  const args = [
    "--rw=write",
    "--bs=256k",
    "--iodepth=8",
    "--refill_buffers",
    `--size=${sizeBytes}`,
  ];
  await fio({ uri: uriOf(address), args, timeoutMs: 300_000 });
}

/** What the reads touch comes into memory, and programs become as fast as they get. */
export async function warm(address: FioTarget): Promise<void> {
  const size = `--size=${WORKING_SET_BYTES}`;
  for (const args of [
    ["--rw=read", "--bs=128k", "--iodepth=8"],
    ["--rw=randread", "--bs=4k", "--iodepth=32", "--time_based", "--runtime=1"],
  ])
    await fio({ uri: uriOf(address), args: [...args, size], timeoutMs: 300_000 });
}

export function figuresOfSamples(
  workloadName: string,
  target: string,
  samples: readonly Sample[],
): Figure[] {
  const names = [...new Set(samples.flatMap(({ cpuUsByProcess }) => [...cpuUsByProcess.keys()]))];
  const name = (metric: string) => ({ workload: workloadName, target, metric });
  return [
    ...METRICS.map(([field, metric]) =>
      figure(
        name(metric),
        samples.map((sample) => sample[field]),
      ),
    ),
    ...names.map((one) =>
      figure(
        name(`CPU us/IO ${one}`),
        samples.map(({ cpuUsByProcess }) => cpuUsByProcess.get(one) ?? 0),
      ),
    ),
  ];
}
