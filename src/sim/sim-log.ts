import type { Clock, Log, LogFields, LogLevel } from "../ports/index.ts";

export interface LogLine {
  readonly timeMs: number;
  readonly level: LogLevel;
  readonly message: string;
  readonly fields: LogFields;
}

/** Collects lines for tests to look at. */
export class SimLog implements Log {
  readonly lines: LogLine[] = [];
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  write(level: LogLevel, message: string, fields: LogFields = {}): void {
    this.lines.push({ timeMs: this.#clock.nowMs(), level, message, fields });
  }

  /** Lines of one level, or of all. */
  messages(level?: LogLevel): string[] {
    const lines = this.lines.filter((line) => level === undefined || line.level === level);
    return lines.map((line) => line.message);
  }
}
