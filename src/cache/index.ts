export { CACHE_CAPACITY_MAX } from "./cache-checks.ts";
export type { CacheMode } from "./cache-parameters.ts";
export type { CacheStats } from "./cache-stats.ts";
export { PageCache } from "./page-cache.ts";
export type { PageCacheOptions } from "./page-cache.ts";
