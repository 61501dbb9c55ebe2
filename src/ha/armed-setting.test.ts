/** High availability that is armed and disarmed while hosts and networks fail. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { createVm, directoryKeys, findVm, readHaSettings } from "../cluster/index.ts";
import { swapHaSettings } from "../cluster/index.ts";
import { CLUSTER, cluster, DIRECTORY, vm } from "../../test/support/vm-world.ts";
import { running } from "../../test/support/vm-world.ts";
import type { World } from "../../test/support/vm-world.ts";
import { ArmedSetting } from "./armed-setting.ts";

/** As an operator does who asks nobody whether all hosts are heard. */
async function setArmed({ directory }: World, isArmed: boolean): Promise<void> {
  const stored = await readHaSettings(directory, CLUSTER);
  await swapHaSettings(directory, CLUSTER, stored, { ...stored.settings, isArmed });
}

test("whenever it is armed and disarmed, no machine runs twice", async () => {
  for (let seed = 200; seed < 216; seed++)
    await cluster(seed, async (world) => {
      const { prng } = world.simulation;
      for (const name of ["a", "b"]) await createVm(world.directory, CLUSTER, vm(name));
      for (let round = 0; round < 20; round++) {
        await world.pass(prng.below(4000));
        const host = prng.pick(world.hosts);
        const kind = prng.pick([0, 1, 2, 2, 3, 4, 4, 5, 5]);
        if (host.host === undefined) host.start();
        else if (kind === 0) host.cutPower();
        else if (kind === 1) host.kill();
        else if (kind === 2) world.fabric.partition([host.address], [DIRECTORY]);
        else if (kind === 3) world.fabric.heal();
        else await setArmed(world, kind === 4);
      }
      world.fabric.heal();
      await setArmed(world, true);
      for (const host of world.hosts) if (host.host === undefined) host.start();
      const areRunning = (): boolean => ["a", "b"].every((name) => world.whereIs(name));
      await world.until(areRunning, 30_000);
      await world.pass(5000);
      const prefix = directoryKeys.vmsUnbound(CLUSTER);
      assert.deepEqual((await world.directory.list(prefix)).records, [], "all of them know");
    });
});

test("a host whose process has died while it was disarmed says so as long as it is away", async () => {
  await cluster(220, async (world) => {
    const host = await running(world, "a");
    await setArmed(world, false);
    await world.pass(2000);
    host.kill();
    await setArmed(world, true);
    await world.pass(60_000);
    assert.equal(world.whereIs("a"), host.id, "its guard lets it execute on");
    host.start();
    await world.pass(8000);
    assert.equal((await findVm(world.directory, CLUSTER, "a")).record.epoch, 1);
    host.cutPower();
    await world.until(() => world.whereIs("a") !== undefined, 12_000);
  });
});

test("a host takes back what it has said only once its machines live by the lease", async () => {
  for (let seed = 221; seed < 224; seed++)
    await cluster(seed, async (world) => {
      const host = await running(world, "a");
      await setArmed(world, false);
      await world.pass(2000);
      await setArmed(world, true);
      const key = directoryKeys.vmUnbound(CLUSTER, host.id);
      while ((await world.directory.get(key)) !== undefined) await world.pass(1);
      // Others may start its machines from now on, once its lease has ended.
      host.kill();
      await world.until(() => ![host.id, undefined].includes(world.whereIs("a")), 15_000);
    });
});

test("a host whose lease has ended goes by what it knew, whatever it reads", async () => {
  await cluster(224, async (world) => {
    let isAlive = false;
    const { directory, simulation } = world;
    const setting = new ArmedSetting(
      { directory, clusterId: CLUSTER, hostId: "h9", clock: simulation.clock },
      { isAlive: () => isAlive, bind: async () => {} },
    );
    await setArmed(world, false);
    await setting.look();
    assert.equal(setting.isArmed, true, "its machines may have been given to others");
    isAlive = true;
    setting.changed();
    await setting.look();
    assert.equal(setting.isArmed, false);
  });
});

test("what a host has said since the master has looked counts", async () => {
  await cluster(225, async (world) => {
    const host = await running(world, "a");
    await world.pass(2000);
    const lease = directoryKeys.vmHost(CLUSTER, host.id);
    const key = directoryKeys.vmUnbound(CLUSTER, host.id);
    let hasSaid = false;
    for (const one of world.hosts)
      one.beforeKnown = async (prefix) => {
        const isLast = prefix === directoryKeys.vmsUnbound(CLUSTER);
        if (!isLast || hasSaid || (await world.directory.get(lease)) !== undefined) return;
        hasSaid = true;
        await world.directory.transact([], [{ kind: "put", key, value: host.id }]);
      };
    host.cutPower();
    await world.until(() => hasSaid, 10_000);
    await world.pass(10_000);
    assert.equal(world.whereIs("a"), undefined);
    await world.directory.transact([], [{ kind: "delete", key }]);
    await world.until(() => world.whereIs("a") !== undefined, 10_000);
  });
});
