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
import { guestFilesIn } from "./guest.ts";
import { temporaryFolder } from "./harness.ts";

const BOOT_MS_MAX = 120_000;
const MOVE_MS_MAX = 60_000;
const POLL_MS = 20;

interface VmShown {
  readonly state: string;
  readonly host?: string;
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

test("a running guest goes on where it is when its target fails, and moves unnoticed to another", async (t) => {
  process.env["DRYSTONE_ACCEL"] = "tcg";
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  t.after(() => cluster.kill());
  const { kernel, initramfs } = await guestFilesIn(cluster.folder);
  let asked = 1;
  const show = async (): Promise<VmShown> => await cluster.cli(asked, ["vm", "show", "guest"]);
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

  asked = Number(first.slice(1));
  const [target = "", spare = ""] = ["h1", "h2", "h3"].filter((host) => host !== first);
  await cluster.cli(asked, ["vm", "migrate", "guest", "--host", target]);
  await until(() => pidOn(cluster, target) !== undefined, MOVE_MS_MAX);
  await cluster.dev("kill", target);
  await until(async () => {
    const failure = (await show()).history.find(({ what }) => what === "does not move");
    if (failure !== undefined) t.diagnostic(`it stays: ${failure.because}`);
    return failure !== undefined;
  }, MOVE_MS_MAX);
  const { length: said } = countersOn(cluster, first);
  await until(() => countersOn(cluster, first).length > said + 3, MOVE_MS_MAX);
  assert.equal((await show()).host, first);

  const begin = performance.now();
  await cluster.cli(asked, ["vm", "migrate", "guest", "--host", spare]);
  let lastMs = performance.now();
  let count = countersOn(cluster, first).length;
  await until(() => {
    const { length } = countersOn(cluster, first);
    if (length > count) [count, lastMs] = [length, performance.now()];
    return countersOn(cluster, spare).length > 0;
  }, MOVE_MS_MAX);
  const endMs = performance.now();
  t.diagnostic(`it has moved after ${Math.round(endMs - begin)} ms`);
  t.diagnostic(`between two of its numbers were ${Math.round(endMs - lastMs)} ms`);
  await until(async () => (await show()).state === "running", MOVE_MS_MAX);
  const { epoch } = await show();
  assert.equal((await show()).host, spare);
  await until(() => countersOn(cluster, spare).length > 3, MOVE_MS_MAX);
  assert.equal(epoch, 2);
  await until(() => pidOn(cluster, first) === undefined, MOVE_MS_MAX);
  // A boot would have begun with what is on the disk, and said so.
  const [before, after] = [countersOn(cluster, first), countersOn(cluster, spare)];
  assert.equal(after[0], before.at(-1)! + 1, "it goes on with the next number");
  const log = fs.readFileSync(path.join(folderOn(cluster, spare), "serial.log"), "utf8");
  assert.doesNotMatch(log, /error|EXT4|Linux version/i);

  await cluster.cli(asked, ["vm", "kill", "guest"]);
  await until(async () => (await show()).state === "stopped", BOOT_MS_MAX);
});
