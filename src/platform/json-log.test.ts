import { deepEqual, equal, match } from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { JsonLog, PrometheusMetrics } from "./index.ts";

function capture(isTTY: boolean): { lines: string[]; isTTY: boolean; write(line: string): void } {
  const lines: string[] = [];
  return { lines, isTTY, write: (line) => lines.push(line) };
}

test("each entry is one line of JSON, and no field poses as the message", () => {
  const target = capture(false);
  const log = new JsonLog(target, { fields: { host: "h1" } });
  log.write("warning", "two\nlines", { message: "fake", count: 3, absent: undefined });
  equal(target.lines.length, 1);
  match(target.lines[0]!, /^[^\n]*\n$/);
  const { time, ...rest } = JSON.parse(target.lines[0]!) as Record<string, unknown>;
  match(String(time), /^\d{4}-\d\d-\d\dT.*Z$/);
  deepEqual(rest, { host: "h1", count: 3, level: "warning", message: "two\nlines" });
});

test("what is less severe than the level is left out", () => {
  const target = capture(false);
  const log = new JsonLog(target, { level: "warning" });
  for (const level of ["debug", "info", "warning", "error"] as const) log.write(level, level);
  equal(target.lines.length, 2);
});

test("a terminal gets plain text without control characters", () => {
  const target = capture(true);
  new JsonLog(target).write("info", "bad \u001b[31m name\r\n", { path: "/a b", size: 4 });
  match(target.lines[0]!, /^\d\d:\d\d:\d\d\.\d{3} info {4}bad \\u001b\[31m name\\u000d\\u000a {2}/);
  match(target.lines[0]!, / {2}path="\/a b" {2}size=4\n$/);
});

test("metrics are exposed as Prometheus reads them", () => {
  const metrics = new PrometheusMetrics();
  metrics.counter("drystone_reads_total", "Reads\nserved", { disk: 'a"\\' }).add(2);
  metrics.histogram("drystone_wait_seconds", "Waits", [0.5, 1]).observe(0.7);
  const expected = [
    "# HELP drystone_reads_total Reads\\nserved",
    "# TYPE drystone_reads_total counter",
    'drystone_reads_total{disk="a\\"\\\\"} 2',
    "# HELP drystone_wait_seconds Waits",
    "# TYPE drystone_wait_seconds histogram",
    'drystone_wait_seconds_bucket{le="0.5"} 0',
    'drystone_wait_seconds_bucket{le="1"} 1',
    'drystone_wait_seconds_bucket{le="+Inf"} 1',
    "drystone_wait_seconds_sum 0.7",
    "drystone_wait_seconds_count 1",
    "",
  ];
  equal(metrics.exposition(), expected.join("\n"));
});
