import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { bashCompletion, fishCompletion } from "./completions.ts";

/** What bash offers behind a line whose last word is being typed; commands are asked of a stub. */
function offered(line: string): readonly string[] {
  const words = line.split(" ");
  const script = `
    timeout() { printf '{"name":"%s-of-%s"}' "$4" "$3"; }
    ${bashCompletion()}
    COMP_WORDS=(drystone "$@"); COMP_CWORD=$#
    _drystone
    printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync("bash", ["-c", script, "bash", ...words], { encoding: "utf8" })
    .split("\n")
    .filter((one) => one !== "");
}

test("bash completes words, options and names, of commands of any length", () => {
  assert.ok(offered("").includes("volume"));
  assert.deepEqual(offered("vol"), ["volume"]);
  assert.ok(offered("host ").includes("maintenance"));
  assert.deepEqual(offered("host maintenance "), ["on", "off"]);
  assert.deepEqual(offered("host maintenance on "), ["list-of-host"]);
  assert.deepEqual(offered("whatif fail "), ["list-of-host"]);
  assert.deepEqual(offered("snapshot delete "), ["list-of-snapshot"]);
  assert.ok(offered("host maintenance on h1 --d").includes("--dry-run"));
  assert.deepEqual(offered("volume create web1 --si"), ["--size"]);
  assert.deepEqual(offered("--api http://a:1 volume sh"), ["show"]);
  assert.deepEqual(offered("device add /dev/s"), [], "what is added has no name yet");
});

test("fish knows the third words, too", () => {
  const lines = fishCompletion().split("\n");
  assert.ok(lines.some((line) => line.endsWith('-f -a "on off"')));
});
