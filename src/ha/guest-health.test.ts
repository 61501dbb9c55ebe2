/** Guests that hang, on machines with a watchdog. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { findVm } from "../cluster/index.ts";
import type { VmDecision } from "../cluster/index.ts";
import { CLUSTER, cluster, DIRECTORY } from "../../test/support/vm-world.ts";
import { running } from "../../test/support/vm-world.ts";
import type { Host, World } from "../../test/support/vm-world.ts";

const RESET_MS_MAX = 3000;
const HOUR_MS = 3600_000;

async function last(world: World): Promise<VmDecision | undefined> {
  return (await findVm(world.directory, CLUSTER, "a")).record.history.at(-1);
}

function anHourEarlier(timeMs: number): number {
  return timeMs - HOUR_MS;
}

async function isReset(world: World, host: Host): Promise<void> {
  host.hypervisor.hang("a");
  assert.equal(world.whereIs("a"), undefined);
  await world.until(() => world.whereIs("a") === host.id, RESET_MS_MAX);
}

test("a guest that hangs is reset, three times within an hour, and then left as it is", async () => {
  await cluster(1, async (world) => {
    const host = await running(world, "a");
    for (let i = 1; i <= 3; i++) {
      await isReset(world, host);
      assert.match((await last(world))?.because ?? "", new RegExp(`reset ${i} of 3 an hour`));
      await world.pass(60_000);
    }
    host.hypervisor.hang("a");
    await world.until(async () => (await last(world))?.what === "waits for help", RESET_MS_MAX);
    await world.pass(60_000);
    assert.equal(world.whereIs("a"), undefined, "nobody lets it go on");
    assert.match((await last(world))?.because ?? "", /hangs again after 3 resets within an hour/);
    // As an operator does.
    await host.hypervisor.reset("a");
    await world.until(async () => (await last(world))?.what === "goes on", RESET_MS_MAX);
    await world.change("a", ({ resetsMs }) => ({ resetsMs: resetsMs?.map(anHourEarlier) }));
    await isReset(world, host);
    assert.equal(host.hypervisor.startCount, 1, "its process is the same all the time");
  });
});

test("a guest that hangs while its host is cut off is reset when the host may run it again", async () => {
  await cluster(2, async (world) => {
    const host = await running(world, "a");
    const everybody = world.hosts.map(({ address }) => address);
    world.fabric.partition(everybody, [DIRECTORY]);
    await world.pass(3000);
    host.hypervisor.hang("a");
    await world.pass(10_000);
    assert.equal(world.whereIs("a"), undefined, "it is reset while others may start it");
    world.fabric.heal();
    await world.until(() => world.whereIs("a") !== undefined, 15_000);
  });
});

test("a guest whose agent answers no more is reset, and left as it is after the third time", async () => {
  await cluster(3, async (world) => {
    const host = await running(world, "a");
    const { hypervisor } = host;
    for (let i = 1; i <= 3; i++) {
      hypervisor.silence("a");
      await world.until(() => hypervisor.resetCount === i, RESET_MS_MAX);
      assert.match((await last(world))?.because ?? "", /has an agent that answers no more; reset/);
    }
    hypervisor.silence("a");
    await world.until(async () => (await last(world))?.what === "waits for help", RESET_MS_MAX);
    await world.pass(60_000);
    assert.equal(hypervisor.resetCount, 3);
    assert.equal(world.whereIs("a"), host.id, "it executes all the time");
    assert.equal((await last(world))?.what, "waits for help");
    await hypervisor.reset("a");
    await world.until(async () => (await last(world))?.what === "goes on", RESET_MS_MAX);
  });
});

test("resets are counted whatever else fills the machine's history, or changes its record", async () => {
  await cluster(4, async (world) => {
    const host = await running(world, "a");
    const { hypervisor } = host;
    const other = { timeMs: 1, hostId: "h2", what: "does not move", because: "x" };
    for (let i = 0; i < 6; i++) {
      hypervisor.hang("a");
      // The record is read before, and swapped after that.
      await world.change("a", { priority: i % 2 });
      await world.pass(RESET_MS_MAX);
      await world.change("a", { history: Array.from({ length: 30 }, () => other) });
      await world.pass(RESET_MS_MAX);
    }
    assert.equal(hypervisor.resetCount, 3);
  });
});

test("a guest is reset only once its record says so", async () => {
  await cluster(5, async (world) => {
    const host = await running(world, "a");
    const transact = world.directory.transact.bind(world.directory);
    let isRefused = true;
    world.directory.transact = async (conditions, changes) => {
      const isSaid = changes.some((one) => one.kind === "put" && one.value.includes('"reset"'));
      if (isSaid && isRefused) return { succeeded: false, revision: 1 };
      return await transact(conditions, changes);
    };
    host.hypervisor.hang("a");
    await world.pass(20_000);
    assert.equal(host.hypervisor.resetCount, 0);
    isRefused = false;
    await world.until(() => world.whereIs("a") === host.id, RESET_MS_MAX);
    assert.match((await last(world))?.because ?? "", /reset 1 of 3/);
  });
});
