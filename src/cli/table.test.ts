import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { fitWidths, layoutTable } from "./table.ts";

const columns = [{ title: "NAME" }, { title: "SIZE", align: "right" as const }, { title: "WHERE" }];

test("columns are as wide as their widest cell, numbers to the right", () => {
  assert.deepEqual(
    layoutTable(
      columns,
      [
        ["web1", "10 GiB", "here"],
        ["a", "1 B", ""],
      ],
      Infinity,
    ),
    ["NAME    SIZE  WHERE", "web1  10 GiB  here", "a        1 B"],
  );
});

test("the widest column gives way when the terminal is narrow", () => {
  const [, line] = layoutTable(columns, [["web1", "10 GiB", "/a/very/long/path/to/a/socket"]], 30);
  assert.equal(line, "web1  10 GiB  /a/very/long/pa…");
});

test("no line is longer than the terminal while columns can give way", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(60), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 40, max: 200 }),
      (natural, max) => {
        const widths = fitWidths(natural, max);
        assert.ok(widths.every((width, index) => width <= natural[index]!));
        assert.ok(widths.reduce((sum, width) => sum + width, 0) <= max);
      },
    ),
  );
});
