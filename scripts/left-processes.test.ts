import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { endProcessesWith, markChildren, processesWith } from "./left-processes.ts";

test("what a run started and left behind is found and ended, and nothing else", async () => {
  const environment = { ...process.env };
  const mark = markChildren(environment);
  const run = (env: NodeJS.ProcessEnv): ReturnType<typeof spawn> =>
    spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)", "left"], {
      env,
      detached: true,
      stdio: "ignore",
    });
  const left = run(environment);
  const other = run(process.env);
  try {
    await Promise.all([once(left, "spawn"), once(other, "spawn")]);
    const found = processesWith(mark);
    assert.deepEqual(
      found.map(({ pid }) => pid),
      [left.pid],
    );
    assert.match(found[0]?.command ?? "", /node -e setInterval.* left$/);
    const exit = once(left, "exit");
    assert.deepEqual(endProcessesWith(mark), found);
    assert.deepEqual(await exit, [null, "SIGKILL"]);
    assert.equal(other.exitCode, null);
    assert.deepEqual(processesWith(mark), []);
  } finally {
    other.kill("SIGKILL");
  }
});
