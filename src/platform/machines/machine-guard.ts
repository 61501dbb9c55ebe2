/**
 * Stops a host's machines when their time is over and the host process has not said that they have
 * more: it may be dead, or standing still itself. A shell of its own, because it must outlive the
 * process and cost next to nothing while it does nothing. Time is the machine's own, in hundredths
 * of a second since its start (/proc/uptime), which goes on while a process stands still.
 *
 * A machine is stopped with SIGSTOP: whoever comes next decides whether it goes on or ends. Where
 * the folder is gone nobody will come, and it is ended.
 */
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { identityOfProcess, isProcessIdentity, isSameProcess } from "../process-identity.ts";
import type { ProcessIdentity } from "../process-identity.ts";
import { writeWhole } from "../whole-file.ts";

/** A deadline is written anew when it is later by so much. */
const STEP_HUNDREDTHS = 50;
const ROUNDING_HUNDREDTHS = 2;

/**
 * $1 is the folder with `until` (hundredths) and `machines` (a line for each: process id, start
 * time). Ends when none of them lives any more.
 */
const SCRIPT = `
cd "$1" || exit 1
started() {
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  stat=\${stat##*) }
  set -- $stat
  [ "$1" != Z ] && echo "\${20}"
}
while :; do
  alive=0
  read -r up rest < /proc/uptime
  up=\${up%.*}\${up#*.}
  signal=STOP
  # A folder that is gone will never be asked about again.
  [ -e machines ] && list=$(cat machines) || signal=KILL
  until=0
  [ -e until ] && read -r until < until
  while read -r pid ticks; do
    [ "$(started "$pid")" = "$ticks" ] || continue
    alive=1
    [ $signal = STOP ] && [ "$up" -lt "$until" ] || kill -$signal "$pid"
  done <<END
$list
END
  [ $alive = 1 ] || exit 0
  sleep 0.2
done
`;

export class MachineGuard {
  readonly #folder: string;
  #process: ProcessIdentity | undefined;
  #machines: readonly ProcessIdentity[] = [];
  #untilHundredths = 0;

  /** The folder is made. */
  constructor(folder: string) {
    this.#folder = folder;
    fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
    this.#process = this.#read();
  }

  /** From now on these, and no others, are stopped when their time is over. */
  watch(machines: readonly ProcessIdentity[]): void {
    const lines = machines.map(({ pid, startTicks }) => `${pid} ${startTicks}\n`);
    this.#write("machines", lines.join(""));
    this.#machines = machines;
    if (machines.length > 0) this.#ensureRuns();
  }

  /**
   * They may execute for so long from now on, unless this is called again. A guard that was ended
   * while machines live is started again.
   */
  allow(ms: number): void {
    if (!this.#isRunning() && this.#machines.some(isSameProcess)) this.#ensureRuns();
    const until = Math.floor(uptimeHundredths() + ms / 10);
    const isLittle = until < this.#untilHundredths + STEP_HUNDREDTHS;
    if (isLittle && until >= this.#untilHundredths - ROUNDING_HUNDREDTHS) return;
    this.#untilHundredths = until;
    this.#write("until", `${until}\n`);
  }

  #ensureRuns(): void {
    if (this.#isRunning()) return;
    const child = spawn("/bin/sh", ["-c", SCRIPT, "drystone-guard", this.#folder], {
      detached: true,
      stdio: "ignore",
    });
    child.unref();
    child.once("error", () => undefined);
    if (child.pid === undefined) return;
    this.#process = identityOfProcess(child.pid);
    writeWhole(path.join(this.#folder, "process.json"), JSON.stringify(this.#process));
  }

  #isRunning(): boolean {
    return this.#process !== undefined && isSameProcess(this.#process);
  }

  /** Undefined if there is none, or what there is of it is damaged: two guards do no harm. */
  #read(): ProcessIdentity | undefined {
    try {
      const text = fs.readFileSync(path.join(this.#folder, "process.json"), "utf8");
      const stored: unknown = JSON.parse(text);
      return isProcessIdentity(stored) ? stored : undefined;
    } catch {
      return undefined;
    }
  }

  /** The guard reads while this writes: a file is the old one or the new one. */
  #write(name: string, text: string): void {
    const file = path.join(this.#folder, name);
    fs.writeFileSync(`${file}.new`, text, { mode: 0o600 });
    fs.renameSync(`${file}.new`, file);
  }
}

function uptimeHundredths(): number {
  return Math.floor(Number(fs.readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 100);
}
