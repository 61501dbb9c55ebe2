/**
 * How long a host may say nothing before its link is given up. A quiet network gets little time, so
 * that a pulled cable stalls writes for two seconds. One that loses packets is no reason to call
 * anybody dead: lost again and again, a packet holds up all behind it for seconds. So a link that
 * has kept us waiting several times of late gets more. A cable that is pulled again and again does
 * not count: what it holds up does not come late, it does not come.
 */
import { assert } from "../base/index.ts";

/** How often something is heard on a link at least: a ping at one end, its pong at the other. */
export const PING_MS = 500;
const SILENCE_MS = 2000;
const SILENCE_ROUGH_MS = 6000;
/** More than a ping that is late by the half second that networks may take. */
const GAP_MS = 1050;
const GAPS = 3;
const GAPS_WITHIN_MS = 300_000;

assert(GAP_MS > 2 * PING_MS && GAP_MS < SILENCE_MS, "a gap is short of silence");
assert(SILENCE_MS >= 4 * PING_MS, "one ping that is lost is no silence");

export class Patience {
  /** When the last gaps ended, oldest first. */
  #gaps: number[] = [];

  /** Something was heard after so long. */
  heard(nowMs: number, afterMs: number): void {
    if (afterMs >= GAP_MS) this.#noteGap(nowMs);
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
    return isRough ? SILENCE_ROUGH_MS : SILENCE_MS;
  }
}
