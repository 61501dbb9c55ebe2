import { errorText } from "../base/index.ts";
import type { Log } from "../ports/index.ts";

/**
 * The worker's own devices are not this thread's to close, so a hanging disk cannot hang the stop.
 */
const CLOSE_MS_MAX = 30_000;

/** What was opened, to be closed in the opposite order, each within a bound. */
export class Closers {
  readonly #log: Log;
  readonly #all: { readonly name: string; readonly close: () => Promise<void> }[] = [];

  constructor(log: Log) {
    this.#log = log;
  }

  add(name: string, close: () => Promise<void>): void {
    this.#all.push({ name, close });
  }

  async closeAll(): Promise<boolean> {
    let isClean = true;
    for (const { name, close } of this.#all.splice(0).toReversed()) {
      try {
        await within(CLOSE_MS_MAX, close());
      } catch (error) {
        isClean = false;
        this.#log.write("error", `closing failed: ${name}`, { error: errorText(error) });
      }
    }
    return isClean;
  }
}

async function within(limitMs: number, task: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${limitMs} ms`)), limitMs);
  });
  try {
    await Promise.race([task, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
