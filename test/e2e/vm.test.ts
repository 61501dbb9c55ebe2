/**
 * A virtual machine on a cluster of real processes, its disk a mirrored volume: started, found
 * again by a host process that was killed, and run elsewhere when its host is gone.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import type { TestContext } from "node:test";
import type { VmView } from "../../src/host/index.ts";
import { browserMissing, startBrowser, WatchedPage } from "./browser.ts";
import { ClusterRun } from "./cluster-run.ts";
import { useMachine } from "./dashboard-buttons.ts";
import { guestFilesIn } from "./guest.ts";
import { temporaryFolder } from "./harness.ts";

const BOOT_MS_MAX = 120_000;
const FAILOVER_MS_MAX = 60_000;
const POLL_MS = 100;

interface VmShown {
  readonly state: string;
  readonly host?: string;
  readonly history: readonly { readonly what: string; readonly because: string }[];
}

interface WhatIf {
  readonly unusable: readonly string[];
  readonly machines: readonly { readonly host: string; readonly afterSeconds: number }[];
}

class VmRun {
  readonly cluster: ClusterRun;

  constructor(cluster: ClusterRun) {
    this.cluster = cluster;
  }

  /** Asks a host that is up: the first one may be the one that is not. */
  async show(host: number): Promise<VmShown> {
    return await this.cluster.cli<VmShown>(host, ["vm", "show", "guest"]);
  }

  async console(host: number): Promise<{ readonly text: string; readonly epoch: number }> {
    return await this.cluster.cli(host, ["vm", "console", "guest"]);
  }

  folderOn(host: string): string {
    return path.join(this.cluster.folder, host, "state", "vms", "guest");
  }

  /** What the guest has printed last on that host; 0 if nothing. */
  counterOn(host: string): number {
    const file = path.join(this.folderOn(host), "serial.log");
    if (!fs.existsSync(file)) return 0;
    const counters = [...fs.readFileSync(file, "utf8").matchAll(/^COUNTER (\d+)\r?$/gm)];
    return Number(counters.at(-1)?.[1] ?? 0);
  }

  /** The process of the machine on that host; undefined if it has ended. */
  pidOn(host: string): number | undefined {
    const file = path.join(this.folderOn(host), "vm.json");
    if (!fs.existsSync(file)) return undefined;
    const { pid } = JSON.parse(fs.readFileSync(file, "utf8")) as { readonly pid: number };
    return fs.existsSync(`/proc/${pid}/stat`) ? pid : undefined;
  }
}

async function until(condition: () => boolean | Promise<boolean>, ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, `it did not come within ${ms} ms`);
    await pause(POLL_MS);
  }
}

/** The dashboard foresees the same, and shows the machine. */
async function watch(
  t: TestContext,
  api: string,
  failing: string,
  { machines }: WhatIf,
): Promise<WatchedPage | undefined> {
  if (browserMissing !== false) return undefined;
  const watched = await WatchedPage.open(await startBrowser(t), api);
  const { page } = watched;
  await watched.show("hosts");
  await page.getByRole("button", { name: `If ${failing} failed` }).click();
  await page.getByText(`runs on ${machines[0]?.host} after`).waitFor();
  await page.getByRole("link", { name: "Machines", exact: true }).click();
  await page.getByRole("button", { name: "Migrate: guest" }).waitFor();
  await page.getByRole("link", { name: "guest", exact: true }).click();
  await page.getByText("running", { exact: false }).first().waitFor();
  await watched.checkAccess("a machine");
  return watched;
}

/** Without a reload: where it runs now, and why. */
async function seenLive(watched: WatchedPage | undefined, host: string): Promise<void> {
  if (watched === undefined) return;
  const { page } = watched;
  const options = { timeout: FAILOVER_MS_MAX };
  await page.locator(".facts dd", { hasText: new RegExp(`^${host}$`) }).waitFor(options);
  await page
    .getByText(/the lease of host h\d has ended/)
    .first()
    .waitFor(options);
  await watched.takePicture("vms-guest");
  watched.checkFaults();
}

test("a virtual machine outlives its host process, and is run elsewhere when its host is gone", async (t) => {
  process.env["DRYSTONE_ACCEL"] = "tcg";
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  const run = new VmRun(cluster);
  t.after(() => cluster.kill());
  const { kernel, initramfs } = await guestFilesIn(cluster.folder);
  const create = ["volume", "create", "disk", "--size", "64M"];
  await cluster.cli(1, [...create, "--failures-to-tolerate", "1"]);
  const boot = ["--kernel", kernel, "--initrd", initramfs];
  const append = "console=ttyS0 quiet panic=-1 drystone.job=counter";
  const machine = ["vm", "create", "guest", "--volume", "disk", "--memory", "256M"];
  await cluster.cli(1, [...machine, ...boot, "--append", append]);
  await cluster.cli(1, ["vm", "start", "guest"]);
  await until(async () => (await run.show(1)).state === "running", BOOT_MS_MAX);
  const first = (await run.show(1)).host ?? "";
  await until(() => run.counterOn(first) >= 5, BOOT_MS_MAX);

  const pid = run.pidOn(first);
  await cluster.dev("kill", first, "--process-only");
  await cluster.dev("start", first);
  const seen = run.counterOn(first);
  await until(() => run.counterOn(first) > seen + 3, BOOT_MS_MAX);
  assert.equal(run.pidOn(first), pid, "it is the same machine");

  const { text, epoch } = await run.console(first === "h1" ? 2 : 1);
  assert.match(text, /^COUNTER \d+\r?$/m, "any host tells what the machine prints");
  const other = first === "h1" ? 2 : 1;
  const foreseen = await cluster.cli<WhatIf>(other, ["whatif", "fail", first]);
  assert.deepEqual(foreseen.unusable, []);
  assert.equal(foreseen.machines.length, 1);
  const page = await watch(t, cluster.api(other), first, foreseen);
  const last = run.counterOn(first);
  await cluster.dev("kill", first, "--process-only");
  const begin = performance.now();
  await until(async () => {
    const { state, host } = await run.show(other);
    return state === "running" && host !== first;
  }, FAILOVER_MS_MAX);
  const foreseenMs = Math.round(foreseen.machines[0]!.afterSeconds * 1000);
  t.diagnostic(`QEMU runs elsewhere after ${Math.round(performance.now() - begin)} ms`);
  t.diagnostic(`foreseen were ${foreseenMs} ms`);
  assert.match(
    fs.readFileSync(`/proc/${pid}/stat`, "utf8"),
    /\) T /,
    "the machine that nobody looks after stands still",
  );
  const { host: second = "", history } = await run.show(other);
  assert.equal(second, foreseen.machines[0]!.host, "it runs where it was foreseen");
  assert.ok(history.some(({ because }) => /lease of host h\d has ended/.test(because)));
  await seenLive(page, second);
  await until(() => run.counterOn(second) > last, BOOT_MS_MAX);
  assert.ok((await run.console(other)).epoch > epoch);
  await cluster.dev("start", first);
  await until(() => run.pidOn(first) === undefined, BOOT_MS_MAX);
  t.diagnostic(`its guest works after ${Math.round(performance.now() - begin)} ms`);

  if (page === undefined) {
    await cluster.cli(other, ["vm", "kill", "guest"]);
    await until(async () => (await run.show(other)).state === "stopped", BOOT_MS_MAX);
    await cluster.cli(other, ["vm", "delete", "guest"]);
  } else {
    await useMachine(page, () => cluster.cli<VmView>(other, ["vm", "show", "guest"]));
    page.checkFaults();
  }
  for (const host of ["h1", "h2", "h3"]) assert.equal(run.pidOn(host), undefined, host);
});
