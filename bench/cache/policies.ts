/** Every policy the simulator knows, by the name given on the command line. */
import { PageCache } from "../../src/cache/index.ts";
import type { CacheMode } from "../../src/cache/index.ts";
import { Arc } from "./arc.ts";
import { Belady } from "./belady.ts";
import { Lirs } from "./lirs.ts";
import type { Policy, PolicyFactory } from "./policy.ts";
import { s3FifoOneBit, s3FifoTwoBit, TwoQ } from "./queue-policies.ts";
import { Clock, Fifo, Lru, Sieve } from "./simple-policies.ts";
import { WTinyLfu } from "./w-tiny-lfu.ts";

/** The product's own cache, not a copy of its rules. */
function pageCache(mode: CacheMode): PolicyFactory {
  return ({ capacity }): Policy => {
    const cache = new PageCache({ capacity, mode });
    return {
      access(key) {
        if (cache.lookup(key) >= 0) return true;
        cache.insert(key);
        return false;
      },
    };
  };
}

export const POLICIES: ReadonlyMap<string, PolicyFactory> = new Map<string, PolicyFactory>([
  ["lru", (setting) => new Lru(setting)],
  ["fifo", (setting) => new Fifo(setting)],
  ["clock", (setting) => new Clock(setting)],
  ["2q", (setting) => new TwoQ(setting)],
  ["arc", (setting) => new Arc(setting)],
  ["lirs", (setting) => new Lirs(setting)],
  ["s3-fifo-1bit", s3FifoOneBit],
  ["s3-fifo", s3FifoTwoBit],
  ["sieve", (setting) => new Sieve(setting)],
  ["w-tinylfu", (setting) => new WTinyLfu(setting)],
  ["clock2q", pageCache("clock2q")],
  ["clock2q-plus", pageCache("clock2q-plus")],
  ["best", pageCache("best")],
  ["belady", (setting) => new Belady(setting)],
]);
