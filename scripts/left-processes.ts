/**
 * Processes that tests and benchmarks started and left behind: a file that is stopped at its limit
 * ends nothing itself, and its hosts and guests would slow down whatever runs next. They are known
 * by a variable that children inherit.
 */
import { readdirSync, readFileSync } from "node:fs";

const VARIABLE = "DRYSTONE_TEST_RUN";

export interface LeftProcess {
  readonly pid: number;
  readonly command: string;
}

function textOf(pid: string, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "utf8");
  } catch {
    // It ended meanwhile, or is another user's.
    return "";
  }
}

/** Marks every process that this one starts from now on. Returns the mark. */
export function markChildren(environment: NodeJS.ProcessEnv = process.env): string {
  const mark = `${VARIABLE}=${process.pid}.${Math.round(performance.timeOrigin)}`;
  environment[VARIABLE] = mark.slice(VARIABLE.length + 1);
  return mark;
}

/** Those that run and have `mark`. Linux only: elsewhere there are none to be found. */
export function processesWith(mark: string): LeftProcess[] {
  let names: string[];
  try {
    names = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  } catch {
    return [];
  }
  return names
    .filter((name) => Number(name) !== process.pid)
    .filter((name) => textOf(name, "environ").split("\0").includes(mark))
    .map((name) => ({
      pid: Number(name),
      command: textOf(name, "cmdline").split("\0").join(" ").trim(),
    }));
}

/** Ends them at once, and says which. */
export function endProcessesWith(mark: string): LeftProcess[] {
  const left = processesWith(mark);
  for (const { pid } of left) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
  return left;
}
