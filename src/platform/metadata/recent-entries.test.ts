import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { compareBytes, Prng, toHex } from "../../base/index.ts";
import { RecentEntries } from "./recent-entries.ts";

/**
 * Few first bytes and lengths, so that keys meet, share beginnings, and are beginnings of others.
 */
function randomKey(prng: Prng): Uint8Array {
  const key = new Uint8Array(prng.pick([1, 5, 9, 17, 64]));
  prng.fill(key);
  for (let i = 0; i < Math.min(key.length, prng.pick([0, 4, 8, 16])); i++) key[i] = 255;
  key[0] = prng.pick([0, 3, 255]);
  return key;
}

test("entries are found by key and in ranges as in a sorted list", () => {
  const prng = new Prng(7);
  for (let round = 0; round < 20; round++) {
    const entries = new RecentEntries();
    const model = new Map<string, { key: Uint8Array; value: Uint8Array | undefined }>();
    const keys = Array.from({ length: 400 }, () => randomKey(prng));
    for (let i = 0; i < 2000; i++) {
      const key = prng.pick(keys);
      const value = prng.pick([0, 1, 32, 2000].concat(round === 0 ? [65_536] : []));
      const isDeleted = prng.pick([false, false, true]);
      const bytes = isDeleted ? undefined : new Uint8Array(value).fill(i);
      entries.put(key, bytes);
      model.set(toHex(key), { key, value: bytes });
    }
    equal(entries.size, model.size);
    for (const { key, value } of model.values()) {
      equal(entries.find(key), true);
      deepEqual(entries.found, value);
    }
    equal(entries.find(new Uint8Array(33)), false);
    const sorted = [...model.values()].sort((a, b) => compareBytes(a.key, b.key));
    for (let i = 0; i < 50; i++) {
      const [from, to] = [randomKey(prng), randomKey(prng)];
      const wanted = sorted.filter(
        ({ key }) => compareBytes(key, from) >= 0 && compareBytes(key, to) < 0,
      );
      deepEqual(entries.range(from, to), wanted);
    }
    const all = [...entries.inOrder(7)].flat();
    deepEqual(
      all.sort((a, b) => compareBytes(a.key, b.key)),
      sorted,
    );
    entries.release();
    equal(entries.size, 0);
  }
});

test("a value that changes takes no more memory", () => {
  const entries = new RecentEntries();
  const key = new Uint8Array(9);
  entries.put(key, new Uint8Array(2000));
  const before = entries.bytes;
  for (let i = 0; i < 10_000; i++) entries.put(key, new Uint8Array(2000).fill(i));
  equal(entries.bytes, before);
});
