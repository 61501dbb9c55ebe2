import assert from "node:assert/strict";
import { CodedError } from "../base/index.ts";
import { test } from "../../test/support/test.ts";
import { checkedWanted, parseRuns } from "./extent-runs.ts";

const WANTED = { blockIndex: 100, blockCount: 10, runsMax: 2 };
const isInvalid = (error: unknown): boolean =>
  error instanceof CodedError && error.code === "message-invalid";
const data = (blockIndex: unknown, blockCount: unknown): unknown => ({
  kind: "data",
  blockIndex,
  blockCount,
});

test("extents of another host are taken as a component promises them, and in no other way", () => {
  const hole = { kind: "hole", blockIndex: 104, blockCount: 6 };
  assert.deepEqual(parseRuns([data(100, 4), hole], WANTED), [data(100, 4), hole]);
  assert.deepEqual(parseRuns([data(100, 1)], WANTED), [data(100, 1)], "a part is enough");
  const refused: readonly unknown[] = [
    ...[undefined, null, {}, "data", [], [undefined], [null], [7], [{}]],
    ...[[data(99, 4)], [data(101, 4)], [data("100", 4)], [data(100, "4")]],
    ...[[data(100, 0)], [data(100, -1)], [data(100, 1.5)], [data(100, Number.NaN)]],
    ...[[data(100, 11)], [data(100, 2 ** 60)], [{ kind: "zero", blockIndex: 100, blockCount: 1 }]],
    ...[
      [data(100, 4), data(105, 1)],
      [data(100, 4), data(103, 1)],
    ],
    [data(100, 1), data(101, 1), data(102, 1)],
  ];
  for (const said of refused)
    assert.throws(() => parseRuns(said, WANTED), isInvalid, JSON.stringify(said));
});

test("what another host asks of a component is bounded", () => {
  assert.deepEqual(checkedWanted(WANTED, 110), WANTED);
  assert.ok(checkedWanted({ ...WANTED, runsMax: 2 ** 40 }, 110).runsMax <= 4096);
  for (const wanted of [
    { ...WANTED, blockIndex: -1 },
    { ...WANTED, blockIndex: 101 },
    { ...WANTED, blockCount: 0 },
    { ...WANTED, blockCount: -1 },
    { ...WANTED, runsMax: 0 },
  ])
    assert.throws(() => checkedWanted(wanted, 110), isInvalid);
});
