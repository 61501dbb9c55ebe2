import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { blockKey, blockOfKey, BlockTable, componentOfKey } from "./block-table.ts";

test("a block table agrees with a map under any sequence of puts and removals", () => {
  const operation = fc.record({
    put: fc.boolean(),
    component: fc.nat(3),
    block: fc.nat(20),
    value: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 300 }), (operations) => {
      const table = new BlockTable(128);
      const model = new Map<number, number>();
      for (const { put, component, block, value } of operations) {
        const key = blockKey(component, block * 2 ** 29);
        if (put) {
          table.set(key, value, value + 0.5);
          model.set(key, value);
        } else {
          const slot = table.find(key);
          assert.equal(slot >= 0, model.delete(key));
          if (slot >= 0) table.removeSlot(slot);
        }
        assert.equal(table.size, model.size);
      }
      for (const [key, value] of model) {
        const slot = table.find(key);
        assert.equal(table.values[slot], value);
        assert.equal(table.sequences[slot], value + 0.5);
      }
    }),
  );
});

test("a block table that is cleared holds nothing, whether few keys are known or many were put", () => {
  const table = new BlockTable(1024);
  const known = new Float64Array(1024);
  for (const count of [0, 1, 20, 63, 64, 1024, 20]) {
    for (let i = 0; i < count; i++) {
      // Neighbours, and every other one far away: some share their first slot.
      known[i] = blockKey(i % 3, i % 2 === 0 ? i : i * 2 ** 20);
      table.set(known[i]!, i, i);
    }
    assert.equal(table.size, count);
    table.clear(known);
    assert.equal(table.size, 0);
    assert(
      table.keys.every((key) => key === -1),
      `keys are left of ${count}`,
    );
  }
});

test("a block key names component and block", () => {
  const key = blockKey(500_000, 2 ** 34 - 1);
  assert(Number.isSafeInteger(key));
  assert.equal(componentOfKey(key), 500_000);
  assert.equal(blockOfKey(key), 2 ** 34 - 1);
});
