import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { escapeAll, escapeControls } from "./control-characters.ts";

test("control characters and directions are written out, everything else stays", () => {
  assert.equal(escapeControls("web1 ä 日本 \u{1f600} \\"), "web1 ä 日本 \u{1f600} \\");
  assert.equal(
    escapeControls("a\u001b[2J\u0007\n\r\t\u0000"),
    "a\\x1b[2J\\x07\\x0a\\x0d\\x09\\x00",
  );
  assert.equal(escapeControls("\u007f\u0085\u009b2J"), "\\x7f\\x85\\x9b2J");
  for (const code of [0x61c, 0x200e, 0x2028, 0x202a, 0x202e, 0x2066, 0x2069])
    assert.equal(
      escapeControls(String.fromCharCode(code)),
      `\\u${code.toString(16).padStart(4, "0")}`,
    );
  assert.equal(escapeControls("a\nb\u001b", "\n"), "a\nb\\x1b");
});

test("all texts of an answer are escaped, however deep, and nothing else changes", () => {
  const answer = { list: [{ name: "a\u001b", size: 1 }, null, true], "k\n": undefined };
  assert.deepEqual(escapeAll(answer), {
    list: [{ name: "a\\x1b", size: 1 }, null, true],
    "k\\x0a": undefined,
  });
  assert.equal(escapeAll(answer).list.length, 3);
});
