/**
 * What the cluster under test uses, seen from outside: memory, heaps, files, mappings and threads
 * of each process, space on disk and the size of the directory, over time. Each process life is a
 * series of its own, for a restart forgets what was leaked.
 */
import * as fs from "node:fs";
import * as path from "node:path";
import { processTree, processUsage } from "../e2e/process.ts";
import { judge } from "./slopes.ts";
import type { Sample, Verdict } from "./slopes.ts";

/** Growth per hour that is a leak; undefined: told, not judged. */
const LIMITS_PER_HOUR: Readonly<Record<string, number | undefined>> = {
  // The part of memory that is the process's own.
  "anonymous MB": 40,
  "heap MB": 20,
  // With page cache of what is mapped, which comes and goes.
  "resident MB": undefined,
  files: 6,
  mappings: 60,
  threads: 2,
  "device MB": 200,
  "log MB": undefined,
  "directory MB": 20,
};

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
}

export class SoakSamples {
  readonly #options: SampleOptions;
  readonly #series = new Map<string, Sample[]>();
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
      if (/^h\d+$/.test(name)) hosts.set(name, pid);
      this.#lookAt(`${name} (pid ${pid})`, pid);
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
      return verdict === undefined ? [] : [{ of, metric, ...verdict }];
    });
  }

  /** Every sample of every series. */
  get series(): Readonly<Record<string, readonly Sample[]>> {
    return Object.fromEntries(this.#series);
  }

  #lookAt(of: string, pid: number): void {
    try {
      const { anonymousBytes, residentBytes } = processUsage(pid);
      this.#add(of, "anonymous MB", anonymousBytes / 1e6);
      this.#add(of, "resident MB", residentBytes / 1e6);
      this.#add(of, "files", fs.readdirSync(`/proc/${pid}/fd`).length);
      this.#add(of, "threads", fs.readdirSync(`/proc/${pid}/task`).length);
      const maps = fs.readFileSync(`/proc/${pid}/maps`, "utf8");
      this.#add(of, "mappings", maps.split("\n").length - 1);
    } catch (error) {
      if (!isGone(error)) throw error;
      return;
    }
    const heap = this.#heapOf(pid);
    if (heap > 0) this.#add(of, "heap MB", heap / 1e6);
  }

  #heapOf(pid: number): number {
    const { heaps } = this.#options;
    let bytes = 0;
    for (const name of fs.readdirSync(heaps)) {
      if (!name.startsWith(`${pid}-`) || name.endsWith(".new")) continue;
      const told = JSON.parse(fs.readFileSync(path.join(heaps, name), "utf8")) as {
        readonly heapUsed: number;
        readonly external: number;
      };
      bytes += told.heapUsed + told.external;
    }
    return bytes;
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
