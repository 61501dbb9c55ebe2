import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { SequenceWindow } from "./sequence-window.ts";

test("the watermark is the highest sequence below which nothing is undecided", () => {
  const starts = fc.oneof(fc.nat(100), fc.constantFrom(2 ** 31 - 3, 2 ** 32 - 3, 2 ** 52));
  fc.assert(
    fc.property(starts, fc.array(fc.nat(1000), { maxLength: 200 }), (start, picks) => {
      const window = new SequenceWindow(start, 8);
      const underWay: number[] = [];
      let last = start;
      for (const pick of picks) {
        if (!window.isFull && pick % 2 === 0) {
          const sequence = window.take();
          assert.equal(sequence, last + 1);
          last = sequence;
          underWay.push(sequence);
        } else if (underWay.length > 0) {
          const before = window.watermark;
          const [sequence] = underWay.splice(pick % underWay.length, 1);
          const isMoved = window.decide(sequence!);
          const expected = underWay.length === 0 ? last : Math.min(...underWay) - 1;
          assert.equal(window.watermark, expected);
          assert.equal(isMoved, expected > before);
        }
        assert.equal(window.isFull, last - window.watermark === 8);
      }
    }),
  );
});

test("a sequence is decided once, and only while it is under way", () => {
  const window = new SequenceWindow(0, 2);
  assert.throws(() => window.decide(1), /not under way/);
  window.take();
  window.take();
  assert.throws(() => window.take(), /too many/);
  window.decide(2);
  assert.throws(() => window.decide(2), /twice/);
  window.decide(1);
  assert.throws(() => window.decide(1), /not under way/);
});

test("numbers are skipped while none is under way", () => {
  const window = new SequenceWindow(5, 2);
  const taken = window.take();
  assert.equal(window.skipTo(5000), false);
  assert.equal(window.last, taken);
  window.decide(taken);
  assert.equal(window.skipTo(5000), true);
  assert.equal(window.watermark, 5000);
  assert.equal(window.skipTo(7), true);
  assert.equal(window.take(), 5001);
  window.decide(5001);
  assert.equal(window.watermark, 5001);
});
