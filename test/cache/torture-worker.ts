/**
 * One worker of the torture: random reads, fills, updates, removals and flushes, each checked. It
 * may be ended at any instruction.
 */
import { Prng } from "../../src/base/index.ts";
import { SharedPageCache } from "../../src/cache/index.ts";
import { raise, readPage, TortureMemory, writePage } from "./torture-rules.ts";
import type { TortureSetting } from "./torture-rules.ts";

export interface TortureOrder {
  readonly setting: TortureSetting;
  readonly worker: number;
  readonly seed: number;
}

const { BUSY, FULL, MISS } = { MISS: -1, BUSY: -2, FULL: -3 };
const PINS_MAX = 4;
const FLUSHES_MAX = 8;
/**
 * A call that says that another worker is stuck has changed nothing and may be repeated: on a
 * machine that is busy enough, the reaper of the dead comes late. Each try lasts three seconds.
 */
const STUCK_TRIES_MAX = 20;

export class TortureWorker {
  readonly #cache: SharedPageCache;
  readonly #rules: TortureMemory;
  readonly #prng: Prng;
  readonly #pages: Int32Array[];
  readonly #pinned: { slot: number; key: number; version: number }[] = [];
  readonly #flushing: number[] = [];
  readonly #batch = new Uint32Array(8);

  constructor(order: TortureOrder, cacheMemory: Uint8Array, rulesMemory: Uint8Array) {
    this.#rules = new TortureMemory(order.setting, rulesMemory);
    this.#cache = new SharedPageCache(cacheMemory);
    Atomics.store(this.#rules.joined, order.worker, this.#cache.worker);
    this.#prng = new Prng(order.seed);
    const { buffer, byteOffset } = this.#cache.pages;
    const { pageBytes, capacity } = order.setting;
    this.#pages = Array.from(
      { length: capacity },
      (_, slot) => new Int32Array(buffer, byteOffset + slot * pageBytes, pageBytes / 4),
    );
  }

  run(worker: number): void {
    const { stop, thousands } = this.#rules;
    while (Atomics.load(stop, 0) === 0) {
      for (let i = 0; i < 1000; i++) this.#step();
      Atomics.add(thousands, worker, 1);
    }
    while (this.#pinned.length > 0) this.#unpin();
    while (this.#flushing.length > 0) this.#endFlush();
    this.#cache.leave();
  }

  #step(): void {
    const prng = this.#prng;
    const { keyCount } = this.#rules.setting;
    const key = Math.min(prng.below(keyCount), prng.below(keyCount));
    const action = prng.below(100);
    if (action < 70) this.#read(key);
    else if (action < 80) this.#write(key);
    else if (action < 84) this.#pin(key);
    else if (action < 88) this.#unpin();
    else if (action < 92) this.#beginFlush();
    else if (action < 97) for (let i = 0; i < 6; i++) this.#endFlush();
    else if (action < 99) this.#transient(keyCount + prng.below(8));
    else this.#startAndAbandon(key);
  }

  /** The slot of a key, filled from what is stored if need be; negative if that cannot be now. */
  #get(key: number): number {
    const { acknowledged, stored } = this.#rules;
    const known = Atomics.load(acknowledged, key);
    let slot = this.#retry((cache) => cache.lookup(key));
    if (slot === MISS) {
      slot = this.#retry((cache) => cache.insert(key));
      if (slot < 0) return slot;
      this.#claimFilling(slot);
      const version = Atomics.load(stored, key);
      if (version < known) fail(`key ${key}: ${known} was published, ${version} is stored`);
      writePage(this.#pages[slot]!, key, version);
      this.#endFilling(slot);
      this.#retry((cache) => cache.publish(slot, false));
    }
    if (slot >= 0) this.#check(slot, key, known);
    return slot;
  }

  #read(key: number): void {
    this.#get(key);
  }

  #write(key: number): void {
    const slot = this.#get(key);
    if (slot < 0) return;
    const newer = this.#cache.update(slot);
    if (newer === FULL) return;
    this.#claimFilling(newer);
    const version = this.#check(newer, key, 0) + 1;
    writePage(this.#pages[newer]!, key, version);
    this.#endFilling(newer);
    if (!this.#retry((cache) => cache.publish(newer, true))) return;
    const { acknowledged, published } = this.#rules;
    raise(acknowledged, key, version);
    const count = Atomics.add(published, key, 1) + 1;
    if (count > Atomics.load(acknowledged, key)) fail(`key ${key}: one version published twice`);
  }

  #pin(key: number): void {
    if (this.#pinned.length >= PINS_MAX) return;
    const slot = this.#get(key);
    if (slot < 0) return;
    this.#cache.pin(slot);
    this.#pinned.push({ slot, key, version: this.#check(slot, key, 0) });
  }

  #unpin(): void {
    const pin = this.#pinned.splice(this.#prng.below(this.#pinned.length || 1), 1)[0];
    if (pin === undefined) return;
    const version = this.#check(pin.slot, pin.key, pin.version);
    if (version !== pin.version) fail(`key ${pin.key}: a pinned page changed`);
    this.#cache.unpin(pin.slot);
  }

  #beginFlush(): void {
    if (this.#flushing.length >= FLUSHES_MAX) return;
    const count = this.#cache.beginFlush(this.#batch);
    for (let i = 0; i < count; i++) this.#flushing.push(this.#batch[i]!);
  }

  #endFlush(): void {
    const slot = this.#flushing.shift();
    if (slot === undefined) return;
    const { stored, setting } = this.#rules;
    const key = this.#cache.keyOf(slot);
    if (key >= setting.keyCount) fail(`key ${key} was never dirty`);
    const version = this.#check(slot, key, 0);
    const succeeded = this.#prng.chance(0.9);
    if (succeeded) {
      const before = Atomics.exchange(stored, key, version);
      if (before > version) fail(`key ${key}: version ${version} stored over ${before}`);
    }
    this.#retry((cache) => cache.endFlush(slot, succeeded));
  }

  /** Keys without a history come and are removed, also while others look at them. */
  #transient(key: number): void {
    const slot = this.#retry((cache) => cache.lookup(key));
    if (slot >= 0) {
      this.#check(slot, key, 0);
      if (this.#prng.chance(0.5)) this.#retry((cache) => cache.remove(key));
    } else if (slot !== BUSY) {
      const filled = this.#retry((cache) => cache.insert(key));
      if (filled < 0) return;
      this.#claimFilling(filled);
      writePage(this.#pages[filled]!, key, 1);
      this.#endFilling(filled);
      this.#retry((cache) => cache.publish(filled, false));
    }
  }

  #startAndAbandon(key: number): void {
    const slot = this.#retry((cache) => cache.lookup(key));
    const owned = slot >= 0 ? this.#cache.update(slot) : this.#retry((cache) => cache.insert(key));
    if (owned < 0) return;
    this.#claimFilling(owned);
    writePage(this.#pages[owned]!, -1, -1);
    this.#endFilling(owned);
    this.#retry((cache) => cache.abandon(owned));
  }

  #check(slot: number, key: number, versionMin: number): number {
    const version = readPage(this.#pages[slot]!, key);
    if (version < 0) fail(`slot ${slot}: torn, or not the page of key ${key}`);
    if (version < versionMin) fail(`key ${key}: version ${version} after ${versionMin}`);
    return version;
  }

  #retry<T>(call: (cache: SharedPageCache) => T): T {
    for (let tries = 1; ; tries++) {
      try {
        return call(this.#cache);
      } catch (error) {
        const isStuck = (error as { code?: unknown }).code === "cache-worker-stuck";
        if (!isStuck || tries === STUCK_TRIES_MAX) throw error;
        Atomics.add(this.#rules.waits, 0, 1);
      }
    }
  }

  #claimFilling(slot: number): void {
    const { fillers } = this.#rules;
    const other = Atomics.compareExchange(fillers, slot, 0, this.#cache.worker);
    if (other !== 0) fail(`slot ${slot} was given to worker ${other} as well`);
  }

  #endFilling(slot: number): void {
    Atomics.store(this.#rules.fillers, slot, 0);
  }
}

function fail(message: string): never {
  throw new Error(message);
}
