/**
 * What the cluster under test uses, seen from outside: memory, heaps, files, mappings and threads
 * of each process, space on disk and the size of the directory, over time. Each process life is a
 * series of its own, for a restart forgets what was leaked.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { readHostConfig } from "../../src/host/host-config.ts";
import { memoryPlanOf } from "../../src/host/data/memory-plan.ts";
import type { MemoryPlan } from "../../src/host/data/memory-plan.ts";
import { processTree, processUsage } from "../e2e/process.ts";
import { PlannedMemory } from "./planned-memory.ts";
import { grownKinds, openFiles } from "./process-files.ts";
import { judge } from "./slopes.ts";
import type { Sample, Verdict } from "./slopes.ts";

/** Growth per hour that is a leak; undefined: told, not judged. */
const LIMITS_PER_HOUR: Readonly<Record<string, number | undefined>> = {
  // The part of memory that is the process's own.
  "anonymous MB": 40,
  "heap MB": 20,
  // With garbage and room for more.
  "heap pages MB": undefined,
  // Buffers, and memory that is mapped into the heap: resident as far as it was touched.
  "external MB": 40,
  // With page cache of what is mapped, which comes and goes.
  "resident MB": undefined,
  files: 6,
  "unix sockets": 6,
  // As many as the hosts have connections, each of which the supervisor's gates double.
  "tcp sockets": 60,
  mappings: 60,
  threads: 2,
  "device MB": 200,
  "log MB": undefined,
  "directory MB": 20,
};

const FILE_METRICS: ReadonlySet<string> = new Set(["files", "unix sockets", "tcp sockets"]);

export interface SampleOptions {
  readonly supervisor: () => number | undefined;
  readonly folder: string;
  readonly heaps: string;
  readonly warmUpSeconds: number;
  readonly spanSeconds: number;
  readonly now: () => number;
}

export interface Slope extends Verdict {
  /** For example "h1 (pid 17)". */
  readonly of: string;
  readonly metric: string;
  /** Of a leak of files: of which kinds there are more. */
  readonly grown?: string;
}

interface Kinds {
  readonly sinceSeconds: number;
  first: ReadonlyMap<string, number>;
  last: ReadonlyMap<string, number>;
}

/** As `heap-teller.ts` writes it, in bytes. */
interface HeapTold {
  readonly heapUsed: number;
  readonly external: number;
  readonly heapPages: number;
}

export class SoakSamples {
  readonly #options: SampleOptions;
  readonly #series = new Map<string, Sample[]>();
  readonly #kinds = new Map<string, Kinds>();
  readonly #plans = new Map<string, MemoryPlan>();
  readonly memory: PlannedMemory = new PlannedMemory();
  #hosts = new Map<string, number>();

  constructor(options: SampleOptions) {
    this.#options = options;
  }

  /** Hosts that ran when it was looked last, with their processes. */
  get hosts(): ReadonlyMap<string, number> {
    return this.#hosts;
  }

  /** Looks once. Processes that end meanwhile are left out. */
  look(): void {
    const { supervisor, folder } = this.#options;
    const root = supervisor();
    const hosts = new Map<string, number>();
    for (const pid of root === undefined ? [] : treeOf(root)) {
      const name = pid === root ? "supervisor" : nameOf(pid);
      if (name === undefined) continue;
      const isHost = /^h\d+$/.test(name);
      if (isHost) hosts.set(name, pid);
      this.#lookAt(`${name} (pid ${pid})`, pid, isHost ? this.#planOf(name) : undefined);
    }
    this.#hosts = hosts;
    this.#add("disks", "device MB", megabytesBelow(folder, /^h\d+\/device/));
    this.#add("disks", "log MB", megabytesBelow(folder, /\.log$/));
    this.#add(
      "directory",
      "directory MB",
      megabytesBelow(folder, /^(directory|etcd)\/.*(mdb|db)$/),
    );
  }

  slopes(): readonly Slope[] {
    const { warmUpSeconds, spanSeconds } = this.#options;
    return [...this.#series].flatMap(([key, samples]) => {
      const [of = "", metric = ""] = key.split("\t");
      const limitPerHour = LIMITS_PER_HOUR[metric];
      const verdict = judge(samples, { warmUpSeconds, spanSeconds, limitPerHour });
      if (verdict === undefined) return [];
      const kinds = FILE_METRICS.has(metric) && verdict.isLeak ? this.#kinds.get(of) : undefined;
      const grown = kinds && grownKinds(kinds.first, kinds.last);
      return [{ of, metric, ...verdict, ...(grown === undefined ? {} : { grown }) }];
    });
  }

  /** Every sample of every series. */
  get series(): Readonly<Record<string, readonly Sample[]>> {
    return Object.fromEntries(this.#series);
  }

  #planOf(host: string): MemoryPlan {
    const known = this.#plans.get(host);
    if (known !== undefined) return known;
    const config = readHostConfig(path.join(this.#options.folder, host, "host.json"));
    const plan = memoryPlanOf(config, config.devices.length);
    this.#plans.set(host, plan);
    return plan;
  }

  #lookAt(of: string, pid: number, plan: MemoryPlan | undefined): void {
    try {
      const { anonymousBytes, residentBytes } = processUsage(pid);
      if (plan !== undefined) this.memory.look(of, { anonymousBytes, residentBytes }, plan);
      this.#add(of, "anonymous MB", anonymousBytes / 1e6);
      this.#add(of, "resident MB", residentBytes / 1e6);
      this.#lookAtFiles(of, pid);
      this.#add(of, "threads", fs.readdirSync(`/proc/${pid}/task`).length);
      const maps = fs.readFileSync(`/proc/${pid}/maps`, "utf8");
      this.#add(of, "mappings", maps.split("\n").length - 1);
    } catch (error) {
      if (!isGone(error)) throw error;
      return;
    }
    const { heapUsed, external, heapPages } = this.#heapOf(pid);
    if (heapUsed === 0) return;
    this.#add(of, "heap MB", heapUsed / 1e6);
    this.#add(of, "heap pages MB", heapPages / 1e6);
    this.#add(of, "external MB", external / 1e6);
  }

  #lookAtFiles(of: string, pid: number): void {
    const { folder, warmUpSeconds, now } = this.#options;
    const { files, unixSockets, tcpSockets, kinds } = openFiles(pid, folder);
    this.#add(of, "files", files);
    this.#add(of, "unix sockets", unixSockets);
    this.#add(of, "tcp sockets", tcpSockets);
    const known = this.#kinds.get(of) ?? { sinceSeconds: now(), first: kinds, last: kinds };
    this.#kinds.set(of, known);
    if (now() - known.sinceSeconds < warmUpSeconds) known.first = kinds;
    known.last = kinds;
  }

  /** Of all threads together; nothing of a process that has not told yet. */
  #heapOf(pid: number): HeapTold {
    const { heaps } = this.#options;
    const sum = { heapUsed: 0, external: 0, heapPages: 0 };
    for (const name of fs.readdirSync(heaps)) {
      if (!name.startsWith(`${pid}-`) || name.endsWith(".new")) continue;
      const told = JSON.parse(fs.readFileSync(path.join(heaps, name), "utf8")) as HeapTold;
      sum.heapUsed += told.heapUsed;
      sum.external += told.external;
      sum.heapPages += told.heapPages;
    }
    return sum;
  }

  #add(of: string, metric: string, value: number): void {
    const key = `${of}\t${metric}`;
    const samples = this.#series.get(key) ?? [];
    this.#series.set(key, samples);
    samples.push({ seconds: this.#options.now(), value });
  }
}

function treeOf(root: number): readonly number[] {
  try {
    return processTree(root);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** Of a process of a development cluster; undefined for what comes and goes. */
function nameOf(pid: number): string | undefined {
  let line: string;
  try {
    line = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
  const host = /\/(h\d+)\/host\.json\0/.exec(line)?.[1];
  if (host !== undefined) return host;
  const member = /^\S*etcd\0[\s\S]*\/etcd\/(m\d+)/.exec(line)?.[1];
  return member === undefined ? undefined : `etcd ${member}`;
}

/** What the files occupy whose path below the folder matches, holes left out. */
function megabytesBelow(folder: string, wanted: RegExp): number {
  let blocks = 0;
  for (const name of fs.readdirSync(folder, { recursive: true, encoding: "utf8" })) {
    if (!wanted.test(name)) continue;
    try {
      const found = fs.statSync(path.join(folder, name));
      if (found.isFile()) blocks += found.blocks;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  return (blocks * 512) / 1e6;
}

function isGone(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOENT" || code === "ESRCH";
}
