/**
 * A host in the foreground until a signal. The first SIGTERM, SIGINT or SIGHUP stops it cleanly, a
 * second one at once: whatever was acknowledged is durable either way.
 */
import { CodedError } from "../base/index.ts";
import type { Log } from "../ports/index.ts";
import type { HostConfig } from "./host-config.ts";
import { HostProcess } from "./host-process.ts";

const STOP_SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
/** How long a process may live on whose parts could not all be closed. */
const LINGER_MS_MAX = 5000;
/** A terminal signals the whole process group, and a parent such as npm passes it on once more. */
const SAME_SIGNAL_MS = 500;

export interface Foreground {
  readonly config: HostConfig;
  readonly wipe: readonly string[];
  readonly log: Log;
  /** As `HostStart.cut`. */
  readonly cut?: readonly string[];
  /** Called once, when the host serves. */
  readonly ready: (host: HostProcess) => Promise<void>;
  /** Called when it is asked to stop. */
  readonly stopping?: () => void;
  /** For the user's eyes. */
  readonly message: (text: string) => void;
}

/** Resolves with the exit code. Fails as `HostProcess.start` does, or if the data worker dies. */
export async function runForeground(run: Foreground): Promise<number> {
  const { config, wipe, log } = run;
  const stopped = new AbortController();
  const stop = stopRequested(run.message).then(() => {
    stopped.abort();
    run.stopping?.();
  });
  let reportDeath: (error: CodedError) => void = () => undefined;
  const death = new Promise<never>((_resolve, reject) => {
    reportDeath = reject;
  });
  death.catch(() => undefined); // The races below see it.
  const starting = HostProcess.start({
    config,
    wipe,
    log,
    cut: run.cut,
    stopped: stopped.signal,
    onDeath: (error) => reportDeath(error),
  });
  const host = await Promise.race([starting, death]).catch((error: unknown) => {
    endSoon();
    if (error instanceof CodedError && error.code === "start-stopped") return undefined;
    throw error;
  });
  if (host === undefined) return 0;
  try {
    const serving = run.ready(host).then(() => stop);
    await Promise.race([serving, stop, death]);
  } catch (error) {
    await closeOrKill(host);
    throw error;
  }
  return (await closeOrKill(host)) ? 0 : 1;
}

async function closeOrKill(host: HostProcess): Promise<boolean> {
  const isClean = await host.close();
  if (!isClean) endSoon();
  return isClean;
}

/**
 * What could not be closed may keep the process alive for ever; what is acknowledged is durable.
 */
function endSoon(): void {
  setTimeout(() => process.kill(process.pid, "SIGKILL"), LINGER_MS_MAX).unref();
}

function stopRequested(message: (text: string) => void): Promise<void> {
  return new Promise((resolve) => {
    let firstMs: number | undefined;
    for (const signal of STOP_SIGNALS) {
      process.on(signal, () => {
        const nowMs = performance.now();
        if (firstMs !== undefined) {
          if (nowMs - firstMs < SAME_SIGNAL_MS) return;
          message(`${signal} again: ending at once`);
          // An orderly exit would wait for the other threads; what is acknowledged is durable.
          process.kill(process.pid, "SIGKILL");
        }
        firstMs = nowMs;
        message(`${signal}: stopping; once more ends at once`);
        resolve();
      });
    }
  });
}
