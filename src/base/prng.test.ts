import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { AssertionError, Prng } from "./index.ts";

const SEED = fc.integer({ min: 0, max: 2 ** 32 - 1 });

const draws = (prng: Prng, count: number): number[] =>
  Array.from({ length: count }, () => prng.u32());

test("the same seed gives the same draws, another seed gives others", () => {
  fc.assert(
    fc.property(SEED, SEED, (a, b) => {
      const first = draws(new Prng(a), 8);
      assert.deepEqual(draws(new Prng(a), 8), first);
      if (a !== b) assert.notDeepEqual(draws(new Prng(b), 8), first);
    }),
  );
});

test("draws stay the same from release to release, or old seeds could not be replayed", () => {
  assert.deepEqual(draws(new Prng(1), 4), [2442144158, 3238099751, 3819917871, 2104621829]);
});

test("below and between stay inside their ranges and reach both ends", () => {
  fc.assert(
    fc.property(SEED, fc.integer({ min: 1, max: 6 }), (seed, limit) => {
      const prng = new Prng(seed);
      const seen = new Set<number>();
      const shifted = new Set<number>();
      for (let i = 0; i < 40 * limit; i++) {
        seen.add(prng.below(limit));
        shifted.add(prng.between(-limit, -1));
      }
      assert.deepEqual(
        [...seen].sort((x, y) => x - y),
        Array.from({ length: limit }, (_, i) => i),
      );
      assert.deepEqual(
        [...shifted].sort((x, y) => x - y),
        Array.from({ length: limit }, (_, i) => i - limit),
      );
    }),
    { numRuns: 30, seed: 1 },
  );
});

test("every bit of a draw is set about half of the time", () => {
  const prng = new Prng(7);
  const counts = new Uint32Array(32);
  const total = 20_000;
  for (let i = 0; i < total; i++) {
    const value = prng.u32();
    for (let bit = 0; bit < 32; bit++) counts[bit]! += (value >>> bit) & 1;
  }
  for (const count of counts) assert.ok(Math.abs(count / total - 0.5) < 0.02, `${count}`);
});

test("chance follows its probability, and never or always at the ends", () => {
  const prng = new Prng(11);
  const hits = (probability: number): number =>
    Array.from({ length: 10_000 }, () => prng.chance(probability)).filter(Boolean).length;
  assert.equal(hits(0), 0);
  assert.equal(hits(1), 10_000);
  assert.ok(Math.abs(hits(0.25) - 2_500) < 250);
});

test("a fork draws from a stream of its own", () => {
  const parent = new Prng(3);
  const fork = parent.fork();
  const twin = new Prng(3);
  twin.u32();
  draws(fork, 100);
  assert.deepEqual(draws(parent, 8), draws(twin, 8));
  assert.notDeepEqual(draws(new Prng(3).fork(), 8), draws(new Prng(3), 8));
});

test("fill writes every byte and pick returns an item that is there", () => {
  const prng = new Prng(5);
  const bytes = new Uint8Array(4096);
  prng.fill(bytes);
  assert.equal(new Set(bytes).size, 256);
  const items = ["a", "b", "c"];
  const picked = new Set(Array.from({ length: 100 }, () => prng.pick(items)));
  assert.deepEqual([...picked].sort(), items);
});

test("impossible requests are bugs of the caller", () => {
  const prng = new Prng(0);
  assert.throws(() => prng.below(0), AssertionError);
  assert.throws(() => prng.below(2 ** 32 + 1), AssertionError);
  assert.throws(() => prng.between(2, 1), AssertionError);
  assert.throws(() => prng.pick([]), AssertionError);
});
