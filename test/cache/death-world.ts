/**
 * A small shared cache in the middle of things, for the sweep of deaths, and what must be true of
 * it whoever died when: no acknowledged version is lost or stored over a newer one, every slot can
 * be had again, and all that `findProblems` knows.
 */
import type { CodedError } from "../../src/base/index.ts";
import { formatSharedCache, MISS, sharedCacheBytes } from "../../src/cache/index.ts";
import type * as CacheModule from "../../src/cache/index.ts";
import type { SharedPageCache } from "../../src/cache/index.ts";
import { findProblems } from "../../src/cache/shared-census.ts";
import { COLD_SIZE } from "../../src/cache/shared-layout.ts";
import { joinParts } from "../../src/cache/shared-parts.ts";
import { runUntil } from "./atomic-steps.ts";
import type { StepsDone, Stop } from "./atomic-steps.ts";
import type { Act, ActKind } from "./death-acts.ts";

const CAPACITY = 10;
const GEOMETRY = { capacity: CAPACITY, pageBytes: 16, workersMax: 5, pinsMax: 10 };
const PAGE_WORDS = GEOMETRY.pageBytes / 4;
const KEY_COUNT = 20;
const KEYS_AT_FIRST = 10;
/** Calls that one act may repeat because another worker is in the middle of a change. */
const TRIES_MAX = 10;

interface Pending {
  readonly act: Act;
  readonly call: () => number;
}

export class DeathWorld {
  /** All in one bucket, so that whoever locks it is in everybody's way. */
  readonly keys: readonly number[];
  readonly survivor: SharedPageCache;
  readonly workers: readonly SharedPageCache[];
  readonly left: Set<SharedPageCache> = new Set();
  /** Flushes that were begun before the act. */
  readonly begun: Map<SharedPageCache, number> = new Map();
  /** Versions that were begun before the act. */
  readonly begunVersions: Map<SharedPageCache, number> = new Map();
  /** Workers that died before the act. */
  readonly deadBefore: number[] = [];
  readonly #SharedPageCache: typeof SharedPageCache;
  readonly #memory: SharedArrayBuffer;
  readonly #contents: Int32Array;
  readonly #dead: Set<number> = new Set();
  readonly #pending: Pending[] = [];
  readonly #problems: string[] = [];
  readonly #stored: Map<number, number> = new Map();
  readonly #acknowledged: Map<number, number> = new Map();
  readonly #newest: Map<number, number> = new Map();
  readonly #forgotten: Set<number> = new Set();

  /** The module may have a rule taken out. */
  constructor({ SharedPageCache }: typeof CacheModule) {
    this.#SharedPageCache = SharedPageCache;
    this.#memory = new SharedArrayBuffer(sharedCacheBytes(GEOMETRY));
    formatSharedCache(this.#memory, GEOMETRY);
    this.survivor = this.join();
    this.workers = [0, 1, 2].map(() => this.join());
    const { buffer, byteOffset, byteLength } = this.survivor.pages;
    this.#contents = new Int32Array(buffer, byteOffset, byteLength / 4);
    this.keys = keysOfOneBucket(this.#memory);
    this.#fillAtFirst();
  }

  /** Another worker. */
  join(): SharedPageCache {
    return new this.#SharedPageCache(this.#memory);
  }

  fill(slot: number, key: number, version: number): void {
    this.#contents.set([version, key], slot * PAGE_WORDS);
  }

  /** The page that a worker holds must be the one of the key that it asked for. */
  check(slot: number, key: number): void {
    const found = this.#contents[slot * PAGE_WORDS + 1];
    if (found !== key) this.#problems.push(`key ${key}: the page of ${found} instead`);
  }

  versionIn(slot: number): number {
    return this.#contents[slot * PAGE_WORDS]!;
  }

  newVersion(key: number): number {
    const version = (this.#newest.get(key) ?? 0) + 1;
    this.#newest.set(key, version);
    return version;
  }

  storedOf(key: number): number {
    return this.#stored.get(key) ?? 0;
  }

  store(key: number, version: number): void {
    const before = this.storedOf(key);
    if (version < before) this.#problems.push(`key ${key}: ${version} stored over ${before}`);
    this.#stored.set(key, version);
  }

  acknowledge(key: number, version: number): void {
    this.#acknowledged.set(key, Math.max(version, this.#acknowledged.get(key) ?? 0));
  }

  forget(key: number): void {
    this.#forgotten.add(key);
  }

  /** Begins the flush of a dirty page, of which another worker then publishes a newer version. */
  beginAndReplace(cache: SharedPageCache, key: number): void {
    const batch = new Uint32Array(CAPACITY);
    const slots = [...batch.subarray(0, cache.beginFlush(batch))];
    for (const slot of slots) {
      if (cache.keyOf(slot) === key) this.begun.set(cache, slot);
      else cache.endFlush(slot, false);
    }
    this.#replace(this.survivor, key);
    this.survivor.release();
  }

  /** Clean pages come and go, so that the hand and the head of the cold queue move on. */
  churn(count: number): void {
    const { survivor: cache } = this;
    for (let i = 0; i < count; i++) {
      this.begin(cache, 2e6 + i);
    }
    cache.release();
  }

  /** A clean page. */
  begin(cache: SharedPageCache, key: number): number {
    const slot = cache.insert(key);
    if (slot < 0) return slot;
    this.fill(slot, key, 0);
    cache.publish(slot, false);
    return slot;
  }

  /** Of a page that is new and was not used, so that searches for victims come by it. */
  beginVersion(cache: SharedPageCache, key: number): void {
    const older = this.begin(cache, key);
    const slot = older < 0 ? older : cache.update(older);
    if (slot < 0) return;
    this.fill(slot, key, this.newVersion(key));
    this.begunVersions.set(cache, slot);
  }

  /** A worker that was filling, updating and flushing, and is there no more. */
  leaveOneDead(): void {
    if (this.deadBefore.length > 0) return;
    const dead = this.join();
    const found = dead.lookup(this.keys[0]!);
    if (found >= 0) dead.update(found);
    dead.beginFlush(new Uint32Array(1));
    dead.insert(this.keys[18]!);
    this.deadBefore.push(dead.worker);
    this.#dead.add(dead.worker);
  }

  /** Lets a worker do an act, until it is done, stopped for good, or must wait for another one. */
  run(kind: ActKind, cache: SharedPageCache, stop: Stop | undefined): StepsDone {
    const act = kind.act(this, cache);
    const done = runUntil(stop, () => this.#proceed(act, undefined));
    if (!done.died) return done;
    this.#dead.add(cache.worker);
    return done;
  }

  /** One worker reaps all that died. */
  reapAll(cache: SharedPageCache): Act {
    const left = [...this.#dead];
    return (function* () {
      for (let tries = 0; left.length > 0; tries++) {
        const worker = left.shift()!;
        let isDone = false;
        yield () => {
          try {
            cache.reap(worker);
            isDone = true;
          } catch (error) {
            if (!isStuck(error) || tries > TRIES_MAX) throw error;
          }
          return 0;
        };
        if (!isDone) left.push(worker);
      }
    })();
  }

  /**
   * After all is reaped: ends what is pending, looks at everything. Where others worked while the
   * reaper counted, the count of cold slots may be wrong by some.
   */
  verify(miscountMax: number): string[] {
    for (const { act, call } of this.#pending.splice(0)) this.#proceed(act, call, "must");
    this.survivor.release();
    this.#verifyFlushes();
    for (const [cache, slot] of this.begunVersions) cache.abandon(slot);
    for (const cache of this.workers) {
      if (!this.#dead.has(cache.worker) && !this.left.has(cache)) cache.leave();
    }
    this.survivor.resize(CAPACITY);
    this.#verifyCount(miscountMax);
    this.#verifyPages();
    this.#verifySlots();
    this.survivor.leave();
    return [...this.#problems, ...findProblems(joinParts(this.#memory))];
  }

  #fillAtFirst(): void {
    const { survivor: cache, keys } = this;
    const [, , flusher] = this.workers;
    for (const key of keys.slice(0, KEYS_AT_FIRST)) {
      const slot = cache.insert(key);
      const isDirty = key === keys[1] || key === keys[2] || key === keys[3];
      const version = isDirty ? this.newVersion(key) : 0;
      this.fill(slot, key, version);
      cache.publish(slot, isDirty);
      if (isDirty) this.acknowledge(key, version);
    }
    cache.release();
    this.beginAt(flusher!, keys[3]!);
  }

  beginAt(cache: SharedPageCache, key: number): void {
    const batch = new Uint32Array(CAPACITY);
    for (const slot of batch.subarray(0, cache.beginFlush(batch))) {
      if (cache.keyOf(slot) === key) this.begun.set(cache, slot);
      else cache.endFlush(slot, false);
    }
  }

  #replace(cache: SharedPageCache, key: number): void {
    const slot = cache.update(cache.lookup(key));
    if (slot < 0) return;
    const version = this.newVersion(key);
    this.fill(slot, key, version);
    if (cache.publish(slot, true)) this.acknowledge(key, version);
  }

  #proceed(act: Act, again: (() => number) | undefined, patience?: "must"): void {
    let call = again;
    for (let value = 0; ;) {
      if (call === undefined) {
        const next = act.next(value);
        if (next.done === true) return;
        call = next.value;
      }
      try {
        value = call();
      } catch (error) {
        if (patience === "must" || !isStuck(error)) throw error;
        this.#pending.push({ act, call });
        return;
      }
      call = undefined;
    }
  }

  #verifyCount(miscountMax: number): void {
    const parts = joinParts(this.#memory);
    const { cold } = this.survivor.census();
    const counted = parts.words[COLD_SIZE]!;
    if (Math.abs(counted - cold) > miscountMax)
      this.#problems.push(`${cold} cold slots are counted as ${counted}`);
    parts.pins.free(parts.pins.place);
  }

  #verifyFlushes(): void {
    const { survivor: cache } = this;
    for (const worker of this.workers) {
      const slot = this.begun.get(worker);
      // Whoever lives ends what it began.
      if (slot !== undefined && !this.#dead.has(worker.worker)) this.#endFlush(worker, slot);
    }
    const batch = new Uint32Array(CAPACITY);
    const count = cache.beginFlush(batch);
    for (const slot of batch.subarray(0, count)) this.#endFlush(cache, slot);
    if (cache.dirtyCount > 0) this.#problems.push(`${cache.dirtyCount} slots stay dirty`);
  }

  #endFlush(cache: SharedPageCache, slot: number): void {
    this.store(cache.keyOf(slot), this.versionIn(slot));
    cache.endFlush(slot, true);
  }

  #verifyPages(): void {
    for (const key of this.keys) {
      if (this.#forgotten.has(key)) continue;
      const acknowledged = this.#acknowledged.get(key) ?? 0;
      const slot = this.survivor.lookup(key);
      if (slot < 0 && slot !== MISS) this.#problems.push(`key ${key} can be had by nobody`);
      if (slot >= 0) this.check(slot, key);
      const version = slot < 0 ? this.storedOf(key) : this.versionIn(slot);
      if (version < acknowledged) this.#problems.push(`key ${key}: ${acknowledged} was lost`);
      if (version > this.storedOf(key)) this.#problems.push(`key ${key}: clean and not stored`);
    }
  }

  /** Every slot is handed out again, and once. */
  #verifySlots(): void {
    const { survivor: cache } = this;
    const slots = new Set<number>();
    let key = 1e6;
    for (; key < 1e6 + 20 * CAPACITY && slots.size < CAPACITY; key++) {
      const slot = cache.insert(key);
      if (slot < 0) continue;
      slots.add(slot);
      cache.publish(slot, false);
      cache.pin(slot);
    }
    if (slots.size < CAPACITY) this.#problems.push(`${CAPACITY - slots.size} slots are lost`);
    else if (cache.insert(key) >= 0) this.#problems.push("a slot in use is handed out");
    for (const slot of slots) cache.unpin(slot);
    cache.release();
  }
}

function keysOfOneBucket(memory: SharedArrayBuffer): number[] {
  const { index, pins } = joinParts(memory);
  pins.free(pins.place);
  const keys: number[] = [];
  for (let key = 1; keys.length < KEY_COUNT; key++) {
    if (index.bucketOf(key, 0) === index.bucketOf(1, 0)) keys.push(key);
  }
  return keys;
}

/** The error may be another module's. */
function isStuck(error: unknown): boolean {
  return (error as Partial<CodedError>).code === "cache-worker-stuck";
}
