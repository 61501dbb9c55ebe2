/** How long things took, in buckets: all histograms of latency have the same bounds. */

/** Upper bounds of the buckets, in milliseconds; beyond the last one there is one bucket more. */
export const LATENCY_BOUNDS_MS = [
  0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000,
] as const;

export interface LatencyView {
  /** How many took at most as long as the bound; the last one: longer. */
  readonly buckets: readonly number[];
  readonly totalMs: number;
}

export class LatencyHistogram {
  readonly buckets: Float64Array = new Float64Array(LATENCY_BOUNDS_MS.length + 1);
  totalMs = 0;

  add(ms: number): void {
    let bucket = 0;
    while (bucket < LATENCY_BOUNDS_MS.length && ms > LATENCY_BOUNDS_MS[bucket]!) bucket++;
    this.buckets[bucket]!++;
    this.totalMs += ms;
  }

  /** As numbers that can be sent and stored. */
  view(): LatencyView {
    return { buckets: [...this.buckets], totalMs: this.totalMs };
  }
}
