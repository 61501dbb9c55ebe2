import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { regenerate } from "./generated-sections.ts";
import { alignTables, markdownTable } from "./markdown-table.ts";

const providers = new Map([["fruit", () => "apple\n"]]);
const section = (name: string, body: string): string =>
  `before\n\n<!-- generated: ${name} -->\n${body}<!-- end generated -->\n\nafter\n`;

test("what stands between the markers is replaced, and a second pass changes nothing", () => {
  const { text, names, fault } = regenerate(section("fruit", "\nold\nlines\n\n"), providers);
  assert.equal(fault, undefined);
  assert.deepEqual(names, ["fruit"]);
  assert.equal(text, section("fruit", "\napple\n\n"));
  assert.equal(regenerate(text, providers).text, text);
});

test("an unknown name is a fault that lists the known ones", () => {
  const { text, fault } = regenerate(section("nuts", ""), providers);
  assert.match(fault ?? "", /nuts.*fruit/);
  assert.equal(text, section("nuts", ""));
});

test("a section that is never closed is a fault, not the end of the document", () => {
  const open = `${section("fruit", "x\n")}<!-- generated: fruit -->\nrest\n`;
  assert.match(regenerate(open, providers).fault ?? "", /not closed/);
});

test("table columns are as wide as their widest cell, and bars are escaped", () => {
  const expected = ["| a    | b   |", "| ---- | --- |", "| long | c   |", "| x\\|y | d   |"];
  const rows = [
    ["long", "c"],
    ["x|y", "d"],
  ];
  assert.equal(markdownTable(["a", "b"], rows), expected.join("\n"));
});

test("tables that a provider laid out its own way are laid out again, text is left alone", () => {
  const given = "Text | bar\n\n| a | b |\n|-|-|\n| long |c|\n| x\\|y | d |\n\n    | code |";
  const rows = [
    ["long", "c"],
    ["x|y", "d"],
  ];
  const expected = `Text | bar\n\n${markdownTable(["a", "b"], rows)}\n\n    | code |`;
  assert.equal(alignTables(given), expected);
  assert.equal(alignTables(expected), expected);
});
