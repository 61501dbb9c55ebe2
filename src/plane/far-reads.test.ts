import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import { FarBlocks } from "../store/index.ts";
import { FarReads } from "./far-reads.ts";

class World {
  readonly far = new FarBlocks(64);
  readonly reads = new FarReads(this.far);
  readonly target = new Uint8Array(40 * BLOCK_SIZE_BYTES);

  answer(block: number, count: number, mark: number): void {
    const bytes = new Uint8Array(count * BLOCK_SIZE_BYTES + 8).fill(7);
    this.reads.keep(block, mark, bytes, 8, bytes.length);
  }

  read(block: number, count = 1): void {
    this.answer(block, count, this.reads.mark(block, count));
  }

  isThere(block: number, count = 1): boolean {
    return this.reads.readNow(block, count, this.target, 0);
  }
}

test("what was answered is read at once, until something is sent to it", () => {
  const world = new World();
  assert.ok(!world.isThere(5));
  world.read(4, 3);
  assert.ok(world.isThere(4, 3));
  assert.equal(world.target[0], 7);
  world.reads.changes(5, 1);
  assert.ok(!world.isThere(5));
  assert.ok(world.isThere(4) && world.isThere(6), "its neighbours are as they were");
  world.reads.changes(0, 1 << 20);
  assert.ok(!world.isThere(4), "a long change makes everything be forgotten");
});

test("an answer that was asked for before a change does not count", () => {
  const world = new World();
  for (const count of [1, 32]) {
    const mark = world.reads.mark(60, count);
    world.reads.changes(60 + count - 1, 1);
    world.answer(60, count, mark);
    assert.ok(!world.isThere(60));
  }
  const mark = world.reads.mark(60, 1);
  world.reads.changes(200, 4);
  world.answer(60, 1, mark);
  assert.ok(world.isThere(60), "a change elsewhere does no harm");
});

test("nothing outlives that the component is opened, or catches up", () => {
  const world = new World();
  world.read(1);
  const mark = world.reads.mark(2, 1);
  world.reads.forget();
  world.answer(2, 1, mark);
  assert.ok(!world.isThere(1) && !world.isThere(2));
  world.read(1);
  assert.ok(world.isThere(1));
});

test("long reads are not kept", () => {
  const world = new World();
  world.read(0, 33);
  assert.ok(!world.isThere(0));
});

test("what is found, missed, kept and dropped is counted", () => {
  const world = new World();
  assert.ok(!world.isThere(4, 2));
  const mark = world.reads.mark(4, 1);
  world.reads.changes(4, 1);
  world.answer(4, 1, mark);
  world.read(4, 2);
  assert.ok(world.isThere(4, 2));
  world.reads.changes(5, 1);
  assert.deepEqual(world.far.view, {
    ...{ blocksHit: 2, blocksMissed: 2, blocksKept: 2, blocksRemoved: 1 },
    ...{ answersDropped: 1, componentsForgotten: 0, bytesInMemory: BLOCK_SIZE_BYTES },
  });
  world.reads.forget();
  world.reads.forget();
  assert.equal(world.far.view["componentsForgotten"], 1);
});
