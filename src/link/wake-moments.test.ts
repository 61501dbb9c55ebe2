import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { untilMoment } from "./wake-moments.ts";

test("what is done at moments of a period is done there, and not twice in a row", () => {
  const wall = fc.integer({ min: 0, max: 2 ** 42 }).map((eighths) => eighths / 8);
  fc.assert(
    fc.property(wall, fc.integer({ min: 1, max: 20 }), (wallMs, halfSeconds) => {
      const periodMs = halfSeconds * 500;
      const restMs = untilMoment(periodMs, wallMs);
      assert.equal((wallMs + restMs) % periodMs, 0);
      assert.ok(restMs >= periodMs / 8 && restMs < (9 * periodMs) / 8 + 1);
    }),
  );
});
