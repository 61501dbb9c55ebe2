import assert from "node:assert/strict";
import { Prng } from "../../src/base/index.ts";
import { test } from "../support/test.ts";
import { judge, leastSquares } from "./slopes.ts";
import type { Sample } from "./slopes.ts";

const by = { warmUpSeconds: 300, spanSeconds: 600, limitPerHour: 40 };

/** A sample every ten seconds for an hour. */
function samples(valueAt: (seconds: number) => number): readonly Sample[] {
  return Array.from({ length: 360 }, (_none, index) => ({
    seconds: index * 10,
    value: valueAt(index * 10),
  }));
}

test("a straight line is found as it is, without any error", () => {
  const line = leastSquares(samples((seconds) => 7 + seconds / 60));
  assert.ok(line !== undefined);
  assert.ok(Math.abs(line.perHour - 60) < 1e-6);
  assert.ok(line.errorPerHour < 1e-6);
});

test("the error of the slope is that of the books", () => {
  // x = 0, 1, 2, 3 and y = 0, 2, 1, 3: a slope of 0.8 with the standard error sqrt(1.8/2/5).
  const line = leastSquares([0, 2, 1, 3].map((value, seconds) => ({ seconds, value })));
  assert.ok(line !== undefined);
  assert.ok(Math.abs(line.perHour / 3600 - 0.8) < 1e-9);
  assert.ok(Math.abs(line.errorPerHour / 3600 - Math.sqrt(1.8 / 2 / 5)) < 1e-9);
});

test("steady growth beneath noise is a leak", () => {
  const prng = new Prng(1);
  const verdict = judge(
    samples((seconds) => 100 + (60 * seconds) / 3600 + prng.below(20)),
    by,
  );
  assert.equal(verdict?.isLeak, true);
});

test("growth by one now and then is a leak", () => {
  const files = samples((seconds) => 60 + Math.floor(seconds / 300));
  assert.equal(judge(files, { ...by, limitPerHour: 6 })?.isLeak, true);
});

test("what fills for minutes after the warm-up and then stays is no leak", () => {
  const prng = new Prng(3);
  const filled = samples((seconds) => 80 + 200 * Math.min(1, seconds / 900) + prng.below(40));
  // Of a run that ended soon afterwards the line as a whole goes up, for sure.
  const verdict = judge(filled.slice(0, 200), by);
  assert.ok(verdict !== undefined);
  assert.ok(verdict.perHour - 3 * verdict.errorPerHour > by.limitPerHour);
  assert.equal(verdict.isLeak, false);
});

test("noise in which each sample resembles the one before it makes the slope less sure", () => {
  const prng = new Prng(4);
  let drift = 0;
  const wandering = samples(() => (drift = 0.98 * drift + prng.below(21) - 10));
  // The same values in an order in which neighbours have nothing to do with each other.
  const shuffled = wandering.map(({ seconds }, index) => ({
    seconds,
    value: wandering[(77 * index) % wandering.length]!.value,
  }));
  const [as, without] = [leastSquares(wandering), leastSquares(shuffled)];
  assert.ok(as !== undefined && without !== undefined);
  assert.ok(as.errorPerHour > 3 * without.errorPerHour);
});

test("noise, slow growth and what fills once are no leaks", () => {
  const prng = new Prng(2);
  assert.equal(
    judge(
      samples(() => 100 + prng.below(50)),
      by,
    )?.isLeak,
    false,
  );
  assert.equal(
    judge(
      samples((seconds) => seconds / 100),
      by,
    )?.isLeak,
    false,
  );
  assert.equal(
    judge(
      samples((seconds) => 200 * Math.min(1, seconds / 250)),
      by,
    )?.isLeak,
    false,
  );
});

test("what nobody limits is told and never a leak, what is short is not judged", () => {
  const growing = samples((seconds) => seconds);
  const { warmUpSeconds, spanSeconds } = by;
  const told = judge(growing, { warmUpSeconds, spanSeconds, limitPerHour: undefined });
  assert.equal(told?.isLeak, false);
  assert.equal(judge(growing.slice(0, 80), by), undefined);
  assert.equal(judge([], by), undefined);
});
