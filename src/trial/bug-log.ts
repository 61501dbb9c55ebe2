/** A log in which a bug ends the trial that a host in use tells of and goes on after. */
import type { LogFields, LogLevel } from "../ports/index.ts";
import { SimLog } from "../sim/index.ts";

export class BugLog extends SimLog {
  override write(level: LogLevel, message: string, fields: LogFields = {}): void {
    super.write(level, message, fields);
    // Only of bugs it is told where they happened.
    if (fields["stack"] !== undefined) throw new Error(`${message}: ${String(fields["stack"])}`);
  }
}
