import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError, Prng } from "../base/index.ts";
import { findProblems } from "./shared-census.ts";
import { formatSharedCache, sharedCacheBytes, SLOT_WORDS, STATE } from "./shared-layout.ts";
import type { SharedCacheGeometry } from "./shared-layout.ts";
import { BUSY, FULL, MISS, SharedPageCache } from "./shared-page-cache.ts";
import { joinParts } from "./shared-parts.ts";
import { OWNED, ownerBits } from "./shared-state.ts";
import { LIMBO } from "./slot-status.ts";
import { writeBack } from "./write-back.ts";

function makeMemory(geometry: Partial<SharedCacheGeometry> = {}): SharedArrayBuffer {
  const whole = { capacity: 8, pageBytes: 16, ...geometry };
  const memory = new SharedArrayBuffer(sharedCacheBytes(whole));
  formatSharedCache(memory, whole);
  return memory;
}

function put(cache: SharedPageCache, key: number, value: number, dirty = false): number {
  const slot = cache.insert(key);
  assert.ok(slot >= 0, `no slot for ${key}: ${slot}`);
  cache.pages.fill(value, cache.pageAt(slot), cache.pageAt(slot + 1));
  assert.equal(cache.publish(slot, dirty), true);
  return slot;
}

function valueOf(cache: SharedPageCache, key: number): number {
  const slot = cache.lookup(key);
  return slot < 0 ? slot : cache.pages[cache.pageAt(slot)]!;
}

function replace(cache: SharedPageCache, key: number, value: number): boolean {
  const slot = cache.update(cache.lookup(key));
  assert.ok(slot >= 0);
  cache.pages.fill(value, cache.pageAt(slot), cache.pageAt(slot + 1));
  return cache.publish(slot, true);
}

function assertSound(memory: SharedArrayBuffer, ...caches: SharedPageCache[]): void {
  for (const cache of caches) cache.leave();
  assert.deepEqual(findProblems(joinParts(memory)), []);
}

function isFault(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CodedError && error.code === code;
}

test("what one worker publishes the others find, and until then they are told to wait", () => {
  const memory = makeMemory();
  const a = new SharedPageCache(memory);
  const b = new SharedPageCache(memory);
  assert.equal(b.lookup(7), MISS);
  const slot = a.insert(7);
  assert.equal(b.lookup(7), BUSY);
  assert.equal(b.insert(7), BUSY);
  a.pages.fill(9, a.pageAt(slot), a.pageAt(slot + 1));
  a.publish(slot, false);
  assert.equal(b.lookup(7), slot);
  assert.equal(valueOf(b, 7), 9);
  assert.equal(b.insert(7), BUSY);
  assert.deepEqual([a.statsOf(a.place).hits, b.statsOf(b.place).hits], [0, 2]);
  assert.equal(a.stats.misses, 1);
  assertSound(memory, a, b);
});

test("an abandoned slot is free again, and its key is not there", () => {
  const memory = makeMemory({ capacity: 1 });
  const a = new SharedPageCache(memory);
  a.abandon(a.insert(7));
  assert.equal(a.lookup(7), MISS);
  put(a, 8, 1);
  a.abandon(a.insert(7));
  assert.equal(a.lookup(7), MISS);
  assertSound(memory, a);
});

test("a slot is not reused while any worker looks at it or has it pinned", () => {
  const memory = makeMemory({ capacity: 2 });
  const a = new SharedPageCache(memory);
  const b = new SharedPageCache(memory);
  put(a, 1, 1);
  put(a, 2, 2);
  a.release();
  const slot = b.lookup(1);
  b.pin(slot);
  b.pin(slot);
  assert.equal(b.lookup(2), 1 - slot);
  assert.equal(a.insert(3), FULL);
  b.release();
  put(a, 3, 3);
  assert.equal(a.evictedKey, 2);
  b.unpin(slot);
  assert.equal(
    a.insert(4),
    1 - slot,
    "1 is pinned once more, and an insert ends a's own look at 3",
  );
  a.abandon(1 - slot);
  b.unpin(slot);
  assertSound(memory, a, b);
});

test("a new version takes the old one's place, and who looks at the old one may go on", () => {
  const memory = makeMemory();
  const a = new SharedPageCache(memory);
  const b = new SharedPageCache(memory);
  put(a, 7, 1);
  const old = b.lookup(7);
  assert.equal(replace(a, 7, 2), true);
  assert.equal(b.pages[b.pageAt(old)], 1);
  assert.equal(valueOf(a, 7), 2);
  for (let key = 100; key < 200; key++) if (a.lookup(key) < 0) put(a, key, 3);
  assert.equal(b.pages[b.pageAt(old)], 1);
  assert.equal(a.census().limbo, 1);
  b.release();
  for (let key = 100; key < 200; key++) if (a.lookup(key) < 0) put(a, key, 3);
  assert.equal(a.census().limbo, 0);
  assertSound(memory, a, b);
});

test("of two new versions of the same page one is refused", () => {
  const memory = makeMemory();
  const a = new SharedPageCache(memory);
  const b = new SharedPageCache(memory);
  put(a, 7, 1);
  const mine = a.update(a.lookup(7));
  const theirs = b.update(b.lookup(7));
  assert.equal(a.publish(mine, true), true);
  assert.equal(b.publish(theirs, true), false);
  assert.equal(b.lookup(7), mine);
  const removed = b.update(b.lookup(7));
  a.release();
  assert.equal(a.remove(7), mine);
  assert.equal(b.publish(removed, true), false);
  assert.equal(b.lookup(7), MISS);
  assertSound(memory, a, b);
});

test("a dirty page is kept until its flush ended well", () => {
  const memory = makeMemory({ capacity: 1 });
  const a = new SharedPageCache(memory);
  const slot = put(a, 5, 1, true);
  const batch = new Uint32Array(4);
  assert.equal(a.insert(6), FULL);
  assert.equal(a.beginFlush(batch), 1);
  assert.equal(a.keyOf(batch[0]!), 5);
  assert.equal(a.insert(6), FULL, "the flush is under way");
  a.endFlush(slot, false);
  assert.equal(a.insert(6), FULL, "the flush failed");
  assert.equal(a.beginFlush(batch), 1);
  a.endFlush(slot, true);
  assert.equal(a.dirtyCount, 0);
  assert.equal(put(a, 6, 1), slot);
  assertSound(memory, a);
});

test("a newer version is flushed only after the flush of the older one ended", () => {
  const memory = makeMemory();
  const a = new SharedPageCache(memory);
  const b = new SharedPageCache(memory);
  const batch = new Uint32Array(4);
  put(a, 5, 1, true);
  assert.equal(a.beginFlush(batch), 1);
  const older = batch[0]!;
  assert.equal(replace(b, 5, 2), true);
  assert.equal(replace(b, 5, 3), true);
  assert.equal(b.beginFlush(batch), 0);
  a.endFlush(older, false);
  assert.equal(b.beginFlush(batch), 1);
  assert.equal(b.pages[b.pageAt(batch[0]!)], 3);
  b.endFlush(batch[0]!, true);
  assertSound(memory, a, b);
});

test("write-back works on a shared cache as on a private one", async () => {
  const memory = makeMemory({ capacity: 20 });
  const a = new SharedPageCache(memory);
  for (let key = 0; key < 10; key++) put(a, key, key, true);
  const keys: number[] = [];
  const failing = writeBack(a, 4, async (slots) => {
    if (keys.length === 4) throw new Error("the disk is gone");
    for (const slot of slots) keys.push(a.keyOf(slot));
  });
  await assert.rejects(failing, isFault("cache-flush-failed"));
  assert.equal(a.dirtyCount, 6);
  const flushed = await writeBack(a, 4, async (slots) => {
    for (const slot of slots) keys.push(a.keyOf(slot));
  });
  assert.equal(flushed, 6);
  assert.deepEqual(
    keys.toSorted((x, y) => x - y),
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
  );
  assertSound(memory, a);
});

test("all that a dead worker held is given back", () => {
  const memory = makeMemory({ capacity: 10, workersMax: 2, pinsMax: 3 });
  const dead = new SharedPageCache(memory);
  const a = new SharedPageCache(memory);
  for (let key = 0; key < 5; key++) put(dead, key, key, key >= 3);
  dead.pin(dead.lookup(0));
  dead.lookup(1);
  const filling = dead.insert(50);
  assert.equal(dead.beginFlush(new Uint32Array(1)), 1);
  const shadow = dead.update(dead.lookup(4));
  assert.equal(a.lookup(50), BUSY);
  assert.throws(() => new SharedPageCache(memory), isFault("cache-workers-exhausted"));

  assert.equal(a.reap(dead.worker), 3, "one it filled, one it flushed, a version it had begun");
  assert.equal(a.reap(dead.worker), 0);
  assert.equal(a.lookup(50), MISS);
  assert.equal(valueOf(a, 4), 4, "the version before the one that was begun");
  assert.deepEqual([a.census().owned, a.census().flushing, a.dirtyCount], [0, 0, 2]);
  assert.notEqual(filling, shadow);
  const heir = new SharedPageCache(memory);
  assert.equal(heir.place, dead.place);
  for (let key = 100; key < 200; key++) if (heir.lookup(key) < 0) put(heir, key, 3);
  assert.equal(heir.lookup(0), MISS, "its pin is gone as well");
  assert.equal(valueOf(heir, 3), 3, "what was dirty is there");
  assert.equal(valueOf(heir, 4), 4);
  assertSound(memory, a, heir);
});

test("a lock that a worker died with is taken from it", () => {
  const memory = makeMemory({ capacity: 4 });
  const a = new SharedPageCache(memory);
  const dead = joinParts(memory);
  const bucket = dead.index.bucketOf(7, 0);
  assert.equal(dead.index.tryLock(bucket), true);
  put(a, 8, 1);
  assert.throws(() => a.insert(7), isFault("cache-worker-stuck"));
  a.reap(dead.pins.worker);
  put(a, 7, 1);
  assertSound(memory, a);
});

test("a reaper that needs the lock of another dead worker leaves all as it is for the next", () => {
  const memory = makeMemory({ capacity: 4 });
  const a = new SharedPageCache(memory);
  const filling = new SharedPageCache(memory);
  filling.insert(7);
  const locking = joinParts(memory);
  locking.index.lock(locking.index.bucketOf(7, 0));
  assert.throws(() => a.reap(filling.worker), isFault("cache-worker-stuck"));
  assert.equal(a.reap(locking.pins.worker), 0);
  assert.equal(a.reap(filling.worker), 1);
  for (let key = 0; key < 4; key++) a.pin(put(a, key, 1));
  assert.equal(a.census().owned, 0);
  for (let key = 0; key < 4; key++) a.unpin(a.lookup(key));
  assertSound(memory, a);
});

test("a worker that was reaped is not reaped again when another one has its place", () => {
  const memory = makeMemory({ workersMax: 2 });
  const a = new SharedPageCache(memory);
  const dead = new SharedPageCache(memory);
  assert.deepEqual(a.silent(), []);
  assert.deepEqual(a.silent(), [dead.worker]);
  a.reap(dead.worker);
  const heir = new SharedPageCache(memory);
  assert.equal(heir.place, dead.place);
  assert.deepEqual(a.silent(), [], "it has just come");
  const slot = heir.insert(7);
  assert.equal(a.reap(dead.worker), 0);
  assert.equal(heir.publish(slot, false), true);
  assertSound(memory, a, heir);
});

test("a new version is refused, not waited for, while the older one is taken from the dead", () => {
  const memory = makeMemory({ capacity: 4 });
  const a = new SharedPageCache(memory);
  put(a, 7, 1);
  const mine = a.update(a.lookup(7));
  const reaper = joinParts(memory);
  // As a reaper has it between taking the slot and locking its bucket, which the publisher holds.
  const older = reaper.layout.slotsAt + (a.lookup(7) + 1) * SLOT_WORDS + STATE;
  Atomics.store(reaper.words, older, LIMBO | OWNED | ownerBits(reaper.pins.place));
  assert.equal(a.publish(mine, true), false);
  a.reap(reaper.pins.worker);
  assert.equal(a.lookup(7), MISS);
  assertSound(memory, a);
});

test("workers that do not beat are told apart from those that do", () => {
  const memory = makeMemory({ workersMax: 3 });
  const watcher = new SharedPageCache(memory);
  const lively = new SharedPageCache(memory);
  const silent = new SharedPageCache(memory);
  assert.deepEqual(watcher.silent(), []);
  lively.beat();
  assert.deepEqual(watcher.silent(), [silent.worker]);
  silent.leave();
  assert.deepEqual(watcher.silent(), [lively.worker]);
});

test("memory that holds no cache, another version's, or too little of one is refused", () => {
  const geometry = { capacity: 8, pageBytes: 16 };
  const refuse = (memory: SharedArrayBuffer | Uint8Array, code: string): void =>
    assert.throws(() => new SharedPageCache(memory), isFault(code));
  refuse(new SharedArrayBuffer(8), "cache-memory-unknown");
  refuse(new SharedArrayBuffer(100_000), "cache-memory-unknown");
  const memory = makeMemory();
  const words = new Int32Array(memory);
  words[1]!++;
  refuse(memory, "cache-memory-version-unknown");
  words[1]!--;
  refuse(new Uint8Array(memory, 0, memory.byteLength - 8), "cache-memory-damaged");
  for (const [word, value] of [
    [2, 0],
    [2, 9],
    [3, -8],
    [4, 251],
    [5, 0],
  ] as const) {
    const damaged = new Int32Array(words);
    damaged[word] = value;
    refuse(new Uint8Array(damaged.buffer), "cache-memory-damaged");
  }
  refuse(new Uint8Array(new ArrayBuffer(100_000), 4), "cache-memory-misaligned");
  assert.throws(
    () => formatSharedCache(new SharedArrayBuffer(100), geometry),
    isFault("cache-memory-too-small"),
  );
  for (const bad of [{ pageBytes: 12 }, { workersMax: 0 }, { workersMax: 300 }, { pinsMax: 0 }]) {
    const invalid = { ...geometry, ...bad };
    assert.throws(() => sharedCacheBytes(invalid), isFault("cache-geometry-invalid"));
  }
  const invalid = { ...geometry, capacity: 0 };
  assert.throws(() => sharedCacheBytes(invalid), isFault("cache-capacity-invalid"));
});

test("it works in memory that is not a SharedArrayBuffer, as mapped memory is not", () => {
  const geometry = { capacity: 50, pageBytes: 8 };
  const bytes = new Uint8Array(sharedCacheBytes(geometry) + 4096).subarray(64);
  formatSharedCache(bytes, geometry);
  const a = new SharedPageCache(bytes);
  const b = new SharedPageCache(bytes);
  for (let key = 0; key < 1000; key++) if (a.lookup(key % 70) < 0) put(a, key % 70, key % 70);
  let hits = 0;
  for (let key = 0; key < 70; key++) {
    const slot = b.lookup(key);
    if (slot < 0) continue;
    hits++;
    assert.equal(b.pages[b.pageAt(slot)], key);
  }
  assert.equal(hits, 50);
});

test("a worker may pin as many slots as the cache was made for", () => {
  const cache = new SharedPageCache(makeMemory({ pinsMax: 2 }));
  for (let key = 0; key < 2; key++) cache.pin(put(cache, key, key));
  const third = put(cache, 2, 2);
  assert.throws(() => cache.pin(third), isFault("cache-pins-exhausted"));
  assert.throws(() => cache.update(third), isFault("cache-pins-exhausted"));
});

test("it shrinks in steps, without touching what is pinned or dirty, and grows again", () => {
  const memory = makeMemory({ capacity: 100 });
  const a = new SharedPageCache(memory);
  for (let key = 0; key < 100; key++) put(a, key, key, key === 90);
  a.pin(a.lookup(80));
  a.release();
  a.resize(30);
  assert.equal(a.trim(), 2);
  assert.equal(valueOf(a, 80), 80);
  a.unpin(a.lookup(80));
  a.release();
  const batch = new Uint32Array(1);
  assert.equal(a.beginFlush(batch), 1);
  a.endFlush(batch[0]!, true);
  assert.equal(a.trim(), 0);
  const residents = (): number => a.census().cold + a.census().hot;
  for (let key = 200; key < 400; key++) put(a, key, key & 0xff);
  assert.equal(residents(), 30);
  assert.equal(a.census().usedBytes, 30 * 16);
  a.resize(60);
  for (let key = 400; key < 600; key++) put(a, key, key & 0xff);
  assert.equal(residents(), 60);
  assert.throws(() => a.resize(101), isFault("cache-capacity-too-large"));
  assertSound(memory, a);
});

test("keys up to 2^53 - 1 are told apart, others are refused", () => {
  const cache = new SharedPageCache(makeMemory());
  const keys = [0, 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1];
  const slots = keys.map((key) => put(cache, key, 1));
  assert.equal(new Set(slots).size, keys.length);
  for (const [i, key] of keys.entries()) {
    assert.equal(cache.lookup(key), slots[i]);
    assert.equal(cache.keyOf(slots[i]!), key);
  }
  for (const key of [-1, 0.5, Number.NaN, 2 ** 53, Number.POSITIVE_INFINITY]) {
    assert.throws(() => cache.insert(key), isFault("cache-key-out-of-range"));
    assert.equal(cache.lookup(key), MISS);
  }
});

test("a scan of ten times the capacity leaves a warm hot set where it is", () => {
  const cache = new SharedPageCache(makeMemory({ capacity: 1000, pageBytes: 8 }));
  const get = (key: number): void => {
    if (cache.lookup(key) < 0) put(cache, key, 0);
  };
  for (let round = 0; round < 20; round++) {
    for (let key = 0; key < 700; key++) get(key);
    for (let i = 0; i < 100; i++) get(1e9 + round * 100 + i);
  }
  for (let key = 1e6; key < 1e6 + 10_000; key++) get(key);
  let resident = 0;
  for (let key = 0; key < 700; key++) if (cache.lookup(key) >= 0) resident++;
  assert.ok(resident >= 693, `${resident} of 700 survived`);
});

test("two workers' random work in turns leaves every invariant whole", () => {
  for (let seed = 0; seed < 20; seed++) {
    const prng = new Prng(seed);
    const memory = makeMemory({ capacity: prng.between(1, 40), workersMax: 3 });
    const caches = [new SharedPageCache(memory), new SharedPageCache(memory)];
    const batch = new Uint32Array(3);
    for (let step = 0; step < 3000; step++) {
      const cache = prng.pick(caches);
      const key = Math.min(prng.below(60), prng.below(60));
      const action = prng.below(10);
      if (action === 0) {
        cache.remove(key);
      } else if (action === 1) {
        const count = cache.beginFlush(batch);
        for (const slot of batch.subarray(0, count)) cache.endFlush(slot, prng.chance(0.8));
      } else {
        let slot = cache.lookup(key);
        if (slot === MISS) {
          slot = cache.insert(key);
          if (slot >= 0) cache.publish(slot, action === 2);
        } else if (action === 3) {
          const newer = cache.update(slot);
          if (newer >= 0) assert.equal(cache.publish(newer, true), true);
        }
      }
    }
    assertSound(memory, ...caches);
  }
});
