/** What the caches of devices did, each for itself and all together. */
import { hitRatioOf } from "../../cache/index.ts";
import type { CacheStats } from "../../cache/index.ts";
import type { DeviceStats } from "../../store/index.ts";
import { addUp, numbersOf } from "./add-up.ts";
import type { CacheStatsView, StatsView } from "./views.ts";

const KINDS = ["block", "page"] as const;

type CacheOwner = Pick<DeviceStats, "deviceId" | "pageCache" | "blockCache">;

export function cacheViews(devices: readonly CacheOwner[]): Pick<StatsView, "cache" | "caches"> {
  const blockCaches = devices.flatMap(({ blockCache }) => blockCache ?? []);
  const pageCaches = devices.map(({ pageCache }) => pageCache);
  return {
    cache: { ...summary("block", blockCaches), ...summary("page", pageCaches) },
    caches: devices.flatMap(({ deviceId, pageCache, blockCache }) => [
      cacheView(deviceId, "pages", pageCache),
      ...(blockCache === undefined ? [] : [cacheView(deviceId, "blocks", blockCache)]),
    ]),
  };
}

/** The counters of several hosts as one; ratios are not added. */
export function addCaches(all: readonly StatsView["cache"][]): Record<string, number> {
  const total = addUp(all);
  const ratios = KINDS.map((kind): [string, number] => [
    `${kind}HitRatio`,
    hitRatioOf(total[`${kind}Hits`] ?? 0, total[`${kind}Misses`] ?? 0),
  ]);
  return { ...total, ...Object.fromEntries(ratios) };
}

function cacheView(
  deviceId: string,
  kind: CacheStatsView["kind"],
  stats: CacheStats,
): CacheStatsView {
  const { hitRatio, hits, misses, promotions, ghostHits, skippedSlots, evictions } = stats;
  return {
    deviceId,
    kind,
    hitRatio,
    hits,
    misses,
    promotions,
    ghostHits,
    skippedSlots,
    evictions,
  };
}

function summary(
  prefix: (typeof KINDS)[number],
  all: readonly CacheStats[],
): Record<string, number> {
  const total = addUp(all.map(numbersOf));
  const { hits = 0, misses = 0 } = total;
  const values = { ...total, hitRatio: hitRatioOf(hits, misses) };
  return Object.fromEntries(
    Object.entries(values).map(([name, value]) => [
      `${prefix}${name[0]!.toUpperCase()}${name.slice(1)}`,
      value,
    ]),
  );
}
