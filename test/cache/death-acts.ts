/**
 * What workers of a shared cache do in the sweep of deaths: each act is a row of calls, one after
 * the other, of which one that says that another worker is stuck is repeated later.
 */
import type { SharedPageCache } from "../../src/cache/index.ts";
import type { DeathWorld } from "./death-world.ts";

/** Yields calls; is given back what they returned. */
export type Act = Generator<() => number, void, number>;

export interface ActKind {
  /** What comes before, undisturbed. */
  readonly prepare?: (world: DeathWorld, cache: SharedPageCache) => void;
  readonly act: (world: DeathWorld, cache: SharedPageCache) => Act;
}

function* insert(world: DeathWorld, cache: SharedPageCache, dirty: boolean): Act {
  const key = world.keys[dirty ? 16 : 15]!;
  const found = yield () => cache.lookup(key);
  if (found >= 0) return world.check(found, key);
  const slot = yield () => cache.insert(key);
  if (slot < 0) return;
  const version = dirty ? world.newVersion(key) : world.storedOf(key);
  world.fill(slot, key, version);
  yield () => Number(cache.publish(slot, dirty));
  if (dirty) world.acknowledge(key, version);
}

function* update(world: DeathWorld, cache: SharedPageCache, key: number): Act {
  const found = yield () => cache.lookup(key);
  if (found < 0) return;
  world.check(found, key);
  const slot = yield () => cache.update(found);
  if (slot < 0) return;
  world.fill(slot, key, world.newVersion(key));
  yield* publish(world, cache, slot);
}

function* publish(world: DeathWorld, cache: SharedPageCache, slot: number): Act {
  const key = cache.keyOf(slot);
  const version = world.versionIn(slot);
  if ((yield () => Number(cache.publish(slot, true))) === 1) world.acknowledge(key, version);
}

function* remove(world: DeathWorld, cache: SharedPageCache, key: number): Act {
  world.forget(key);
  yield () => cache.remove(key);
}

function* flush(world: DeathWorld, cache: SharedPageCache, succeeds: boolean): Act {
  const batch = new Uint32Array(4);
  const count = yield () => cache.beginFlush(batch);
  for (const slot of batch.slice(0, count)) yield* endFlush(world, cache, slot, succeeds);
}

function* endFlush(
  world: DeathWorld,
  cache: SharedPageCache,
  slot: number,
  succeeds: boolean,
): Act {
  if (succeeds) world.store(cache.keyOf(slot), world.versionIn(slot));
  yield () => {
    cache.endFlush(slot, succeeds);
    return 0;
  };
}

function* abandon(cache: SharedPageCache, key: number): Act {
  const found = yield () => cache.lookup(key);
  const slot = yield () => (found >= 0 ? cache.update(found) : cache.insert(key));
  if (slot < 0) return;
  yield () => {
    cache.abandon(slot);
    return 0;
  };
}

function* pin(world: DeathWorld, cache: SharedPageCache, key: number): Act {
  const slot = yield () => cache.lookup(key);
  if (slot < 0) return;
  cache.pin(slot);
  world.check(slot, key);
  yield () => cache.lookup(key + 1);
  world.check(slot, key);
  cache.unpin(slot);
}

function* shrink(cache: SharedPageCache): Act {
  yield () => {
    cache.resize(3);
    return cache.trim();
  };
  yield () => {
    cache.resize(cache.capacity);
    return 0;
  };
}

function* reap(world: DeathWorld, cache: SharedPageCache): Act {
  for (const worker of world.deadBefore) yield () => cache.reap(worker);
}

/** By name. Keys 0 to 9 are there at first: 1 and 2 dirty, 3 being flushed. */
export const ACTS: Readonly<Record<string, ActKind>> = {
  "insert a clean page": { act: (world, cache) => insert(world, cache, false) },
  "insert a dirty page": { act: (world, cache) => insert(world, cache, true) },
  "update a clean page": { act: (world, cache) => update(world, cache, world.keys[0]!) },
  "update a dirty page": { act: (world, cache) => update(world, cache, world.keys[1]!) },
  "update a page being flushed": { act: (world, cache) => update(world, cache, world.keys[3]!) },
  "update a hot page": { act: (world, cache) => update(world, cache, world.keys[4]!) },
  "publish a version that was begun": {
    prepare: (world, cache) => world.beginVersion(cache, world.keys[19]!),
    act: function* (world, cache) {
      const slot = world.begunVersions.get(cache);
      world.begunVersions.delete(cache);
      if (slot !== undefined) yield* publish(world, cache, slot);
    },
  },
  "remove a clean page": { act: (world, cache) => remove(world, cache, world.keys[0]!) },
  "remove a dirty page": { act: (world, cache) => remove(world, cache, world.keys[1]!) },
  "remove a page being flushed": { act: (world, cache) => remove(world, cache, world.keys[3]!) },
  "flush well": { act: (world, cache) => flush(world, cache, true) },
  "flush in vain": { act: (world, cache) => flush(world, cache, false) },
  "end the flush of an older version": {
    prepare: (world, cache) => world.beginAndReplace(cache, world.keys[2]!),
    act: function* (world, cache) {
      const slot = world.begun.get(cache);
      world.begun.delete(cache);
      if (slot !== undefined) yield* endFlush(world, cache, slot, true);
    },
  },
  "abandon an insert": { act: (world, cache) => abandon(cache, world.keys[17]!) },
  "abandon an update": { act: (world, cache) => abandon(cache, world.keys[0]!) },
  "pin and unpin": { act: (world, cache) => pin(world, cache, world.keys[5]!) },
  "look at a page that leaves": {
    prepare: (world, cache) => {
      world.begin(cache, world.keys[14]!);
      cache.release();
    },
    act: function* (world, cache) {
      const slot = yield () => cache.lookup(world.keys[14]!);
      if (slot >= 0) world.check(slot, world.keys[14]!);
    },
  },
  "update and flush": {
    act: function* (world, cache) {
      yield* update(world, cache, world.keys[1]!);
      yield* flush(world, cache, true);
    },
  },
  "shrink and grow": { act: (_, cache) => shrink(cache) },
  "reap another": { prepare: (world) => world.leaveOneDead(), act: reap },
  leave: {
    act: function* (world, cache) {
      yield () => {
        cache.leave();
        return 0;
      };
      world.left.add(cache);
    },
  },
};
