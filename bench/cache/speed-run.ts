/**
 * One measurement of the cache's speed, in a process of its own:
 *
 *   node --expose-gc speed-run.js '{"workload": ..., "target": ..., "seconds": ...}'
 *
 * Prints the sample as JSON. Rates are per second of CPU time, so that other work on the machine
 * disturbs them little.
 */
import { Worker } from "node:worker_threads";
import { Prng } from "../../src/base/index.ts";
import {
  formatSharedCache,
  PageCache,
  sharedCacheBytes,
  SharedPageCache,
} from "../../src/cache/index.ts";
import { SPEED_TARGETS } from "./speed-targets.ts";
import type { SpeedTarget } from "./speed-targets.ts";
import { CAPACITY, getOrInsert, HOT_KEYS, PAGE_BYTES, zipfKeys } from "./speed-work.ts";
import type { SpeedSample, WorkerOrder } from "./speed-work.ts";

export interface SpeedOrder {
  readonly workload: string;
  readonly target: string;
  readonly seconds: number;
}

const MEMORY_ENTRIES = 500_000;
/** Calls between two looks at the clock. */
const CHUNK = 100_000;

/** Repeats work until the time is over, first to warm up and then to measure. */
function rateOf(seconds: number, chunk: () => void): number {
  const warmUpEnd = performance.now() + seconds * 300;
  do chunk();
  while (performance.now() < warmUpEnd);
  const end = performance.now() + seconds * 1000;
  const before = process.cpuUsage();
  let calls = 0;
  do {
    chunk();
    calls += CHUNK;
  } while (performance.now() < end);
  const used = process.cpuUsage(before);
  return (calls / (used.user + used.system)) * 1e6;
}

function hits(cache: SpeedTarget, seconds: number): SpeedSample {
  for (let key = 0; key < HOT_KEYS; key++) cache.set(key, key);
  const keys = zipfKeys(HOT_KEYS, 1_000_000, 1);
  let at = 0;
  let found = 0;
  const callsPerSecond = rateOf(seconds, () => {
    for (let i = 0; i < CHUNK; i++) {
      if (cache.get(keys[at]!) !== undefined) found++;
      at = at === keys.length - 1 ? 0 : at + 1;
    }
  });
  return { callsPerSecond, hitRatio: found > 0 ? 1 : 0 };
}

function getOrSet(cache: SpeedTarget, seconds: number): SpeedSample {
  const keys = zipfKeys(10 * CAPACITY, 1_000_000, 2);
  let at = 0;
  let calls = 0;
  let found = 0;
  const callsPerSecond = rateOf(seconds, () => {
    for (let i = 0; i < CHUNK; i++) {
      const key = keys[at]!;
      if (cache.get(key) === undefined) cache.set(key, key);
      else found++;
      at = at === keys.length - 1 ? 0 : at + 1;
    }
    calls += CHUNK;
  });
  return { callsPerSecond, hitRatio: found / calls };
}

/** The process must have been started with --expose-gc. */
function usedBytes(): number {
  for (let i = 0; i < 3; i++) globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

function memory(make: (capacity: number) => SpeedTarget): SpeedSample {
  const before = usedBytes();
  const cache = make(MEMORY_ENTRIES);
  for (let key = 0; key < MEMORY_ENTRIES; key++) cache.set(key, key & 1023);
  const bytesPerEntry = (usedBytes() - before) / MEMORY_ENTRIES;
  if (cache.get(MEMORY_ENTRIES - 1) === undefined) throw new Error("the cache lost an entry");
  return { bytesPerEntry };
}

function makeShared(): SharedArrayBuffer {
  const geometry = { capacity: CAPACITY, pageBytes: PAGE_BYTES };
  const shared = new SharedArrayBuffer(sharedCacheBytes(geometry));
  formatSharedCache(shared, geometry);
  return shared;
}

/** Look-ups of pages that are there: no copy, so that nothing but the cache is measured. */
function pageHits(lookup: (key: number) => number, seconds: number): SpeedSample {
  const keys = zipfKeys(HOT_KEYS, 1_000_000, 1);
  let at = 0;
  let sum = 0;
  const callsPerSecond = rateOf(seconds, () => {
    for (let i = 0; i < CHUNK; i++) {
      sum += lookup(keys[at]!);
      at = at === keys.length - 1 ? 0 : at + 1;
    }
  });
  if (sum <= 0) throw new Error("nothing was found");
  return { callsPerSecond };
}

function privatePages(seconds: number): SpeedSample {
  const cache = new PageCache({ capacity: CAPACITY });
  for (let key = 0; key < HOT_KEYS; key++) cache.insert(key);
  return pageHits((key) => cache.lookup(key), seconds);
}

function sharedPages(seconds: number): SpeedSample {
  const cache = new SharedPageCache(makeShared());
  for (let key = 0; key < HOT_KEYS; key++) getOrInsert(cache, key);
  return pageHits((key) => cache.lookup(key), seconds);
}

/**
 * Several workers on one cache, nearly all hits: what they do together in the same wall-clock time,
 * and per second of the CPU time of each. `apart` gives each a cache of its own: more than they do
 * then, the machine does not allow.
 */
async function scaling(workerCount: number, apart: boolean, seconds: number): Promise<SpeedSample> {
  const common = makeShared();
  const start = new SharedArrayBuffer(8);
  const prng = new Prng(5);
  const replies = Array.from({ length: workerCount }, () => {
    const shared = apart ? makeShared() : common;
    const order: WorkerOrder = { shared, start, workerCount, seconds, seed: prng.u32() };
    const worker = new Worker(new URL("./speed-worker.js", import.meta.url), { workerData: order });
    return new Promise<SpeedSample>((resolve, reject) => {
      worker.once("message", resolve).once("error", reject);
    });
  });
  const before = process.cpuUsage();
  const samples = await Promise.all(replies);
  const used = process.cpuUsage(before);
  const calls = samples.reduce((sum, sample) => sum + (sample.calls ?? 0), 0);
  const callsPerSecond = samples.reduce((sum, sample) => sum + (sample.callsPerSecond ?? 0), 0);
  const perCpuSecond = (calls / (used.user + used.system)) * 1e6;
  const hitRatio = samples.reduce((sum, sample) => sum + sample.hitRatio!, 0) / workerCount;
  return { callsPerSecond, callsPerCpuSecond: perCpuSecond, hitRatio };
}

async function measure({ workload, target, seconds }: SpeedOrder): Promise<SpeedSample> {
  if (workload === "workers") {
    return scaling(target === "1" ? 1 : 2, target === "2-apart", seconds);
  }
  if (workload === "pages") {
    return target === "shared" ? sharedPages(seconds) : privatePages(seconds);
  }
  const make = SPEED_TARGETS.get(target);
  if (make === undefined) throw new Error(`no cache ${target}`);
  if (workload === "memory") return memory(make);
  return workload === "hit" ? hits(make(CAPACITY), seconds) : getOrSet(make(CAPACITY), seconds);
}

const order = JSON.parse(process.argv[2] ?? "{}") as SpeedOrder;
console.log(JSON.stringify(await measure(order)));
