/** The caches whose speed is compared: ours and those of npm, behind the two calls they share. */
import { SieveCache } from "@neophi/sieve-cache";
import { LRUCache } from "lru-cache";
import { createLRU } from "lru.min";
import { LRUCache as MnemonistLruCache, LRUMap } from "mnemonist";
import QuickLRU from "quick-lru";
import { lru as tinyLru } from "tiny-lru";
import { newCache } from "transitory";
import { Cache } from "../../src/cache/index.ts";

export interface SpeedTarget {
  get(key: number): number | undefined;
  set(key: number, value: number): unknown;
}

/** Ours first, then what the others are held against. */
export const SPEED_TARGETS: ReadonlyMap<string, (capacity: number) => SpeedTarget> = new Map<
  string,
  (capacity: number) => SpeedTarget
>([
  ["drystone", (capacity) => new Cache<number, number>({ capacity })],
  ["lru-cache", (max) => new LRUCache<number, number>({ max })],
  ["mnemonist-lru-map", (capacity) => new LRUMap<number, number>(capacity)],
  [
    "mnemonist-lru-map-typed",
    (capacity) => new LRUMap<number, number>(Uint32Array, Float64Array, capacity),
  ],
  ["mnemonist-lru-cache", (capacity) => new MnemonistLruCache<number, number>(capacity)],
  ["quick-lru", (maxSize) => new QuickLRU<number, number>({ maxSize })],
  ["sieve-cache", (capacity) => new SieveCache<number, number>(capacity)],
  ["lru.min", (max) => createLRU<number, number>({ max })],
  ["tiny-lru", (max) => tinyLru<number>(max)],
  [
    "transitory",
    (size) => {
      const cache = newCache<number, number>().maxSize(size).build();
      return { get: (key) => cache.getIfPresent(key) ?? undefined, set: (k, v) => cache.set(k, v) };
    },
  ],
]);
