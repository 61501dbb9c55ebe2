import type { Log, LogFields, LogLevel } from "../ports/index.ts";

const SEVERITY: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warning: 2, error: 3 };

export interface JsonLogOptions {
  /** The least severe level that is written. Default: info. */
  readonly level?: LogLevel;
  /** Fields of every line, such as the host's name. */
  readonly fields?: LogFields;
  /** Default: what `target.isTTY` says. */
  readonly format?: "json" | "text";
}

export interface LogTarget {
  readonly isTTY?: boolean;
  write(line: string): unknown;
}

/**
 * One JSON object per line for machines; one plain line for people where the target is a terminal.
 * Whatever a message or field holds, it stays on its line and sends no control characters.
 */
export class JsonLog implements Log {
  readonly #target: LogTarget;
  readonly #severityMin: number;
  readonly #fields: LogFields;
  readonly #format: (level: LogLevel, message: string, fields: LogFields) => string;

  constructor(target: LogTarget = process.stderr, options: JsonLogOptions = {}) {
    this.#target = target;
    this.#severityMin = SEVERITY[options.level ?? "info"];
    this.#fields = options.fields ?? {};
    const format = options.format ?? (target.isTTY === true ? "text" : "json");
    this.#format = format === "text" ? textLine : jsonLine;
  }

  write(level: LogLevel, message: string, fields: LogFields = {}): void {
    if (SEVERITY[level] < this.#severityMin) return;
    this.#target.write(this.#format(level, message, { ...this.#fields, ...fields }));
  }
}

function jsonLine(level: LogLevel, message: string, fields: LogFields): string {
  // Fields first: none may pose as the time, the level or the message.
  const time = new Date().toISOString();
  return `${JSON.stringify({ ...fields, time, level, message })}\n`;
}

function textLine(level: LogLevel, message: string, fields: LogFields): string {
  const time = new Date().toISOString().slice(11, 23);
  let line = `${time} ${level.padEnd(7)} ${printable(message)}`;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) line += `  ${name}=${fieldText(value)}`;
  }
  return `${line}\n`;
}

function fieldText(value: string | number | boolean): string {
  const text = printable(String(value));
  return text === "" || text.includes(" ") ? JSON.stringify(text) : text;
}

function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- They are what must not reach a terminal.
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]/g, (control) => {
    return `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}
