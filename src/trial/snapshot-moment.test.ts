import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { findMoment } from "./snapshot-moment.ts";
import type { TimedWrite } from "./snapshot-moment.ts";

function write(sector: number, content: number, calledAt: number, answeredAt: number): TimedWrite {
  return { firstSector: sector, sectorCount: 1, content, calledAt, answeredAt };
}

function isOfOneMoment(
  writes: readonly TimedWrite[],
  contents: readonly (number | undefined)[],
  [from, until]: readonly [number, number] = [0, 100],
): boolean {
  return findMoment({ contents, initial: () => 0, writes, from, until }).isFound;
}

test("what was answered in turn is in a snapshot in turn", () => {
  const writes = [write(0, 1, 1, 2), write(1, 2, 3, 4), write(0, 3, 5, 6)];
  for (const contents of [
    [0, 0],
    [1, 0],
    [1, 2],
    [3, 2],
  ])
    assert.ok(isOfOneMoment(writes, contents), contents.join());
  for (const contents of [
    [0, 2],
    [3, 0],
    [2, 2],
  ])
    assert.ok(!isOfOneMoment(writes, contents), contents.join());
});

test("writes at one time may be in it in any order, and one without an answer at any time", () => {
  const writes = [write(0, 1, 1, 9), write(1, 2, 2, 8)];
  for (const contents of [
    [0, 2],
    [1, 0],
  ])
    assert.ok(isOfOneMoment(writes, contents), contents.join());
  const lost = [write(0, 1, 1, Infinity), write(0, 2, 3, 4), write(1, 5, 6, 7)];
  for (const contents of [
    [1, 5],
    [2, 5],
    [1, 0],
  ])
    assert.ok(isOfOneMoment(lost, contents), contents.join());
  assert.ok(!isOfOneMoment(lost, [0, 5]), "the second write was answered before the third began");
});

test("a snapshot holds what was answered before it was asked for, and nothing of later", () => {
  const writes = [write(0, 1, 1, 2), write(0, 2, 20, 21)];
  assert.ok(isOfOneMoment(writes, [1], [5, 10]));
  assert.ok(!isOfOneMoment(writes, [0], [5, 10]));
  assert.ok(!isOfOneMoment(writes, [2], [5, 10]));
});

test("the same content may have come from several writes", () => {
  const writes = [write(0, 7, 1, 2), write(0, 8, 3, 4), write(0, 7, 5, 6), write(1, 9, 7, 8)];
  assert.ok(isOfOneMoment(writes, [7, 9]));
  assert.ok(isOfOneMoment(writes, [7, 0]));
  assert.ok(!isOfOneMoment(writes, [8, 9]));
  assert.ok(isOfOneMoment(writes, [undefined, 9]), "nobody has looked");
});
