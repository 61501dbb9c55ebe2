/**
 * What was foreseen for a host of real processes, beside what happens when it fails: several
 * machines of different priorities, each of which must run where it was said to.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import type { VmView, WhatIfView } from "../../src/host/index.ts";
import { ClusterRun } from "./cluster-run.ts";
import { temporaryFolder } from "./harness.ts";

/** On three hosts: one of them has three at least. */
const PRIORITIES = ["low", "highest", "medium", "high", "lowest", "medium", "high"];
const START_MS_MAX = 240_000;
const FAILOVER_MS_MAX = 120_000;
const POLL_MS = 100;

async function machines(cluster: ClusterRun, host: number): Promise<readonly VmView[]> {
  return (await cluster.cli<{ readonly vms: readonly VmView[] }>(host, ["vm", "list"])).vms;
}

async function until(condition: () => Promise<boolean>, ms: number): Promise<void> {
  const endMs = performance.now() + ms;
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, `it did not come within ${ms} ms`);
    await pause(POLL_MS);
  }
}

/** Without an operating system: placement asks for none, and emulation is slow. */
async function startAll(cluster: ClusterRun): Promise<readonly VmView[]> {
  for (const [i, priority] of PRIORITIES.entries()) {
    const name = `m${i + 1}`;
    const volume = ["volume", "create", name, "--size", "4M", "--failures-to-tolerate", "1"];
    await cluster.cli(1, volume);
    const machine = ["vm", "create", name, "--volume", name, "--memory", "32M"];
    await cluster.cli(1, [...machine, "--priority", priority]);
    await cluster.cli(1, ["vm", "start", name]);
  }
  const areSafe = async (): Promise<boolean> =>
    (await machines(cluster, 1)).every((vm) => vm.state === "running" && vm.isProtected);
  await until(areSafe, START_MS_MAX);
  return await machines(cluster, 1);
}

function hostOfMost(vms: readonly VmView[]): string {
  const count = (host: string | undefined): number => vms.filter((vm) => vm.host === host).length;
  return vms.reduce((most, { host = "" }) => (count(host) > count(most) ? host : most), "");
}

/** When each ran on another host, as its new host says. */
async function untilElsewhere(
  t: TestContext,
  cluster: ClusterRun,
  asked: number,
  failed: string,
  foreseen: WhatIfView,
): Promise<void> {
  const beginMs = performance.now();
  const open = new Map(foreseen.machines.map((one) => [one.name, one]));
  await until(async () => {
    for (const { name, state, host } of await machines(cluster, asked)) {
      const expected = open.get(name);
      if (expected === undefined || state !== "running" || host === failed) continue;
      open.delete(name);
      assert.equal(host, expected.host, `${name} runs where it was foreseen`);
      const seconds = ((performance.now() - beginMs) / 1000).toFixed(1);
      t.diagnostic(`${name} on ${host} after ${seconds} s, foreseen ${expected.afterSeconds} s`);
    }
    return open.size === 0;
  }, FAILOVER_MS_MAX);
}

test("machines of a host that fails run where it was foreseen", async (t) => {
  process.env["DRYSTONE_ACCEL"] = "tcg";
  const cluster = await ClusterRun.create(path.join(temporaryFolder(t), "c"));
  t.after(() => cluster.kill());
  const before = await startAll(cluster);
  const failed = hostOfMost(before);
  const asked = failed === "h1" ? 2 : 1;
  const foreseen = await cluster.cli<WhatIfView>(asked, ["whatif", "fail", failed]);
  assert.deepEqual(foreseen.unusable, []);
  const there = before.filter(({ host }) => host === failed).map(({ name }) => name);
  assert.ok(there.length >= 3, "seven machines are on three hosts");
  assert.deepEqual(foreseen.machines.map(({ name }) => name).toSorted(), there.toSorted());
  assert.ok(foreseen.machines.every(({ outcome }) => outcome === "restarts"));
  const stayed = (vms: readonly VmView[]): readonly string[] =>
    vms.filter(({ name }) => !there.includes(name)).map(({ name, host }) => `${name} on ${host}`);
  await cluster.dev("kill", failed);
  await untilElsewhere(t, cluster, asked, failed, foreseen);
  assert.deepEqual(stayed(await machines(cluster, asked)), stayed(before), "others stay");
});
