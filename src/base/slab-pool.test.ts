import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { SlabPool } from "./index.ts";

test("memory that was given back is taken again, and no more is kept than was said", () => {
  const pool = new SlabPool(64, 2);
  const slabs = [pool.take(), pool.take(), pool.take()];
  assert.equal(new Set(slabs).size, 3);
  const given = new Set(slabs);
  pool.giveAll(slabs);
  assert.equal(slabs.length, 0, "the list is emptied");
  const again = [pool.take(), pool.take(), pool.take()];
  assert.deepEqual(
    again.map((slab) => given.has(slab)),
    [true, true, false],
  );
  assert.ok(again.every((slab) => slab.length === 64));
});

test("memory of another size does not come into the pool", () => {
  assert.throws(() => new SlabPool(64, 2).giveAll([new Uint8Array(32)]), /back to where it came/);
});
