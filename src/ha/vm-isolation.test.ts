/** What becomes of machines when their host is cut off, as each of them has it. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { createVm, findVm, isProtected } from "../cluster/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import { CLUSTER, cluster, DIRECTORY, FAILOVER_MS_MAX } from "../../test/support/vm-world.ts";
import { running, vm } from "../../test/support/vm-world.ts";
import type { Host, World } from "../../test/support/vm-world.ts";

async function runningWith(world: World, what: Partial<VmRecord>): Promise<Host> {
  await createVm(world.directory, CLUSTER, { ...vm("a"), ...what });
  await world.until(() => world.whereIs("a") !== undefined, 5000);
  const isSettled = async (): Promise<boolean> =>
    isProtected(await record(world)) === (what.isProtected ?? true);
  await world.until(isSettled, 5000);
  // Its host has read what it is like.
  await world.pass(1000);
  return world.host(world.whereIs("a"));
}

async function record(world: World): Promise<VmRecord> {
  return (await findVm(world.directory, CLUSTER, "a")).record;
}

const isListed = async ({ hypervisor }: Host): Promise<boolean> =>
  (await hypervisor.list()).length > 0;

test("a machine stands still with its memory while its host is cut off, unless told otherwise", async () => {
  await cluster(1, async (world) => {
    const host = await running(world, "a");
    world.fabric.partition([host.address], [DIRECTORY]);
    await world.until(() => world.whereIs("a") !== host.id, FAILOVER_MS_MAX);
    assert.ok(await isListed(host));
  });
});

test("one that is to be powered off is ended when others may start it", async () => {
  await cluster(2, async (world) => {
    const host = await runningWith(world, { isolation: "power-off" });
    world.fabric.partition([host.address], [DIRECTORY]);
    await world.until(async () => !(await isListed(host)), 5000);
    await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
    assert.notEqual(world.whereIs("a"), host.id);
    assert.equal((await record(world)).failureCount, 0);
  });
});

test("one that was ended starts anew where it was if nobody could start it elsewhere", async () => {
  await cluster(3, async (world) => {
    const host = await runningWith(world, { isolation: "power-off", isProtected: false });
    world.fabric.partition([host.address], [DIRECTORY]);
    await world.until(async () => !(await isListed(host)), 5000);
    await world.pass(10_000);
    assert.equal(world.whereIs("a"), undefined);
    world.fabric.heal();
    await world.until(() => world.whereIs("a") === host.id, FAILOVER_MS_MAX);
    const { failureCount, desired } = await record(world);
    assert.deepEqual({ failureCount, desired }, { failureCount: 0, desired: "running" });
  });
});

test("one that is to shut down is asked before others may start it", async () => {
  await cluster(4, async (world) => {
    const host = await runningWith(world, { isolation: "shut-down" });
    world.fabric.partition([host.address], [DIRECTORY]);
    const cutMs = world.simulation.nowMs;
    await world.until(() => world.whereIs("a") === undefined, 5000);
    const afterMs = world.simulation.nowMs - cutMs;
    assert.ok(afterMs < 3000, `asked after ${afterMs} ms, when its guest has no time left`);
    await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
    assert.notEqual(world.whereIs("a"), host.id);
    assert.equal((await record(world)).desired, "running");
  });
});

test("one that was shut down for a cut that healed in time starts again", async () => {
  await cluster(5, async (world) => {
    const host = await runningWith(world, { isolation: "shut-down" });
    world.fabric.partition([host.address], [DIRECTORY]);
    await world.until(() => world.whereIs("a") === undefined, 5000);
    world.fabric.heal();
    await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
    const { failureCount, desired } = await record(world);
    assert.deepEqual({ failureCount, desired }, { failureCount: 0, desired: "running" });
  });
});

test("one that is left runs on, and must not be protected", async () => {
  await cluster(6, async (world) => {
    const host = await runningWith(world, { isolation: "leave", isProtected: false });
    world.fabric.partition([host.address], [DIRECTORY]);
    await world.pass(20_000);
    assert.equal(world.whereIs("a"), host.id);
    // Also when nobody is there who could stop it.
    host.kill();
    await world.pass(20_000);
    assert.equal(world.whereIs("a"), host.id);
    world.fabric.heal();
    host.start();
    await world.pass(5000);
    assert.equal(world.whereIs("a"), host.id);
    assert.equal(host.hypervisor.startCount, 1);
    const both = { ...vm("b"), isolation: "leave" } as const;
    await assert.rejects(createVm(world.directory, CLUSTER, both), /must not be protected/);
  });
});

test("one that is to wait for its disks is not sent away when its host loses them", async () => {
  await cluster(
    7,
    async (world) => {
      const host = await runningWith(world, { storageLoss: "leave" });
      world.homes.split(
        [host.id],
        world.hosts.map(({ id }) => id).filter((id) => id !== host.id),
      );
      await world.pass(15_000);
      assert.equal(world.whereIs("a"), host.id);
      assert.equal((await record(world)).epoch, 1);
    },
    5,
  );
});

test("one that was shut down for a cut starts again, also by a host process that was not there", async () => {
  await cluster(9, async (world) => {
    const host = await runningWith(world, { isolation: "shut-down", isProtected: false });
    world.fabric.partition([host.address], [DIRECTORY]);
    await world.until(() => world.whereIs("a") === undefined, 5000);
    const [vm_] = await host.hypervisor.list();
    assert.equal(vm_?.state, "ended");
    host.kill();
    world.fabric.heal();
    host.start();
    await world.until(() => world.whereIs("a") === host.id, FAILOVER_MS_MAX);
    assert.equal((await record(world)).desired, "running");
  });
});
