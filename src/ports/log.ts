/**
 * Structured log. Levels: error = something failed for a user; warning = something will; info =
 * changes.
 */
export type LogLevel = "debug" | "info" | "warning" | "error";

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Log {
  write(level: LogLevel, message: string, fields?: LogFields): void;
}
