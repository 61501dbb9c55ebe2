/**
 * Runs whole clusters in virtual time, each from a seed, and says which promise was broken first.
 *
 *   npm run trial -- --seed 17                the one trial, with its trace
 *   npm run trial -- --seeds 1..10000         many, as many at a time as there are processors
 *   npm run trial -- --seeds 1..2000 --mutant no-fencing      without a safety rule, until found
 *   npm run trial -- --mutants --seeds 1..2000     each safety rule taken out in turn: a table
 *   npm run trial -- --machines --seeds 1..1000    of virtual machines
 *   npm run trial -- --seeds 1..200 --seconds 60 --json       as many as fit into a minute
 *   npm run trial -- --seeds 1..3000 --short       seconds of faults each: more of them in an hour
 *
 * With mutants, `--seconds` is for each. Exit code 1 if a trial failed, or, with a mutant, if none
 * did. Traces go to .cache/trial.
 */
import * as fs from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { Worker } from "node:worker_threads";
import { programOptions } from "./program-options.ts";
import { MACHINE_MUTANTS, MUTANTS } from "../src/trial/index.ts";
import type { TrialReport } from "../src/trial/index.ts";
import { REPOSITORY } from "./repository.ts";
import type { TrialJob, TrialMessage } from "./trial-worker.ts";

const SEED_MAX = 2 ** 32 - 1;
/**
 * A trial takes seconds; one that takes this much of a processor goes round in circles. It may get
 * little of one: others use the machine, too.
 */
const TRIAL_CPU_MS_MAX = 180_000;
/** One that takes this long although nobody works on it has come to a standstill. */
const TRIAL_MS_MAX = 20 * TRIAL_CPU_MS_MAX;
const LOOK_EVERY_MS = 5000;
/**
 * MiB of young objects of each worker, before they are looked through: most are garbage by then. At
 * Node's 16, a fourteenth of all time went to those that were not yet.
 */
const YOUNG_MIB = 64;
const TRACES = join(REPOSITORY, ".cache/trial");

interface Options {
  readonly first: number;
  readonly last: number;
  readonly mutant: string | undefined;
  readonly isOfAllMutants: boolean;
  readonly isOfMachines: boolean;
  readonly isShort: boolean;
  readonly seconds: number;
  readonly jobs: number;
  readonly isJson: boolean;
}

/** What one seed has shown to be wrong. */
interface Finding {
  readonly seed: number;
  readonly kind: string;
  readonly what: string;
  readonly replay: string;
  readonly trace: string | undefined;
}

interface Totals {
  trials: number;
  virtualMs: number;
  cpuMs: number;
  requests: number;
  events: number;
  undecidedBlocks: number;
  /** How often rare paths were taken, by name. */
  readonly marks: Record<string, number>;
  readonly findings: Finding[];
}

function usage(problem: string): never {
  console.error(`trial: ${problem}. Next step: npm run trial -- --seeds 1..100`);
  process.exit(2);
}

function numberIn(text: string, what: string, min: number, max: number): number {
  const number = Number(text);
  if (/^\d+$/.test(text) && number >= min && number <= max) return number;
  return usage(`${what} is a number from ${min} to ${max}, not "${text}"`);
}

function readOptions(): Options {
  const { values } = programOptions("trial", import.meta.url, {
    options: {
      seed: { type: "string" },
      seeds: { type: "string" },
      mutant: { type: "string" },
      mutants: { type: "boolean", default: false },
      machines: { type: "boolean", default: false },
      short: { type: "boolean", default: false },
      seconds: { type: "string", default: "86400" },
      jobs: { type: "string", default: String(availableParallelism()) },
      json: { type: "boolean", default: false },
    },
  });
  const text = values.seeds ?? values.seed ?? "1..100";
  const [from = "", to = from] = text.split("..");
  const first = numberIn(from, "a seed", 0, SEED_MAX);
  const { mutant, machines: isOfMachines, short: isShort } = values;
  if (isOfMachines && isShort) usage("trials of machines are short: --short is for volumes");
  const names = (isOfMachines ? MACHINE_MUTANTS : MUTANTS).map(({ name }) => name);
  if (mutant !== undefined && !names.includes(mutant))
    usage(`there is no mutant "${mutant}", only ${names.join(", ")}`);
  return {
    first,
    last: numberIn(to, "the last seed", first, SEED_MAX),
    mutant,
    isOfAllMutants: values.mutants,
    isOfMachines,
    isShort,
    seconds: numberIn(values.seconds, "--seconds", 1, 86_400),
    jobs: numberIn(values.jobs, "--jobs", 1, 64),
    isJson: values.json,
  };
}

/** Of all threads so far. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

class TrialRun {
  readonly #options: Options;
  readonly #totals: Totals = {
    trials: 0,
    virtualMs: 0,
    cpuMs: 0,
    requests: 0,
    events: 0,
    undecidedBlocks: 0,
    marks: {},
    findings: [],
  };
  readonly #begin = performance.now();
  #next: number;
  #shown = 0;

  constructor(options: Options) {
    this.#options = options;
    this.#next = options.first;
  }

  async run(): Promise<Totals> {
    const { jobs, first, last } = this.#options;
    const count = Math.min(jobs, last - first + 1);
    const beginMs = cpuMs();
    await Promise.all(Array.from({ length: count }, () => this.#work()));
    this.#totals.cpuMs = cpuMs() - beginMs;
    return this.#totals;
  }

  get #isOver(): boolean {
    const { last, mutant, seconds } = this.#options;
    const isFound = mutant !== undefined && this.#totals.findings.length > 0;
    return this.#next > last || isFound || performance.now() - this.#begin > seconds * 1000;
  }

  /** Trials on one worker after the other: one that was left in a bad state is replaced. */
  async #work(): Promise<void> {
    const { mutant, isOfMachines, isShort } = this.#options;
    while (!this.#isOver) {
      const worker = new Worker(new URL("./trial-worker.js", import.meta.url), {
        workerData: { mutantName: mutant, isOfMachines, isShort } satisfies TrialJob,
      });
      let isGood = true;
      while (isGood && !this.#isOver) isGood = await this.#one(worker, this.#next++);
      await worker.terminate();
    }
  }

  #one(worker: Worker, seed: number): Promise<boolean> {
    return new Promise((resolve) => {
      const end = (isGood: boolean): void => {
        clearInterval(timer);
        worker.off("error", failed);
        worker.off("message", heard);
        resolve(isGood);
      };
      const failed = (error: Error): void => {
        this.#find(seed, "crash", error.stack ?? error.message, []);
        end(false);
      };
      const heard = (message: TrialMessage): void => {
        if (message.kind === "unhandled")
          this.#find(message.seed, "unhandled rejection", message.stack, []);
        else this.#count(message.report);
        end(message.kind === "done");
      };
      const begin = { ms: performance.now(), cpuMs: cpuMs() };
      const timer = setInterval(() => {
        const usedMs = (cpuMs() - begin.cpuMs) / this.#options.jobs;
        const tookMs = performance.now() - begin.ms;
        if (usedMs < TRIAL_CPU_MS_MAX && tookMs < TRIAL_MS_MAX) return;
        const used = `${Math.round(usedMs / 1000)} s of a processor`;
        this.#find(seed, "hung", `no end after ${Math.round(tookMs / 1000)} s and ${used}`, []);
        end(false);
      }, LOOK_EVERY_MS);
      worker.on("error", failed);
      worker.on("message", heard);
      worker.postMessage(seed);
    });
  }

  #count(report: TrialReport): void {
    const totals = this.#totals;
    totals.trials++;
    totals.virtualMs += report.virtualMs;
    totals.requests += report.requests;
    totals.events += report.events;
    totals.undecidedBlocks += report.undecidedBlocks;
    for (const [name, hits] of Object.entries(report.marks))
      totals.marks[name] = (totals.marks[name] ?? 0) + hits;
    const { failure, seed, trace } = report;
    if (failure !== undefined) this.#find(seed, failure.kind, failure.what, trace);
    this.#showProgress();
  }

  #find(seed: number, kind: string, what: string, trace: readonly string[]): void {
    const { mutant, isJson, isOfMachines, isShort } = this.#options;
    const without = mutant === undefined ? "" : ` --mutant ${mutant}`;
    const ofKind = isOfMachines ? " --machines" : isShort ? " --short" : "";
    const replay = `npm run trial --${ofKind} --seed ${seed}${without}`;
    const ofMutant = mutant === undefined ? "" : `-${mutant}`;
    const name = `seed-${seed}${isShort ? "-short" : ""}${ofMutant}`;
    const path = trace.length === 0 ? undefined : saveTrace(name, what, trace);
    this.#totals.findings.push({ seed, kind, what, replay, trace: path });
    if (isJson) return;
    console.log(`seed ${seed}: ${kind}: ${what}`);
    console.log(`  again: ${replay}`);
    if (path !== undefined) console.log(`  trace: ${path}`);
  }

  #showProgress(): void {
    const nowMs = performance.now();
    if (this.#options.isJson || nowMs - this.#shown < 5000) return;
    this.#shown = nowMs;
    const { first, last } = this.#options;
    const done = this.#totals.trials;
    const leftS = ((nowMs - this.#begin) / 1000 / done) * (last - first + 1 - done);
    console.log(`${done} of ${last - first + 1} trials, ${Math.ceil(leftS)} s left`);
  }
}

function saveTrace(name: string, what: string, trace: readonly string[]): string {
  fs.mkdirSync(TRACES, { recursive: true });
  const path = join(TRACES, `${name}.txt`);
  fs.writeFileSync(path, `${what}\n\n${trace.join("\n")}\n`);
  return path;
}

/** True if all went as it should. */
async function runSeeds(options: Options): Promise<boolean> {
  const totals = await new TrialRun(options).run();
  const speed = totals.virtualMs / Math.max(1, totals.cpuMs);
  if (options.isJson) {
    console.log(JSON.stringify({ ...totals, timesRealTime: Math.round(speed) }, undefined, 2));
  } else {
    console.log(
      `${totals.trials} trials, ${totals.findings.length} failed; ${totals.requests} requests, ` +
        `${totals.events} events, ${totals.undecidedBlocks} blocks undecided, ` +
        `${Math.round(speed)} times real time per processor`,
    );
    for (const [name, hits] of Object.entries(totals.marks).toSorted(([, a], [, b]) => b - a))
      console.log(`${String(hits).padStart(9)}  ${name}`);
  }
  return options.mutant === undefined ? totals.findings.length === 0 : totals.findings.length > 0;
}

interface MutantRow {
  readonly mutant: string;
  readonly rule: string;
  /** Trials that it took, the one that noticed included. */
  readonly trials: number;
  /** Undefined if none of them noticed. */
  readonly seed: number | undefined;
  readonly noticed: string;
}

/** Each rule taken out in turn, until somebody notices. True if somebody always did. */
async function runMutants(options: Options): Promise<boolean> {
  const rows: MutantRow[] = [];
  for (const { name, rule } of options.isOfMachines ? MACHINE_MUTANTS : MUTANTS) {
    const { findings, trials } = await new TrialRun({
      ...options,
      mutant: name,
      isJson: true,
    }).run();
    const [first] = findings.toSorted((a, b) => a.seed - b.seed);
    const what = first?.what.split("\n")[0] ?? "nothing";
    const noticed = first === undefined ? what : `${first.kind}: ${what}`;
    rows.push({ mutant: name, rule, trials, seed: first?.seed, noticed });
    if (!options.isJson)
      console.log(`| ${name} | ${rule} | ${trials} | ${first?.seed ?? "none"} | ${noticed} |`);
  }
  if (options.isJson) console.log(JSON.stringify(rows, undefined, 2));
  return rows.every(({ seed }) => seed !== undefined);
}

for (const end of ["min", "max"]) setFlagsFromString(`--${end}-semi-space-size=${YOUNG_MIB}`);
const options = readOptions();
const isExpected = options.isOfAllMutants ? await runMutants(options) : await runSeeds(options);
process.exitCode = isExpected ? 0 : 1;
