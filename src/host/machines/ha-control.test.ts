/** Arming high availability, and machines whose hosts never come back. */
import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { createVm, directoryKeys, findVm } from "../../cluster/index.ts";
import { CLUSTER, cluster, DIRECTORY, FAILOVER_MS_MAX } from "../../../test/support/vm-world.ts";
import { running, vm } from "../../../test/support/vm-world.ts";
import type { World } from "../../../test/support/vm-world.ts";
import { haHandlers } from "./ha-control.ts";
import { vmHandlers } from "./vm-control.ts";

function controlled({ directory, simulation, hosts }: World) {
  const control = {
    directory,
    clock: simulation.clock,
    clusterId: CLUSTER,
    hostId: "h1",
    hostNames: async () => new Map(hosts.map(({ id }) => [id, id.toUpperCase()])),
    forget: async () => {},
    checkVolume: async () => {},
    checkBootFile: () => {},
  };
  return { ...vmHandlers(control), ...haHandlers(control) };
}

async function isFree(world: World, name: string): Promise<boolean> {
  return (await findVm(world.directory, CLUSTER, name)).record.hostId === undefined;
}

/** The host of machine "a" has died, and its lease has ended, since nobody starts it elsewhere. */
async function diedWhileDisarmed(world: World) {
  const answers = controlled(world);
  const host = await running(world, "a");
  await answers["ha.disarm"]({});
  await world.pass(2000);
  host.cutPower();
  await world.pass(20_000);
  return { answers, host };
}

/** As `drystone host remove` does. */
async function remove({ directory }: World, hostId: string): Promise<void> {
  await directory.transact(
    [],
    [
      { kind: "put", key: directoryKeys.revokedHost(CLUSTER, hostId), value: hostId },
      { kind: "delete", key: directoryKeys.vmUnbound(CLUSTER, hostId) },
    ],
  );
}

test("whoever arms it is told of hosts with machines that do not know of it", async () => {
  await cluster(1, async (world) => {
    const answers = controlled(world);
    const host = await running(world, "a");
    await answers["ha.disarm"]({});
    await world.pass(2000);
    world.fabric.partition([host.address], [DIRECTORY]);
    assert.deepEqual((await answers["ha.arm"]({})).unaware, [host.id.toUpperCase()]);
    await world.pass(20_000);
    assert.deepEqual((await answers["ha.show"]({})).unaware, [host.id.toUpperCase()]);
    world.fabric.heal();
    await world.pass(8000);
    assert.equal((await answers["ha.show"]({})).unaware, undefined);
    await answers["ha.disarm"]({});
    await world.pass(2000);
    assert.equal((await answers["ha.arm"]({})).unaware, undefined, "all know when it returns");
    host.cutPower();
    await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
  });
});

test("after a host has died for good while it was disarmed, killing its machines lets it be armed", async () => {
  await cluster(2, async (world) => {
    const { answers } = await diedWhileDisarmed(world);
    await assert.rejects(answers["ha.arm"]({}), { code: "ha-hosts-unheard" });
    await answers["vm.kill"]({ name: "a" });
    await world.until(() => isFree(world, "a"), 5000);
    assert.equal((await answers["ha.arm"]({})).isArmed, true);
    await answers["vm.start"]({ name: "a" });
    await world.until(() => world.whereIs("a") !== undefined, 5000);
  });
});

test("machines of a host that was removed are started elsewhere, and hold up nobody who arms", async () => {
  await cluster(3, async (world) => {
    const { answers, host } = await diedWhileDisarmed(world);
    assert.equal(world.whereIs("a"), undefined);
    await remove(world, host.id);
    assert.equal((await answers["ha.arm"]({})).isArmed, true);
    await world.until(() => world.whereIs("a") !== undefined, 5000);
  });
});

test("an unprotected machine of a dead host is killed and started elsewhere, or deleted", async () => {
  await cluster(4, async (world) => {
    const answers = controlled(world);
    await createVm(world.directory, CLUSTER, vm("a", false));
    await world.until(() => world.whereIs("a") !== undefined, 5000);
    world.host(world.whereIs("a")).cutPower();
    await world.pass(10_000);
    await answers["vm.kill"]({ name: "a" });
    await world.until(() => isFree(world, "a"), 5000);
    await answers["vm.start"]({ name: "a" });
    await world.until(() => world.whereIs("a") !== undefined, 5000);
    world.host(world.whereIs("a")).cutPower();
    await world.pass(10_000);
    await answers["vm.kill"]({ name: "a" });
    await world.until(() => isFree(world, "a"), 5000);
    await answers["vm.delete"]({ name: "a" });
    await assert.rejects(findVm(world.directory, CLUSTER, "a"), { code: "vm-not-found" });
  });
});
