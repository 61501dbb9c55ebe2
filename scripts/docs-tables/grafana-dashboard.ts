/** A dashboard for Grafana over the metrics of all hosts. */
interface Panel {
  readonly title: string;
  readonly kind: "timeseries" | "stat" | "table";
  readonly unit: string;
  readonly queries: readonly (readonly [expression: string, legend: string])[];
}

const COLUMNS = 24;
const WIDTH = 8;
const HEIGHT = 8;

const latency = (quantile: number, operation: string): string =>
  `histogram_quantile(${quantile}, sum by (le) (rate(drystone_volume_request_seconds_bucket{operation="${operation}"}[$__rate_interval])))`;
const requests = (by: string): string =>
  `sum by (${by}) (rate(drystone_volume_request_seconds_count[$__rate_interval]))`;

const panels: readonly Panel[] = [
  {
    title: "Health (1 healthy, 0.5 degraded, 0 failed)",
    kind: "stat",
    unit: "none",
    queries: [["min(drystone_health)", "worst host's view"]],
  },
  {
    title: "Findings of checks",
    kind: "timeseries",
    unit: "none",
    queries: [['max by (check) (drystone_health_findings{severity!="note"}) > 0', "{{check}}"]],
  },
  {
    title: "Hosts reached, by network",
    kind: "timeseries",
    unit: "none",
    queries: [["min by (host, network) (drystone_host_up)", "{{host}} {{network}}"]],
  },
  {
    title: "Requests per second",
    kind: "timeseries",
    unit: "iops",
    queries: [[requests("operation"), "{{operation}}"]],
  },
  {
    title: "Latency",
    kind: "timeseries",
    unit: "s",
    queries: [
      [latency(0.5, "read"), "read, median"],
      [latency(0.99, "read"), "read, 99 %"],
      [latency(0.5, "write"), "write, median"],
      [latency(0.99, "write"), "write, 99 %"],
    ],
  },
  {
    title: "Throughput",
    kind: "timeseries",
    unit: "Bps",
    queries: [
      ["sum by (operation) (rate(drystone_volume_bytes_total[$__rate_interval]))", "{{operation}}"],
    ],
  },
  {
    title: "Requests per second, by volume",
    kind: "timeseries",
    unit: "iops",
    queries: [[requests("volume"), "{{volume}}"]],
  },
  {
    title: "Requests answered with an error",
    kind: "timeseries",
    unit: "reqps",
    queries: [
      ["sum by (volume) (rate(drystone_volume_faults_total[$__rate_interval]))", "{{volume}}"],
    ],
  },
  {
    title: "Free space",
    kind: "timeseries",
    unit: "bytes",
    queries: [["sum by (host) (drystone_device_free_bytes)", "{{host}}"]],
  },
  {
    title: "Stored, before and after deduplication",
    kind: "timeseries",
    unit: "bytes",
    queries: [
      ["max(drystone_logical_bytes)", "logical"],
      ["max(drystone_unique_bytes)", "unique"],
      ["max(drystone_physical_bytes)", "physical"],
    ],
  },
  {
    title: "Hits of caches",
    kind: "timeseries",
    unit: "percentunit",
    queries: [["avg by (cache) (drystone_device_cache_hit_ratio)", "{{cache}}"]],
  },
  {
    title: "Sent to catch up and to rebuild",
    kind: "timeseries",
    unit: "bytes",
    queries: [
      ['sum(drystone_catch_up{counter="bytesSent"})', "catch-up"],
      ['sum(drystone_rebuild{counter="bytesSent"})', "rebuild"],
    ],
  },
];

export function grafanaDashboard(): string {
  const dashboard = {
    title: "Drystone",
    uid: "drystone",
    schemaVersion: 39,
    tags: ["storage"],
    refresh: "10s",
    time: { from: "now-1h", to: "now" },
    templating: {
      list: [{ name: "source", label: "Source", type: "datasource", query: "prometheus" }],
    },
    panels: panels.map(panelOf),
  };
  return `${JSON.stringify(dashboard, undefined, 2)}\n`;
}

function panelOf({ title, kind, unit, queries }: Panel, index: number): object {
  const perRow = COLUMNS / WIDTH;
  return {
    id: index + 1,
    title,
    type: kind,
    datasource: { type: "prometheus", uid: "${source}" },
    gridPos: {
      h: HEIGHT,
      w: WIDTH,
      x: (index % perRow) * WIDTH,
      y: Math.floor(index / perRow) * HEIGHT,
    },
    fieldConfig: { defaults: { unit }, overrides: [] },
    targets: queries.map(([expr, legendFormat], query) => ({
      refId: String.fromCharCode(65 + query),
      expr,
      legendFormat,
    })),
  };
}
