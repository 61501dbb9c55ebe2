import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import { Cache } from "./cache.ts";

test("keys of every kind are told apart as a Map tells them apart", () => {
  const cache = new Cache<unknown, number>({ capacity: 100 });
  const object = {};
  const keys = [0, 1, "0", "", -1, 0.5, Number.NaN, 2 ** 52, 2 ** 53 - 1, object, {}, null, true];
  for (const [i, key] of keys.entries()) cache.set(key, i);
  for (const [i, key] of keys.entries()) assert.equal(cache.get(key), i);
  assert.equal(cache.size, keys.length);
  assert.equal(cache.get({}), undefined);
  assert.equal(cache.get(undefined), undefined);
});

test("what the cache holds is what was set last, and never more than it may hold", () => {
  const operation = fc.record({
    key: fc.oneof(fc.integer({ min: 0, max: 30 }), fc.constantFrom("a", "b", "c", "d", "e", "f")),
    size: fc.integer({ min: 0, max: 60 }),
    kind: fc.constantFrom("get", "set", "set", "delete", "resize"),
  });
  const property = fc.property(fc.array(operation, { maxLength: 200 }), (operations) => {
    const cache = new Cache<number | string, { size: number }>({
      capacity: 8,
      capacityBytes: 50,
      sizeOf: (value) => value.size,
    });
    const newest = new Map<number | string, { size: number }>();
    let [entriesMax, bytesMax] = [8, 50];
    for (const { key, size, kind } of operations) {
      if (kind === "resize") {
        [entriesMax, bytesMax] = [1 + (size % 8), 1 + size];
        cache.resize(entriesMax, bytesMax);
      } else if (kind === "get") {
        const value = cache.get(key);
        if (value !== undefined) assert.equal(value, newest.get(key));
      } else if (kind === "delete") {
        cache.delete(key);
        newest.delete(key);
        assert.equal(cache.has(key), false);
      } else {
        const value = { size };
        assert.equal(cache.set(key, value), size <= bytesMax);
        newest.set(key, value);
        assert.equal(cache.get(key), size <= bytesMax ? value : undefined);
      }
      let sizeBytes = 0;
      cache.forEach((value, held) => {
        sizeBytes += value.size;
        assert.equal(newest.get(held), value);
      });
      assert.equal(cache.sizeBytes, sizeBytes);
      assert.ok(sizeBytes <= bytesMax && cache.size <= entriesMax);
    }
  });
  fc.assert(property, { numRuns: 300 });
});

test("a returning string is known as a ghost", () => {
  const cache = new Cache<string, number>({ capacity: 100 });
  for (let i = 0; i < 5000; i++) cache.set(`once ${i}`, i);
  cache.set("once 4890", 0);
  assert.equal(cache.stats.ghostHits, 1);
});

test("a capacity in bytes needs a size, and a size must be a number of bytes", () => {
  assert.throws(() => new Cache({ capacity: 1, capacityBytes: 9 }), isFault("cache-size-missing"));
  assert.throws(
    () => new Cache({ capacity: 1, capacityBytes: 0, sizeOf: () => 1 }),
    isFault("cache-capacity-invalid"),
  );
  const unmeasured = new Cache<number, number>({ capacity: 2 });
  assert.throws(() => unmeasured.resize(1, 9), isFault("cache-size-missing"));
  assert.throws(() => unmeasured.resize(3), isFault("cache-capacity-too-large"));
  assert.throws(() => unmeasured.resize(0), isFault("cache-capacity-invalid"));
  const cache = new Cache<number, number>({ capacity: 1, sizeOf: () => -1 });
  assert.throws(() => cache.set(1, 1), isFault("cache-value-size-invalid"));
});

function isFault(code: string): (error: unknown) => boolean {
  return (error) => error instanceof CodedError && error.code === code;
}
