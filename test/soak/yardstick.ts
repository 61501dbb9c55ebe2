/**
 * How fast the machine itself is meanwhile: a small durable write to the same file system, again
 * and again. A drift of latencies that this shows, too, is none of the product's.
 */
import * as fs from "node:fs/promises";
import * as path from "node:path";

const EVERY_MS = 1000;
const BYTES = 4096;

export class Yardstick {
  readonly #timer: NodeJS.Timeout;
  #isBusy = false;

  constructor(folder: string, measured: (ms: number) => void) {
    const file = path.join(folder, "yardstick");
    const look = async (): Promise<void> => {
      if (this.#isBusy) return;
      this.#isBusy = true;
      const begun = performance.now();
      const handle = await fs.open(file, "w");
      try {
        await handle.write(Buffer.alloc(BYTES, 1));
        await handle.sync();
      } finally {
        await handle.close();
        this.#isBusy = false;
      }
      measured(performance.now() - begun);
    };
    this.#timer = setInterval(() => void look(), EVERY_MS);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
