/**
 * How long a host may say nothing before its link is given up. A quiet network gets little time, so
 * that a pulled cable stalls writes for two seconds. One that loses packets is no reason to call
 * anybody dead: lost again and again, a packet holds up all behind it for seconds. So a link whose
 * messages come unevenly gets more, by how late they were of late, and one that has kept us waiting
 * several times gets most. A cable that is pulled again and again does
 * not count: what it holds up does not come late, it does not come.
 */
import { assert } from "../base/index.ts";

/** How often something is heard on a link at least: a ping at one end, its pong at the other. */
export const PING_MS = 500;
const SILENCE_MS = 2000;
const SILENCE_UNEVEN_MS = 4000;
const SILENCE_ROUGH_MS = 6000;
/** For each millisecond by which a message was late. */
const UNEVEN_FACTOR = 3;
/** Of a host that was heard less often nothing is known yet. */
const HEARD_MIN = 8;
/** Half of how long a late message is remembered at the most. */
const LATE_WITHIN_MS = 30_000;
/** More than a ping that is late by the half second that networks may take. */
const GAP_MS = 1050;
const GAPS = 3;
const GAPS_WITHIN_MS = 300_000;

assert(GAP_MS > 2 * PING_MS && GAP_MS < SILENCE_MS, "a gap is short of silence");
assert(SILENCE_MS >= 4 * PING_MS, "one ping that is lost is no silence");

export class Patience {
  /** When the last gaps ended, oldest first. */
  #gaps: number[] = [];
  /** The latest message of this stretch of time, and of the one before it. */
  #lateMs = 0;
  #lateBeforeMs = 0;
  #stretchEndMs = 0;
  #heardCount = 0;

  /** Something was heard after so long. */
  heard(nowMs: number, afterMs: number): void {
    this.#heardCount++;
    if (afterMs >= GAP_MS) this.#noteGap(nowMs);
    if (nowMs >= this.#stretchEndMs) {
      this.#lateBeforeMs = nowMs < this.#stretchEndMs + LATE_WITHIN_MS ? this.#lateMs : 0;
      this.#lateMs = 0;
      this.#stretchEndMs = nowMs + LATE_WITHIN_MS;
    }
    this.#lateMs = Math.max(this.#lateMs, afterMs - PING_MS);
  }

  /** The link was given up, and the host is there. */
  alarmedFalsely(nowMs: number): void {
    this.#noteGap(nowMs);
  }

  #noteGap(nowMs: number): void {
    this.#gaps.push(nowMs);
    if (this.#gaps.length > GAPS) this.#gaps.shift();
  }

  silenceMs(nowMs: number): number {
    const oldest = this.#gaps.length === GAPS ? this.#gaps[0] : undefined;
    const isRough = oldest !== undefined && nowMs - oldest < GAPS_WITHIN_MS;
    if (isRough) return SILENCE_ROUGH_MS;
    if (this.#heardCount < HEARD_MIN) return SILENCE_UNEVEN_MS;
    const lateMs = Math.max(this.#lateMs, this.#lateBeforeMs);
    return Math.min(SILENCE_UNEVEN_MS, SILENCE_MS + UNEVEN_FACTOR * lateMs);
  }
}
