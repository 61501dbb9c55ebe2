import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Prng } from "../base/index.ts";
import { checkBlock } from "./index.ts";
import type { BlockOperation } from "./index.ts";

const SECTORS = 8;

function write(content: number, calledAt: number, answeredAt = Infinity): BlockOperation {
  return operation(
    "write",
    0,
    Array.from({ length: SECTORS }, () => content),
    calledAt,
    answeredAt,
  );
}

function read(content: number, calledAt: number, answeredAt: number): BlockOperation {
  return operation(
    "read",
    0,
    Array.from({ length: SECTORS }, () => content),
    calledAt,
    answeredAt,
  );
}

function operation(
  kind: "read" | "write",
  firstSector: number,
  contents: readonly number[],
  calledAt: number,
  answeredAt: number,
): BlockOperation {
  const endSector = firstSector + contents.length;
  return { kind, firstSector, endSector, contents, calledAt, answeredAt };
}

const HISTORIES: Readonly<Record<string, [isGood: boolean, ...BlockOperation[]]>> = {
  "nothing was written": [true, read(0, 1, 2)],
  "a write is read": [true, write(1, 1, 2), read(1, 3, 4)],
  "an answered write is lost": [false, write(1, 1, 2), read(0, 3, 4)],
  "a read of what nobody wrote": [false, write(1, 1, 2), read(2, 3, 4)],
  "a read beside a write sees the new": [true, write(1, 1, 4), read(1, 2, 3)],
  "a read beside a write sees the old": [true, write(1, 1, 4), read(0, 2, 3)],
  "new, then old": [false, write(1, 1, 6), read(1, 2, 3), read(0, 4, 5)],
  "a write without an answer is seen": [true, write(1, 1), read(1, 2, 3)],
  "a write without an answer comes late": [true, write(1, 1), read(0, 2, 3), read(1, 4, 5)],
  "a write without an answer is seen and gone": [false, write(1, 1), read(1, 2, 3), read(0, 4, 5)],
  "a write without an answer comes once": [
    false,
    write(1, 1),
    read(1, 2, 3),
    write(2, 4, 5),
    read(2, 6, 7),
    read(1, 8, 9),
  ],
  "two writes at once, either may be last": [true, write(1, 1, 4), write(2, 2, 3), read(1, 5, 6)],
  "two readers disagree about the order": [
    false,
    write(1, 1, 10),
    write(2, 2, 11),
    read(1, 3, 4),
    read(2, 5, 6),
    read(1, 7, 8),
    read(2, 12, 13),
  ],
  "half of a write is seen": [
    false,
    write(1, 1, 2),
    write(2, 3, 10),
    operation("read", 0, [2, 2, 2, 2, 1, 1, 1, 1], 4, 5),
  ],
  "a partial write changes its part": [
    true,
    write(1, 1, 2),
    operation("write", 2, [5, 5], 3, 4),
    operation("read", 0, [1, 1, 5, 5, 1], 5, 6),
  ],
  "a partial write is lost by another": [
    false,
    operation("write", 0, [5, 5], 1, 4),
    operation("write", 4, [6, 6], 2, 3),
    operation("read", 0, [0, 0, 0, 0, 6, 6], 5, 6),
  ],
};

for (const [name, [isGood, ...operations]] of Object.entries(HISTORIES)) {
  test(`${name}: ${isGood ? "can" : "cannot"} be explained`, () => {
    assert.equal(checkBlock(operations).kind, isGood ? "linearizable" : "violated");
  });
}

/** Tries every order of every subset that must and may have happened. */
function bruteForce(operations: readonly BlockOperation[]): boolean {
  const place = (state: readonly number[], left: readonly BlockOperation[]): boolean => {
    if (left.every(({ answeredAt }) => answeredAt === Infinity)) return true;
    const firstAnswer = Math.min(...left.map(({ answeredAt }) => answeredAt));
    return left.some((next) => {
      if (next.calledAt > firstAnswer) return false;
      const { firstSector, contents } = next;
      const isSeen = contents.every((content, i) => state[firstSector + i] === content);
      if (next.kind === "read" && !isSeen) return false;
      const after = state.slice();
      if (next.kind === "write")
        for (const [i, content] of contents.entries()) after[firstSector + i] = content;
      return place(
        after,
        left.filter((other) => other !== next),
      );
    });
  };
  const known = operations.filter((one) => one.kind === "write" || one.answeredAt !== Infinity);
  return place(
    Array.from({ length: SECTORS }, () => 0),
    known,
  );
}

/** Calls and answers in random order; reads see something that is often right. */
function randomHistory(prng: Prng): BlockOperation[] {
  const count = prng.between(2, 7);
  const times = Array.from({ length: 2 * count }, (_, i) => i);
  return Array.from({ length: count }, (_, i) => {
    const from = times.splice(prng.below(Math.min(3, times.length)), 1)[0]!;
    const to = times.splice(prng.below(Math.min(4, times.length)), 1)[0]!;
    const isWrite = prng.chance(0.5);
    const firstSector = prng.pick([0, 0, 0, 2]);
    const length = firstSector === 0 ? prng.pick([SECTORS, SECTORS, 3]) : 3;
    const content = isWrite ? i + 1 : prng.below(count + 1);
    const contents = Array.from({ length }, () => content);
    const isLost = isWrite && prng.chance(0.3);
    const [calledAt, answeredAt] = [Math.min(from, to), isLost ? Infinity : Math.max(from, to)];
    return operation(isWrite ? "write" : "read", firstSector, contents, calledAt, answeredAt);
  });
}

test("the search agrees with trying every order", () => {
  const prng = new Prng(4);
  const counts = { good: 0, bad: 0 };
  for (let i = 0; i < 20_000; i++) {
    const history = randomHistory(prng);
    const isGood = bruteForce(history);
    counts[isGood ? "good" : "bad"]++;
    const verdict = checkBlock(history).kind;
    assert.equal(verdict, isGood ? "linearizable" : "violated", JSON.stringify(history));
  }
  assert.ok(counts.good > 2000 && counts.bad > 2000, JSON.stringify(counts));
});
