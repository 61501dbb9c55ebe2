import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "../../test/support/test.ts";
import { shellWord } from "./shell-word.ts";

test("a shell takes a word as it was, and does nothing else with it", () => {
  for (const text of [
    ...["", "web1@monday", "a b", "it's", "'", "''; touch x; '", "$(id)", "`id`", "$IFS", "a\nb"],
    ...["~", "*", "\\", '"', "#x", "a&b", "!1", "nbd+unix:///demo?socket=/run/demo.sock"],
  ])
    assert.equal(execFileSync("sh", ["-c", `printf %s ${shellWord(text)}`]).toString(), text);
  assert.equal(shellWord("/run/demo.sock"), "/run/demo.sock");
});
