/**
 * Every metric of `GET /metrics`, told from the text of a cluster in which there is one of each.
 */
import type { DocsTable } from "./docs-tables.ts";
import { healthChecks } from "../health/health.ts";
import { metricsText } from "./metrics-text.ts";
import type { MetricsFacts } from "./metrics-text.ts";

const NONE = { bytesNeeded: 0, bytesSent: 0, bytesSkipped: 0, metadataBytes: 0 };
const COUNT = { count: 0, bytes: 0, totalMs: 0, faults: 0, buckets: [0, 0] };
const CACHE = { hitRatio: 0, hits: 0, misses: 0, promotions: 0, ghostHits: 0, skippedSlots: 0 };

const STATS: MetricsFacts["stats"] = {
  ...{ logicalBytes: 0, uniqueBytes: 0, physicalBytes: 0, capacityBytes: 0, freeBytes: 0 },
  ...{ reclaimableBytes: 0, dedupRatio: 1, rebuild: NONE, catchUp: NONE },
  ...{ cache: { counter: 0 }, journal: { counter: 0 }, destage: { counter: 0 } },
  ...{ farCache: { counter: 0 }, memory: { counter: 0 } },
  ...{ sharedMemory: { counter: 0 }, scrub: { counter: 0 }, latencyBoundsMs: [1] },
  networks: [{ host: "h2", network: "storage", buckets: [0, 0], totalMs: 0 }],
  caches: [{ deviceId: "d1", kind: "pages", evictions: 0, ...CACHE }],
  volumes: [{ name: "v1", sizeBytes: 0, logicalBytes: 0, io: { reads: COUNT, writes: COUNT } }],
};

const specimen: MetricsFacts = {
  host: "h1",
  stats: STATS,
  own: STATS,
  status: {
    ...{
      health: "healthy",
      conditions: [],
      reasons: [],
      version: "",
      clusterId: "",
      uptimeMs: 0,
      volumeCount: 1,
    },
    hosts: [
      {
        ...{ name: "h1", hostId: "", state: "up", apiAddress: "", faultDomain: "h1" },
        ...{ storage: "up", management: "up", attachedCount: 1 },
      },
    ],
    devices: [
      {
        ...{ deviceId: "d1", host: "h1", path: "", state: "online", adapter: "", capacityBytes: 0 },
        ...{ freeBytes: 0, logicalBytes: 0, uniqueBytes: 0, physicalBytes: 0, componentCount: 0 },
        ...{ reclaimableBytes: 0, checksumErrors: 0, readErrors: 0, damagedBlocks: 0 },
      },
    ],
    capacity: { capacityBytes: 0, freeBytes: 0, usedBytes: 0 },
    attachments: [
      {
        ...{ volume: "v1", host: "h1", kind: "nbd", address: "", uri: "", readOnly: false },
        ...{ tls: false, state: "online" },
      },
    ],
    resyncs: [
      {
        ...{ volume: "v1", componentId: "c1", kind: "rebuild", state: "running", host: "h1" },
        ...{ device: "d1", share: 0, bytesNeeded: 0, bytesSent: 0, bytesSkipped: 0 },
      },
    ],
  },
  health: {
    health: "healthy",
    checks: healthChecks.slice(0, 1).map(({ id, severity, meaning, action }) => {
      return { id, severity, meaning, action, findings: [] };
    }),
  },
};

export function metricsTable(): DocsTable {
  const lines = metricsText(specimen).split("\n");
  const rows = lines.flatMap((line, index) => {
    const [, name, help] = /^# HELP (\S+) (.*)$/.exec(line) ?? [];
    if (name === undefined || help === undefined) return [];
    const kind = /^# TYPE \S+ (\S+)/.exec(lines[index + 1] ?? "")?.[1] ?? "";
    const sample = lines.find((one) =>
      [`${name}{`, `${name}_bucket{`].some((begin) => one.startsWith(begin)),
    );
    const labels = [...(sample ?? "").matchAll(/(\w+)="/g)]
      .map(([, label]) => label ?? "")
      .filter((label) => label !== "le");
    return [[`\`${name}\``, kind, labels.map((label) => `\`${label}\``).join(", "), help]];
  });
  return { header: ["metric", "kind", "labels", "what it tells"], rows };
}
