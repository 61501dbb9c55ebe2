import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { editDistance, nearest } from "./nearest.ts";

test("a typing mistake finds what was meant", () => {
  const choices = ["volume", "host", "status", "events"];
  assert.equal(nearest("volme", choices), "volume");
  assert.equal(nearest("vloume", choices), "volume");
  assert.equal(nearest("STATUS", choices), "status");
  assert.equal(nearest("hots", choices), "host");
});

test("something else entirely finds nothing", () => {
  assert.equal(nearest("frobnicate", ["volume", "host"]), undefined);
  assert.equal(nearest("x".repeat(10_000), ["volume"]), undefined);
  assert.equal(nearest("", []), undefined);
});

test("the beginning of exactly one choice finds it", () => {
  assert.equal(nearest("failures", ["failures-to-tolerate", "size"]), "failures-to-tolerate");
  assert.equal(nearest("web", ["web-server-1", "web-server-2"]), undefined);
});

test("a swap of neighbours is one mistake", () => {
  assert.equal(editDistance("ab", "ba"), 1);
  assert.equal(editDistance("kitten", "sitting"), 3);
});

test("distance is zero for equal texts only, symmetric, and at most the longer length", () => {
  const text = fc.string({ maxLength: 12 });
  fc.assert(
    fc.property(text, text, (a, b) => {
      const distance = editDistance(a, b);
      assert.equal(distance === 0, a === b);
      assert.equal(distance, editDistance(b, a));
      assert.ok(distance <= Math.max(a.length, b.length));
    }),
  );
});

test("a distance that is looked for only below a limit is the same there", () => {
  const text = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 12 });
  fc.assert(
    fc.property(text, text, fc.nat(12), (a, b, limit) => {
      assert.equal(Math.min(editDistance(a, b, limit), limit), Math.min(editDistance(a, b), limit));
    }),
  );
});
