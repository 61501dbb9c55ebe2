/** Counted since construction. */
export interface CacheStats {
  readonly hits: number;
  readonly misses: number;
  /** Hits for each look-up: 0 to 1; 0 before the first one. */
  readonly hitRatio: number;
  /** Slots that went from the cold queue to the hot ring. */
  readonly promotions: number;
  /** Inserts of a key that was a ghost. */
  readonly ghostHits: number;
  /** Slots that a search for a victim stepped over because they were in use or held. */
  readonly skippedSlots: number;
  readonly evictions: number;
}

export const HITS = 0;
export const MISSES = 1;
export const PROMOTIONS = 2;
export const GHOST_HITS = 3;
export const SKIPPED_SLOTS = 4;
export const EVICTIONS = 5;
export const COUNTER_COUNT = 6;

export function statsOf(counters: Float64Array): CacheStats {
  const hits = counters[HITS]!;
  const misses = counters[MISSES]!;
  return {
    hits,
    misses,
    hitRatio: hitRatioOf(hits, misses),
    promotions: counters[PROMOTIONS]!,
    ghostHits: counters[GHOST_HITS]!,
    skippedSlots: counters[SKIPPED_SLOTS]!,
    evictions: counters[EVICTIONS]!,
  };
}

/** Hits for each look-up; 0 before the first one. */
export function hitRatioOf(hits: number, misses: number): number {
  return hits === 0 ? 0 : hits / (hits + misses);
}
