/**
 * How often the host's process has ended while it opened a device. A disk that dies can end it (so
 * does the kernel where a mapped page cannot be read), and so can a bug that what is on the device
 * brings about. After some times the host is to start without that device, or it would end again
 * and again, and its other devices with it.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { CodedError, errorText } from "../../base/index.ts";
import type { Log } from "../../ports/index.ts";
import { writeDurably } from "../durable-file.ts";
import { systemErrorCode } from "../system-error.ts";

const NAME = "device-openings.json";
const ENDS_MAX = 3;

export class OpeningCounts {
  readonly #folder: string;
  readonly #log: Log;
  readonly #ends: Map<string, number>;

  /** Kept in `folder`. */
  constructor(folder: string, log: Log) {
    this.#folder = folder;
    this.#log = log;
    this.#ends = this.#read();
  }

  /**
   * Fails as `open` does, or with `device-ends-host`: then the next start tries it again, since
   * somebody may have mended it.
   */
  async during<T>(path: string, open: () => Promise<T>): Promise<T> {
    const ends = this.#ends.get(path) ?? 0;
    if (ends >= ENDS_MAX) {
      this.#set(path, 0);
      throw new CodedError({
        code: "device-ends-host",
        message: `the host's process has ended ${ends} times while it opened ${path}`,
        hint: "Look for the cause in the host's log and in dmesg; the next start tries it again",
        details: { path, ends },
      });
    }
    this.#set(path, ends + 1);
    try {
      return await open();
    } finally {
      this.#set(path, 0);
    }
  }

  #read(): Map<string, number> {
    try {
      const stored: unknown = JSON.parse(readFileSync(join(this.#folder, NAME), "utf8"));
      const counts = Object.entries(stored ?? {}).filter((one) => Number.isSafeInteger(one[1]));
      return new Map(counts as [string, number][]);
    } catch (error) {
      if (systemErrorCode(error) !== "ENOENT") this.#warn("read", error);
      return new Map();
    }
  }

  #set(path: string, ends: number): void {
    if (ends === 0) this.#ends.delete(path);
    else this.#ends.set(path, ends);
    try {
      const text = `${JSON.stringify(Object.fromEntries(this.#ends))}\n`;
      writeDurably(this.#folder, NAME, text);
    } catch (error) {
      // A start has to work where there is no room, too.
      this.#warn("written", error);
    }
  }

  #warn(what: string, error: unknown): void {
    const message = `how often devices have ended the host cannot be ${what}`;
    this.#log.write("warning", message, { error: errorText(error) });
  }
}
