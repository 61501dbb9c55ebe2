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
