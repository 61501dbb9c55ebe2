import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { connect } from "node:net";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CodedError } from "../../base/index.ts";
import { StreamNetwork } from "../../platform/index.ts";
import { test } from "../../../test/support/test.ts";
import { listenForOrders } from "./dev-orders.ts";
import type { Obey } from "./dev-orders.ts";
import { tellDevCluster } from "./run-dev-cluster.ts";

async function folderWith(t: TestContext, obey: Obey): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), "drystone-orders-"));
  const path = join(folder, "control.sock");
  const listener = await listenForOrders(new StreamNetwork(), path, obey);
  t.after(async () => {
    await listener.close();
    rmSync(folder, { recursive: true });
  });
  return folder;
}

function openFiles(): number {
  return readdirSync("/proc/self/fd").length;
}

async function until(isSo: () => boolean, what: string): Promise<void> {
  const limit = performance.now() + 10_000;
  while (!isSo()) {
    assert.ok(performance.now() < limit, what);
    await sleep(5);
  }
}

test("an order is obeyed and answered, one that is refused with its code", async (t) => {
  const orders: string[] = [];
  const folder = await folderWith(t, async (order) => {
    orders.push(order);
    if (order !== "kill h9") return;
    throw new CodedError({ code: "host-unknown", message: "there is no h9", hint: "h1, h2" });
  });
  await tellDevCluster(folder, "kill h1");
  await assert.rejects(tellDevCluster(folder, "kill h9"), { code: "host-unknown" });
  assert.deepEqual(orders, ["kill h1", "kill h9"]);
});

test("connections of orders that were answered do not stay open", async (t) => {
  const folder = await folderWith(t, async () => undefined);
  await tellDevCluster(folder, "heal");
  const before = openFiles();
  for (let count = 0; count < 20; count++) await tellDevCluster(folder, "heal");
  await until(() => openFiles() <= before, `${before} open files became ${openFiles()}`);
});

test("a connection that brings no order, or leaves before the answer, does not stay", async (t) => {
  let answer = (): void => undefined;
  const answering = new Promise<void>((resolve) => (answer = resolve));
  let heard = 0;
  const folder = await folderWith(t, async () => {
    heard++;
    await answering;
  });
  const before = openFiles();
  const path = join(folder, "control.sock");
  const silent = connect(path, () => silent.end());
  const hasty = connect(path, () => hasty.write("kill h1\n"));
  await until(() => heard === 1, "the order was not heard");
  hasty.destroy();
  answer();
  await until(() => openFiles() <= before, "a connection stays open");
});

test("who is connected and says nothing does not keep a cluster that closes", async () => {
  const folder = mkdtempSync(join(tmpdir(), "drystone-orders-"));
  const path = join(folder, "control.sock");
  const listener = await listenForOrders(new StreamNetwork(), path, async () => undefined);
  const ends: Promise<void>[] = [];
  const silent: Socket = connect(path);
  ends.push(new Promise((resolve) => silent.once("close", () => resolve())));
  await new Promise((resolve) => silent.once("connect", resolve));
  silent.resume();
  // The other side has taken the connection once it has answered a later one.
  await tellDevCluster(folder, "heal");
  await listener.close();
  await Promise.all(ends);
  rmSync(folder, { recursive: true });
});
