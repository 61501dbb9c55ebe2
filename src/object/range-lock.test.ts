import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { RangeLock } from "./range-lock.ts";

interface Entry {
  readonly slot: number;
  readonly first: number;
  readonly end: number;
  readonly exclusive: boolean;
}

/** The rule, as simply as it can be said: `entries` are in order of arrival. */
function mayRun(entries: readonly Entry[], entry: Entry): boolean {
  return entries
    .slice(0, entries.indexOf(entry))
    .every(
      (earlier) =>
        earlier.first >= entry.end ||
        earlier.end <= entry.first ||
        (!earlier.exclusive && !entry.exclusive),
    );
}

const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("enter" as const),
      first: fc.nat(12),
      length: fc.integer({ min: 1, max: 5 }),
      exclusive: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("leave" as const), pick: fc.nat(1000) }),
  ),
  { maxLength: 120 },
);

test("a request runs as soon as no earlier one overlaps, reads among themselves excepted", () => {
  fc.assert(
    fc.property(steps, (plan) => {
      const lock = new RangeLock(4);
      const entries: Entry[] = [];
      const running = new Set<number>();
      let slotCount = 4;
      for (const step of plan) {
        if (step.kind === "enter") {
          let slot = 0;
          while (entries.some((entry) => entry.slot === slot)) slot++;
          if (slot === slotCount) lock.grow((slotCount *= 2));
          const entry = {
            slot,
            first: step.first,
            end: step.first + step.length,
            exclusive: step.exclusive,
          };
          entries.push(entry);
          const isFree = lock.enter(slot, entry.first, entry.end, entry.exclusive);
          assert.equal(isFree, mayRun(entries, entry));
          if (isFree) running.add(slot);
        } else if (running.size > 0) {
          const slot = [...running][step.pick % running.size]!;
          running.delete(slot);
          const index = entries.findIndex((entry) => entry.slot === slot);
          entries.splice(index, 1);
          const ready: number[] = [];
          lock.leave(slot, ready);
          const expected = entries
            .filter((entry) => !running.has(entry.slot) && mayRun(entries, entry))
            .map((entry) => entry.slot);
          assert.deepEqual(ready, expected, "those that may run now, in order of arrival");
          for (const next of ready) running.add(next);
        }
        assert.equal(lock.count, entries.length);
      }
    }),
    { numRuns: 400 },
  );
});

test("a slot that waits or is unknown cannot leave, and none enters twice", () => {
  const lock = new RangeLock(4);
  lock.enter(0, 0, 10, true);
  lock.enter(1, 5, 6, false);
  assert.throws(() => lock.leave(1, []), /does not hold/);
  assert.throws(() => lock.leave(2, []), /does not hold/);
  assert.throws(() => lock.enter(0, 20, 21, true), /entered already/);
});
