export { Cache } from "./cache.ts";
export type { CacheOptions } from "./cache.ts";
export { CACHE_CAPACITY_MAX } from "./cache-checks.ts";
export type { CacheMode, PageCacheOptions } from "./cache-parameters.ts";
export type { CacheStats } from "./cache-stats.ts";
export { PageCache } from "./page-cache.ts";
export { writeBack } from "./write-back.ts";
export type { FlushBatch } from "./write-back.ts";
