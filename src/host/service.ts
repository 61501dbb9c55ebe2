/**
 * A host as a service of systemd (`Type=notify`): it says when it is ready and when it stops, and
 * for as long as its data plane answers that it lives, so that a host that hangs is started anew.
 */
import { errorText } from "../base/index.ts";
import { ServiceNotifier } from "../platform/index.ts";
import type { Log } from "../ports/index.ts";

export interface ServiceWorld {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly pid: number;
  readonly log: Log;
}

export interface Service {
  /** `isAlive` resolves while the host works. */
  ready(status: string, isAlive: () => Promise<void>): void;
  stopping(): void;
}

const NOBODY: Service = { ready: () => {}, stopping: () => {} };

/** Does nothing where nobody wants to be told. */
export function openService({ environment, pid, log }: ServiceWorld): Service {
  const path = environment["NOTIFY_SOCKET"];
  if (path === undefined || path === "") return NOBODY;
  const notifier = ServiceNotifier.open(path);
  const send = (text: string): void => {
    try {
      notifier.send(text);
    } catch (error) {
      log.write("warning", "systemd was not told", { text, error: errorText(error) });
    }
  };
  let timer: NodeJS.Timeout | undefined;
  return {
    ready: (status, isAlive) => {
      send(`READY=1\nSTATUS=${status}`);
      const limitMs = watchdogMs(environment, pid);
      if (limitMs === undefined) return;
      let isAsking = false;
      timer = setInterval(() => {
        // One that is not answered is not asked again: silence is what systemd acts on.
        if (isAsking) return;
        isAsking = true;
        isAlive().then(
          () => {
            isAsking = false;
            send("WATCHDOG=1");
          },
          (error: unknown) => {
            isAsking = false;
            log.write("error", "the data plane does not answer", { error: errorText(error) });
          },
        );
      }, limitMs / 3);
      timer.unref();
    },
    stopping: () => {
      clearInterval(timer);
      send("STOPPING=1");
    },
  };
}

/** Undefined if systemd does not watch this process. */
function watchdogMs(environment: ServiceWorld["environment"], pid: number): number | undefined {
  const micros = Number(environment["WATCHDOG_USEC"] ?? "");
  const watched = environment["WATCHDOG_PID"];
  if (watched !== undefined && watched !== String(pid)) return undefined;
  return Number.isFinite(micros) && micros >= 3000 ? micros / 1000 : undefined;
}
