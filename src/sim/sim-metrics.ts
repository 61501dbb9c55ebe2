import { assert } from "../base/index.ts";
import type { Counter, Gauge, Histogram, MetricLabels, Metrics } from "../ports/index.ts";

/**
 * Keeps what was counted where a test can read it. The same name and labels give the same handle.
 */
export class SimMetrics implements Metrics {
  readonly #values = new Map<string, number>();
  readonly #observations = new Map<string, number[]>();

  counter(name: string, _help: string, labels?: MetricLabels): Counter {
    const key = keyOf(name, labels);
    this.#values.set(key, this.#values.get(key) ?? 0);
    return {
      add: (amount) => {
        assert(amount >= 0, `counter ${name} must not fall`);
        this.#values.set(key, this.value(name, labels) + amount);
      },
    };
  }

  gauge(name: string, _help: string, labels?: MetricLabels): Gauge {
    const key = keyOf(name, labels);
    this.#values.set(key, this.#values.get(key) ?? 0);
    return { set: (value) => void this.#values.set(key, value) };
  }

  histogram(
    name: string,
    _help: string,
    bounds: readonly number[],
    labels?: MetricLabels,
  ): Histogram {
    assert(
      bounds.every((bound, i) => i === 0 || bounds[i - 1]! < bound),
      `bounds of histogram ${name} must ascend`,
    );
    const key = keyOf(name, labels);
    const observed = this.#observations.get(key) ?? [];
    this.#observations.set(key, observed);
    return { observe: (value) => void observed.push(value) };
  }

  /**
   * A number under its Prometheus name: a histogram as `name_count`, `name_sum` and `name_bucket`
   * with label `le`. Undefined if there is no such number.
   */
  read(name: string, labels: MetricLabels = {}): number | undefined {
    const value = this.#values.get(keyOf(name, labels));
    if (value !== undefined) return value;
    const [, base, part] = /^(.*)_(count|sum|bucket)$/.exec(name) ?? [];
    if (base === undefined) return undefined;
    const { le, ...others } = labels;
    const observed = this.#observations.get(keyOf(base, others));
    if (part === "count") return observed?.length;
    if (part === "sum") return observed?.reduce((sum, one) => sum + one, 0);
    const bound = le === "+Inf" ? Infinity : Number(le);
    return observed?.filter((one) => one <= bound).length;
  }

  /** Of a counter or gauge; 0 if it was never made. */
  value(name: string, labels?: MetricLabels): number {
    return this.read(name, labels) ?? 0;
  }

  /** Everything a histogram was given, in order. */
  observations(name: string, labels?: MetricLabels): readonly number[] {
    return this.#observations.get(keyOf(name, labels)) ?? [];
  }
}

function keyOf(name: string, labels: MetricLabels = {}): string {
  const pairs = Object.entries(labels).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return `${name}{${pairs.map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(",")}}`;
}
