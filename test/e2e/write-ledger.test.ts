import assert from "node:assert/strict";
import { test } from "node:test";
import { BLOCK, SECTOR, WriteLedger } from "./write-ledger.ts";
import type { Change } from "./write-ledger.ts";

const SIZE = 16 * BLOCK;

/** A disk in memory, and a ledger that saw `acknowledged` answered and `inFlight` only sent. */
function scene(acknowledged: readonly Change[], inFlight: readonly Change[]) {
  const ledger = new WriteLedger(SIZE);
  const disk = Buffer.alloc(SIZE);
  for (const change of acknowledged) {
    ledger.begin(change);
    ledger.acknowledge(change);
    ledger.dataOf(change).copy(disk, change.offset);
  }
  for (const change of inFlight) ledger.begin(change);
  return { ledger, disk };
}

const old: Change = { offset: 0, length: 4 * BLOCK, content: 100 };
const sent: Change = { offset: SECTOR, length: 2 * BLOCK, content: 101 };

test("an untouched disk and acknowledged writes verify", () => {
  const { ledger, disk } = scene([old], []);
  assert.deepEqual(ledger.verify(0, disk), []);
});

test("a lost acknowledged write is found", () => {
  const { ledger } = scene([old], []);
  assert.equal(ledger.verify(0, Buffer.alloc(SIZE)).length, 4);
});

test("a write in flight may be there, or not, or there for some of its blocks", () => {
  for (const blocksThere of [0, 1, 2, 3]) {
    const { ledger, disk } = scene([old], [sent]);
    const end = Math.min(blocksThere * BLOCK, sent.offset + sent.length);
    if (end > 0) ledger.dataOf(sent).copy(disk, sent.offset, 0, end - sent.offset);
    assert.deepEqual(ledger.verify(0, disk), []);
  }
});

test("a block with half of a write in flight is found", () => {
  const { ledger, disk } = scene([old], [sent]);
  ledger.dataOf(sent).copy(disk, sent.offset, 0, SECTOR);
  assert.match(ledger.verify(0, disk).join(), /block 0 .*ok in-flight ok/);
});

test("what was found after one crash may not be gone after the next", () => {
  const { ledger, disk } = scene([old], [sent]);
  const before = Buffer.from(disk);
  ledger.dataOf(sent).copy(disk, sent.offset);
  assert.deepEqual(ledger.verify(0, disk), []);
  ledger.settle();
  assert.equal(ledger.verify(0, before).length, 3);
  assert.deepEqual(ledger.verify(0, disk), []);
});

test("blocks of a request in flight are not free, and are free after it", () => {
  const { ledger } = scene([], [sent]);
  assert.equal(ledger.isFree(2 * BLOCK, SECTOR), false);
  assert.equal(ledger.isFree(3 * BLOCK, SECTOR), true);
  ledger.refuse(sent);
  assert.equal(ledger.isFree(2 * BLOCK, SECTOR), true);
});

test("shared contents are equal in different blocks and others are not", () => {
  const { ledger } = scene([], []);
  const at = (block: number, content: number): Buffer =>
    ledger.dataOf({ offset: block * BLOCK, length: BLOCK, content });
  assert.deepEqual(at(1, 5), at(7, 5));
  assert.notDeepEqual(at(1, 500), at(7, 500));
});
