import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { SPACE_GROUP_BLOCKS } from "../format/index.ts";
import { blockKey, blockOfKey, BlockTable, componentOfKey } from "./block-table.ts";
import { SpaceMap } from "./space-map.ts";

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

test("a space map hands every block out once, and a stored map loads as it was", () => {
  const blockCount = SPACE_GROUP_BLOCKS + 37;
  const space = new SpaceMap(blockCount);
  const handed = new Set<number>();
  for (let i = 0; i < blockCount; i++) handed.add(space.allocate()!);
  assert.equal(handed.size, blockCount);
  assert.equal(space.allocate(), undefined);
  const freed = [0, 5, SPACE_GROUP_BLOCKS - 1, SPACE_GROUP_BLOCKS, blockCount - 1];
  space.beginFree(freed);
  const copy = new SpaceMap(blockCount);
  for (let group = 0; group < space.groupCount; group++) {
    const bits = new Uint8Array(SPACE_GROUP_BLOCKS / 8);
    space.storeGroup(group, bits);
    copy.loadGroup(group, bits);
  }
  assert.equal(copy.freeBlocks, freed.length, "what is being freed is free on disk");
  assert.equal(space.freeBlocks, 0, "and not to be had before the reads have ended");
  space.finishFree(freed, 3);
  space.releaseQuarantine(2);
  assert.equal(space.freeBlocks, 0);
  space.releaseQuarantine(3);
  assert.equal(space.freeBlocks, freed.length);
  assert.deepEqual(new Set(freed.map(() => space.allocate())), new Set(freed));
});

test("a stored group of any bits loads bit for bit, and none beyond the device", () => {
  const blockCount = SPACE_GROUP_BLOCKS - 45;
  fc.assert(
    fc.property(fc.array(fc.nat(blockCount - 1)), (blocks) => {
      const used = new Set(blocks);
      const bits = new Uint8Array(SPACE_GROUP_BLOCKS / 8);
      for (const block of used) bits[block >>> 3]! |= 1 << (block & 7);
      const space = new SpaceMap(blockCount);
      space.loadGroup(0, bits);
      assert.equal(space.freeBlocks, blockCount - used.size);
      for (let block = 0; block < blockCount; block++)
        assert.equal(space.isTaken(block), used.has(block));
      bits[blockCount >>> 3]! |= 1 << (blockCount & 7);
      assert.throws(() => new SpaceMap(blockCount).loadGroup(0, bits), /beyond the device/);
    }),
  );
});

test("blocks being punched are not handed out, and count as free on disk", () => {
  const space = new SpaceMap(100);
  const first = space.allocate()!;
  space.beginFree([first]);
  space.finishFree([first], 1);
  space.releaseQuarantine(1);
  assert.equal(space.unpunchedBlocks, 1);
  const run = space.beginPunch(0, 10);
  assert.deepEqual(run, { start: first, count: 1 });
  for (let i = 0; i < 99; i++) assert.notEqual(space.allocate(), first);
  assert.equal(space.allocate(), undefined);
  assert(!space.isUsedOnDisk(first));
  space.finishPunch(first, 1, true);
  assert.equal(space.unpunchedBlocks, 0);
  assert.equal(space.allocate(), first);
});

test("blocks beyond 2^32, on devices of more than 16 TiB, are blocks of their own", () => {
  // Address space: only what is touched is memory.
  const count = 2 ** 32 + 3 * SPACE_GROUP_BLOCKS;
  const space = new SpaceMap(count);
  const first = 2 ** 32 + 64;
  const bits = new Uint8Array(SPACE_GROUP_BLOCKS / 8).fill(255);
  space.loadGroup(2 ** 32 / SPACE_GROUP_BLOCKS + 1, bits);
  assert.equal(space.isTaken(2 ** 32 + SPACE_GROUP_BLOCKS), true);
  assert.equal(space.isTaken(SPACE_GROUP_BLOCKS), false);
  space.reserve(first, 2);
  assert.deepEqual([space.isTaken(first), space.isTaken(64)], [true, false]);
  space.adopt(first);
  assert.deepEqual([space.isUsedOnDisk(first), space.isUsedOnDisk(first + 1)], [true, false]);
  assert.equal(space.reserveRun(8), 0);
  space.reserve(count - 1, 1);
  space.releaseReserved([first + 1, count - 1], 1);
  space.releaseQuarantine(1);
  assert.deepEqual(space.beginPunch(2 ** 32, 16), { start: first + 1, count: 1 });
  space.finishPunch(first + 1, 1, true);
  assert.deepEqual(space.beginPunch(2 ** 32, 16), { start: count - 1, count: 1 });
  space.finishPunch(count - 1, 1, true);
  assert.equal(space.beginPunch(2 ** 32, 16), undefined);
  assert.equal(space.freeBlocks, count - SPACE_GROUP_BLOCKS - 1 - 8);
  assert.deepEqual(space.takeDirtyGroups(), [2 ** 32 / SPACE_GROUP_BLOCKS]);
});
