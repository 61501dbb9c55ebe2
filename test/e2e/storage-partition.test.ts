/**
 * The storage network is split and the management network is not: a machine on the smaller side is
 * ended there and runs on the side that has its disk, whoever decides; and what is decided
 * meanwhile is written down by a host that can.
 */
import assert from "node:assert/strict";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { ClusterRun } from "./cluster-run.ts";
import { guestFiles } from "./guest.ts";
import { temporaryFolder } from "./harness.ts";

const STEP_MS_MAX = 60_000;
const MOVE_MS_MAX = 15_000;

interface VmShown {
  readonly state: string;
  readonly host?: string;
  readonly protection: string;
  readonly history: readonly { readonly what: string; readonly because: string }[];
}

interface VmWhy {
  readonly master?: string;
  readonly places: readonly { readonly host: string; readonly isAccessible: boolean }[];
}

async function until(condition: () => Promise<boolean>, ms = STEP_MS_MAX): Promise<void> {
  const endMs = performance.now() + ms;
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, `it did not come within ${ms} ms`);
    await pause(100);
  }
}

test("machines and their protection outlive a split of the storage network alone", async (t) => {
  process.env["DRYSTONE_ACCEL"] = "tcg";
  const { kernel } = await guestFiles();
  const folder = path.join(temporaryFolder(t), "c");
  const cluster = await ClusterRun.create(folder, ["--guest", path.dirname(kernel)]);
  t.after(() => cluster.stop());
  const show = (name: string): Promise<VmShown> => cluster.cli(1, ["vm", "show", name]);
  const why = (): Promise<VmWhy> => cluster.cli(1, ["why", "vm", "guest"]);
  const counter = async (): Promise<number> => {
    const { text } = await cluster.cli<{ text: string }>(1, ["vm", "console", "guest"]);
    return Number([...text.matchAll(/^COUNTER (\d+)\r?$/gm)].at(-1)?.[1] ?? 0);
  };
  await until(async () => {
    const { state, protection } = await show("guest");
    return state === "running" && protection === "protected";
  });
  await until(async () => (await counter()) >= 3);
  const { host: first = "" } = await show("guest");
  const said = await counter();

  const begin = performance.now();
  await cluster.dev("partition", "--network", "storage", first);
  await until(async () => {
    const { state, host } = await show("guest");
    return state === "running" && host !== first;
  }, MOVE_MS_MAX);
  t.diagnostic(`it runs on the larger side after ${Math.round(performance.now() - begin)} ms`);
  const { history } = await show("guest");
  assert.ok(
    history.some(({ what, because }) => {
      return what === `sent away from ${first}` && /1 of 3 votes of \S+ are in reach/.test(because);
    }),
  );
  await until(async () => (await counter()) > said);
  const { places } = await why();
  for (const { host, isAccessible } of places) assert.equal(isAccessible, host !== first);

  // What is wanted now can be written on the larger side only. The master may be on the smaller
  // one.
  await cluster.cli(1, ["vm", "unprotect", "guest"]);
  await until(async () => (await show("guest")).protection === "unprotected");
  await cluster.cli(1, ["vm", "protect", "guest"]);
  await until(async () => (await show("guest")).protection === "protected");
  const { master } = await why();
  const last = (await show("guest")).history.findLast(({ what }) => what === "protected");
  if (master === first) assert.match(last?.because ?? "", /has written it into its home/);
  t.diagnostic(`the master is on the ${master === first ? "smaller" : "larger"} side`);
  await cluster.dev("heal");
  await until(async () => (await why()).places.every(({ isAccessible }) => isAccessible));
});
