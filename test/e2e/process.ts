/**
 * Processes of the end-to-end tests: started, watched by their output, and ended by their own id or
 * group, never by name. Every wait has a limit, and what a process said is in every error about it.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFileSync, readdirSync } from "node:fs";

const TRANSCRIPT_LINES_MAX = 20_000;
const TAIL_LINES = 30;

export interface RunOptions {
  readonly timeoutMs?: number;
  readonly input?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Exit codes that are no error; anything else throws. */
  readonly codes?: readonly number[];
}

export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a tool to its end. Throws, with its output, if it fails or outlives `timeoutMs` (60 s). */
export async function runTool(
  program: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const { timeoutMs = 60_000, input, codes = [0], env = process.env } = options;
  const child = spawn(program, [...args], { stdio: ["pipe", "pipe", "pipe"], env });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  // The tool may end before it has read its input; its exit code tells.
  child.stdin.on("error", () => undefined);
  child.stdin.end(input);
  const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
  const code = await exitCode(child).finally(() => clearTimeout(timer));
  const result = {
    code: code ?? -1,
    stdout: Buffer.concat(stdout).toString("utf8"),
    stderr: Buffer.concat(stderr).toString("utf8"),
  };
  if (code !== null && codes.includes(code)) return result;
  const how = code === null ? `was stopped after ${timeoutMs} ms` : `ended with ${code}`;
  throw new Error(`${program} ${args.join(" ")} ${how}\n${result.stderr}${result.stdout}`);
}

/** A program that runs beside the test, in a process group of its own. */
export class Program {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #watchers = new Set<() => void>();
  readonly ended: Promise<number | null>;
  #hasEnded = false;
  #linesDropped = 0;

  /** `environment` is laid over this process's. */
  constructor(
    name: string,
    program: string,
    args: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ) {
    this.name = name;
    this.#child = spawn(program, [...args], {
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment },
    });
    this.#collect(this.#child.stdout);
    this.#collect(this.#child.stderr);
    this.ended = exitCode(this.#child).finally(() => {
      this.#hasEnded = true;
      this.#wake();
    });
    this.ended.catch((error: unknown) => this.#append(String(error)));
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error(`${this.name} did not start`);
    return this.#child.pid;
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** The signal that ended it, if one did. */
  get signal(): NodeJS.Signals | null {
    return this.#child.signalCode;
  }

  get transcript(): readonly string[] {
    return this.#lines;
  }

  /** The first line from now or before that matches, no earlier than line number `from`. */
  async waitForLine(pattern: RegExp, timeoutMs = 60_000, from = 0): Promise<RegExpExecArray> {
    let at = from;
    let found: RegExpExecArray | null = null;
    await this.waitUntil(
      () => {
        for (; found === null && at < this.lineCount; at++) {
          found = pattern.exec(this.#lines[at - this.#linesDropped] ?? "");
        }
        return found !== null;
      },
      `a line like ${pattern.source}`,
      timeoutMs,
    );
    return found!;
  }

  get lineCount(): number {
    return this.#linesDropped + this.#lines.length;
  }

  /** Waits for a condition that only a new line of output or the end of the program can change. */
  async waitUntil(isDone: () => boolean, what: string, timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const finish = (error?: Error): void => {
        clearTimeout(timer);
        this.#watchers.delete(look);
        if (error === undefined) resolve();
        else reject(error);
      };
      const look = (): void => {
        if (isDone()) finish();
        else if (this.#hasEnded) finish(this.#complaint(`ended before ${what}`));
      };
      const timer = setTimeout(() => {
        finish(this.#complaint(`did not reach ${what} within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#watchers.add(look);
      look();
    });
  }

  /** Signals the whole group, so that children go with their parent, and waits for the end. */
  async end(signal: NodeJS.Signals = "SIGTERM", timeoutMs = 30_000): Promise<void> {
    if (this.#hasEnded || this.#child.pid === undefined) return;
    signalGroup(this.#child.pid, signal);
    const timer = setTimeout(() => signalGroup(this.pid, "SIGKILL"), timeoutMs);
    await this.ended.finally(() => clearTimeout(timer));
  }

  /** SIGKILL to the whole group: what a crash leaves behind. */
  async kill(): Promise<void> {
    await this.end("SIGKILL");
  }

  #collect(stream: NodeJS.ReadableStream | null): void {
    if (stream === null) return;
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      const lines = (rest + chunk).split(/\r?\n/);
      rest = lines.pop() ?? "";
      for (const line of lines) this.#append(line);
      this.#wake();
    });
    stream.on("end", () => {
      if (rest !== "") this.#append(rest);
      this.#wake();
    });
  }

  #append(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > TRANSCRIPT_LINES_MAX) {
      this.#lines.splice(0, TRANSCRIPT_LINES_MAX / 2);
      this.#linesDropped += TRANSCRIPT_LINES_MAX / 2;
    }
  }

  #wake(): void {
    for (const look of this.#watchers) look();
  }

  #complaint(text: string): Error {
    return new Error(
      `${this.name} ${text}; it last said:\n${this.#lines.slice(-TAIL_LINES).join("\n")}`,
    );
  }
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}

function exitCode(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code));
  });
}

export interface ProcessUsage {
  readonly cpuSeconds: number;
  /** Resident now, all of it, and the part that is not shared with files or other processes. */
  readonly residentBytes: number;
  readonly anonymousBytes: number;
  /** Resident of memory that has no file, the part that may be shared with others included. */
  readonly withoutFileBytes: number;
  readonly residentPeakBytes: number;
}

// The kernel reports times to user space in units of 1/100 s on every architecture we run on.
const TICKS_PER_SECOND = 100;

/** What a process used, all of its threads together (proc(5): stat, status). */
export function processUsage(pid: number): ProcessUsage {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const kib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0) * 1024;
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
    residentBytes: kib("VmRSS"),
    anonymousBytes: kib("RssAnon"),
    withoutFileBytes: kib("RssAnon") + kib("RssShmem"),
    residentPeakBytes: kib("VmHWM"),
  };
}

/** All of its threads have been stopped by a signal. */
export function isStopped(pid: number): boolean {
  const threads = readdirSync(`/proc/${pid}/task`);
  return threads.every((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).startsWith("T");
  });
}

/** A process and everything below it that still runs. */
export function processTree(pid: number): number[] {
  const pids = [pid];
  for (let at = 0; at < pids.length; at++) {
    const tasks = `/proc/${pids[at]}/task`;
    for (const task of readdirSync(tasks)) {
      const children = readFileSync(`${tasks}/${task}/children`, "utf8").trim();
      if (children !== "") pids.push(...children.split(" ").map(Number));
    }
  }
  return pids;
}

/**
 * Ends virtual machines that have files in a folder. They outlive their hosts, and are told by
 * their command lines: the folder itself may be gone.
 */
export function endMachinesIn(folder: string): void {
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    let line: string;
    try {
      line = readFileSync(`/proc/${name}/cmdline`, "utf8");
    } catch {
      continue; // It has ended meanwhile.
    }
    const isMachine = line.startsWith("qemu-system-") && line.includes(`${folder}/`);
    if (isMachine) process.kill(Number(name), "SIGKILL");
  }
}

/** The sum over several processes. */
export function usageOf(pids: readonly number[]): ProcessUsage {
  const all = pids.map(processUsage);
  const sum = (pick: (usage: ProcessUsage) => number): number =>
    all.reduce((total, usage) => total + pick(usage), 0);
  return {
    cpuSeconds: sum((usage) => usage.cpuSeconds),
    residentBytes: sum((usage) => usage.residentBytes),
    anonymousBytes: sum((usage) => usage.anonymousBytes),
    withoutFileBytes: sum((usage) => usage.withoutFileBytes),
    residentPeakBytes: sum((usage) => usage.residentPeakBytes),
  };
}
