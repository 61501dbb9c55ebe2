import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { formatSize, parseSize } from "./index.ts";

test("sizes are read as qemu-img reads them", () => {
  const sizes: readonly [string, number][] = [
    ["0", 0],
    ["512", 512],
    ["4k", 4096],
    ["10G", 10 * 2 ** 30],
    ["1.5T", 1.5 * 2 ** 40],
    ["512MiB", 512 * 2 ** 20],
    ["2 GB", 2 * 2 ** 30],
    [" 7b ", 7],
    ["62T", 62 * 2 ** 40],
  ];
  for (const [text, bytes] of sizes) assert.equal(parseSize(text), bytes, text);
});

test("what is not a size is refused", () => {
  const texts = ["", "G", "-1", "1e3", "0x10", "1..5G", "10X", "10 G B", "1.3", "9999P", "١٠"];
  for (const text of texts) assert.equal(parseSize(text), undefined, text);
});

test("any whole number of bytes is read back from its digits", () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (bytes) => {
      assert.equal(parseSize(String(bytes)), bytes);
    }),
  );
});

test("sizes are shown with the unit that fits, exact ones without a fraction", () => {
  const shown: readonly [number, string][] = [
    [0, "0 B"],
    [1023, "1023 B"],
    [4096, "4 KiB"],
    [1536, "1.50 KiB"],
    [10.5 * 2 ** 20, "10.5 MiB"],
    [2 ** 30, "1 GiB"],
    [62 * 2 ** 40, "62 TiB"],
  ];
  for (const [bytes, text] of shown) assert.equal(formatSize(bytes), text);
});

test("a shown size is within one per cent of the size", () => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 52 }), (bytes) => {
      const [digits, unit] = formatSize(bytes).split(" ");
      const shown = Number(digits) * 1024 ** units.indexOf(unit ?? "");
      assert.ok(Math.abs(shown - bytes) / bytes <= 0.01, `${bytes} shown as ${digits} ${unit}`);
    }),
  );
});
