import { doesNotThrow, throws } from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { test } from "../../test/support/test.ts";
import { lockExclusively } from "./file-lock.ts";

async function started(
  t: TestContext,
  command: string,
  args: readonly string[],
): Promise<ChildProcess> {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  return child;
}

function lockedFile(t: TestContext): { path: string; fd: number } {
  const folder = mkdtempSync("/var/tmp/drystone-lock-");
  const path = join(folder, "file");
  writeFileSync(path, "");
  const fd = openSync(path, "r+");
  t.after(() => {
    closeSync(fd);
    rmSync(folder, { recursive: true });
  });
  return { path, fd };
}

test("files that the kernel closes only after a process has ended are waited for", async (t) => {
  const { path, fd } = lockedFile(t);
  // The lock is said to be of the program that took it, which ends; the shell keeps it for a while.
  const script = `exec 9<>${path}; flock 9; echo locked; read -t 0.3`;
  await started(t, "bash", ["-c", script]);
  doesNotThrow(() => lockExclusively(fd, path));
});

test("files that stay open after a process has ended are told apart from one that lives", async (t) => {
  const { path, fd } = lockedFile(t);
  await started(t, "bash", ["-c", `exec 9<>${path}; flock 9; echo locked; read`]);
  const expected = { code: "device-in-use", message: /which has ended/ };
  throws(() => lockExclusively(fd, path, 40), expected);
});

test("a process that lives is named at once", async (t) => {
  const { path, fd } = lockedFile(t);
  const holder = await started(t, "flock", [path, "bash", "-c", "echo locked; read"]);
  const expected = { code: "device-in-use", message: new RegExp(`${holder.pid}`) };
  throws(() => lockExclusively(fd, path), expected);
});
