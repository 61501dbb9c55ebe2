/**
 * How fast components were made anew lately, all that were under way together: that is what tells
 * how long others will take, since they share devices, links and processors.
 */
import type { ResyncState } from "../object/index.ts";

/** What is smaller is over before it has a speed. */
const TIMED_BYTES_MIN = 2 ** 20;

export class RebuildSpeed {
  /** From the beginning of the first to the end of the last that overlapped. */
  #fromMs = 0;
  #toMs = -Infinity;
  #bytes = 0;

  /** A component is done, just now. */
  made({ bytesNeeded, elapsedMs }: ResyncState, nowMs: number): void {
    if (bytesNeeded < TIMED_BYTES_MIN || elapsedMs <= 0) return;
    const beganMs = nowMs - elapsedMs;
    const isAlone = beganMs >= this.#toMs;
    this.#fromMs = isAlone ? beganMs : Math.min(this.#fromMs, beganMs);
    this.#bytes = isAlone ? bytesNeeded : this.#bytes + bytesNeeded;
    this.#toMs = nowMs;
  }

  /** Undefined as long as none of any size was made. */
  get bytesPerSecond(): number | undefined {
    if (this.#bytes === 0) return undefined;
    return this.#bytes / ((this.#toMs - this.#fromMs) / 1000);
  }
}
