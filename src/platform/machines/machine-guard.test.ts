import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "../../../test/support/test.ts";
import { MachineGuard } from "./machine-guard.ts";
import { identityOfProcess, isSameProcess, isStopped } from "../process-identity.ts";
import type { ProcessIdentity } from "../process-identity.ts";

const WAIT_MS_MAX = 20_000;

async function machine(
  t: TestContext,
): Promise<ProcessIdentity & { readonly child: ChildProcess }> {
  const child = spawn("sleep", ["300"]);
  t.after(() => child.kill("SIGKILL"));
  await once(child, "spawn");
  return { ...identityOfProcess(child.pid ?? assert.fail("it was spawned")), child };
}

function guardFolder(t: TestContext): string {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "guard-"));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  return folder;
}

async function until(condition: () => boolean): Promise<void> {
  const endMs = performance.now() + WAIT_MS_MAX;
  while (!condition()) {
    assert.ok(performance.now() < endMs, "it did not come");
    await pause(20);
  }
}

const guardOf = (folder: string): ProcessIdentity =>
  JSON.parse(fs.readFileSync(path.join(folder, "process.json"), "utf8")) as ProcessIdentity;

test("machines are stopped when their time is over, not before, and the guard ends with them", async (t) => {
  const folder = guardFolder(t);
  const guard = new MachineGuard(folder);
  const [a, b] = [await machine(t), await machine(t)];
  guard.allow(1500);
  const begin = performance.now();
  guard.watch([a, b]);
  await until(() => isStopped(a) && isStopped(b));
  assert.ok(performance.now() - begin > 1400, "they had more time");
  assert.ok(isSameProcess(guardOf(folder)));
  a.child.kill("SIGKILL");
  b.child.kill("SIGKILL");
  await until(() => !isSameProcess(guardOf(folder)));
});

test("who is allowed more in time goes on, and a guard that is gone is started again", async (t) => {
  const folder = guardFolder(t);
  const guard = new MachineGuard(folder);
  const a = await machine(t);
  guard.allow(60_000);
  guard.watch([a]);
  guard.allow(120_000);
  const first = guardOf(folder);
  process.kill(first.pid, "SIGKILL");
  await until(() => !isSameProcess(first));
  // The next host process finds what the one before has written.
  const next = new MachineGuard(folder);
  next.watch([a]);
  assert.ok(isSameProcess(guardOf(folder)));
  assert.ok(!isStopped(a));
  next.allow(0);
  await until(() => isStopped(a));
});

test("a guard that is killed while machines live is started again by who looks after them", async (t) => {
  const folder = guardFolder(t);
  const guard = new MachineGuard(folder);
  const a = await machine(t);
  guard.allow(60_000);
  guard.watch([a]);
  const first = guardOf(folder);
  process.kill(first.pid, "SIGKILL");
  await until(() => !isSameProcess(first));
  guard.allow(60_000);
  assert.ok(isSameProcess(guardOf(folder)));
  guard.allow(0);
  await until(() => isStopped(a));
});

test("a damaged note of the guard's process keeps nobody from starting another one", async (t) => {
  for (const text of ["", '{"pid":', "null", '{"pid":-1,"startTicks":"1"}']) {
    const folder = guardFolder(t);
    fs.writeFileSync(path.join(folder, "process.json"), text);
    const guard = new MachineGuard(folder);
    guard.allow(60_000);
    guard.watch([await machine(t)]);
    assert.ok(isSameProcess(guardOf(folder)));
  }
});

test("a process that has the id of a machine that is gone is left alone", async (t) => {
  const folder = guardFolder(t);
  const guard = new MachineGuard(folder);
  const [a, stranger] = [await machine(t), await machine(t)];
  guard.watch([a, { pid: stranger.pid, startTicks: "1" }]);
  guard.allow(0);
  await until(() => isStopped(a));
  assert.ok(!isStopped(stranger));
});

test("machines whose host's folder is gone are ended", async (t) => {
  const folder = path.join(guardFolder(t), "guard");
  const guard = new MachineGuard(folder);
  const a = await machine(t);
  guard.allow(0);
  guard.watch([a]);
  const shell = guardOf(folder);
  await until(() => isStopped(a));
  fs.rmSync(folder, { recursive: true });
  await until(() => !isSameProcess(a));
  await until(() => !isSameProcess(shell));
});
