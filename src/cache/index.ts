export { CACHE_CAPACITY_MAX } from "./cache-checks.ts";
export type { CacheMode } from "./cache-parameters.ts";
export { PageCache } from "./page-cache.ts";
export type { CacheStats, PageCacheOptions } from "./page-cache.ts";
