/**
 * Who uses the volumes of this host comes before what is copied. Now and then copying stops for a
 * moment, which tells how long requests take without it; then it goes on as fast as the slowest
 * hundredth of the requests still takes at most half as long again. Of few requests the slowest one
 * is slow or not by chance: more of them are looked at, or chance would hold up all copying. Where
 * they come one by one, they are looked at for longer: a pace that nothing judges would stay what a
 * busy moment has made of it. If they stay slow however slowly it is copied, something else may be
 * the reason, and it is found out anew how long they take without copying. Where nobody asks for
 * anything, nothing is held back.
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

/** How often the requests are looked at, and how long at most until they are judged. */
const LOOK_MS = 250;
const WINDOW_MS_MAX = 2000;
/** When none was answered for this long, nobody asks for anything. */
const IDLE_MS = 500;
/** How long copying stops to see how it is without, after what was under way is over. */
const SETTLE_MS = 100;
const QUIET_MS = 300;
/** While few requests come. */
const QUIET_MS_MAX = 900;
const QUIET_EVERY_MS = 15_000;
/** After so many slow windows in a row it stops again, if the last time is that long ago. */
const SLOW_WINDOWS_MAX = 4;
const QUIET_AGAIN_MS = 3000;
/** Earlier moments without copying count, too, until they make up so many requests. */
const QUIET_REQUESTS = 80;
const QUIET_KEPT_MAX = 4;
/** Fewer requests are looked at for longer. */
const REQUESTS_MIN = 20;
const SLOW_SHARE = 0.01;
/** How many of a window are called slow at least. */
const SLOW_REQUESTS_MIN = 4;
/** Fewer requests without copying say nothing about those with it. */
const COMPARED_MIN = 2 * SLOW_REQUESTS_MIN;
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
/** Below this pace the way back would be long. */
const RATE_LOW = RATE_FIRST / 4;
const FASTER_LOW = 1.5;
assert(QUIET_EVERY_MS > 10 * (SETTLE_MS + QUIET_MS_MAX), "copying stops a small part of the time");

/** Windows that were slow, one after the other. */
interface SlowWindows {
  readonly count: number;
  /** Before the first one. */
  readonly rate: number;
  readonly last: Latencies;
}

export class AdaptivePace implements ResyncPace {
  readonly #world: ResyncPaceWorld;
  /** Blocks per second; undefined: as fast as it goes. */
  #rate: number | undefined;
  /** While nothing was copied, the newest first. */
  #quietWindows: readonly Latencies[] = [];
  #quietAtMs = -Infinity;
  #quiet: Promise<void> | undefined;
  #windowMs = -Infinity;
  #window: Latencies | undefined;
  #lookMs = -Infinity;
  #answered = 0;
  /** When it was last seen that a request had been answered. */
  #busyMs = -Infinity;
  #slow: SlowWindows | undefined;
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
    if (this.#isQuietDue) {
      this.#quiet ??= this.#listen().finally(() => {
        this.#quiet = undefined;
      });
      await this.#quiet;
    }
    const { clock } = this.#world;
    const perSecond = this.#rate;
    // At a slow pace, too, a batch is over before the next look.
    const count = Math.min(blocks, BLOCKS_MAX, Math.ceil((perSecond * LOOK_MS) / 1000));
    const nowMs = clock.nowMs();
    const startMs = Math.max(nowMs, this.#nextMs);
    this.#nextMs = startMs + (1000 * count) / perSecond;
    if (startMs > nowMs) await this.#pass(startMs - nowMs);
    return count;
  }

  get #isQuietDue(): boolean {
    const sinceMs = this.#world.clock.nowMs() - this.#quietAtMs;
    const isDoubted = this.#slow !== undefined && this.#slow.count >= SLOW_WINDOWS_MAX;
    return sinceMs > (isDoubted ? QUIET_AGAIN_MS : QUIET_EVERY_MS);
  }

  /** How long requests take while nothing is copied. */
  async #listen(): Promise<void> {
    await this.#pass(SETTLE_MS);
    const { clock, latencies } = this.#world;
    const before = latencies();
    const beganMs = clock.nowMs();
    let since: Latencies;
    do {
      await this.#pass(QUIET_MS);
      since = difference(latencies(), before);
    } while (countOf(since) < REQUESTS_MIN && clock.nowMs() - beganMs < QUIET_MS_MAX);
    this.#quietAtMs = clock.nowMs();
    this.#quietWindows = [since, ...this.#quietWindows.slice(0, QUIET_KEPT_MAX - 1)];
    this.#giveBack();
    this.#beginWindow(latencies());
    this.#nextMs = clock.nowMs();
  }

  /** What was slow is not slower than without copying: copying was not the reason. */
  #giveBack(): void {
    if (this.#slow === undefined || this.#isSlow(this.#slow.last) !== false) return;
    this.#rate = this.#slow.rate;
    this.#slow = undefined;
  }

  #beginWindow(now: Latencies): void {
    this.#window = now;
    this.#windowMs = this.#world.clock.nowMs();
  }

  /** What held copying up a long time ago need not do so now. */
  #beginAnew(): void {
    if (this.#rate !== undefined) this.#rate = RATE_FIRST;
    this.#slow = undefined;
    this.#quietWindows = [];
    this.#quietAtMs = -Infinity;
  }

  /** Looks at the requests of the last moments. */
  #judge(): void {
    const { clock, latencies } = this.#world;
    const nowMs = clock.nowMs();
    if (nowMs - this.#lookMs < LOOK_MS) return;
    const isFresh = nowMs - this.#lookMs < QUIET_EVERY_MS;
    this.#lookMs = nowMs;
    const now = latencies();
    const answered = countOf(now);
    if (answered !== this.#answered) this.#busyMs = nowMs;
    this.#answered = answered;
    // The first look of all, or the first one after a long time, says nothing of today.
    if (this.#window === undefined || !isFresh) {
      this.#busyMs = nowMs;
      this.#beginAnew();
      this.#beginWindow(now);
    } else if (nowMs - this.#busyMs >= IDLE_MS) {
      this.#rate = undefined;
      this.#slow = undefined;
      this.#beginWindow(now);
    } else {
      this.#judgeWindow(difference(now, this.#window), now);
    }
  }

  #judgeWindow(since: Latencies, now: Latencies): void {
    const isShort = countOf(since) < REQUESTS_MIN;
    if (isShort && this.#world.clock.nowMs() - this.#windowMs < WINDOW_MS_MAX) return;
    this.#beginWindow(now);
    if (this.#rate === undefined) {
      if (!isShort) this.#rate = RATE_FIRST;
      return;
    }
    const rate = this.#rate;
    const isSlow = this.#isSlow(since);
    if (isSlow === true) {
      this.#rate = Math.max(RATE_MIN, SLOWER * rate);
      const { count, rate: first } = this.#slow ?? { count: 0, rate };
      this.#slow = { count: count + 1, rate: first, last: since };
      return;
    }
    this.#slow = undefined;
    // Where nothing can be compared, nothing says that it may be faster than at first.
    const most = isSlow === false ? RATE_MAX : Math.max(rate, RATE_FIRST);
    this.#rate = Math.min(rate * (rate < RATE_LOW ? FASTER_LOW : FASTER), most);
  }

  /** Compared with how it is without copying; undefined if that cannot be told. */
  #isSlow(since: Latencies): boolean | undefined {
    const quiet = sumOf(this.#quietWindows, QUIET_REQUESTS);
    if (quiet === undefined || countOf(quiet) < COMPARED_MIN || countOf(since) === 0)
      return undefined;
    const few = SLOW_REQUESTS_MIN / Math.min(countOf(since), countOf(quiet));
    const share = Math.min(0.5, Math.max(SLOW_SHARE, few));
    return slowest(since, share) > SLOWER_MAX * slowest(quiet, share);
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

/** Of as many of them, from the first on, as make up so many requests. */
function sumOf(all: readonly Latencies[], requests: number): Latencies | undefined {
  let sum: Latencies | undefined;
  for (const one of all) {
    if (sum !== undefined && countOf(sum) >= requests) break;
    const { buckets } = sum ?? { buckets: [] };
    sum = {
      boundsMs: one.boundsMs,
      buckets: one.buckets.map((count, i) => count + (buckets[i] ?? 0)),
    };
  }
  return sum;
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
