import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { test } from "../../test/support/test.ts";
import { NodeClock } from "./node-clock.ts";
import { sinceStartMs } from "./sys.ts";

const SHIFT_SECONDS = 5_000_000;
const ROUNDING_MS = 10;

test("time goes on while the machine is suspended, and timers come no earlier for it", async () => {
  let suspendedMs = 0;
  // A timer of the clock keeps no process alive.
  const alive = setInterval(() => {}, 1000);
  const clock = new NodeClock(() => sinceStartMs() + suspendedMs);
  const beforeMs = clock.nowMs();
  let isOver = false;
  const timer = new Promise<void>((resolve) =>
    clock.after(20, () => {
      isOver = true;
      resolve();
    }),
  );
  suspendedMs = 600_000;
  assert.ok(clock.nowMs() - beforeMs >= 600_000);
  clock.after(0, () => assert.equal(isOver, false));
  await timer;
  clearInterval(alive);
});

function upMs(): number {
  return Number(fs.readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1000;
}

test("it is the clock of the machine that counts what it was suspended for", () => {
  const before = upMs();
  const nowMs = sinceStartMs();
  assert.ok(before <= nowMs && nowMs <= upMs() + ROUNDING_MS);
});

test("it is not the one that stands still meanwhile", (context) => {
  // A namespace in which just the clock that goes on is another one.
  const shift = ["--time", "--boottime", String(SHIFT_SECONDS)];
  const module = new URL("./sys.js", import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then((sys) => console.log(sys.sinceStartMs()))`;
  const own = sinceStartMs();
  const child = spawnSync("unshare", [...shift, process.execPath, "-e", script]);
  if (child.error !== undefined || child.status !== 0)
    return context.skip(
      `no namespace of another time: ${child.stderr?.toString() ?? "no unshare"}`,
    );
  assert.ok(Number(child.stdout) >= own + SHIFT_SECONDS * 1000);
});
