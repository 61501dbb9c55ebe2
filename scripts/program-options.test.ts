import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { manualIn } from "./program-options.ts";
import { REPOSITORY } from "./repository.ts";

test("the comment at the head of a program is its manual", () => {
  const source = "/**\n * Does it.\n *\n *   npm run it   now\n */\n/** Other. */\nimport x;\n";
  assert.equal(manualIn(source), "Does it.\n\n  npm run it   now");
});

test("each program tells how it is used, and says in one line what it does not know", () => {
  const programs = [
    ["trial", "dist/scripts/trial.js"],
    ["test", "dist/scripts/test.js"],
    ["fuzz", "dist/test/fuzz.js"],
    ["soak", "dist/test/soak.js"],
    ["bench", "dist/bench/main.js"],
    ["bench", "dist/bench/main.js", "peers"],
    ["bench", "dist/bench/main.js", "rebuild-peers"],
    ["bench", "dist/bench/main.js", "debian-rebuild"],
    ["bench", "dist/bench/main.js", "cache"],
  ] as const;
  for (const [name, path, ...words] of programs) {
    const called = (option: string) =>
      spawnSync(process.execPath, [join(REPOSITORY, path), ...words, option], { encoding: "utf8" });
    const help = called("--help");
    assert.deepEqual([help.status, help.stderr], [0, ""], path);
    assert.match(help.stdout, new RegExp(`npm (run )?${name}`), `${path} ${words.join(" ")}`);
    const wrong = called("--nonsense");
    assert.equal(wrong.status, 2, path);
    assert.match(
      wrong.stderr,
      new RegExp(`^${name}: Unknown option '--nonsense'. Next step: .*\\n$`),
    );
  }
});
