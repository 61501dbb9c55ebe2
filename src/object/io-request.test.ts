import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { RequestTable } from "./io-request.ts";

test("who waits for what is under way waits for that, and for nothing that comes later", async () => {
  const table = new RequestTable();
  table.grow(4);
  const done = (): void => {};
  await table.answered();
  const first = table.take("read", done, 0);
  const second = table.take("data", done, 0);
  let isAnswered = false;
  const answered = table.answered().then(() => {
    isAnswered = true;
  });
  const later = table.take("read", done, 0);
  table.give(second);
  await Promise.resolve();
  assert.ok(!isAnswered);
  table.give(first);
  await answered;
  table.give(later);
});
