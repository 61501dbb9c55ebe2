import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { CodedError, Prng } from "../base/index.ts";
import { CACHE_CAPACITY_MAX } from "./cache-checks.ts";
import type { CacheMode } from "./cache-parameters.ts";
import { NaiveCache } from "./naive-cache.ts";
import { PageCache } from "./page-cache.ts";

const MODES: readonly CacheMode[] = ["clock2q", "clock2q-plus", "best"];

/** A full clock2q-plus cache of 100: cold aims at 10 slots, the window is 5 admissions wide. */
function fullCache(): PageCache {
  const cache = new PageCache({ capacity: 100, mode: "clock2q-plus" });
  for (let key = 0; key < 100; key++) cache.insert(key);
  return cache;
}

function queueSizes(cache: PageCache): Record<string, number> {
  const sizes: Record<string, number> = { cold: 0, hot: 0 };
  cache.forEach((key) => sizes[cache.queueOf(key)!]!++);
  return sizes;
}

test("while there is room, cold fills to its share and hot takes the rest", () => {
  const cache = fullCache();
  assert.deepEqual(queueSizes(cache), { cold: 10, hot: 90 });
  assert.equal(cache.stats.evictions, 0);
  assert.equal(cache.size, 100);
});

test("a new key enters the cold queue, and the oldest unused cold key becomes a ghost", () => {
  const cache = fullCache();
  const slot = cache.peek(0);
  assert.equal(cache.insert(1000), slot);
  assert.equal(cache.evictedKey, 0);
  assert.equal(cache.queueOf(1000), "cold");
  assert.equal(cache.queueOf(0), "ghost");
  assert.equal(cache.lookup(0), -1);
});

test("a ghost that is asked for again goes straight to the hot ring and is a ghost no more", () => {
  const cache = fullCache();
  cache.insert(1000);
  cache.insert(0);
  assert.equal(cache.queueOf(0), "hot");
  assert.equal(cache.stats.ghostHits, 1);
  assert.equal(cache.stats.promotions, 0);
});

for (const [admissionsLater, counts] of [
  [4, false],
  [5, true],
] as const) {
  test(`a hit ${admissionsLater} admissions later ${counts ? "counts" : "does not count"}`, () => {
    const cache = fullCache();
    cache.insert(1000);
    for (let i = 0; i < admissionsLater; i++) cache.insert(2000 + i);
    cache.lookup(1000);
    for (let i = 0; i < 10; i++) cache.insert(3000 + i);
    assert.equal(cache.queueOf(1000), counts ? "hot" : "ghost");
    assert.equal(cache.stats.promotions, counts ? 1 : 0);
  });
}

test("clock2q makes hot what returns from the ghosts, and nothing else", () => {
  const cache = new PageCache({ capacity: 100, mode: "clock2q" });
  for (let key = 0; key < 100; key++) cache.insert(key);
  cache.insert(1000);
  for (let i = 0; i < 24; i++) {
    cache.insert(2000 + i);
    cache.lookup(1000);
  }
  assert.equal(cache.queueOf(1000), "cold");
  cache.insert(3000);
  assert.equal(cache.queueOf(1000), "ghost");
  cache.insert(1000);
  assert.equal(cache.queueOf(1000), "hot");
});

test("the hand arms a used slot and takes it only on a later round", () => {
  const cache = fullCache();
  // The hot ring holds 10..99 with the hand at 10. Ghost hits need hot slots.
  cache.lookup(10);
  cache.lookup(11);
  cache.insert(1000);
  cache.insert(0);
  assert.equal(cache.evictedKey, 1, "the ring was not over its share: the cold queue paid");
  cache.insert(1001);
  assert.equal(cache.evictedKey, 12, "10 and 11 were stepped over and armed");
  assert.equal(cache.stats.skippedSlots, 2);
});

test("what the hot ring loses is not remembered as a ghost", () => {
  const cache = fullCache();
  cache.insert(1000);
  cache.insert(0);
  cache.insert(1001);
  assert.equal(cache.evictedKey, 10);
  assert.equal(cache.queueOf(10), undefined);
});

test("the hand gives up after its limit and takes a slot in use", () => {
  const cache = new PageCache({ capacity: 100, mode: "clock2q-plus", handLimit: 10 });
  for (let key = 0; key < 100; key++) cache.insert(key);
  for (let key = 10; key < 100; key++) cache.lookup(key);
  cache.insert(1000);
  cache.insert(0);
  cache.insert(1001);
  assert.equal(cache.evictedKey, 20);
  assert.equal(cache.stats.skippedSlots, 10);
});

test("pinned slots are stepped over in place, and a cache of pinned slots alone refuses", () => {
  const cache = new PageCache({ capacity: 4 });
  const slots = [0, 1, 2, 3].map((key) => cache.insert(key));
  for (const slot of slots) cache.pin(slot);
  assert.equal(cache.insert(9), -1);
  assert.equal(cache.evictedKey, -1);
  for (const [key, slot] of slots.entries()) assert.equal(cache.peek(key), slot);
  cache.unpin(slots[2]!);
  assert.equal(cache.insert(9), slots[2]);
  assert.equal(cache.evictedKey, 2);
});

test("a slot removed while pinned is reused only after the last unpin", () => {
  const cache = new PageCache({ capacity: 1 });
  const slot = cache.insert(5);
  cache.pin(slot);
  cache.pin(slot);
  assert.equal(cache.remove(5), true);
  assert.equal(cache.lookup(5), -1);
  assert.equal(cache.keyOf(slot), -1);
  cache.unpin(slot);
  assert.equal(cache.insert(6), -1);
  cache.unpin(slot);
  assert.equal(cache.insert(6), slot);
});

test("a dirty slot is reused only after its flush ended well", () => {
  const cache = new PageCache({ capacity: 1 });
  const slot = cache.insert(5);
  const batch = new Uint32Array(4);
  cache.markDirty(slot);
  assert.equal(cache.insert(6), -1);
  assert.equal(cache.beginFlush(batch), 1);
  assert.equal(batch[0], slot);
  assert.equal(cache.insert(6), -1, "the flush is under way");
  cache.endFlush(slot, false);
  assert.equal(cache.insert(6), -1, "the flush failed");
  assert.equal(cache.beginFlush(batch), 1);
  cache.markDirty(slot);
  assert.equal(cache.beginFlush(batch), 0, "one flush of a slot at a time");
  cache.endFlush(slot, true);
  assert.equal(cache.insert(6), -1, "it was written to during the flush");
  assert.equal(cache.beginFlush(batch), 1);
  cache.endFlush(slot, true);
  assert.equal(cache.dirtyCount, 0);
  assert.equal(cache.insert(6), slot);
});

test("no write is lost however flushes, their failures and evictions interleave", () => {
  const prng = new Prng(3);
  const cache = new PageCache({ capacity: 40 });
  const arena = new Float64Array(40);
  const disk = new Map<number, number>();
  const newest = new Map<number, number>();
  const batch = new Uint32Array(5);
  const underWay: { slot: number; key: number; value: number }[] = [];
  for (let step = 0; step < 20_000; step++) {
    const key = Math.min(prng.below(200), prng.below(200));
    let slot = cache.lookup(key);
    if (slot < 0) {
      slot = cache.insert(key);
      if (slot >= 0) arena[slot] = disk.get(key) ?? 0;
    }
    if (slot >= 0) {
      assert.equal(arena[slot], newest.get(key) ?? 0);
      if (prng.chance(0.3)) {
        arena[slot] = step;
        newest.set(key, step);
        cache.markDirty(slot);
      }
    }
    if (prng.chance(0.2)) {
      const count = cache.beginFlush(batch);
      for (const begun of batch.subarray(0, count)) {
        underWay.push({ slot: begun, key: cache.keyOf(begun), value: arena[begun]! });
      }
    }
    while (underWay.length > 8) {
      const [flush] = underWay.splice(prng.below(underWay.length), 1);
      const succeeded = prng.chance(0.9);
      if (succeeded) disk.set(flush!.key, flush!.value);
      cache.endFlush(flush!.slot, succeeded);
    }
  }
  assert.ok(cache.stats.evictions > 1000);
});

test("removing a key frees its slot and forgets its ghost", () => {
  const cache = fullCache();
  const slot = cache.peek(50);
  assert.equal(cache.remove(50), true);
  assert.equal(cache.remove(50), false);
  assert.equal(cache.size, 99);
  assert.equal(cache.insert(1000), slot);
  assert.equal(cache.evictedKey, -1);
  cache.insert(1001);
  assert.equal(cache.queueOf(0), "ghost");
  assert.equal(cache.remove(0), false);
  assert.equal(cache.queueOf(0), undefined);
});

test("a scan of ten times the capacity leaves a warm hot set where it is", () => {
  for (const mode of MODES) {
    const cache = new PageCache({ capacity: 1000, mode });
    for (let round = 0; round < 20; round++) {
      for (let key = 0; key < 700; key++) if (cache.lookup(key) < 0) cache.insert(key);
      for (let i = 0; i < 100; i++) cache.insert(1e9 + round * 100 + i);
    }
    for (let key = 1e6; key < 1e6 + 10_000; key++) if (cache.lookup(key) < 0) cache.insert(key);
    let resident = 0;
    for (let key = 0; key < 700; key++) if (cache.peek(key) >= 0) resident++;
    assert.ok(resident >= 693, `${mode}: ${resident} of 700 survived`);
  }
});

test("a working set that fits is not taken for one long burst: it survives a scan as well", () => {
  const cache = new PageCache({ capacity: 1000 });
  for (let round = 0; round < 20; round++) {
    for (let key = 0; key < 400; key++) if (cache.lookup(key) < 0) cache.insert(key);
  }
  for (let key = 1e6; key < 1e6 + 10_000; key++) if (cache.lookup(key) < 0) cache.insert(key);
  let resident = 0;
  for (let key = 0; key < 400; key++) if (cache.peek(key) >= 0) resident++;
  assert.ok(resident >= 396, `${resident} of 400 survived`);
});

test("grace is given where popularity lasts, and withheld where it moves on", () => {
  const missRatio = (mode: CacheMode, shift: number): number => {
    const cache = new PageCache({ capacity: 1000, mode });
    const prng = new Prng(1);
    for (let step = 0; step < 100_000; step++) {
      const key = Math.min(prng.below(4000), prng.below(4000), prng.below(4000));
      const moved = key + Math.floor(step * shift);
      if (cache.lookup(moved) < 0) cache.insert(moved);
    }
    return cache.stats.misses / 100_000;
  };
  assert.ok(missRatio("best", 0) < missRatio("clock2q-plus", 0));
  assert.ok(missRatio("best", 0.1) < missRatio("clock2q-plus", 0.1) * 1.02);
});

test("a cache shrinks by evictions in steps, and grows again, while in use", () => {
  const cache = fullCache();
  cache.resize(30);
  assert.equal(cache.insert(1000), cache.peek(1000));
  assert.equal(cache.size, 100);
  while (cache.size > cache.slotsMax) {
    const slot = cache.evict();
    assert.equal(cache.keyOf(slot), -1);
    assert.equal(cache.peek(cache.evictedKey), -1);
  }
  assert.deepEqual(queueSizes(cache), { cold: 3, hot: 27 });
  for (let key = 2000; key < 2100; key++) cache.insert(key);
  assert.equal(cache.size, 30);
  cache.resize(60);
  for (let key = 3000; key < 3100; key++) cache.insert(key);
  assert.equal(cache.size, 60);
  assert.throws(() => cache.resize(101), isFault("cache-capacity-too-large"));
  assert.throws(() => cache.resize(0), isFault("cache-capacity-invalid"));
});

test("keys up to 2^53 - 1 are told apart, others are refused", () => {
  const cache = new PageCache({ capacity: 8 });
  const keys = [0, 1, 2 ** 31, 2 ** 32, 2 ** 32 + 1, 2 ** 52, 2 ** 53 - 1];
  const slots = keys.map((key) => cache.insert(key));
  assert.equal(new Set(slots).size, keys.length);
  for (const [i, key] of keys.entries()) assert.equal(cache.lookup(key), slots[i]);
  for (const key of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
    assert.throws(() => cache.insert(key), isFault("cache-key-out-of-range"));
    assert.equal(cache.lookup(key), -1);
  }
});

test("capacities that cannot be are refused with the reason", () => {
  for (const capacity of [0, -1, 1.5, Number.NaN]) {
    assert.throws(() => new PageCache({ capacity }), isFault("cache-capacity-invalid"));
  }
  const capacity = CACHE_CAPACITY_MAX + 1;
  assert.throws(() => new PageCache({ capacity }), isFault("cache-capacity-too-large"));
});

function isFault(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CodedError && error.code === code;
}

interface HeldSlot {
  readonly slot: number;
  readonly item: NonNullable<ReturnType<NaiveCache["find"]>>;
}

function beginFlush(cache: PageCache, model: NaiveCache, countMax: number): HeldSlot[] {
  const slots = new Uint32Array(countMax);
  const count = cache.beginFlush(slots);
  const ready = [...model.cold, ...model.hot].filter((item) => item.dirty && !item.flushing);
  assert.equal(count, Math.min(countMax, ready.length));
  return [...slots.subarray(0, count)].map((slot, i) => {
    const item = ready[i]!;
    assert.equal(cache.keyOf(slot), item.key);
    item.dirty = false;
    item.flushing = true;
    return { slot, item };
  });
}

/** Random operations on the cache and on the plain model, which must agree after every one. */
function compareWithModel(
  mode: CacheMode,
  capacity: number,
  seed: number,
  stepCount: number,
): void {
  const prng = new Prng(seed);
  const cache = new PageCache({ capacity, mode });
  const model = new NaiveCache(capacity, mode);
  const pinned: HeldSlot[] = [];
  const flushing: HeldSlot[] = [];
  const keyCount = prng.between(capacity, 3 * capacity + 2);
  for (let step = 0; step < stepCount; step++) {
    const key = Math.min(prng.below(keyCount), prng.below(keyCount)) * 2 ** 30;
    const action = prng.below(20);
    const item = model.find(key);
    if (action === 0) {
      assert.equal(cache.remove(key), model.remove(key));
    } else if (action === 1 && item !== undefined && pinned.length < 12) {
      cache.pin(cache.peek(key));
      item.pins++;
      pinned.push({ slot: cache.peek(key), item });
    } else if (action === 4 && item !== undefined) {
      cache.markDirty(cache.peek(key));
      item.dirty = true;
    } else if (action === 5 && item?.dirty === true) {
      flushing.push(...beginFlush(cache, model, prng.between(1, 4)));
    } else if (action <= 6 && flushing.length > 0) {
      const [flush] = flushing.splice(prng.below(flushing.length), 1);
      const succeeded = prng.chance(0.8);
      cache.endFlush(flush!.slot, succeeded);
      model.endFlush(flush!.item, succeeded);
    } else if (action <= 3 && pinned.length > 0) {
      const [pin] = pinned.splice(prng.below(pinned.length), 1);
      cache.unpin(pin!.slot);
      model.unpin(pin!.item);
    } else if (model.lookup(key)) {
      assert.equal(cache.keyOf(cache.lookup(key)), key);
    } else {
      assert.equal(cache.lookup(key), -1);
      const inserted = model.insert(key);
      assert.equal(cache.insert(key) >= 0, inserted);
      assert.equal(cache.evictedKey, model.evictedKey);
    }
    for (const pin of pinned) assert.ok(cache.isPinned(pin.slot));
    for (const ring of [model.cold, model.hot]) {
      for (const item of ring) assert.equal(cache.isDirty(cache.peek(item.key)), item.dirty);
    }
    if (step % 16 === 0) assertSameContents(cache, model);
  }
  assertSameContents(cache, model);
}

function assertSameContents(cache: PageCache, model: NaiveCache): void {
  const contents = new Map<number, string>();
  cache.forEach((key, slot) => {
    assert.ok(!contents.has(key), "a key has two slots");
    assert.equal(cache.peek(key), slot);
    contents.set(key, cache.queueOf(key)!);
  });
  assert.ok(cache.size <= cache.capacity);
  assert.equal(contents.size, cache.size);
  const expected = new Map<number, string>();
  for (const item of model.cold) expected.set(item.key, "cold");
  for (const item of model.hot) expected.set(item.key, "hot");
  assert.deepEqual(sorted(contents), sorted(expected));
  for (let n = 0; n < 3 * cache.capacity + 2; n++) {
    const key = n * 2 ** 30;
    assert.equal(cache.queueOf(key) === "ghost", model.ghosts.has(key));
  }
  assert.equal(cache.stats.promotions, model.promotions);
}

function sorted(map: Map<number, string>): [number, string][] {
  return [...map].sort((a, b) => a[0] - b[0]);
}

for (const mode of MODES) {
  test(`${mode} does what the plain model does, with removals, pins and flushes`, () => {
    const property = fc.property(
      fc.integer({ min: 1, max: 70 }),
      fc.integer({ min: 0, max: 2 ** 32 - 1 }),
      (capacity, seed) => compareWithModel(mode, capacity, seed, 400),
    );
    fc.assert(property, { numRuns: 60 });
  });
}
