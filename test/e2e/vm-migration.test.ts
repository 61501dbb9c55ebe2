/**
 * A running Linux guest moves from one host process to another, on a mirrored volume: it goes on
 * counting where it was, and what it has written is whole.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { ClusterRun } from "./cluster-run.ts";
import { guestFiles } from "./guest.ts";
import { temporaryFolder } from "./harness.ts";

const BOOT_MS_MAX = 120_000;
const MOVE_MS_MAX = 60_000;
const POLL_MS = 50;

interface VmShown {
  readonly state: string;
  readonly host?: string;
  readonly movesTo?: string;
  readonly epoch: number;
  readonly history: readonly { readonly what: string; readonly because: string }[];
}

async function until(condition: () => boolean | Promise<boolean>, ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, `it did not come within ${ms} ms`);
    await pause(POLL_MS);
  }
}

function folderOn(cluster: ClusterRun, host: string): string {
  return path.join(cluster.folder, host, "state", "vms", "guest");
}

/** What the guest has printed on that host. */
function countersOn(cluster: ClusterRun, host: string): number[] {
  const file = path.join(folderOn(cluster, host), "serial.log");
  if (!fs.existsSync(file)) return [];
  return [...fs.readFileSync(file, "utf8").matchAll(/^COUNTER (\d+)\r?$/gm)].map(([, n]) =>
    Number(n),
  );
}

function pidOn(cluster: ClusterRun, host: string): number | undefined {
  const file = path.join(folderOn(cluster, host), "vm.json");
  if (!fs.existsSync(file)) return undefined;
  const { pid } = JSON.parse(fs.readFileSync(file, "utf8")) as { readonly pid: number };
  return fs.existsSync(`/proc/${pid}/stat`) ? pid : undefined;
}

test("a running guest moves to another host and does not notice", async (t) => {
  process.env["DRYSTONE_ACCEL"] = "tcg";
  const { kernel, initramfs } = await guestFiles();
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  t.after(async () => {
    for (const host of ["h1", "h2", "h3"]) {
      const pid = pidOn(cluster, host);
      if (pid !== undefined) process.kill(pid, "SIGKILL");
    }
    await cluster.kill();
  });
  const show = async (): Promise<VmShown> => await cluster.cli(1, ["vm", "show", "guest"]);
  const volume = ["volume", "create", "disk", "--size", "64M"];
  await cluster.cli(1, [...volume, "--failures-to-tolerate", "1"]);
  const boot = ["--kernel", kernel, "--initrd", initramfs, "--network", "user"];
  const append = "console=ttyS0 quiet panic=-1 drystone.job=counter";
  const machine = ["vm", "create", "guest", "--volume", "disk", "--memory", "256M"];
  await cluster.cli(1, [...machine, ...boot, "--append", append]);
  await cluster.cli(1, ["vm", "start", "guest"]);
  await until(async () => (await show()).state === "running", BOOT_MS_MAX);
  const first = (await show()).host ?? "";
  await until(() => (countersOn(cluster, first).at(-1) ?? 0) >= 5, BOOT_MS_MAX);

  const begin = performance.now();
  await cluster.cli(1, ["vm", "migrate", "guest"]);
  let lastMs = performance.now();
  let seen = 0;
  await until(async () => {
    const count = countersOn(cluster, first).length;
    if (count > seen) [seen, lastMs] = [count, performance.now()];
    const { state, host, history } = await show();
    const failure = history.find(({ what }) => what === "does not move");
    assert.equal(failure, undefined, failure?.because);
    return state === "running" && host !== first;
  }, MOVE_MS_MAX);
  const { host: second = "", epoch } = await show();
  await until(() => countersOn(cluster, second).length > 3, MOVE_MS_MAX);
  t.diagnostic(`it has moved after ${Math.round(performance.now() - begin)} ms`);
  t.diagnostic(`and was not heard for at most ${Math.round(performance.now() - lastMs)} ms`);
  assert.equal(epoch, 2);
  await until(() => pidOn(cluster, first) === undefined, MOVE_MS_MAX);
  // A boot would have begun with what is on the disk, and said so.
  const [before, after] = [countersOn(cluster, first), countersOn(cluster, second)];
  assert.equal(after[0], before.at(-1)! + 1, "it goes on with the next number");
  const log = fs.readFileSync(path.join(folderOn(cluster, second), "serial.log"), "utf8");
  assert.doesNotMatch(log, /error|EXT4|Linux version/i);

  await cluster.cli(1, ["vm", "kill", "guest"]);
  await until(async () => (await show()).state === "stopped", BOOT_MS_MAX);
});
