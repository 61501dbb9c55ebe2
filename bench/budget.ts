/**
 * What a block costs, part by part, from the socket to the answer and on to its place on the
 * device: a profile of every thread of every process, with the processor time that the kernel has
 * counted for it and what it has allocated. Beside it, what three hosts cost that have nothing to
 * do.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ClusterRun } from "../test/e2e/cluster-run.ts";
import { DevHost } from "../test/e2e/harness.ts";
import type { NbdAddress } from "../test/e2e/nbd-client.ts";
import { usageOf } from "../test/e2e/process.ts";
import { destagedStats } from "../test/e2e/stats.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";
import { fill, measure, VOLUME_BYTES, WORKING_SET_BYTES, WORKLOADS } from "./fio-samples.ts";
import { WRITE_SET_BYTES } from "./fio-samples.ts";
import type { Loaded } from "./fio-samples.ts";
import { NATIVE_THREADS, PART_NAMES } from "./profile-parts.ts";
import type { ThreadBudget } from "./profile-parts.ts";
import { loadVhost, prepareVhost } from "./vhost.ts";

/** fio's ramp is profiled too, and its rate taken to be the same. */
const RAMP_SECONDS = 1;
const IDLE_SETTLE_MS = 15_000;
/** As the kernel has it, cut to its length. */
const PROFILER_THREAD = "v8:ProfEvntProc\n";
const PROFILE_MS_MAX = 60_000;
const MIRRORED = ["4k-randwrite-qd32", "128k-write-qd8"];
const CACHED = "4k-randread-qd32";
const VHOST = "4k-vhost-read-qd32";
const IDLE = "idle";

interface Measured {
  readonly requests: number;
  /** By name of the process: its threads, and all of its processor time. */
  readonly threads: ReadonlyMap<string, readonly ThreadBudget[]>;
  readonly cpuUs: ReadonlyMap<string, number>;
}

type Processes = ReadonlyMap<string, readonly number[]>;

export const budgetBenchmark: Benchmark = {
  name: "budget",
  summary: "Where the processor time of a block goes, and what is allocated for it",
  defaults: { rounds: 1, seconds: 6, folder: "/dev/shm" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  try {
    const figures: Figure[] = [];
    if (isWanted(IDLE, options.workloads)) figures.push(...(await idle(folder, options)));
    if (MIRRORED.some((name) => isWanted(name, options.workloads)))
      figures.push(...(await mirrored(folder, options)));
    if ([CACHED, VHOST].some((name) => isWanted(name, options.workloads)))
      figures.push(...(await cached(folder, options)));
    return { figures, notes: notes() };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

async function idle(folder: string, { seconds }: BenchmarkOptions): Promise<readonly Figure[]> {
  const cluster = await ClusterRun.create(path.join(folder, "idle"));
  try {
    await pause(IDLE_SETTLE_MS);
    const { pids } = cluster;
    const before = usageOf(pids).cpuSeconds;
    const beginMs = performance.now();
    await pause(1000 * seconds);
    const used = usageOf(pids).cpuSeconds - before;
    const share = (100 * used * 1000) / (performance.now() - beginMs);
    const name = { workload: IDLE, target: "three hosts", metric: "% of a core" };
    return [figure(name, [share])];
  } finally {
    await cluster.kill();
  }
}

async function mirrored(folder: string, options: BenchmarkOptions): Promise<readonly Figure[]> {
  const profile = new ProfiledRun(path.join(folder, "mirrored-profile"));
  const cluster = await profile.start(() => ClusterRun.create(path.join(folder, "mirrored")));
  try {
    const create = ["volume", "create", "bench", "--size", String(VOLUME_BYTES)];
    await cluster.cli(1, [...create, "--failures-to-tolerate", "1"]);
    const { components } = await cluster.cli<{
      readonly components: readonly { readonly host: string }[];
    }>(1, ["volume", "show", "bench"]);
    const hosts = components.map(({ host }) => host);
    const address = { exportName: "bench", socket: path.join(folder, "mirrored.sock") };
    const attach = ["volume", "attach", "bench", "--nbd", address.socket];
    await cluster.cli(1, [...attach, "--host", hosts[0]!]);
    const processes = processesOf(cluster.pids, (name) => roleOf(name, hosts));
    const settle = async (): Promise<void> => {
      for (const host of [1, 2, 3]) await destagedStats({ cli: (args) => cluster.cli(host, args) });
    };
    const loaded = { pids: cluster.pids, settle };
    await fill(address, WRITE_SET_BYTES);
    await settle();
    const figures: Figure[] = [];
    for (const name of MIRRORED.filter((one) => isWanted(one, options.workloads)))
      figures.push(...(await profile.fio(name, loaded, address, processes, options)));
    return figures;
  } finally {
    await cluster.kill();
  }
}

/** In the order of the volume's components: the first copy is where it is attached. */
function roleOf(host: string, hosts: readonly string[]): string {
  return ["owner", "other copy", "witness"][hosts.indexOf(host)] ?? "directory";
}

function processesOf(pids: readonly number[], role: (host: string) => string): Processes {
  const named = new Map<string, number[]>();
  for (const pid of pids) {
    const line = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8");
    const name = role(/\/(h\d+)\/host\.json/.exec(line)?.[1] ?? "");
    named.set(name, [...(named.get(name) ?? []), pid]);
  }
  return named;
}

async function cached(folder: string, options: BenchmarkOptions): Promise<readonly Figure[]> {
  const profile = new ProfiledRun(path.join(folder, "cached-profile"));
  const host = await DevHost.create(path.join(folder, "cached"));
  fs.mkdirSync(host.folder);
  const figures: Figure[] = [];
  try {
    await profile.start(() => host.start());
    const processes = new Map([["host", host.pids]]);
    if (isWanted(CACHED, options.workloads)) {
      const address = await host.volume("bench", VOLUME_BYTES);
      const settle = async (): Promise<void> => void (await destagedStats(host));
      await fill(address, WORKING_SET_BYTES);
      await settle();
      const loaded = { pids: host.pids, settle };
      // What is read for the first time is not cached yet.
      await measure(loaded, address, workloadOf(CACHED), options.seconds);
      figures.push(...(await profile.fio(CACHED, loaded, address, processes, options)));
    }
    if (isWanted(VHOST, options.workloads)) {
      const socket = await prepareVhost(host, folder);
      const load = async (): Promise<number> => {
        const wanted = { depth: 32, seconds: options.seconds, kind: "read" } as const;
        const { iops } = await loadVhost(socket, host.program.pid, wanted);
        return iops * options.seconds;
      };
      figures.push(...(await profile.load(VHOST, load, processes, options)));
    }
    return figures;
  } finally {
    await host.kill();
  }
}

function workloadOf(name: string): (typeof WORKLOADS)[number] {
  const found = WORKLOADS.find((work) => work.name === name);
  if (found === undefined) throw new Error(`there is no workload ${name}`);
  return found;
}

/** Processes that write down where their time goes when they are told to. */
class ProfiledRun {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    fs.mkdirSync(folder);
  }

  /** What `start` starts is profiled, and what that starts. */
  async start<T>(start: () => Promise<T>): Promise<T> {
    const before = process.env["NODE_OPTIONS"] ?? "";
    const hook = new URL("./profile-hook.js", import.meta.url).href;
    process.env["NODE_OPTIONS"] = `${before} --import=${hook}`;
    process.env["DRYSTONE_PROFILE_DIR"] = this.#folder;
    try {
      return await start();
    } finally {
      process.env["NODE_OPTIONS"] = before;
      delete process.env["DRYSTONE_PROFILE_DIR"];
    }
  }

  fio(
    name: string,
    loaded: Loaded,
    address: NbdAddress,
    processes: Processes,
    options: BenchmarkOptions,
  ): Promise<readonly Figure[]> {
    const load = async (): Promise<number> => {
      const { iops } = await measure(loaded, address, workloadOf(name), options.seconds);
      return iops * (options.seconds + RAMP_SECONDS);
    };
    return this.load(name, load, processes, options);
  }

  /** `load` tells how many requests were answered. */
  async load(
    name: string,
    load: () => Promise<number>,
    processes: Processes,
    options: BenchmarkOptions,
  ): Promise<readonly Figure[]> {
    fs.rmSync(path.join(this.#folder, "STOP"), { force: true });
    fs.writeFileSync(path.join(this.#folder, "START"), "");
    await this.#until("all threads have begun", () => {
      return this.#filesOf(processes, ".begun") === this.#filesOf(processes, ".here");
    });
    const used = (pids: readonly number[]): number =>
      pids.reduce((sum, pid) => sum + cpuUsOf(pid), 0);
    const before = new Map([...processes].map(([role, pids]) => [role, used(pids)]));
    const requests = await load();
    const cpuUs = new Map(
      [...processes].map(([role, pids]) => [role, used(pids) - before.get(role)!]),
    );
    fs.rmSync(path.join(this.#folder, "START"));
    fs.writeFileSync(path.join(this.#folder, "STOP"), "");
    await this.#until("all threads have told", () => {
      return this.#filesOf(processes, ".json") === this.#filesOf(processes, ".begun");
    });
    const figures = figuresOf(name, { requests, cpuUs, threads: this.#read(processes) });
    for (const file of fs.readdirSync(this.#folder))
      if (!file.endsWith(".here")) fs.rmSync(path.join(this.#folder, file));
    const total = [...cpuUs.values()].reduce((sum, us) => sum + us, 0) / requests;
    options.progress(`${name}  ${requests.toFixed(0)} requests, ${total.toFixed(2)} us each`);
    return figures;
  }

  #filesOf(processes: Processes, end: string): number {
    const pids = new Set([...processes.values()].flat().map(String));
    const names = fs.readdirSync(this.#folder).filter((name) => name.endsWith(end));
    return names.filter((name) => pids.has(name.split("-")[0]!)).length;
  }

  #read(processes: Processes): ReadonlyMap<string, readonly ThreadBudget[]> {
    const names = fs.readdirSync(this.#folder).filter((name) => name.endsWith(".json"));
    const read = (name: string): ThreadBudget =>
      JSON.parse(fs.readFileSync(path.join(this.#folder, name), "utf8")) as ThreadBudget;
    return new Map(
      [...processes].map(([role, pids]) => [
        role,
        pids.flatMap((pid) => names.filter((name) => name.startsWith(`${pid}-`)).map(read)),
      ]),
    );
  }

  async #until(what: string, isSo: () => boolean): Promise<void> {
    const endMs = performance.now() + PROFILE_MS_MAX;
    while (!isSo()) {
      if (performance.now() > endMs) throw new Error(`waited in vain until ${what}`);
      await pause(100);
    }
  }
}

/** Of the threads of a process, without the profiler's. */
function cpuUsOf(pid: number): number {
  let ns = 0;
  for (const task of fs.readdirSync(`/proc/${pid}/task`)) {
    const folder = `/proc/${pid}/task/${task}`;
    if (fs.readFileSync(`${folder}/comm`, "utf8") === PROFILER_THREAD) continue;
    ns += Number(fs.readFileSync(`${folder}/schedstat`, "utf8").split(" ")[0]);
  }
  return ns / 1000;
}

/** A line per part, with a column per process, what all of them take, and what they allocate. */
function figuresOf(workload: string, { requests, threads, cpuUs }: Measured): readonly Figure[] {
  const times = new Map([...threads].map(([role, all]) => [role, timesOf(all, cpuUs.get(role)!)]));
  const bytes = sumOf([...threads.values()].flat().map((one) => new Map(one.allocatedBytes)));
  const lines = [...PART_NAMES, "all"];
  const figures: Figure[] = [];
  for (const target of lines) {
    const value = (metric: string, of: number): Figure =>
      figure({ workload, target, metric }, [of / requests]);
    const parts = target === "all" ? PART_NAMES : [target];
    const sum = (from: ReadonlyMap<string, number>): number =>
      parts.reduce((total, part) => total + (from.get(part) ?? 0), 0);
    const roles = [...times].map(([role, parts]) => [role, sum(parts)] as const);
    const all = roles.reduce((total, [, us]) => total + us, 0);
    if (all === 0 && sum(bytes) === 0) continue;
    figures.push(value("us, all", all), ...roles.map(([role, us]) => value(`us, ${role}`, us)));
    figures.push(value("bytes allocated", sum(bytes)));
  }
  return figures;
}

/** Microseconds by part: what the kernel has counted for each thread, as its samples divide it. */
function timesOf(threads: readonly ThreadBudget[], cpuUs: number): ReadonlyMap<string, number> {
  const parts = threads.map(({ cpuUs: usedUs, shares }) => {
    const all = shares.reduce((sum, [, weight]) => sum + weight, 0);
    return new Map(shares.map(([part, weight]) => [part, (usedUs * weight) / all]));
  });
  const counted = threads.reduce((sum, one) => sum + one.cpuUs, 0);
  return sumOf([...parts, new Map([[NATIVE_THREADS, Math.max(0, cpuUs - counted)]])]);
}

function sumOf(all: readonly ReadonlyMap<string, number>[]): ReadonlyMap<string, number> {
  const total = new Map<string, number>();
  for (const one of all)
    for (const [part, value] of one) total.set(part, (total.get(part) ?? 0) + value);
  return total;
}

function notes(): string[] {
  return [
    "microseconds of processor time for each request, until everything was destaged",
    "shares are from samples, the time of each thread is what the kernel has counted for it",
    "the profiler itself takes time too: compare with `mirror`, `nbd` and `vhost` for the sums",
    "bytes allocated are what the JavaScript heap was asked for, not what lives on",
  ];
}
