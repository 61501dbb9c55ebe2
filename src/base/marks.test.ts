import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { AssertionError, marks } from "./index.ts";

test("a mark that was hit since it was expected is verified", () => {
  marks.hit("a path");
  const mark = marks.expect("a path");
  assert.equal(mark.hits, 0);
  marks.hit("a path");
  marks.hit("another path");
  marks.hit("a path");
  assert.equal(mark.hits, 2);
  mark.verify();
});

test("a mark that was not hit, or not as often as expected, is an error", () => {
  const never = marks.expect("a path");
  assert.throws(() => never.verify(), /"a path" was not taken/);
  const once = marks.expect("a path");
  marks.hit("a path");
  assert.throws(() => once.verify(2), /taken 1 times, not 2/);
  const none = marks.expect("a path");
  none.verify(0);
});

test("two tests cannot wait for the same mark, and one cannot verify twice", () => {
  const mark = marks.expect("a path");
  assert.throws(() => marks.expect("a path"), AssertionError);
  marks.hit("a path");
  mark.verify();
  assert.throws(() => mark.verify(), /verified before/);
});

test("all marks can be counted, expected or not", () => {
  const counting = marks.countAll();
  marks.hit("a path");
  marks.hit("another path");
  marks.hit("a path");
  assert.throws(() => marks.countAll(), AssertionError);
  assert.deepEqual(Object.fromEntries(counting.end()), { "a path": 2, "another path": 1 });
  assert.throws(() => counting.end(), AssertionError);
  marks.hit("a path");
});
