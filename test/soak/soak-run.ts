/** One soak: load, faults, jobs and samples until the time is over, then everything is checked. */
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { errorText, Prng } from "../../src/base/index.ts";
import { ClusterRun } from "../e2e/cluster-run.ts";
import { verifyVolume } from "../e2e/verified-load.ts";
import { WriteLedger } from "../e2e/write-ledger.ts";
import { Latencies } from "./latencies.ts";
import { SoakJobs } from "./soak-jobs.ts";
import { SoakLoad } from "./soak-load.ts";
import { SoakLogs } from "./soak-logs.ts";
import { endsProcess, soakPlan } from "./soak-plan.ts";
import type { Fault, Step } from "./soak-plan.ts";
import { reportOf } from "./soak-report.ts";
import type { SoakReport, StepReport } from "./soak-report.ts";
import { SoakSamples } from "./soak-samples.ts";
import { SoakWorld } from "./soak-world.ts";
import { Yardstick } from "./yardstick.ts";

const HEAP_TELLER = new URL("./heap-teller.js", import.meta.url);
const REPAIR_DELAY_SECONDS = 20;
const ANSWER_MS_MAX = 60_000;
const CALM_MS = 300;
/** For one answer: hosts that are cut off or stand still are waited for until their leases end. */
const STALL_MS_MAX = 20_000;
const ERRORS_MAX = 50;
/** How long a host is spared what ends it, so that something is known of a long life. */
const PHASE_SECONDS = 25 * 60;

export interface SoakOptions {
  readonly seconds: number;
  readonly seed: number;
  readonly hosts: number;
  readonly directory: "embedded" | "etcd";
  /** Everything is made below it; it exists. */
  readonly folder: string;
  readonly loadBytes: number;
  readonly lanes: number;
  readonly pauseMs: number;
  /** In the end, whether each host's loss alone leaves everything there. */
  readonly isEachHostChecked: boolean;
  /** Only these. */
  readonly faults: readonly Fault[];
  readonly progress: (line: string) => void;
}

export class SoakRun {
  readonly #options: SoakOptions;
  readonly #begun = performance.now();
  readonly #world: SoakWorld;
  readonly #ledger: WriteLedger;
  readonly #load: SoakLoad;
  readonly #jobs: SoakJobs;
  readonly #samples: SoakSamples;
  readonly #latencies: Latencies;
  readonly #logs: SoakLogs;
  readonly #errors: string[] = [];
  readonly #steps: StepReport[] = [];
  #isStopping = false;
  #isCalm = false;
  /** While the processes that run are not to be compared with what should run. */
  #isWithoutPower = false;
  #doing = "starting";
  #powerCuts = 0;

  private constructor(options: SoakOptions, cluster: ClusterRun, heaps: string) {
    this.#options = options;
    const { folder, hosts, seed, seconds } = options;
    const now = () => this.#seconds;
    const found = (what: string) => this.#find(what);
    const prng = new Prng(seed).fork();
    this.#world = new SoakWorld(cluster, hosts, REPAIR_DELAY_SECONDS, prng.fork());
    this.#ledger = new WriteLedger(options.loadBytes);
    this.#latencies = new Latencies(Math.max(1, seconds / 200));
    const [ledger, world] = [this.#ledger, this.#world];
    this.#load = new SoakLoad({
      address: world.demo,
      ledger,
      prng,
      lanes: options.lanes,
      pauseMs: options.pauseMs,
      answered: (kind, ms) => {
        if (this.#isCalm) this.#latencies.add(kind, this.#seconds, ms);
      },
      found,
    });
    this.#jobs = new SoakJobs({
      world,
      load: this.#load,
      ledger,
      folder,
      found,
      prng: prng.fork(),
    });
    this.#logs = new SoakLogs({ folder: cluster.folder, found });
    this.#samples = new SoakSamples({
      supervisor: () => (this.#isWithoutPower ? undefined : cluster.pids[0]),
      folder: cluster.folder,
      heaps,
      warmUpSeconds: Math.min(300, seconds / 4),
      spanSeconds: 600,
      now,
    });
  }

  /** Makes the cluster. The caller calls `run`. */
  static async create(options: SoakOptions): Promise<SoakRun> {
    const heaps = path.join(options.folder, "heaps");
    fs.mkdirSync(heaps);
    const args = ["--hosts", String(options.hosts), "--directory", options.directory];
    const cluster = await ClusterRun.create(path.join(options.folder, "c"), args, {
      NODE_OPTIONS: `--import ${fileURLToPath(HEAP_TELLER)}`,
      DRYSTONE_SOAK_HEAPS: heaps,
    });
    return new SoakRun(options, cluster, heaps);
  }

  /** Ends the run at the next step, with everything checked. */
  stop(): void {
    this.#isStopping = true;
  }

  /** Ends every process at once. */
  async abandon(): Promise<void> {
    this.#isWithoutPower = true;
    await this.#world.cutPowerForGood();
  }

  async run(): Promise<SoakReport> {
    const timers = [
      setInterval(() => this.#tell(), 10_000),
      setInterval(() => this.#look(), Math.min(10_000, this.#options.seconds * 20)),
    ];
    const yardstick = new Yardstick(this.#options.folder, (ms) => {
      if (this.#isCalm) this.#latencies.add("yardstick", this.#seconds, ms);
    });
    try {
      await this.#work();
    } catch (error) {
      this.#find(`${this.#doing}: ${chainOf(error)}`);
    } finally {
      for (const timer of timers) clearInterval(timer);
      yardstick.close();
      await this.#world.cluster.stop();
      this.#look();
    }
    return reportOf({
      options: this.#options,
      seconds: this.#seconds,
      errors: this.#errors,
      steps: this.#steps,
      powerCuts: this.#powerCuts,
      damageSeen: this.#world.damageSeen,
      load: this.#load,
      refusals: Object.fromEntries(this.#jobs.refusals),
      said: this.#logs.said,
      slopes: this.#samples.slopes(),
      memory: this.#samples.memory,
      series: this.#samples.series,
      latencies: this.#latencies,
    });
  }

  get #seconds(): number {
    return (performance.now() - this.#begun) / 1000;
  }

  get #isOver(): boolean {
    const { seconds } = this.#options;
    return this.#isStopping || this.#seconds >= seconds || this.#errors.length >= ERRORS_MAX;
  }

  async #work(): Promise<void> {
    const { seed, hosts, faults, seconds } = this.#options;
    const world = this.#world;
    await world.untilWhole(["demo"]);
    const repairDelaySeconds = REPAIR_DELAY_SECONDS;
    await world.call(world.wellHost(), "settings.change", { repairDelaySeconds });
    await this.#load.start();
    const plan = soakPlan(seed, hosts, faults);
    const phases = Math.max(1, Math.round(seconds / PHASE_SECONDS));
    for (let phase = 0; phase < phases && !this.#isOver; phase++) {
      const spared = world.hosts[phase % hosts]!;
      const end = ((phase + 1) * seconds) / phases;
      while (!this.#isOver && this.#seconds < end) await this.#step(plan.next().value, spared);
      if (!this.#isOver || phase === phases - 1) await this.#cutPower();
    }
    await this.#finish();
  }

  async #step(step: Step, spared: string): Promise<void> {
    const world = this.#world;
    const atSeconds = this.#seconds;
    const isEnding = endsProcess(step.fault);
    const host = await world.hostOf(step, spared, isEnding);
    this.#doing = `step ${this.#steps.length + 1}: ${step.fault} ${host}, ${step.job}`;
    this.#isCalm = step.fault === "none";
    this.#load.takeStallMs();
    const job = this.#jobs.run(step.job);
    job.catch(() => undefined); // It is awaited below.
    const mend = await world.hurt(step.fault, host);
    const hurtSeconds = this.#seconds - atSeconds;
    await this.#wait(step.holdSeconds);
    if (step.fault === "damage")
      await this.#load.quietly(() => this.#verify("with a damaged copy"));
    await mend();
    const mendedSeconds = this.#seconds - atSeconds;
    await this.#answered();
    const stallMs = this.#load.takeStallMs();
    if (stallMs > STALL_MS_MAX) this.#find(`an answer took ${Math.round(stallMs)} ms`);
    await world.untilWhole(["demo"]);
    const wholeSeconds = this.#seconds - atSeconds;
    await job;
    await world.untilWhole(["demo"]);
    this.#checkProcesses();
    this.#isCalm = true;
    await this.#wait(2);
    this.#isCalm = false;
    const seconds = this.#seconds - atSeconds;
    const times = { hurtSeconds, mendedSeconds, wholeSeconds, seconds };
    this.#steps.push({ ...step, host, atSeconds, ...times, stallMs });
  }

  /** Until nobody waits for an answer for long. */
  async #answered(): Promise<void> {
    const limit = performance.now() + ANSWER_MS_MAX;
    do {
      await sleep(CALM_MS);
      if (performance.now() > limit)
        throw new Error(`no answer after ${Math.round(this.#load.waitingMs())} ms`);
    } while (this.#load.waitingMs() > CALM_MS);
  }

  /** All at once: what was acknowledged is there afterwards, and stays. */
  async #cutPower(): Promise<void> {
    this.#doing = "power cut of all";
    this.#isWithoutPower = true;
    this.#load.expectLoss();
    await this.#world.cutPower();
    await this.#load.stop();
    this.#isWithoutPower = false;
    await this.#verify("after the power cut");
    this.#ledger.settle();
    await this.#world.untilWhole(["demo"]);
    this.#powerCuts++;
    if (!this.#isOver) await this.#load.start();
  }

  async #verify(when: string): Promise<void> {
    const wrong = await verifyVolume(this.#world.demo, this.#ledger);
    for (const one of wrong) this.#find(`${when}: ${one}`);
  }

  /** The whole volume, the snapshots that were kept, every device, each host's loss alone. */
  async #finish(): Promise<void> {
    this.#doing = "the last checks";
    const world = this.#world;
    await this.#load.stop();
    await this.#verify("in the end");
    this.#ledger.settle();
    await this.#jobs.finish();
    for (const host of this.#options.isEachHostChecked ? world.hosts : []) {
      this.#doing = `the last checks, without ${host}`;
      const mend = await world.hurt("kill", host);
      await this.#verify(`in the end, without ${host}`);
      await mend();
      await world.untilWhole(["demo"]);
    }
  }

  #look(): void {
    try {
      this.#samples.look();
      this.#logs.look();
    } catch (error) {
      this.#find(`a look at the processes and logs failed: ${errorText(error)}`);
    }
  }

  /** Those run that should, and none of them has ended by itself meanwhile. */
  #checkProcesses(): void {
    this.#look();
    for (const host of this.#world.hosts)
      if (!this.#samples.hosts.has(host)) this.#find(`${host} has ended by itself`);
  }

  async #wait(seconds: number): Promise<void> {
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end && !this.#isStopping) await sleep(100);
  }

  #find(what: string): void {
    if (this.#errors.length >= ERRORS_MAX) return;
    const line = `${this.#seconds.toFixed(1)} s, ${this.#doing}: ${what}`;
    this.#errors.push(line);
    this.#options.progress(`ERROR ${line}`);
  }

  #tell(): void {
    const left = Math.max(0, this.#options.seconds - this.#seconds);
    const { writes, reads } = this.#load;
    this.#options.progress(
      `${clock(this.#seconds)}, ${clock(left)} left: ${this.#doing}; ` +
        `${writes} writes, ${reads} reads checked, ${this.#errors.length} errors`,
    );
  }
}

function clock(seconds: number): string {
  const two = (value: number): string => String(Math.floor(value)).padStart(2, "0");
  return `${two(seconds / 3600)}:${two((seconds / 60) % 60)}:${two(seconds % 60)}`;
}

function chainOf(error: unknown): string {
  const cause = error instanceof Error ? error.cause : undefined;
  return cause === undefined ? errorText(error) : `${errorText(error)}: ${chainOf(cause)}`;
}
