/** Latencies of a long run, window by window, and how those of its end compare with its begin. */
export const LATENCY_KINDS = ["read", "write", "yardstick"] as const;
export type LatencyKind = (typeof LATENCY_KINDS)[number];

export interface Quantiles {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Drift {
  readonly kind: LatencyKind;
  readonly first: Quantiles;
  readonly last: Quantiles;
}

/** Bounds of buckets are this far apart: one knows a latency to within 9 %. */
const BUCKETS_PER_DOUBLING = 8;
const BUCKETS = 32 * BUCKETS_PER_DOUBLING;
const MICROSECOND_MS = 0.001;

type Buckets = Uint32Array;

export class Latencies {
  readonly #windowSeconds: number;
  readonly #windows = new Map<LatencyKind, Buckets[]>();

  constructor(windowSeconds: number) {
    this.#windowSeconds = windowSeconds;
    for (const kind of LATENCY_KINDS) this.#windows.set(kind, []);
  }

  add(kind: LatencyKind, atSeconds: number, ms: number): void {
    const windows = this.#windows.get(kind) ?? [];
    const index = Math.floor(atSeconds / this.#windowSeconds);
    while (windows.length <= index) windows.push(new Uint32Array(BUCKETS));
    const doublings = Math.log2(Math.max(MICROSECOND_MS, ms) / MICROSECOND_MS);
    windows[index]![Math.min(BUCKETS - 1, Math.floor(doublings * BUCKETS_PER_DOUBLING))]!++;
  }

  /** The first and the last quarter of the windows; undefined while one of them has nothing. */
  drift(kind: LatencyKind): Drift | undefined {
    const windows = this.#windows.get(kind) ?? [];
    const quarter = Math.ceil(windows.length / 4);
    const first = quantiles(windows.slice(0, quarter));
    const last = quantiles(windows.slice(-quarter));
    return first === undefined || last === undefined ? undefined : { kind, first, last };
  }
}

function quantiles(windows: readonly Buckets[]): Quantiles | undefined {
  const all = new Uint32Array(BUCKETS);
  for (const window of windows) for (let i = 0; i < BUCKETS; i++) all[i]! += window[i]!;
  const count = all.reduce((sum, one) => sum + one, 0);
  if (count === 0) return undefined;
  return { count, p50Ms: quantile(all, count, 0.5), p99Ms: quantile(all, count, 0.99) };
}

function quantile(buckets: Buckets, count: number, share: number): number {
  let before = 0;
  let index = 0;
  for (; index < BUCKETS - 1; index++) {
    before += buckets[index]!;
    if (before >= share * count) break;
  }
  return MICROSECOND_MS * 2 ** ((index + 0.5) / BUCKETS_PER_DOUBLING);
}
