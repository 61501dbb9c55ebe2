/**
 * Who uses the volumes of this host comes before what is copied. Now and then copying stops for a
 * moment, which tells how long requests take without it; then it goes on as fast as the slowest
 * hundredth of the requests still takes at most half as long again. Of few requests the slowest one
 * is slow or not by chance: more of them are looked at, or chance would hold up all copying. Where
 * nobody asks for anything, nothing is held back.
 */
import { assert } from "../base/index.ts";
import type { ResyncPace } from "../object/index.ts";
import type { Clock } from "../ports/index.ts";

/** Answered requests since the start, by how long they took. */
export interface Latencies {
  /** Upper bounds of the buckets; the last bucket has none. */
  readonly boundsMs: readonly number[];
  readonly buckets: readonly number[];
}

export interface ResyncPaceWorld {
  readonly clock: Clock;
  readonly latencies: () => Latencies;
}

const WINDOW_MS = 250;
/** How long copying stops to see how it is without, after what was under way is over. */
const SETTLE_MS = 100;
const QUIET_MS = 300;
const QUIET_EVERY_MS = 15_000;
/** Fewer requests in a window say nothing about the slow ones. */
const REQUESTS_MIN = 20;
const SLOW_SHARE = 0.01;
/** How many of a window are called slow at least. */
const SLOW_REQUESTS_MIN = 4;
const SLOWER_MAX = 1.5;
/** Copying never comes to a standstill. */
const RATE_MIN = 256;
const RATE_FIRST = 16_384;
/** 2 GiB a second: from more than that the way back would be long. */
const RATE_MAX = 524_288;
/** Blocks that one batch has at most while somebody uses the host's volumes. */
const BLOCKS_MAX = 256;
const FASTER = 1.25;
const SLOWER = 0.6;
assert(QUIET_EVERY_MS > 10 * QUIET_MS, "copying stops for a small part of the time");

export class AdaptivePace implements ResyncPace {
  readonly #world: ResyncPaceWorld;
  /** Blocks per second; undefined: as fast as it goes. */
  #rate: number | undefined;
  /** While nothing was copied. */
  #quietLatencies: Latencies | undefined;
  #quietAtMs = -Infinity;
  #quiet: Promise<void> | undefined;
  #windowMs = -Infinity;
  #window: Latencies | undefined;
  /** When the next batch may begin. */
  #nextMs = 0;

  constructor(world: ResyncPaceWorld) {
    this.#world = world;
  }

  /** Blocks per second that are copied at most; undefined: as many as it goes. */
  get rate(): number | undefined {
    return this.#rate;
  }

  async turn(blocks: number): Promise<number> {
    await this.#quiet;
    this.#judge();
    if (this.#rate === undefined) return blocks;
    const { clock } = this.#world;
    if (clock.nowMs() - this.#quietAtMs > QUIET_EVERY_MS) {
      this.#quiet = this.#listen().finally(() => {
        this.#quiet = undefined;
      });
      await this.#quiet;
    }
    const count = Math.min(blocks, BLOCKS_MAX);
    const nowMs = clock.nowMs();
    const startMs = Math.max(nowMs, this.#nextMs);
    this.#nextMs = startMs + (1000 * count) / this.#rate;
    if (startMs > nowMs) await this.#pass(startMs - nowMs);
    return count;
  }

  /** How long requests take while nothing is copied. */
  async #listen(): Promise<void> {
    await this.#pass(SETTLE_MS);
    const before = this.#world.latencies();
    await this.#pass(QUIET_MS);
    const now = this.#world.latencies();
    const since = difference(now, before);
    const { clock } = this.#world;
    this.#quietAtMs = clock.nowMs();
    if (countOf(since) >= REQUESTS_MIN) this.#quietLatencies = since;
    this.#window = now;
    this.#windowMs = clock.nowMs();
    this.#nextMs = clock.nowMs();
  }

  /** Looks at the requests of the last moments. */
  #judge(): void {
    const { clock, latencies } = this.#world;
    const nowMs = clock.nowMs();
    if (nowMs - this.#windowMs < WINDOW_MS) return;
    const isFresh = nowMs - this.#windowMs < QUIET_EVERY_MS;
    const now = latencies();
    const since = this.#window === undefined ? undefined : difference(now, this.#window);
    this.#window = now;
    this.#windowMs = nowMs;
    // The first window of all, or the first one after a long time, says nothing of today.
    if (since === undefined || !isFresh) return;
    const count = countOf(since);
    if (count === 0) {
      this.#rate = undefined;
      return;
    }
    if (this.#rate === undefined) {
      if (count >= REQUESTS_MIN) this.#rate = RATE_FIRST;
      return;
    }
    const quiet = this.#quietLatencies;
    if (count < REQUESTS_MIN || quiet === undefined) return;
    const share = Math.max(SLOW_SHARE, SLOW_REQUESTS_MIN / Math.min(count, countOf(quiet)));
    const isSlow = slowest(since, share) > SLOWER_MAX * slowest(quiet, share);
    const rate = this.#rate * (isSlow ? SLOWER : FASTER);
    this.#rate = Math.min(Math.max(RATE_MIN, rate), RATE_MAX);
  }

  #pass(ms: number): Promise<void> {
    return new Promise((resolve) => void this.#world.clock.after(ms, resolve));
  }
}

function difference(now: Latencies, before: Latencies): Latencies {
  // A volume that was detached takes its counts with it.
  const buckets = now.buckets.map((count, i) => Math.max(0, count - (before.buckets[i] ?? 0)));
  return { boundsMs: now.boundsMs, buckets };
}

function countOf({ buckets }: Latencies): number {
  return buckets.reduce((sum, count) => sum + count, 0);
}

/** What all but this share do not exceed; within a bucket they are taken to be spread evenly. */
function slowest(latencies: Latencies, share: number): number {
  const { buckets, boundsMs } = latencies;
  let rest = (1 - share) * countOf(latencies);
  for (const [i, count] of buckets.entries()) {
    const fromMs = i === 0 ? 0 : boundsMs[i - 1]!;
    const toMs = boundsMs[i] ?? 2 * fromMs;
    if (count >= rest && count > 0) return fromMs + ((toMs - fromMs) * rest) / count;
    rest -= count;
  }
  return boundsMs.at(-1) ?? 0;
}
