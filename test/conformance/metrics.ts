/** What every `Metrics` promises, as tests. */
import assert from "node:assert/strict";
import { AssertionError } from "../../src/base/index.ts";
import type { MetricLabels, Metrics } from "../../src/ports/index.ts";
import { registerSuite, type Promises, type World } from "./world.ts";

export interface MetricsWorld extends World {
  readonly metrics: Metrics;
  /**
   * What a reader of the metrics sees, under Prometheus' names: a histogram as `name_count`,
   * `name_sum` and `name_bucket` with label `le`. Undefined if there is no such number.
   */
  readonly read: (name: string, labels?: MetricLabels) => number | undefined;
}

const promises: Promises<MetricsWorld> = {
  "a counter starts at zero and adds up": async ({ metrics, read }) => {
    const counter = metrics.counter("drystone_test_total", "For a test");
    assert.equal(read("drystone_test_total"), 0);
    counter.add(2);
    counter.add(0.5);
    assert.equal(read("drystone_test_total"), 2.5);
  },
  "a counter that would fall is refused by assertion": async ({ metrics }) => {
    const counter = metrics.counter("drystone_test_total", "For a test");
    assert.throws(() => counter.add(-1), AssertionError);
  },
  "a gauge shows what was set last": async ({ metrics, read }) => {
    const gauge = metrics.gauge("drystone_test_bytes", "For a test");
    gauge.set(7);
    gauge.set(-3);
    assert.equal(read("drystone_test_bytes"), -3);
  },
  "labels tell numbers of one name apart, in any order": async ({ metrics, read }) => {
    const name = "drystone_test_total";
    metrics.counter(name, "For a test", { disk: "a", kind: "read" }).add(1);
    metrics.counter(name, "For a test", { disk: "b", kind: "read" }).add(10);
    assert.equal(read(name, { kind: "read", disk: "a" }), 1);
    assert.equal(read(name, { disk: "b", kind: "read" }), 10);
    assert.equal(read(name, { disk: "c", kind: "read" }), undefined);
  },
  "the same name and labels count together": async ({ metrics, read }) => {
    const name = "drystone_test_total";
    metrics.counter(name, "For a test", { disk: "a" }).add(1);
    metrics.counter(name, "For a test", { disk: "a" }).add(2);
    assert.equal(read(name, { disk: "a" }), 3);
  },
  "a histogram counts each value in every bucket that holds it": async ({ metrics, read }) => {
    const name = "drystone_test_seconds";
    const histogram = metrics.histogram(name, "For a test", [0.1, 1]);
    for (const value of [0.05, 0.1, 0.5, 2]) histogram.observe(value);
    assert.equal(read(`${name}_count`), 4);
    assert.ok(Math.abs(read(`${name}_sum`)! - 2.65) < 1e-9);
    assert.equal(read(`${name}_bucket`, { le: "0.1" }), 2);
    assert.equal(read(`${name}_bucket`, { le: "1" }), 3);
    assert.equal(read(`${name}_bucket`, { le: "+Inf" }), 4);
  },
  "bounds that do not ascend are refused by assertion": async ({ metrics }) => {
    assert.throws(
      () => metrics.histogram("drystone_test_seconds", "For a test", [1, 1]),
      AssertionError,
    );
  },
};

export function metricsConformance(name: string, open: () => Promise<MetricsWorld>): void {
  registerSuite(name, open, [promises]);
}
