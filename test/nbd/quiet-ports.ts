/** Ports of a server in tests: real time, real sockets, and a log that is kept. */
import { NodeClock, StreamNetwork } from "../../src/platform/index.ts";
import type { Log, LogFields, LogLevel } from "../../src/ports/index.ts";
import type { NbdServerPorts } from "../../src/frontend/index.ts";

export class KeptLog implements Log {
  readonly lines: { level: LogLevel; message: string; fields: LogFields | undefined }[] = [];

  write(level: LogLevel, message: string, fields?: LogFields): void {
    this.lines.push({ level, message, fields });
  }
}

export function quietPorts(): NbdServerPorts & { readonly log: KeptLog } {
  return { network: new StreamNetwork(), clock: new NodeClock(), log: new KeptLog() };
}
