import assert from "node:assert/strict";
import { test } from "node:test";
import { Prng } from "../../src/base/index.ts";
import { POLICIES } from "./policies.ts";
import { toCsv, toJson, toSvg, toTable } from "./report.ts";
import { openTrace, syntheticNames } from "./trace.ts";

const UNIQUE_COUNT = 60;

function randomTrace(seed: number): Uint32Array {
  const prng = new Prng(seed);
  const draw = (): number => Math.min(prng.below(UNIQUE_COUNT), prng.below(UNIQUE_COUNT));
  return Uint32Array.from({ length: 3000 }, draw);
}

function hitsOf(name: string, capacity: number, trace: Uint32Array): boolean[] {
  const factory = POLICIES.get(name);
  assert.ok(factory !== undefined);
  const policy = factory({ capacity, uniqueCount: UNIQUE_COUNT, trace });
  return [...trace].map((key) => policy.access(key));
}

function missesOf(name: string, capacity: number, trace: Uint32Array): number {
  return hitsOf(name, capacity, trace).filter((hit) => !hit).length;
}

test("a key misses on its first use, and only then if everything fits", () => {
  for (const name of POLICIES.keys()) {
    const trace = randomTrace(1);
    const seen = new Set<number>();
    const hits = hitsOf(name, 10, trace);
    trace.forEach((key, i) => {
      assert.ok(!hits[i] || seen.has(key), `${name} hits a new key`);
      seen.add(key);
    });
    // A policy with a window of its own may need a little more room than there are keys.
    assert.equal(missesOf(name, 2 * UNIQUE_COUNT, trace), seen.size, name);
  }
});

test("no policy misses less often than Belady's", () => {
  for (let seed = 0; seed < 10; seed++) {
    const trace = randomTrace(seed);
    for (const capacity of [1, 2, 7, 20, 45]) {
      const least = missesOf("belady", capacity, trace);
      for (const name of POLICIES.keys()) {
        assert.ok(missesOf(name, capacity, trace) >= least, `${name} beats the future`);
      }
    }
  }
});

test("Belady, LRU and FIFO do the textbook's example", () => {
  const trace = Uint32Array.of(7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1);
  assert.equal(missesOf("belady", 3, trace), 9);
  assert.equal(missesOf("lru", 3, trace), 12);
  assert.equal(missesOf("fifo", 3, trace), 15);
});

test("a loop a little longer than the cache defeats LRU and not LIRS", () => {
  const trace = Uint32Array.from({ length: 6000 }, (_, i) => i % UNIQUE_COUNT);
  assert.equal(missesOf("lru", 50, trace), 6000);
  assert.ok(missesOf("lirs", 50, trace) < 2000);
});

test("generated traces are the same every time and number their keys densely", () => {
  for (const name of syntheticNames()) {
    const trace = openTrace(name);
    assert.deepEqual(trace, openTrace(name));
    assert.equal(new Set(trace.keys).size, trace.uniqueCount);
  }
});

test("results come as JSON, CSV, table and plot", () => {
  const row = { trace: "a,b", size: 0.1, entries: 10, policy: "lru", missRatio: 0.5 };
  const rows = [row, { ...row, policy: "best", missRatio: 0.25 }];
  assert.deepEqual(JSON.parse(toJson(rows)), rows);
  assert.equal(toCsv(rows).split("\n")[1], '"a,b",0.1,10,lru,0.5');
  assert.match(toTable(rows), /mean \/ lru\s+1\.0000\s+0\.5000/);
  assert.equal(toSvg(rows).match(/<polyline/g)?.length, 2);
});
