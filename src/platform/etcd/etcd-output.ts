/** What an etcd process says, for our log: one JSON object per line in its own words. */
import type { Log, LogFields, LogLevel } from "../../ports/index.ts";

const LINE_LENGTH_MAX = 8192;
const FIELD_LENGTH_MAX = 500;
const LAST_WORDS_MAX = 5;

/**
 * What etcd is glad of is of interest to those who look for something; errors are for everybody.
 */
const LEVELS: Readonly<Record<string, LogLevel>> = {
  debug: "debug",
  info: "debug",
  warn: "warning",
  error: "error",
  dpanic: "error",
  panic: "error",
  fatal: "error",
};

export class EtcdOutput {
  readonly #member: string;
  readonly #log: Log | undefined;
  readonly #lastWords: string[] = [];

  constructor(member: string, log: Log | undefined) {
    this.#member = member;
    this.#log = log;
  }

  /** The latest warnings and errors. */
  get lastWords(): string {
    return this.#lastWords.join(" | ");
  }

  follow(stream: NodeJS.ReadableStream): void {
    let rest = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => {
      const lines = (rest + chunk).split("\n");
      rest = (lines.pop() ?? "").slice(0, LINE_LENGTH_MAX);
      for (const line of lines) this.#take(line.slice(0, LINE_LENGTH_MAX));
    });
    stream.on("end", () => this.#take(rest));
  }

  #take(line: string): void {
    if (line.trim() === "") return;
    const said = parse(line);
    const level = said.level;
    if (level === "warning" || level === "error") {
      this.#lastWords.push(said.text);
      if (this.#lastWords.length > LAST_WORDS_MAX) this.#lastWords.shift();
    }
    this.#log?.write(level, `etcd: ${said.message}`, { ...said.fields, member: this.#member });
  }
}

interface Said {
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
  /** The message with its cause, for errors. */
  readonly text: string;
}

function parse(line: string): Said {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    value = undefined;
  }
  // Complaints about arguments and panics of Go come as they are.
  if (typeof value !== "object" || value === null)
    return { level: "warning", message: line, fields: {}, text: line };
  const fields: Record<string, string | number | boolean> = {};
  let level: LogLevel = "warning";
  let message = "";
  for (const [name, field] of Object.entries(value) as [string, unknown][]) {
    const text = typeof field === "string" ? field : JSON.stringify(field);
    if (name === "level") level = LEVELS[text] ?? "warning";
    else if (name === "msg") message = text.slice(0, FIELD_LENGTH_MAX);
    else if (name !== "ts" && name !== "caller") fields[name] = text.slice(0, FIELD_LENGTH_MAX);
  }
  const cause = fields["error"];
  return { level, message, fields, text: cause === undefined ? message : `${message}: ${cause}` };
}
