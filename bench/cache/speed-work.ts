/** What the speed benchmark's processes and workers have in common. */
import { Prng } from "../../src/base/index.ts";
import type { SharedPageCache } from "../../src/cache/index.ts";
import { MISS } from "../../src/cache/index.ts";

export const CAPACITY = 50_000;
export const HOT_KEYS = 40_000;
export const PAGE_BYTES = 64;
const SKEW = 0.9;

export interface SpeedSample {
  readonly callsPerSecond?: number;
  readonly callsPerCpuSecond?: number;
  readonly calls?: number;
  readonly hitRatio?: number;
  readonly bytesPerEntry?: number;
}

export interface WorkerOrder {
  readonly shared: SharedArrayBuffer;
  /** A count of workers that are ready, and a word to wait on. */
  readonly start: SharedArrayBuffer;
  readonly workerCount: number;
  readonly seconds: number;
  readonly seed: number;
}

/**
 * Keys whose rank follows Zipf's law; which key has which rank is random, as in a hashed key space.
 */
export function zipfKeys(keyCount: number, length: number, seed: number): Uint32Array {
  const prng = new Prng(seed);
  const sums = new Float64Array(keyCount);
  let sum = 0;
  for (let rank = 0; rank < keyCount; rank++) sums[rank] = sum += (rank + 1) ** -SKEW;
  const keyOf = Uint32Array.from({ length: keyCount }, (_, i) => i);
  for (let i = keyCount - 1; i > 0; i--) {
    const j = prng.below(i + 1);
    [keyOf[i], keyOf[j]] = [keyOf[j]!, keyOf[i]!];
  }
  return Uint32Array.from({ length }, () => {
    const drawn = (prng.u32() / 2 ** 32) * sum;
    let low = 0;
    let high = keyCount - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (sums[middle]! < drawn) low = middle + 1;
      else high = middle;
    }
    return keyOf[low]!;
  });
}

/** True if the page was there. */
export function getOrInsert(cache: SharedPageCache, key: number): boolean {
  const slot = cache.lookup(key);
  if (slot !== MISS) return slot >= 0;
  const filled = cache.insert(key);
  if (filled < 0) return false;
  cache.pages[cache.pageAt(filled)] = key;
  cache.publish(filled, false);
  return false;
}
