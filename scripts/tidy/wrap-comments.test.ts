import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { wrapComments } from "./wrap-comments.ts";

const words = (count: number): string =>
  Array.from({ length: count }, (_, i) => `word${i}`).join(" ");

test("an over-long comment on one line becomes a block", () => {
  const text = words(20);
  const lines = wrapComments(`  /** ${text} */\n  const x = 1;`).split("\n");
  assert.equal(lines[0], "  /**");
  assert.equal(lines.at(-2), "   */");
  assert.equal(lines.at(-1), "  const x = 1;");
  const back = lines.slice(1, -2).map((line) => line.replace(/^ {3}\* /, ""));
  assert.equal(back.join(" "), text);
});

test("what fits stays as it is", () => {
  const source = "/**\n * short\n * lines\n *\n * - item\n */\n// more\n// lines\ncode();\n";
  assert.equal(wrapComments(source), source);
});

test("only the paragraph with the long line is re-flowed, and lists never are", () => {
  const item = ` * - ${words(30)}`;
  const source = ["/**", " * one", " * two", " *", ` * ${words(20)}`, " * end", item, " */"];
  const lines = wrapComments(source.join("\n")).split("\n");
  assert.deepEqual(lines.slice(0, 4), source.slice(0, 4));
  assert.ok(lines.includes(item));
  assert.ok(lines.some((line) => line.endsWith("end")));
});

test("no word is lost, no line is too long, and a second pass changes nothing", () => {
  const word = fc.stringMatching(/^[a-z]{1,12}$/);
  const paragraph = fc.array(word, { minLength: 1, maxLength: 80 });
  fc.assert(
    fc.property(paragraph, fc.nat(8), (given, indent) => {
      const margin = " ".repeat(indent);
      const once = wrapComments(`${margin}// ${given.join(" ")}`);
      assert.ok(once.split("\n").every((line) => line.length <= 100));
      assert.deepEqual(once.replaceAll(/^\s*\/\/ /gm, "").split(/\s/), given);
      assert.equal(wrapComments(once), once);
    }),
  );
});
