/**
 * How soon virtual machines run elsewhere when the power of their host is cut: three hosts as
 * processes, etcd where it is installed, twenty protected machines of five priorities under real
 * QEMUs with guests that count on mirrored volumes. As many as a host may have run on the one that
 * loses its power. A machine counts as started when its new QEMU process began, by the kernel's
 * account; as working when its guest has printed the next number.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { ApiClient } from "../src/cli/api-client.ts";
import { ClusterRun } from "../test/e2e/cluster-run.ts";
import { countersIn, writeCountingKernel } from "../test/e2e/counting-kernel.ts";
import { etcdMissing } from "../test/e2e/etcd.ts";
import { figure } from "./benchmark.ts";
import type { Benchmark, BenchmarkOptions, BenchmarkResult, Figure } from "./benchmark.ts";

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

interface Machine {
  readonly name: string;
  readonly priority: number;
}

interface Came {
  readonly machine: Machine;
  readonly startedMs: number;
  readonly worksMs: number;
}

interface Round {
  readonly came: readonly Came[];
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
  const folder = fs.mkdtempSync(path.join(options.folder, "drystone-bench-"));
  const kernel = path.join(folder, "counting");
  writeCountingKernel(kernel, TICKS_BETWEEN_COUNTS);
  const directory = etcdMissing() === undefined ? ["--directory", "etcd"] : [];
  const cluster = await ClusterRun.create(path.join(folder, "c"), directory);
  try {
    const failover = new Failover(cluster);
    await failover.create(kernel);
    const rounds: Round[] = [];
    for (let i = 1; i <= options.rounds; i++) {
      const round = await failover.round();
      rounds.push(round);
      const startedMs = round.came
        .map((one) => Math.round(one.startedMs))
        .toSorted((a, b) => a - b);
      options.progress(
        `round ${i}  started after ${startedMs.join(" ")} ms  in order ${round.inOrder} of ${round.pairs}`,
      );
    }
    return { figures: figuresOf(rounds), notes: notesOf(rounds) };
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

  constructor(cluster: ClusterRun) {
    this.#cluster = cluster;
    this.#api = new ApiClient(cluster.api(2));
    this.#machines = Array.from({ length: MACHINES }, (_, i) => ({
      name: `vm${i}`,
      priority: i % PRIORITIES.length,
    }));
  }

  async create(kernel: string): Promise<void> {
    for (const { name, priority } of this.#machines) {
      const volume = { name, sizeBytes: 16 << 20, failuresToTolerate: 1 };
      await this.#api.call("volume.create", volume);
      const parts = { volumes: [name], memoryBytes: 16 << 20, kernel };
      await this.#api.call("vm.create", { name, ...parts, priority: PRIORITIES[priority] });
    }
  }

  async round(): Promise<Round> {
    const hurt = await this.#start();
    const processes = hurt.map(({ name }) => this.#pid(VICTIM, name));
    const killing = this.#cluster.dev("kill", VICTIM);
    await until(() => processes.some((pid) => pid !== undefined && !isAlive(pid)), "it is cut");
    const cutMs = uptimeMs();
    const came: Came[] = [];
    await until(() => {
      for (const machine of hurt) {
        if (came.some((one) => one.machine === machine)) continue;
        const startedMs = this.#worksSince(machine);
        if (startedMs === undefined) continue;
        came.push({ machine, startedMs: startedMs - cutMs, worksMs: uptimeMs() - cutMs });
      }
      return came.length === hurt.length;
    }, "all work elsewhere");
    await killing;
    await this.#cluster.dev("start", VICTIM);
    const pairs = came.flatMap((a) =>
      came.filter((b) => a.machine.priority < b.machine.priority).map((b) => [a, b] as const),
    );
    const inOrder = pairs.filter(([a, b]) => a.startedMs <= b.startedMs).length;
    return { came, pairs: pairs.length, inOrder };
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
        () => countersIn(path.join(this.#folder(VICTIM, name), "serial.log")).length > 1,
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

  /**
   * When its new process began, in milliseconds since the machine did; undefined before it works.
   */
  #worksSince({ name }: Machine): number | undefined {
    const told = countersIn(path.join(this.#folder(VICTIM, name), "serial.log")).at(-1) ?? 0;
    for (const host of OTHERS) {
      const stored = this.#stored(host, name);
      if (stored === undefined || !isAlive(stored.pid)) continue;
      const [found] = countersIn(path.join(this.#folder(host, name), "serial.log"));
      if (found === undefined) continue;
      if (found <= told) throw new Error(`${name} was told ${told} and began with ${found}`);
      return Number(stored.startTicks) * 10;
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

function figuresOf(rounds: readonly Round[]): readonly Figure[] {
  const came = rounds.flatMap((round) => round.came);
  const of = (target: string, pick: (one: Came) => number): readonly Figure[] => {
    const sorted = came.map(pick).toSorted((a, b) => a - b);
    const name = (metric: string) => ({ workload: "power cut", target, metric });
    const p99 = sorted[Math.ceil(0.99 * sorted.length) - 1]!;
    return [figure(name("ms"), sorted), figure(name("p99 ms"), [p99])];
  };
  return [
    ...of("QEMU process started", ({ startedMs }) => startedMs),
    ...of("guest works", ({ worksMs }) => worksMs),
  ];
}

function notesOf(rounds: readonly Round[]): readonly string[] {
  const sum = (pick: (round: Round) => number): number =>
    rounds.reduce((total, round) => total + pick(round), 0);
  const pairs = `${sum(({ inOrder }) => inOrder)} of ${sum((round) => round.pairs)}`;
  return [
    `${MACHINES} protected machines, ${ON_VICTIM_MAX} of them on the host that lost its power`,
    `pairs of different priority that started in that order: ${pairs}`,
    "every guest went on from what it had been told",
  ];
}
