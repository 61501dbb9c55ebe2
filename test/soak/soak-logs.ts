/**
 * What the processes under test write to their logs meanwhile. What is called an error there is a
 * finding unless it is what a fault of the plan must bring about, and so is anything that is no
 * entry of a log, such as the trace of a crash. Warnings are counted by what they say.
 */
import * as fs from "node:fs";
import * as path from "node:path";

/** A device's metadata have a log of another kind. */
const LOGS: ReadonlySet<string> = new Set(["cluster.log", "host.log"]);
/** Faults of the plan: members that are killed, bits that were turned over. */
const EXPECTED = [/^etcd has ended and will be started again/, /\bdamaged\b/] as const;
/**
 * What the command itself says to whoever stops it: in the end the hosts hear of it as members of
 * the supervisor's process group, and from the supervisor, too.
 */
const SPOKEN = /^drystone: SIG[A-Z]+(?:: stopping| again: ending at once)/;
const MESSAGE_LENGTH_MAX = 160;
const CHUNK_BYTES = 1 << 20;

export interface LogsOptions {
  /** Of the cluster, with a folder for each host. */
  readonly folder: string;
  readonly found: (what: string) => void;
}

interface Followed {
  offset: number;
  rest: string;
}

export class SoakLogs {
  readonly #options: LogsOptions;
  readonly #files = new Map<string, Followed>();
  readonly #said = new Map<string, number>();

  constructor(options: LogsOptions) {
    this.#options = options;
  }

  /** How often each warning or error was written, numbers and ids left out. */
  get said(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#said].toSorted((a, b) => b[1] - a[1]));
  }

  /** Reads what has come since it was looked last. */
  look(): void {
    const { folder } = this.#options;
    for (const name of fs.readdirSync(folder, { recursive: true, encoding: "utf8" }))
      if (LOGS.has(path.basename(name))) this.#read(name);
  }

  #read(name: string): void {
    const followed = this.#files.get(name) ?? { offset: 0, rest: "" };
    this.#files.set(name, followed);
    const handle = fs.openSync(path.join(this.#options.folder, name), "r");
    try {
      const bytes = Buffer.alloc(CHUNK_BYTES);
      for (;;) {
        const count = fs.readSync(handle, bytes, 0, bytes.length, followed.offset);
        if (count === 0) return;
        followed.offset += count;
        const lines = (followed.rest + bytes.toString("latin1", 0, count)).split("\n");
        followed.rest = lines.pop() ?? "";
        for (const line of lines) this.#line(name, line);
      }
    } finally {
      fs.closeSync(handle);
    }
  }

  #line(name: string, line: string): void {
    const entry = entryOf(line);
    if (entry === undefined) {
      if (line !== "" && !SPOKEN.test(line))
        this.#options.found(`${name} has: ${line.slice(0, MESSAGE_LENGTH_MAX)}`);
      return;
    }
    const { level, message } = entry;
    if (level === "info" || level === "debug") return;
    const words = message.replaceAll(/\b[0-9a-f]{8,}\b/g, "ID").replaceAll(/\d+/g, "N");
    const what = `${level}: ${words.slice(0, MESSAGE_LENGTH_MAX)}`;
    this.#said.set(what, (this.#said.get(what) ?? 0) + 1);
    const isExpected = level === "warning" || EXPECTED.some((one) => one.test(message));
    if (!isExpected) this.#options.found(`${name} has an error: ${message} ${entry.why}`.trim());
  }
}

interface Entry {
  readonly level: string;
  readonly message: string;
  readonly why: string;
}

/** Undefined for what is no entry. */
function entryOf(line: string): Entry | undefined {
  if (!line.startsWith("{")) return undefined;
  let read: unknown;
  try {
    read = JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  const { level, message, error, cause } = read as Readonly<Record<string, unknown>>;
  if (typeof level !== "string" || typeof message !== "string") return undefined;
  const why = error ?? cause;
  return { level, message, why: typeof why === "string" ? `(${why})` : "" };
}
