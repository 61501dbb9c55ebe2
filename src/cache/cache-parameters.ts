/**
 * The published algorithms and ours, as numbers.
 *
 * `clock2q` is US 9,760,493: 2Q's proportions, the hot queue a clock, the only way into it a
 * ghost. `clock2q-plus` is arXiv 2511.21958: a cold queue of a tenth, in which hits count once a
 * correlation window of newer admissions has passed. `best` is what measurement chose: see
 * `page-cache.ts`.
 */
export type CacheMode = "clock2q" | "clock2q-plus" | "best";

export interface PageCacheOptions {
  /** Number of slots. */
  readonly capacity: number;
  /** Default "best". */
  readonly mode?: CacheMode;
  /** Overrides the mode's limit on how many slots in use the hand steps over per eviction. */
  readonly handLimit?: number;
}

export interface CacheParameters {
  /** Share of the capacity that the cold queue aims at. */
  readonly coldFraction: number;
  /** Keys the ghost queue remembers, as a share of the capacity. */
  readonly ghostFraction: number;
  /**
   * Places in the ghosts' circle for each key they remember: a key that is asked for again leaves a
   * hole. Twice as many make it a queue in all but name.
   */
  readonly ghostCircle: number;
  /** The part of the cold queue, at its young end, in which hits are taken as one burst. */
  readonly windowFraction: number;
  /** Whether a hit after the window makes a cold entry hot; otherwise only a ghost becomes hot. */
  readonly promotes: boolean;
  /** Entries in use that the hand steps over before it takes one regardless. */
  readonly handLimit: number;
  /** Lets measured worth decide about the border, ghosts and grace: see `queue-balance.ts`. */
  readonly adaptive: boolean;
  /**
   * How far a hit moves the clock on that the window is measured with. An admission moves it by 1.
   */
  readonly ticksPerHit: number;
}

const PARAMETERS: Readonly<Record<CacheMode, CacheParameters>> = {
  clock2q: {
    coldFraction: 0.25,
    ghostFraction: 0.5,
    ghostCircle: 2,
    windowFraction: 0,
    promotes: false,
    handLimit: Infinity,
    adaptive: false,
    ticksPerHit: 0,
  },
  "clock2q-plus": {
    coldFraction: 0.1,
    ghostFraction: 0.5,
    ghostCircle: 2,
    windowFraction: 0.5,
    promotes: true,
    handLimit: Infinity,
    adaptive: false,
    ticksPerHit: 0,
  },
  best: {
    coldFraction: 0.2,
    ghostFraction: 1,
    ghostCircle: 1.125,
    windowFraction: 0.25,
    promotes: true,
    handLimit: 128,
    adaptive: true,
    ticksPerHit: 0.05,
  },
};

export function parametersOf(mode: CacheMode): CacheParameters {
  return PARAMETERS[mode];
}
