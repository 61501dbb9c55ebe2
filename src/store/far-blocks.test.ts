import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { BLOCK_SIZE_BYTES, Prng } from "../base/index.ts";
import { FarBlocks } from "./far-blocks.ts";

const CAPACITY = 16;

function blockOf(content: number): Uint8Array {
  return new Uint8Array(BLOCK_SIZE_BYTES).fill(content);
}

test("equal blocks of many components are in memory once", () => {
  const far = new FarBlocks(CAPACITY);
  const names = Array.from({ length: 4 }, () => far.takeName());
  for (const name of names)
    for (let block = 0; block < 3; block++) far.put(name, block, blockOf(block + 1), 0);
  assert.equal(far.contentCount, 3);
  const target = new Uint8Array(3 * BLOCK_SIZE_BYTES);
  for (const name of names) {
    assert.ok(far.copyTo(name, 0, 3, target, 0));
    assert.deepEqual([target[0], target[BLOCK_SIZE_BYTES], target.at(-1)], [1, 2, 3]);
  }
  assert.ok(!far.copyTo(names[0]!, 1, 3, target, 0), "not all of it is there");
  for (const name of names.slice(1)) far.remove(name, 0);
  assert.ok(far.copyTo(names[0]!, 0, 1, target, 0));
  assert.equal(target[0], 1);
  far.remove(names[0]!, 0);
  assert.equal(far.contentCount, 2);
});

test("whatever is put and removed, what is found is what was put last", () => {
  for (let seed = 1; seed <= 20; seed++) {
    const prng = new Prng(seed);
    const far = new FarBlocks(CAPACITY);
    const names = [far.takeName(), far.takeName(), far.takeName()];
    const model = new Map<string, number>();
    const target = new Uint8Array(BLOCK_SIZE_BYTES);
    let foundCount = 0;
    for (let step = 0; step < 2000; step++) {
      const name = prng.pick(names);
      const block = prng.below(20);
      const key = `${name} ${block}`;
      if (prng.chance(0.3)) {
        far.remove(name, block);
        model.delete(key);
      } else if (far.copyTo(name, block, 1, target, 0)) {
        foundCount++;
        assert.ok(target.every((byte) => byte === model.get(key)));
      } else {
        const content = prng.below(8);
        far.put(name, block, blockOf(content), 0);
        model.set(key, content);
      }
    }
    assert.ok(foundCount > 100);
    assert.ok(far.contentCount <= 8, "contents are kept once");
  }
});
