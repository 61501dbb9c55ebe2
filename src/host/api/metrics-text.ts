/** `GET /metrics`: what `stats` and `status` know, in Prometheus' text format. */
import { PrometheusMetrics } from "../../platform/index.ts";
import { version } from "../version.ts";
import type { HealthListView, StatsView, StatusView } from "./views.ts";

interface Family {
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly help: string;
  readonly samples: readonly (readonly [Readonly<Record<string, string>>, number])[];
}

export interface MetricsFacts {
  /** Of the cluster. */
  readonly stats: StatsView;
  /** Of the host that answers, alone. */
  readonly own: StatsView;
  readonly status: StatusView;
  readonly health: HealthListView;
  /** The name of the host that answers. */
  readonly host: string;
}

/**
 * Of its process, of devices and of volumes' requests each host tells its own, so that nothing
 * counts twice, and no counter falls because another host is away.
 */
export function metricsText({ stats, own, status, health, host }: MetricsFacts): string {
  // Made anew for each scrape: what was deleted leaves no samples behind.
  const metrics = new PrometheusMetrics();
  const all = [
    ...clusterFamilies(stats, status),
    ...processFamilies(own),
    ...deviceFamilies(status, host),
    healthFamily(health),
    ...cacheFamilies(own),
    ...volumeFamilies(stats),
  ];
  for (const { name, type, help, samples } of all) {
    for (const [labels, value] of samples) {
      if (type === "gauge") metrics.gauge(name, help, labels).set(value);
      else metrics.counter(name, help, labels).add(value);
    }
  }
  const here = status.attachments.filter((one) => one.host === host).map(({ volume }) => volume);
  addLatencies(metrics, {
    ...stats,
    volumes: stats.volumes.filter((one) => here.includes(one.name)),
  });
  addRoundTrips(metrics, stats);
  return metrics.exposition();
}

function addRoundTrips(metrics: PrometheusMetrics, stats: StatsView): void {
  const bounds = stats.latencyBoundsMs.map((ms) => ms / 1000);
  const help = "Of pings from the host that answers to a host, over a network";
  for (const { host, network, buckets, totalMs } of stats.networks ?? [])
    metrics
      .histogram("drystone_network_round_trip_seconds", help, bounds, { host, network })
      .add(buckets, totalMs / 1000);
}

function addLatencies(metrics: PrometheusMetrics, stats: StatsView): void {
  const bounds = stats.latencyBoundsMs.map((ms) => ms / 1000);
  const help = "From a client's request to its answer, on the host where the volume is attached";
  for (const { name: volume, io } of stats.volumes) {
    if (io === undefined) continue;
    for (const [operation, { buckets, totalMs, bytes, faults }] of [
      ["read", io.reads],
      ["write", io.writes],
    ] as const) {
      const labels = { volume, operation };
      metrics
        .histogram("drystone_volume_request_seconds", help, bounds, labels)
        .add(buckets, totalMs / 1000);
      metrics.counter("drystone_volume_bytes_total", "Bytes of requests", labels).add(bytes);
      metrics
        .counter("drystone_volume_faults_total", "Requests answered with an error", labels)
        .add(faults);
    }
  }
}

function clusterFamilies(stats: StatsView, status: StatusView): Family[] {
  const one = (name: string, help: string, value: number): Family => ({
    name: `drystone_${name}`,
    type: "gauge",
    help,
    samples: [[{}, value]],
  });
  const healthy = { healthy: 1, degraded: 0.5, failed: 0 }[status.health];
  return [
    { name: "drystone_build_info", type: "gauge", help: "Always 1", samples: [[{ version }, 1]] },
    {
      name: "drystone_host_up",
      type: "gauge",
      help: "Whether the host that answers reaches a host over a network",
      samples: status.hosts.flatMap(({ name: host, storage, management }) =>
        Object.entries({ storage, management }).flatMap(([network, state]) => {
          return state === undefined ? [] : [[{ host, network }, state === "up" ? 1 : 0] as const];
        }),
      ),
    },
    one("health", "1 healthy, 0.5 degraded, 0 failed", healthy),
    one("uptime_seconds", "Since the host started", status.uptimeMs / 1000),
    one("logical_bytes", "Bytes stored, before deduplication", stats.logicalBytes),
    one("unique_bytes", "Bytes of distinct content", stats.uniqueBytes),
    one("physical_bytes", "Bytes taken on devices", stats.physicalBytes),
    one("reclaimable_bytes", "Bytes that the next reclaim gives back", stats.reclaimableBytes),
    one("dedup_ratio", "Logical bytes per unique byte", stats.dedupRatio),
    one("resyncs", "Components that are repaired, moved or caught up", status.resyncs.length),
    {
      name: "drystone_resync_share",
      type: "gauge",
      help: "How far a component has come that is being brought to the present: 0 to 1",
      samples: status.resyncs.flatMap(({ volume, componentId, kind, share }) =>
        share === undefined ? [] : [[{ volume, component: componentId, kind }, share] as const],
      ),
    },
    one("volumes", "Volumes that exist", status.volumeCount),
    one("attachments", "Volumes that are attached", status.attachments.length),
  ];
}

function processFamilies(own: StatsView): Family[] {
  return [
    counters("cache", "Cache counters", own.cache),
    counters("journal", "Journal counters and sizes", own.journal),
    counters("destage", "Destage counters", own.destage),
    counters("shared_memory", "Memory shared with virtual machines", own.sharedMemory),
    counters("far_cache", "Blocks of other hosts kept in memory", own.farCache),
    counters("memory", "Memory of the process, in bytes: planned and taken", own.memory),
    counters("rebuild", "Bytes of rebuilds", { ...own.rebuild }),
    counters("catch_up", "Bytes of catch-ups", { ...own.catchUp }),
    counters("scrub", "What was looked through for damage", own.scrub),
  ];
}

function healthFamily({ checks }: HealthListView): Family {
  return {
    name: "drystone_health_findings",
    type: "gauge",
    help: "What a check of health has found, as the host that answers sees the cluster",
    samples: checks.map(({ id, severity, findings }) => [{ check: id, severity }, findings.length]),
  };
}

function counters(name: string, help: string, values: Readonly<Record<string, number>>): Family {
  return {
    name: `drystone_${name}`,
    type: "gauge",
    help,
    samples: Object.entries(values).map(([counter, value]) => [{ counter }, value]),
  };
}

function deviceFamilies(status: StatusView, host: string): Family[] {
  const family = (
    name: string,
    type: Family["type"],
    help: string,
    pick: (device: StatusView["devices"][number]) => number,
  ): Family => ({
    name: `drystone_device_${name}`,
    type,
    help,
    samples: status.devices
      .filter((one) => one.host === host)
      .map((device) => [{ device: device.deviceId, host: device.host }, pick(device)]),
  });
  return [
    family("up", "gauge", "1 if the device serves", ({ state }) => (state === "online" ? 1 : 0)),
    family("capacity_bytes", "gauge", "Size", ({ capacityBytes }) => capacityBytes),
    family("free_bytes", "gauge", "Room for new data", ({ freeBytes }) => freeBytes),
    family(
      "damaged_blocks",
      "gauge",
      "Blocks known to be damaged",
      ({ damagedBlocks }) => damagedBlocks,
    ),
    family(
      "checksum_errors_total",
      "counter",
      "Wrong checksums",
      ({ checksumErrors }) => checksumErrors,
    ),
    family("read_errors_total", "counter", "Failed reads", ({ readErrors }) => readErrors),
  ];
}

function cacheFamilies({ caches }: StatsView): Family[] {
  const family = (
    name: string,
    help: string,
    pick: (cache: StatsView["caches"][number]) => number,
  ): Family => ({
    name: `drystone_device_cache_${name}`,
    type: name.endsWith("_total") ? "counter" : "gauge",
    help,
    samples: caches.map((cache) => [{ device: cache.deviceId, cache: cache.kind }, pick(cache)]),
  });
  return [
    family("hit_ratio", "Hits for each look-up", ({ hitRatio }) => hitRatio),
    family("hits_total", "Look-ups that found what they wanted", ({ hits }) => hits),
    family("misses_total", "Look-ups that did not", ({ misses }) => misses),
    family("promotions_total", "Slots gone from cold to hot", ({ promotions }) => promotions),
    family("ghost_hits_total", "Keys that came back as ghosts", ({ ghostHits }) => ghostHits),
    family(
      "skipped_slots_total",
      "Slots that searches for a victim stepped over",
      ({ skippedSlots }) => skippedSlots,
    ),
    family("evictions_total", "Slots given to another key", ({ evictions }) => evictions),
  ];
}

function volumeFamilies(stats: StatsView): Family[] {
  const volumes = stats.volumes;
  return [
    {
      name: "drystone_volume_size_bytes",
      type: "gauge",
      help: "Size",
      samples: volumes.map(({ name, sizeBytes }) => [{ volume: name }, sizeBytes]),
    },
    {
      name: "drystone_volume_logical_bytes",
      type: "gauge",
      help: "Bytes that hold data, before deduplication",
      samples: volumes.map(({ name, logicalBytes }) => [{ volume: name }, logicalBytes ?? 0]),
    },
  ];
}
