/** Ports of a server in tests: real time, real sockets, and a log that is kept. */
import type { Clock, Log, LogFields, LogLevel } from "../../src/ports/index.ts";
import type { NbdServerPorts } from "../../src/frontend/index.ts";
import { NodeNetwork } from "./node-network.ts";

export class KeptLog implements Log {
  readonly lines: { level: LogLevel; message: string; fields: LogFields | undefined }[] = [];

  write(level: LogLevel, message: string, fields?: LogFields): void {
    this.lines.push({ level, message, fields });
  }
}

export const realClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after(delayMs, callback) {
    const timer = setTimeout(callback, delayMs);
    timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

export function quietPorts(): NbdServerPorts & { readonly log: KeptLog } {
  return { network: new NodeNetwork(), clock: realClock, log: new KeptLog() };
}
