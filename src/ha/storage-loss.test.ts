/** Machines whose hosts do not reach their objects, and what there is for them elsewhere. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { createVm, findVm, putService } from "../cluster/index.ts";
import { CLUSTER, cluster, running, vm } from "../../test/support/vm-world.ts";
import type { Host, World } from "../../test/support/vm-world.ts";

const LOSS_MS = 10_000;
const ALMOST_ALL_BYTES = 16 * 2 ** 30 - (1 << 27);

function othersThan(world: World, host: Host): Host[] {
  return world.hosts.filter((one) => one !== host);
}

function loseStorage(world: World, host: Host): void {
  const others = othersThan(world, host).map(({ id }) => id);
  world.homes.split([host.id], others);
}

async function fill(world: World, { id }: Host): Promise<void> {
  const big = { ...vm(`big-${id}`, false), memoryBytes: ALMOST_ALL_BYTES, hostId: id, epoch: 1 };
  await createVm(world.directory, CLUSTER, big);
  await world.until(() => world.whereIs(big.name) === id, 5000);
}

test("a machine whose host loses its storage stays there while no other host has room for it", async () => {
  await cluster(1, async (world) => {
    const host = await running(world, "a");
    for (const other of othersThan(world, host)) await fill(world, other);
    loseStorage(world, host);
    await world.pass(LOSS_MS);
    assert.equal(world.whereIs("a"), host.id);
    const [freed] = othersThan(world, host);
    await world.change(`big-${freed!.id}`, { desired: "killed" });
    await world.until(() => world.whereIs("a") === freed!.id, LOSS_MS);
    assert.equal(host.hypervisor.startCount, 1);
  });
});

test("a machine whose host loses its storage stays there while all others are in maintenance", async () => {
  await cluster(2, async (world) => {
    const host = await running(world, "a");
    for (const { id } of othersThan(world, host))
      await putService(world.directory, CLUSTER, { id, kind: "host", mode: "none" });
    loseStorage(world, host);
    await world.pass(LOSS_MS);
    assert.equal(world.whereIs("a"), host.id);
  });
});

test("as many leave a host that has lost its storage as have a place elsewhere", async () => {
  await cluster(3, async (world) => {
    for (const name of ["a", "b"]) {
      const memoryBytes = 9 * 2 ** 30;
      await createVm(world.directory, CLUSTER, {
        ...vm(name),
        memoryBytes,
        hostId: "h1",
        epoch: 1,
      });
    }
    world.capacity = { memoryBytes: 16 * 2 ** 30, cpuCount: 8 };
    await fill(world, world.host("h2"));
    const isOnFirst = (): boolean => ["a", "b"].every((name) => world.whereIs(name) === "h1");
    await world.until(isOnFirst, 5000);
    await world.pass(5000);
    loseStorage(world, world.host("h1"));
    await world.until(() => ["a", "b"].some((name) => world.whereIs(name) === "h3"), LOSS_MS);
    await world.pass(LOSS_MS);
    const places = new Set(["a", "b"].map((name) => world.whereIs(name)));
    assert.deepEqual(places, new Set(["h1", "h3"]));
  });
});

test("reasons that take turns leave what has become of a machine in its history", async () => {
  await cluster(4, async (world) => {
    await running(world, "a");
    world.homes.split(...world.hosts.map(({ id }) => [id]));
    await world.pass(5000);
    await world.change("a", ({ protectionSequence }) => ({
      protectionSequence: protectionSequence + 1,
      desired: "killed",
    }));
    await world.pass(5000);
    await world.change("a", { desired: "running" });
    await world.pass(3_600_000);
    const { history } = (await findVm(world.directory, CLUSTER, "a")).record;
    assert.ok(history.some(({ what }) => what === "started"));
    const [waiting, ...more] = history.filter(({ what }) => what === "waits for objects");
    assert.deepEqual(more, []);
    assert.match(waiting?.because ?? "", /\(said \d+ times\)$/);
  });
});
