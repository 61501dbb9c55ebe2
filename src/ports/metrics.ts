/**
 * Numbers about the running system. Names are Prometheus names with the prefix `drystone_`, base
 * units and suffix (`_total`, `_bytes`, `_seconds`). Handles are made once and kept: nothing is
 * looked up per event.
 */
export interface Metrics {
  counter(name: string, help: string, labels?: MetricLabels): Counter;
  gauge(name: string, help: string, labels?: MetricLabels): Gauge;
  /** `bounds` are the upper bounds of the buckets, ascending, without infinity. */
  histogram(
    name: string,
    help: string,
    bounds: readonly number[],
    labels?: MetricLabels,
  ): Histogram;
}

export type MetricLabels = Readonly<Record<string, string>>;

export interface Counter {
  add(amount: number): void;
}

export interface Gauge {
  set(value: number): void;
}

export interface Histogram {
  observe(value: number): void;
}
