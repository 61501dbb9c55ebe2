export type { CacheMode } from "./cache-parameters.ts";
export { CACHE_CAPACITY_MAX, PageCache } from "./page-cache.ts";
export type { CacheStats, PageCacheOptions } from "./page-cache.ts";
