/** The jobs that block servers are compared in, and what is measured of each. */
import { nbdUri } from "../test/e2e/block-server.ts";
import { fio } from "../test/e2e/fio.ts";
import type { FioJob } from "../test/e2e/fio.ts";
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
}

export const VOLUME_BYTES: number = 1 << 30;
/** Fits into every server's memory; reads are of this much. */
export const WORKING_SET_BYTES: number = 128 << 20;
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

export async function measure(
  target: Loaded,
  address: NbdAddress,
  work: Workload,
  seconds: number,
): Promise<Sample> {
  const timed = ["--time_based", `--runtime=${seconds}`, `--ramp_time=${RAMP_SECONDS}`];
  const cpuBefore = usageOf(target.pids).cpuSeconds;
  const job = await fio({
    uri: nbdUri(address),
    args: [...work.args, ...timed],
    timeoutMs: (seconds + 60) * 1000,
  });
  const { residentBytes } = usageOf(target.pids);
  await target.settle();
  const cpu = usageOf(target.pids).cpuSeconds - cpuBefore;
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

/** Fills what the workloads touch with data that nothing can compress or share. */
export async function fill(address: NbdAddress, sizeBytes: number): Promise<void> {
  const args = [
    "--rw=write",
    "--bs=256k",
    "--iodepth=8",
    "--refill_buffers",
    `--size=${sizeBytes}`,
  ];
  await fio({ uri: nbdUri(address), args, timeoutMs: 300_000 });
}

export function figuresOfSamples(
  workloadName: string,
  target: string,
  samples: readonly Sample[],
): Figure[] {
  return METRICS.map(([field, metric]) =>
    figure(
      { workload: workloadName, target, metric },
      samples.map((sample) => sample[field]),
    ),
  );
}
