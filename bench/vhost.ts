/**
 * Drystone as a vhost-user-blk back end beside qemu-storage-daemon's: the same load from the same
 * program, one back end loaded at a time, interleaved within every round.
 *
 * Like is compared with like: reads come from memory on both sides (Drystone's block cache, a file
 * on tmpfs through the page cache), and a write counts when it is durable on both sides.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { Prng } from "../src/base/index.ts";
import { VolumeClient } from "../src/client/index.ts";
import { DevHost } from "../test/e2e/harness.ts";
import { runTool } from "../test/e2e/process.ts";
import { destagedStats } from "../test/e2e/stats.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";
import { vhostLoadProgram } from "./vhost-load-program.ts";

interface Workload {
  readonly name: string;
  readonly depth: number;
  readonly kind: "read" | "write";
}

interface Sample {
  readonly iops: number;
  readonly cpuUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
}

interface Target {
  readonly name: string;
  readonly kinds: readonly Workload["kind"][];
  readonly socket: string;
  readonly pid: number;
  /** Waits for work that was put off, so that it does not fall into another one's run. */
  settle(after: Workload["kind"]): Promise<void>;
  end(): Promise<void>;
}

/** Fits into every target's memory. */
const VOLUME_BYTES = 96 << 20;
const LOAD_MS_MAX = 120_000;
const START_MS_MAX = 10_000;
const PEER = "qemu-storage-daemon";
const HOT = "4k-randread-qd32";
/** No disk in memory takes less for a read. */
const BARE = "a loop in C that only copies";

const WORKLOADS: readonly Workload[] = [
  { name: "4k-randread-qd1", depth: 1, kind: "read" },
  { name: HOT, depth: 32, kind: "read" },
  { name: "4k-durable-write-qd1", depth: 1, kind: "write" },
  { name: "4k-durable-write-qd32", depth: 32, kind: "write" },
];

const METRICS: readonly (readonly [string, keyof Sample])[] = [
  ["IOPS", "iops"],
  ["CPU us/IO", "cpuUs"],
  ["p50 us", "p50Us"],
  ["p99 us", "p99Us"],
  ["p99.9 us", "p999Us"],
];

export const vhostBenchmark: Benchmark = {
  name: "vhost",
  summary: "Drystone and qemu-storage-daemon as vhost-user-blk back ends under the same load",
  defaults: { rounds: 5, seconds: 1, folder: "/var/tmp" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const targets: Target[] = [];
  try {
    for (const make of [drystone, cachedPeer, durablePeer]) targets.push(await make(folder));
    const samples = new Map<string, Sample[]>();
    const copyUs: number[] = [];
    for (let round = 1; round <= options.rounds; round++) {
      if (isWanted(HOT, options.workloads)) copyUs.push(...(await bareCopy(options.seconds)));
      for (const work of WORKLOADS) {
        if (!isWanted(work.name, options.workloads)) continue;
        for (const target of targets.filter(({ kinds }) => kinds.includes(work.kind))) {
          if (!isWanted(target.name, options.targets)) continue;
          const sample = await measure(target, work, options.seconds);
          const key = `${work.name} ${target.name}`;
          samples.set(key, [...(samples.get(key) ?? []), sample]);
          const rate = `${sample.iops.toFixed(0)} IOPS, ${sample.cpuUs.toFixed(2)} us/IO`;
          options.progress(`round ${round}  ${key}  ${rate}`);
        }
      }
    }
    return { figures: [...figuresOf(samples), ...besideCopies(samples, copyUs)], notes: notes() };
  } finally {
    for (const target of targets) await target.end();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(target: Target, work: Workload, seconds: number): Promise<Sample> {
  const sample = await loadVhost(target.socket, target.pid, { ...work, seconds });
  await target.settle(work.kind);
  return sample;
}

/** Loads a disk from a process of its own; `pid` is whose processor time is told. */
export async function loadVhost(
  socket: string,
  pid: number,
  wanted: Pick<Workload, "depth" | "kind"> & { readonly seconds: number },
): Promise<Sample> {
  const program = vhostLoadProgram();
  const args = [socket, pid, wanted.depth, wanted.seconds, wanted.kind].map(String);
  const options = { timeoutMs: LOAD_MS_MAX };
  const { stdout } = await runTool(program.command, [...program.args, ...args], options);
  return JSON.parse(stdout) as Sample;
}

/** Microseconds; nothing without a C compiler. */
async function bareCopy(seconds: number): Promise<readonly number[]> {
  const { command, language } = vhostLoadProgram();
  if (language !== "C") return [];
  const args = ["--copies", String(VOLUME_BYTES), String(seconds)];
  const { stdout } = await runTool(command, args, { timeoutMs: LOAD_MS_MAX });
  return [(JSON.parse(stdout) as { readonly copyUs: number }).copyUs];
}

/** No two blocks alike. */
function writeImage(file: string): void {
  const prng = new Prng(1);
  const piece = new Uint8Array(1 << 20);
  const fd = fs.openSync(file, "w");
  for (let at = 0; at < VOLUME_BYTES; at += piece.length) {
    prng.fill(piece);
    fs.writeSync(fd, piece);
  }
  fs.closeSync(fd);
}

async function drystone(folder: string): Promise<Target> {
  const host = await DevHost.create(path.join(folder, "drystone"));
  fs.mkdirSync(host.folder);
  await host.start();
  const socket = await prepareVhost(host, folder);
  const { pid } = host.program;
  return {
    ...{ name: "drystone", kinds: ["read", "write"], socket, pid },
    settle: async (kind) => {
      await destagedStats(host);
      // What is read next comes from memory: blocks that were written are not there as blocks yet.
      if (kind === "write") await readEverything(socket);
    },
    end: () => host.stop(),
  };
}

/** A volume at a vhost-user socket, all of it in the block cache. */
export async function prepareVhost(host: DevHost, folder: string): Promise<string> {
  const socket = path.join(host.folder, "volume.vhost");
  const image = path.join(folder, "image");
  writeImage(image);
  await host.cli(["volume", "create", "v", "--size", String(VOLUME_BYTES)]);
  const { uri } = await host.cli<{ uri: string }>([
    ...["volume", "attach", "v", "--vhost-user", socket, "--vhost-queues", "1"],
  ]);
  await runTool("nbdcopy", [image, uri], { timeoutMs: LOAD_MS_MAX });
  await destagedStats(host);
  await readEverything(socket);
  return socket;
}

/** Block by block, so that the block cache keeps it. */
async function readEverything(socket: string): Promise<void> {
  const client = await VolumeClient.open(socket);
  const buffers = Array.from({ length: 64 }, () => client.allocate(4096));
  for (let at = 0; at < VOLUME_BYTES; at += buffers.length * 4096)
    await Promise.all(buffers.map((buffer, i) => client.read(buffer, at + i * 4096)));
  await client.close();
}

/** A file in memory: what is measured is the back end, not a device. */
async function cachedPeer(folder: string): Promise<Target> {
  const file = fs.mkdtempSync("/dev/shm/drystone-bench-") + "/image";
  writeImage(file);
  const target = await storageDaemon(folder, { name: PEER, kind: "read", file, isDirect: false });
  const end = async (): Promise<void> => {
    await target.end();
    fs.rmSync(path.dirname(file), { recursive: true });
  };
  return { ...target, end };
}

/** A file on the same storage as Drystone's, past the page cache; a flush follows each write. */
async function durablePeer(folder: string): Promise<Target> {
  const file = path.join(folder, "peer-image");
  writeImage(file);
  return await storageDaemon(folder, { name: PEER, kind: "write", file, isDirect: true });
}

async function storageDaemon(
  folder: string,
  {
    name,
    kind,
    file,
    isDirect,
  }: {
    readonly name: string;
    readonly kind: Workload["kind"];
    readonly file: string;
    readonly isDirect: boolean;
  },
): Promise<Target> {
  const socket = path.join(folder, `peer-${kind}.sock`);
  const cache = `cache.direct=${isDirect ? "on" : "off"}`;
  const child = spawn(
    PEER,
    [
      ...["--object", "iothread,id=t0"],
      ...["--blockdev", `driver=file,node-name=f0,filename=${file},aio=io_uring,${cache}`],
      ...["--blockdev", "driver=raw,node-name=n0,file=f0"],
      "--export",
      `type=vhost-user-blk,id=e0,node-name=n0,addr.type=unix,addr.path=${socket},writable=on,iothread=t0`,
    ],
    { stdio: "ignore" },
  );
  const deadline = performance.now() + START_MS_MAX;
  while (!fs.existsSync(socket)) {
    const isLate = performance.now() > deadline || child.exitCode !== null;
    if (isLate) throw new Error(`${PEER} did not start: it belongs to Debian's qemu-system-common`);
    await pause(50);
  }
  const { pid } = child;
  if (pid === undefined) throw new Error(`${PEER} has no process`);
  return {
    name,
    kinds: [kind],
    socket,
    pid,
    settle: () => Promise.resolve(),
    end: () => ended(child),
  };
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.once("exit", () => resolve());
    child.kill();
  });
}

function figuresOf(samples: ReadonlyMap<string, readonly Sample[]>): Figure[] {
  const figures: Figure[] = [];
  for (const [key, list] of samples) {
    const [workload, target] = key.split(" ") as [string, string];
    for (const [metric, field] of METRICS)
      figures.push(
        figure(
          { workload, target, metric },
          list.map((sample) => sample[field]),
        ),
      );
  }
  for (const { name: workload } of WORKLOADS) {
    const ours = samples.get(`${workload} drystone`);
    const theirs = samples.get(`${workload} ${PEER}`);
    if (ours === undefined || theirs === undefined) continue;
    const target = `drystone / ${PEER}`;
    const ratio = (field: keyof Sample): number[] =>
      ours.map((sample, round) => sample[field] / theirs[round]![field]);
    for (const [metric, field] of METRICS)
      figures.push(figure({ workload, target, metric: `ratio of ${metric}` }, ratio(field)));
  }
  return figures;
}

function besideCopies(
  samples: ReadonlyMap<string, readonly Sample[]>,
  copyUs: readonly number[],
): Figure[] {
  const ours = samples.get(`${HOT} drystone`);
  if (ours === undefined || copyUs.length === 0) return [];
  const ratios = ours.map(({ cpuUs }, round) => cpuUs / copyUs[round]!);
  return [
    figure({ workload: HOT, target: BARE, metric: "CPU us/IO" }, copyUs),
    figure({ workload: HOT, target: `drystone / ${BARE}`, metric: "ratio of CPU us/IO" }, ratios),
  ];
}

function notes(): string[] {
  const { language } = vhostLoadProgram();
  return [
    "reads: 96 MiB in memory on both sides; qemu-storage-daemon has a raw file on tmpfs, io_uring, an iothread",
    "writes: each is followed by a flush and counts with it; qemu-storage-daemon has a raw file past the page cache",
    `the load is one queue in a process of its own, in ${language}, that sleeps until it is called`,
    ...(language === "C"
      ? []
      : ["with a C compiler (cc) the load would take a tenth of a core's time"]),
    "Drystone keeps checksums, a journal and fingerprints; qemu-storage-daemon keeps the file alone",
  ];
}
