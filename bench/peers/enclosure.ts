/**
 * A benchmark in namespaces of its own. Its network has the loopback interface and nothing else:
 * whatever address a peer's daemon listens at, nobody outside reaches it, and the counters of that
 * interface are the bytes of this benchmark alone. Its processes end with it, also those that left
 * their parents, and what is mounted is gone then.
 */
import { execFileSync, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import { processTree } from "../../test/e2e/process.ts";

/** Where data is kept; gone afterwards. */
export interface Scratch {
  readonly disk: string;
  /** What is kept in memory only, unless one folder was given for everything. */
  readonly memory: string;
}

/** An address of the enclosure's own, for who refuses to serve at 127.0.0.1. */
export const ENCLOSED_ADDRESS = "10.77.0.1";
const MEMORY = "/dev/shm";
const VARIABLE = "DRYSTONE_BENCH_ENCLOSED";
const RESULT = "result.json";
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const START = [
  "ip link set lo up",
  `ip address add ${ENCLOSED_ADDRESS}/32 dev lo`,
  "mount -t tmpfs none /run",
  `mount -t tmpfs -o size=90% none ${MEMORY}`,
  // Its process is the first one of the namespace: it waits for the orphans of daemons too.
  '"$@"; exit $?',
].join(" && ");

/** The folders, if this process is in an enclosure. */
export function enclosedScratch(): Scratch | undefined {
  const text = process.env[VARIABLE];
  return text === undefined ? undefined : (JSON.parse(text) as Scratch);
}

/** What the process outside is to get. */
export function handOut(scratch: Scratch, result: object): void {
  fs.writeFileSync(path.join(scratch.disk, RESULT), JSON.stringify(result));
}

/** Runs this program again, enclosed, and returns what it handed out. */
export async function runEnclosed<T>(
  args: readonly string[],
  folder: string | undefined,
): Promise<T> {
  needPrograms();
  const disk = fs.mkdtempSync(path.join(folder ?? "/var/tmp", "drystone-bench-"));
  const scratch = { disk, memory: folder === undefined ? MEMORY : disk };
  try {
    await untilEnded(start(args, scratch));
    return JSON.parse(fs.readFileSync(path.join(scratch.disk, RESULT), "utf8")) as T;
  } finally {
    fs.rmSync(disk, { recursive: true });
  }
}

function needPrograms(): void {
  for (const program of ["ip", "unshare", "setpriv", "fio", "nbdcopy"]) {
    try {
      execFileSync(program, ["--version"], { stdio: "pipe" });
    } catch (error) {
      // Of iproute2, which knows no such option.
      if (error instanceof Error && "status" in error && error.status !== null) continue;
      throw new Error(
        `${program} is missing; as root: apt-get install iproute2 util-linux fio libnbd-bin`,
        { cause: error },
      );
    }
  }
}

function start(args: readonly string[], scratch: Scratch): ChildProcess {
  const asRoot = process.getuid?.() === 0 ? [] : ["--map-root-user"];
  const namespaces = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];
  const main = fileURLToPath(new URL("../main.js", import.meta.url));
  return spawn(
    "setpriv",
    [
      ...["--pdeathsig", "KILL", "unshare", ...asRoot, ...namespaces],
      ...["sh", "-c", START, "sh", process.execPath, main, ...args],
    ],
    {
      // A key that interrupts comes to this process, which then ends the others.
      detached: true,
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, [VARIABLE]: JSON.stringify(scratch) },
    },
  );
}

async function untilEnded(child: ChildProcess): Promise<void> {
  let interrupted: NodeJS.Signals | undefined;
  const interrupt = (signal: NodeJS.Signals): void => {
    interrupted = signal;
    endAll(child);
  };
  for (const signal of SIGNALS) process.on(signal, interrupt);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject).once("exit", resolve);
    });
    if (interrupted !== undefined)
      throw new Error(`ended by ${interrupted}; nothing is left of it`);
    if (code !== 0) throw new Error("it failed: see above");
  } finally {
    for (const signal of SIGNALS) process.off(signal, interrupt);
  }
}

/** The kernel ends every process of a namespace with its first one, and unshare waits for that. */
function endAll(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null) return;
  const [unshare, first] = processTree(child.pid);
  process.kill(first ?? unshare!, "SIGKILL");
}
