/** Which process: ids are used again, so one counts only with the time at which it started. */
import * as fs from "node:fs";

export interface ProcessIdentity {
  readonly pid: number;
  /** In ticks since the machine started, as text. */
  readonly startTicks: string;
}

interface ProcessStat {
  readonly state: string;
  readonly startTicks: string;
}

/** With `startTicks` empty if it has ended already: then it is the same as none. */
export function identityOfProcess(pid: number): ProcessIdentity {
  return { pid, startTicks: statOf(pid)?.startTicks ?? "" };
}

export function isSameProcess({ pid, startTicks }: ProcessIdentity): boolean {
  return statOf(pid)?.startTicks === startTicks;
}

/** By SIGSTOP. */
export function isStopped({ pid, startTicks }: ProcessIdentity): boolean {
  const stat = statOf(pid);
  return stat?.startTicks === startTicks && stat.state === "T";
}

/** Whether it is one, wherever it was read. */
export function isProcessIdentity(value: unknown): value is ProcessIdentity {
  if (typeof value !== "object" || value === null) return false;
  const { pid, startTicks } = value as Partial<Record<keyof ProcessIdentity, unknown>>;
  // Of other numbers `kill` makes all processes, or a group of them.
  return Number.isSafeInteger(pid) && Number(pid) > 0 && typeof startTicks === "string";
}

/** The one that has the argument; undefined if there is none. */
export function processWithArgument(argument: string): ProcessIdentity | undefined {
  const pid = fs
    .readdirSync("/proc")
    .map(Number)
    .find((id) => Number.isSafeInteger(id) && argumentsOf(id).includes(argument));
  return pid === undefined ? undefined : identityOfProcess(pid);
}

/** None of one that has ended. */
function argumentsOf(pid: number): string[] {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}

/** Undefined if there is none. */
function statOf(pid: number): ProcessStat | undefined {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    const [state = "", ...rest] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // A zombie has ended; only its parent has not looked yet.
    return state === "Z" ? undefined : { state, startTicks: rest[18] ?? "" };
  } catch {
    return undefined;
  }
}
