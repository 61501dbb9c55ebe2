/**
 * How soon virtual machines run elsewhere when the power of their host is cut: three hosts as
 * processes, etcd where it is installed, twenty protected machines of five priorities under real
 * QEMUs on mirrored volumes. As many as a host may have run on the one that loses its power. A
 * machine counts as started when its new QEMU process began, by the kernel's account; as working
 * when its guest has printed the next number.
 *
 * Guests that go on counting take the processors from everything that is measured where they are
 * emulated; small ones count once and halt.
 *
 * `--seconds` pass between the last start and the power cut. A host's lease is short once a minute
 * has passed in which every renewal was prompt: with 70 that is what is measured.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ApiClient } from "../src/cli/api-client.ts";
import { ClusterRun } from "../test/e2e/cluster-run.ts";
import {
  countersIn,
  writeCountingKernel,
  writeHaltingKernel,
} from "../test/e2e/counting-kernel.ts";
import { etcdMissing } from "../test/e2e/etcd.ts";
import { figure, isWanted } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";
import { percentile99, phaseFigures, phasesOf } from "./failover-phases.ts";
import type { Phases } from "./failover-phases.ts";

const PRIORITIES = ["highest", "high", "medium", "low", "lowest"] as const;
const MACHINES = 20;
/** So that twenty emulated guests leave the processors to what is measured. */
const TICKS_BETWEEN_COUNTS = 27;
/** Eight virtual processors for each of a host, and never more than fit on the other two. */
const ON_VICTIM_MAX = 16;
const VICTIM = "h1";
const OTHERS = ["h2", "h3"] as const;
const LOOK_MS = 20;
const WAIT_MS_MAX = 120_000;

interface Guests {
  readonly workload: string;
  write(kernel: string): void;
}

const GUESTS: readonly Guests[] = [
  { workload: "small guests", write: writeHaltingKernel },
  {
    workload: "counting guests",
    write: (kernel) => writeCountingKernel(kernel, TICKS_BETWEEN_COUNTS),
  },
];

interface Machine {
  readonly name: string;
  readonly priority: number;
  readonly objectId: string;
}

interface Works {
  readonly host: string;
  /** Since this computer was started. */
  readonly startedMs: number;
}

interface Came {
  readonly machine: Machine;
  readonly host: string;
  readonly startedMs: number;
  readonly worksMs: number;
}

interface Round {
  readonly came: readonly Came[];
  readonly phases: readonly Phases[];
  /** Pairs of different priority, and how many of them started in that order. */
  readonly pairs: number;
  readonly inOrder: number;
}

export const failoverBenchmark: Benchmark = {
  name: "failover",
  summary: "From the power of a host cut to its machines' QEMU processes started elsewhere",
  defaults: { rounds: 5, seconds: 1, folder: "/dev/shm" },
  run,
};

async function run(options: BenchmarkOptions): Promise<BenchmarkResult> {
  process.env["DRYSTONE_ACCEL"] ??= "tcg";
  const results: BenchmarkResult[] = [];
  for (const guests of GUESTS)
    if (isWanted(guests.workload, options.workloads)) results.push(await runWith(guests, options));
  return {
    figures: results.flatMap(({ figures }) => figures),
    notes: results.flatMap(({ notes }) => notes),
  };
}

async function runWith(guests: Guests, options: BenchmarkOptions): Promise<BenchmarkResult> {
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const kernel = path.join(folder, "c", "boot", "kernel");
  guests.write(kernel);
  const directory = etcdMissing() === undefined ? ["--directory", "etcd"] : [];
  const cluster = await ClusterRun.create(path.join(folder, "c"), directory);
  try {
    const failover = await Failover.create(cluster, kernel);
    const rounds: Round[] = [];
    for (let i = 1; i <= options.rounds; i++) {
      const round = await failover.round(options.seconds);
      rounds.push(round);
      const startedMs = round.came
        .map((one) => Math.round(one.startedMs))
        .toSorted((a, b) => a - b);
      const order = `in order ${round.inOrder} of ${round.pairs}`;
      options.progress(
        `${guests.workload}, round ${i}: started after ${startedMs.join(" ")} ms, ${order}`,
      );
    }
    return { figures: figuresOf(guests, rounds), notes: notesOf(guests, rounds) };
  } finally {
    await cluster.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

class Failover {
  readonly #cluster: ClusterRun;
  /** Of a host that lives on. */
  readonly #api: ApiClient;
  readonly #machines: readonly Machine[];

  private constructor(cluster: ClusterRun, api: ApiClient, machines: readonly Machine[]) {
    this.#cluster = cluster;
    this.#api = api;
    this.#machines = machines;
  }

  static async create(cluster: ClusterRun, kernel: string): Promise<Failover> {
    const api = new ApiClient(cluster.api(2));
    const machines: Machine[] = [];
    for (let i = 0; i < MACHINES; i++) {
      const [name, priority] = [`vm${i}`, i % PRIORITIES.length];
      const volume = { name, sizeBytes: 16 << 20, failuresToTolerate: 1 };
      const { objectId } = await api.call("volume.create", volume);
      const parts = { volumes: [name], memoryBytes: 16 << 20, kernel };
      await api.call("vm.create", { name, ...parts, priority: PRIORITIES[priority] });
      machines.push({ name, priority, objectId });
    }
    return new Failover(cluster, api, machines);
  }

  /** Before the power is cut nothing happens for some seconds. */
  async round(quietSeconds: number): Promise<Round> {
    const hurt = await this.#start();
    await pause(quietSeconds * 1000);
    const processes = hurt.map(({ name }) => this.#pid(VICTIM, name));
    const killing = this.#cluster.dev("kill", VICTIM);
    await until(() => processes.some((pid) => pid !== undefined && !isAlive(pid)), "it is cut");
    const [cutMs, cutWallMs] = [uptimeMs(), Date.now()];
    const came: Came[] = [];
    await until(() => {
      for (const machine of hurt) {
        if (came.some((one) => one.machine === machine)) continue;
        const works = this.#works(machine);
        if (works === undefined) continue;
        const { host, startedMs } = works;
        came.push({ machine, host, startedMs: startedMs - cutMs, worksMs: uptimeMs() - cutMs });
      }
      return came.length === hurt.length;
    }, "all work elsewhere");
    await killing;
    const phases = await this.#phases(cutWallMs, came);
    await this.#cluster.dev("start", VICTIM);
    const pairs = came.flatMap((a) =>
      came.filter((b) => a.machine.priority < b.machine.priority).map((b) => [a, b] as const),
    );
    const inOrder = pairs.filter(([a, b]) => a.startedMs <= b.startedMs).length;
    return { came, phases, pairs: pairs.length, inOrder };
  }

  async #phases(cutWallMs: number, came: readonly Came[]): Promise<readonly Phases[]> {
    const machines = came.map(({ machine }) => machine);
    await this.#areAll("running", machines);
    const { vms } = await this.#api.call("vm.list", {});
    const failed = came.map(({ machine, host, startedMs }) => ({
      view: vms.find(({ name }) => name === machine.name)!,
      objectId: machine.objectId,
      hostLog: path.join(this.#cluster.folder, host, "host.log"),
      startedWallMs: cutWallMs + startedMs,
    }));
    return phasesOf(cutWallMs, failed);
  }

  /** All of them, most on the host that is to lose its power; resolves with those. */
  async #start(): Promise<readonly Machine[]> {
    for (const { name } of this.#machines) await this.#api.call("vm.kill", { name });
    await this.#areAll("stopped");
    const first = this.#machines.slice(0, ON_VICTIM_MAX);
    const set = async (word: "on" | "off"): Promise<void> => {
      for (const name of OTHERS)
        await this.#api.call(
          `host.maintenance-${word}`,
          word === "on" ? { name, mode: "none" } : { name },
        );
    };
    await set("on");
    for (const { name } of first) await this.#api.call("vm.start", { name });
    await this.#areAll("running", first);
    await set("off");
    const rest = this.#machines.slice(ON_VICTIM_MAX);
    for (const { name } of rest) await this.#api.call("vm.start", { name });
    await this.#areAll("running");
    for (const { name } of first)
      await until(
        () => countersIn(path.join(this.#folder(VICTIM, name), "serial.log")).length > 0,
        `${name} counts`,
      );
    await until(async () => {
      const { vms } = await this.#api.call("vm.list", {});
      return vms.every(({ protection }) => protection === "protected");
    }, "all are protected");
    return first;
  }

  async #areAll(state: string, of: readonly Machine[] = this.#machines): Promise<void> {
    await until(async () => {
      const { vms } = await this.#api.call("vm.list", {});
      return of.every(({ name }) => vms.some((vm) => vm.name === name && vm.state === state));
    }, `all are ${state}`);
  }

  /** Where, and when its new process began; undefined before its guest works. */
  #works({ name }: Machine): Works | undefined {
    const told = countersIn(path.join(this.#folder(VICTIM, name), "serial.log")).at(-1) ?? 0;
    for (const host of OTHERS) {
      const stored = this.#stored(host, name);
      if (stored === undefined || !isAlive(stored.pid)) continue;
      const [found] = countersIn(path.join(this.#folder(host, name), "serial.log"));
      if (found === undefined) continue;
      if (found <= told) throw new Error(`${name} was told ${told} and began with ${found}`);
      return { host, startedMs: Number(stored.startTicks) * 10 };
    }
    return undefined;
  }

  #folder(host: string, name: string): string {
    return path.join(this.#cluster.folder, host, "state", "vms", name);
  }

  #stored(host: string, name: string): { pid: number; startTicks: string } | undefined {
    const file = path.join(this.#folder(host, name), "vm.json");
    if (!fs.existsSync(file)) return undefined;
    return JSON.parse(fs.readFileSync(file, "utf8")) as { pid: number; startTicks: string };
  }

  #pid(host: string, name: string): number | undefined {
    return this.#stored(host, name)?.pid;
  }
}

/** One that has ended and was not looked after yet has ended. */
function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(fs.readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

function uptimeMs(): number {
  return Number(fs.readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000;
}

async function until(isSo: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const limit = performance.now() + WAIT_MS_MAX;
  while (!(await isSo())) {
    if (performance.now() > limit) throw new Error(`it did not come that ${what}`);
    await pause(LOOK_MS);
  }
}

function figuresOf({ workload }: Guests, rounds: readonly Round[]): readonly Figure[] {
  const came = rounds.flatMap((round) => round.came);
  const of = (target: string, pick: (one: Came) => number): readonly Figure[] => {
    const sorted = came.map(pick).toSorted((a, b) => a - b);
    const name = (metric: string) => ({ workload, target, metric });
    return [figure(name("ms"), sorted), figure(name("p99 ms"), [percentile99(sorted)])];
  };
  return [
    ...of("QEMU process started", ({ startedMs }) => startedMs),
    ...of("guest works", ({ worksMs }) => worksMs),
    ...phaseFigures(
      workload,
      rounds.flatMap((round) => round.phases),
    ),
  ];
}

function notesOf({ workload }: Guests, rounds: readonly Round[]): readonly string[] {
  const sum = (pick: (round: Round) => number): number =>
    rounds.reduce((total, round) => total + pick(round), 0);
  const pairs = `${sum(({ inOrder }) => inOrder)} of ${sum((round) => round.pairs)}`;
  return [
    `${workload}: ${MACHINES} protected machines, ${ON_VICTIM_MAX} of them on the host that lost its power`,
    `pairs of different priority that started in that order: ${pairs}`,
    "every guest went on from what it had been told",
  ];
}
