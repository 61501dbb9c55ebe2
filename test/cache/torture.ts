/**
 * Tortures the shared cache: workers at random work, ended and replaced at random moments, and a
 * director that reaps the dead and looks at everything in the end.
 *
 * Found would be: a torn page, a page of another key, a version older than one that was published
 * before the look-up (a lost dirty page), a version stored over a newer one, two publications of
 * one version (a lost update), a slot given to two workers to fill, a pinned page that changed, and
 * any breach of the invariants that `findProblems` knows.
 */
import { CodedError, Prng } from "../../src/base/index.ts";
import { formatSharedCache, sharedCacheBytes, SharedPageCache } from "../../src/cache/index.ts";
import { findProblems } from "../../src/cache/shared-census.ts";
import { joinParts } from "../../src/cache/shared-parts.ts";
import { readPage, TortureMemory } from "./torture-rules.ts";
import { tortureMemoryBytes } from "./torture-rules.ts";
import type { TortureSetting } from "./torture-rules.ts";
import { processes, threads } from "./torture-crew.ts";
import type { TortureCrew, TortureMember } from "./torture-crew.ts";

export interface TortureRun extends TortureSetting {
  readonly seed: number;
  /**
   * Ends when so much was done, or so much time has passed since all workers were there and,
   * where some are to end, one has.
   */
  readonly operationsMax: number;
  readonly secondsMax: number;
  /** Mean time between two workers' ends; 0 for none. */
  readonly killEveryMs: number;
  readonly workers: "threads" | "processes";
}

export interface TortureReport {
  readonly operations: number;
  readonly seconds: number;
  readonly kills: number;
  /** Slots that dead workers owned or were flushing. */
  readonly reapedSlots: number;
  /** Calls that gave up on another worker and were repeated: more on a machine that is busy. */
  readonly waits: number;
  readonly stats: object;
  readonly problems: readonly string[];
}

const REAP_TRIES_MAX = 20;
const STOP_MS_MAX = 30_000;

class TortureDirector {
  readonly #run: TortureRun;
  readonly #prng: Prng;
  readonly #rules: TortureMemory;
  readonly #crew: TortureCrew;
  readonly #cache: SharedPageCache;
  readonly #workers: TortureMember[] = [];
  readonly #problems: string[] = [];
  #seed: number;
  #kills = 0;
  #reapedSlots = 0;

  constructor(run: TortureRun) {
    const { capacity, pageBytes, workerCount } = run;
    const geometry = { capacity, pageBytes, workersMax: workerCount + 1, pinsMax: 8 };
    this.#run = run;
    this.#seed = run.seed;
    this.#prng = new Prng(run.seed);
    const makeCrew = run.workers === "threads" ? threads : processes;
    this.#crew = makeCrew(sharedCacheBytes(geometry), tortureMemoryBytes(run));
    this.#rules = new TortureMemory(run, this.#crew.rulesMemory);
    formatSharedCache(this.#crew.cacheMemory, geometry);
    this.#cache = new SharedPageCache(this.#crew.cacheMemory);
  }

  async direct(): Promise<TortureReport> {
    const started = performance.now();
    const { workerCount, secondsMax, operationsMax, killEveryMs } = this.#run;
    for (let worker = 0; worker < workerCount; worker++) this.#start(worker);
    try {
      await this.#allJoined();
      const end = performance.now() + secondsMax * 1000;
      const isOver = (): boolean =>
        performance.now() >= end && (killEveryMs === 0 || this.#kills > 0);
      while (!isOver() && this.#operations() < operationsMax) {
        await pause(killEveryMs === 0 ? 20 : killEveryMs * (0.5 + this.#prng.below(1000) / 1000));
        if (this.#problems.length > 0) break;
        if (killEveryMs > 0) await this.#kill(this.#chooseVictims());
      }
    } finally {
      await this.#stop();
    }
    if (this.#problems.length === 0) this.#inspect();
    this.#crew.close();
    return {
      operations: this.#operations(),
      seconds: (performance.now() - started) / 1000,
      kills: this.#kills,
      reapedSlots: this.#reapedSlots,
      waits: this.#rules.waits[0]!,
      stats: this.#cache.stats,
      problems: this.#problems,
    };
  }

  #start(worker: number): void {
    Atomics.store(this.#rules.joined, worker, 0);
    const order = { setting: settingOf(this.#run), worker, seed: this.#seed++ };
    this.#workers[worker] = this.#crew.start(order, (reason) => this.#problems.push(reason));
  }

  /** On a busy machine it takes seconds until all have started. */
  async #allJoined(): Promise<void> {
    const end = performance.now() + STOP_MS_MAX;
    const hasJoined = (_member: TortureMember, worker: number): boolean =>
      Atomics.load(this.#rules.joined, worker) !== 0;
    while (!this.#workers.every(hasJoined) && this.#problems.length === 0) {
      if (performance.now() > end) this.#problems.push("a worker does not start");
      await pause(20);
    }
  }

  /** Mostly one; sometimes two, of which each may hold what the other's reaper needs. */
  #chooseVictims(): number[] {
    const { workerCount } = this.#run;
    const victim = this.#prng.below(workerCount);
    if (workerCount < 2 || !this.#prng.chance(0.25)) return [victim];
    return [victim, (victim + this.#prng.between(1, workerCount - 1)) % workerCount];
  }

  async #kill(victims: readonly number[]): Promise<void> {
    // One that has not joined yet cannot be told from others afterwards.
    const joined = victims.filter((worker) => Atomics.load(this.#rules.joined, worker) !== 0);
    await Promise.all(joined.map((worker) => this.#workers[worker]!.kill()));
    if (this.#problems.length > 0) return;
    this.#kills += joined.length;
    const dead = joined.map((worker) => Atomics.load(this.#rules.joined, worker));
    const { fillers } = this.#rules;
    for (let slot = 0; slot < fillers.length; slot++) {
      for (const worker of dead) Atomics.compareExchange(fillers, slot, worker, 0);
    }
    this.#reap(dead);
    for (const worker of joined) this.#start(worker);
  }

  /** A reaper may need a lock of another one who died, or who waits for such a one. */
  #reap(workers: readonly number[]): void {
    const left = [...workers];
    for (let tries = 1; left.length > 0; tries++) {
      const worker = left.shift()!;
      try {
        this.#reapedSlots += this.#cache.reap(worker);
      } catch (error) {
        const isStuck = error instanceof CodedError && error.code === "cache-worker-stuck";
        if (!isStuck || tries === REAP_TRIES_MAX) throw error;
        left.push(worker);
      }
    }
  }

  async #stop(): Promise<void> {
    Atomics.store(this.#rules.stop, 0, 1);
    const late = pause(STOP_MS_MAX).then(() => "late");
    for (const worker of this.#workers) {
      if ((await Promise.race([worker.ended, late])) !== "late") continue;
      this.#problems.push("a worker does not end");
      await worker.kill();
    }
  }

  /** Flushes all, and holds everything against everything. */
  #inspect(): void {
    const { stored, acknowledged, published } = this.#rules;
    const cache = this.#cache;
    const pages = new Int32Array(cache.pages.buffer, cache.pages.byteOffset);
    const batch = new Uint32Array(16);
    for (let count = cache.beginFlush(batch); count > 0; count = cache.beginFlush(batch)) {
      for (const slot of batch.subarray(0, count)) {
        const at = cache.pageAt(slot) / 4;
        const key = cache.keyOf(slot);
        const version = readPage(pages.subarray(at, at + cache.pageBytes / 4), key);
        if (version < stored[key]!) this.#problems.push(`key ${key}: ${version} over a newer one`);
        stored[key] = version;
        cache.endFlush(slot, true);
      }
    }
    if (cache.dirtyCount > 0) this.#problems.push(`${cache.dirtyCount} slots stay dirty`);
    for (let key = 0; key < stored.length; key++) {
      const version = stored[key]!;
      if (version < acknowledged[key]!) this.#problems.push(`key ${key}: a version was lost`);
      if (version < published[key]!) this.#problems.push(`key ${key}: one version twice`);
      // A worker may have died after publishing and before it noted that.
      if (version > published[key]! + this.#kills) this.#problems.push(`key ${key}: from nowhere`);
    }
    cache.leave();
    const parts = joinParts(this.#crew.cacheMemory);
    this.#problems.push(...findProblems(parts));
    parts.pins.free(parts.pins.place);
  }

  #operations(): number {
    return this.#rules.thousands.reduce((sum, count) => sum + count * 1000, 0);
  }
}

export function torture(run: TortureRun): Promise<TortureReport> {
  return new TortureDirector(run).direct();
}

function settingOf({ keyCount, capacity, pageBytes, workerCount }: TortureRun): TortureSetting {
  return { keyCount, capacity, pageBytes, workerCount };
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
