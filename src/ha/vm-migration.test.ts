/**
 * Running machines move to other hosts, and what becomes of them when something fails meanwhile.
 */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { createVm, findVm, putService } from "../cluster/index.ts";
import type { VmRecord } from "../cluster/index.ts";
import { CLUSTER, cluster, DIRECTORY, FAILOVER_MS_MAX } from "../../test/support/vm-world.ts";
import { running, vm } from "../../test/support/vm-world.ts";
import type { Host, World } from "../../test/support/vm-world.ts";

const MOVE_MS_MAX = 5000;

async function record(world: World): Promise<VmRecord> {
  return (await findVm(world.directory, CLUSTER, "a")).record;
}

/** Asks for a move to another host, and returns that. */
async function ask(world: World, from: Host): Promise<Host> {
  const target = world.hosts.find((host) => host !== from)!;
  const { epoch, migration } = await record(world);
  const id = (migration?.id ?? 0) + 1;
  const asked = { id, to: target.id, epoch, phase: "asked", address: "" } as const;
  await world.change("a", { migration: asked });
  return target;
}

async function reaches(world: World, phase: string): Promise<void> {
  await world.until(async () => (await record(world)).migration?.phase === phase, MOVE_MS_MAX);
}

async function isBack(world: World, host: Host): Promise<void> {
  await reaches(world, "over");
  await world.until(() => world.whereIs("a") === host.id, MOVE_MS_MAX);
  await world.until(() => host.attached.has("a-disk"), MOVE_MS_MAX);
  assert.equal((await record(world)).epoch, 1, "it is the same placement");
  await world.until(() => arrivalsOf(world) === 0, MOVE_MS_MAX);
}

/** Hosts on which the machine is in some form, but for the one that runs it. */
function arrivalsOf(world: World): number {
  return world.hosts.filter(
    ({ id, hypervisor }) => hypervisor.has("a") && id !== world.whereIs("a"),
  ).length;
}

test("a machine moves on request, and its volumes are one host's at any time", async () => {
  for (let seed = 1; seed <= 5; seed++)
    await cluster(seed, async (world) => {
      const from = await running(world, "a");
      const to = await ask(world, from);
      await world.until(() => world.whereIs("a") === to.id, MOVE_MS_MAX);
      await world.until(() => !from.hypervisor.has("a"), MOVE_MS_MAX);
      await world.until(async () => (await record(world)).startedEpoch === 2, MOVE_MS_MAX);
      assert.equal(to.hypervisor.startCount, 0, "with its memory, not anew");
      assert.ok(to.attached.has("a-disk") && !from.attached.has("a-disk"));
      assert.deepEqual(world.sharedVolumes, []);
      // And back, by another migration of another placement.
      await world.change("a", {
        migration: { id: 2, to: from.id, epoch: 2, phase: "asked", address: "" },
      });
      await world.until(() => world.whereIs("a") === from.id, MOVE_MS_MAX);
      assert.deepEqual(world.sharedVolumes, []);
    });
});

test("a machine stays where it is when its memory does not get through", async () => {
  await cluster(1, async (world) => {
    const from = await running(world, "a");
    from.hypervisor.sendsToFail = 1;
    await ask(world, from);
    await isBack(world, from);
    const { history } = await record(world);
    assert.ok(history.some(({ because }) => /the connection broke/.test(because)));
    const to = await ask(world, from);
    await world.until(() => world.whereIs("a") === to.id, MOVE_MS_MAX);
  });
});

test("a machine stays where it is when the target cannot take it, or is gone", async () => {
  await cluster(1, async (world) => {
    const from = await running(world, "a");
    const target = world.hosts.find((host) => host !== from)!;
    target.hypervisor.startsToFail = 1;
    await ask(world, from);
    await isBack(world, from);
    await ask(world, from);
    await reaches(world, "ready");
    target.cutPower();
    await isBack(world, from);
    assert.equal(world.whereIs("a"), from.id);
  });
});

test("of machines that are asked to move to one host at the same time only those come that it has room for", async () => {
  for (let seed = 1; seed <= 6; seed++)
    await cluster(seed, async (world) => {
      const memoryBytes = (5 * world.capacity.memoryBytes) / 8;
      const names = ["a", "b"];
      for (const name of names) {
        await createVm(world.directory, CLUSTER, { ...vm(name), memoryBytes });
        await world.until(() => world.whereIs(name) !== undefined, FAILOVER_MS_MAX);
      }
      const [one, other] = names.map((name) => world.whereIs(name));
      assert.notEqual(one, other);
      const target = world.hosts.find(({ id }) => id !== one && id !== other)!;
      const ask = async (name: string): Promise<void> =>
        await world.change(name, ({ epoch }) => ({
          migration: { id: 1, to: target.id, epoch, phase: "asked", address: "" },
        }));
      await Promise.all(names.map(ask));
      const recordOf = async (name: string): Promise<VmRecord> =>
        (await findVm(world.directory, CLUSTER, name)).record;
      const areOver = async (): Promise<boolean> => {
        const records = await Promise.all(names.map(recordOf));
        return records.every(({ migration }) => ["moved", "over"].includes(migration!.phase));
      };
      await world.until(areOver, 2 * MOVE_MS_MAX);
      const records = await Promise.all(names.map(recordOf));
      const moved = records.filter(({ hostId }) => hostId === target.id);
      assert.equal(moved.length, 1, "one has come, and the other one has stayed");
      const stayed = records.find(({ hostId }) => hostId !== target.id)!;
      const why = stayed.history.findLast(({ what }) => what === "does not move")!.because;
      assert.match(why, /the target cannot take it: .*10 GiB of memory.* 6 GiB/);
      for (const { name, hostId } of records)
        await world.until(() => world.whereIs(name) === hostId, MOVE_MS_MAX);
    });
});

test("a machine whose host does not know whether it has given it away takes it back first", async () => {
  for (let seed = 1; seed <= 8; seed++)
    await cluster(seed, async (world) => {
      const from = await running(world, "a");
      await ask(world, from);
      await reaches(world, "ready");
      // Answers of the directory are lost while it is given away.
      await world.pass(400 + world.simulation.prng.below(150));
      world.fabric.block(DIRECTORY, from.address);
      await world.pass(1000 + world.simulation.prng.below(1500));
      world.fabric.heal();
      await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
      await world.pass(2000);
      const { hostId, migration } = await record(world);
      assert.equal(world.whereIs("a"), hostId);
      assert.ok(migration?.phase === "over" || migration?.phase === "moved");
    });
});

test("a host process that is started anew takes back what it was sending", async () => {
  for (let seed = 1; seed <= 8; seed++)
    await cluster(seed, async (world) => {
      const from = await running(world, "a");
      await ask(world, from);
      await reaches(world, "ready");
      await world.pass(world.simulation.prng.below(600));
      from.kill();
      await world.pass(1000);
      const stoodStill = world.whereIs("a") === undefined;
      from.start();
      await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
      await world.pass(3000);
      const { history } = await record(world);
      if (stoodStill) assert.ok(history.some(({ what }) => what === "does not move"));
      assert.equal(world.whereIs("a"), (await record(world)).hostId);
      assert.equal(arrivalsOf(world), 0);
    });
});

test("memory that is older than what a machine has done since is not used", async () => {
  for (let seed = 1; seed <= 6; seed++)
    await cluster(seed, async (world) => {
      const from = await running(world, "a");
      const to = await ask(world, from);
      await reaches(world, "ready");
      await world.pass(450 + world.simulation.prng.below(100));
      from.cutPower();
      await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
      const { migration } = await record(world);
      const isAnew = world.hosts.some(({ hypervisor }) => hypervisor.startCount > 1);
      const startedElsewhere = to.hypervisor.startCount > 0 || isAnew;
      if (migration?.phase !== "moved")
        assert.ok(startedElsewhere || world.whereIs("a") !== to.id, "started from its disks");
    });
});

test("memory that came by another migration, or for another placement, is not used", async () => {
  const others = [
    { id: 2, epoch: 1, placement: 2 },
    { id: 1, epoch: 1, placement: 4 },
  ];
  for (const { id, epoch, placement } of others)
    await cluster(1, async (world) => {
      const from = await running(world, "a");
      const to = await ask(world, from);
      await reaches(world, "ready");
      to.kill();
      from.kill();
      await world.pass(1000);
      assert.ok(to.hypervisor.has("a"), "its memory is there");
      const moved = { id, to: to.id, epoch, phase: "moved", address: "" } as const;
      await world.change("a", { migration: moved, hostId: to.id, epoch: placement });
      from.start();
      to.start();
      await world.until(() => world.whereIs("a") === to.id, FAILOVER_MS_MAX);
      assert.equal(to.hypervisor.startCount, 1, "started from its disks");
      const { history } = await record(world);
      assert.ok(!history.some(({ what }) => what === "goes on"));
    });
});

test("what stands ready makes way for the next attempt", async () => {
  await cluster(1, async (world) => {
    const from = await running(world, "a");
    const to = await ask(world, from);
    await reaches(world, "ready");
    from.kill();
    const { migration } = await record(world);
    await world.change("a", { migration: { ...migration!, id: 2, phase: "asked", address: "" } });
    await reaches(world, "ready");
    const [arriving] = await to.hypervisor.list();
    assert.equal(arriving?.migration, 2);
  });
});

test("machines of a host that goes into maintenance move away while they run", async () => {
  await cluster(1, async (world) => {
    const from = await running(world, "a");
    await putService(world.directory, CLUSTER, { id: from.id, kind: "host", mode: "evacuate" });
    await world.until(() => {
      const place = world.whereIs("a");
      return place !== undefined && place !== from.id;
    }, MOVE_MS_MAX);
    const place = world.host(world.whereIs("a"));
    assert.equal(place.hypervisor.startCount, 0, "with its memory, not anew");
    await world.pass(5000);
    assert.equal(world.whereIs("a"), place.id);
  });
});

test("a machine that is stopped while it moves is stopped", async () => {
  await cluster(3, async (world) => {
    const from = await running(world, "a");
    await ask(world, from);
    await reaches(world, "ready");
    await world.pass(100);
    await world.change("a", { desired: "killed" });
    await world.until(async () => (await record(world)).hostId === undefined, MOVE_MS_MAX);
    assert.equal(world.whereIs("a"), undefined);
    await world.until(() => arrivalsOf(world) === 0, MOVE_MS_MAX);
  });
});

test("a machine whose move is called off goes on where it is, and moves when asked again", async () => {
  await cluster(12, async (world) => {
    const from = await running(world, "a");
    const to = await ask(world, from);
    await reaches(world, "ready");
    // While its memory is on its way.
    await world.pass(100);
    await world.change("a", ({ migration }) => ({ migration: { ...migration!, phase: "over" } }));
    await isBack(world, from);
    await world.pass(2000);
    assert.equal(world.whereIs("a"), from.id);
    assert.ok(!to.hypervisor.has("a"));
    const next = await ask(world, from);
    await world.until(() => world.whereIs("a") === next.id, MOVE_MS_MAX);
    assert.deepEqual(world.sharedVolumes, []);
  });
});

test("a machine is waited for also when its record changes while room is made for it", async () => {
  await cluster(13, async (world) => {
    const from = await running(world, "a");
    const to = await ask(world, from);
    // As somebody who sets its priority at that moment.
    while ((await record(world)).migration?.phase === "asked") {
      await world.change("a", ({ priority }) => ({ priority: (priority + 1) % 5 }));
      await world.pass(2);
      if (to.hypervisor.has("a")) break;
    }
    await world.change("a", () => ({ priority: 0 }));
    await world.until(() => world.whereIs("a") === to.id, MOVE_MS_MAX);
  });
});

test("whatever fails while machines move, none runs twice", async () => {
  for (let seed = 200; seed < 212; seed++)
    await cluster(seed, async (world) => {
      const { prng } = world.simulation;
      await createVm(world.directory, CLUSTER, vm("a"));
      const addresses = world.hosts.map(({ address }) => address);
      for (let round = 0; round < 12; round++) {
        const place = world.hosts.find(({ id }) => id === world.whereIs("a"));
        if (place !== undefined) await ask(world, place);
        await world.pass(prng.below(1500));
        const host = prng.pick(world.hosts);
        const kind = prng.pick([0, 1, 2, 3, 4, 5, 6]);
        if (host.host === undefined) host.start();
        else if (kind === 0) host.cutPower();
        else if (kind === 1) host.kill();
        else if (kind === 2) world.fabric.partition([host.address], [DIRECTORY]);
        else if (kind === 3) world.fabric.block(DIRECTORY, host.address);
        else if (kind === 4) host.hypervisor.sendsToFail = 1;
        else if (prng.chance(0.2)) world.fabric.partition([DIRECTORY], addresses);
        else world.fabric.heal();
        await world.pass(prng.below(4000));
      }
      world.fabric.heal();
      for (const host of world.hosts) if (host.host === undefined) host.start();
      await world.until(() => world.whereIs("a") !== undefined, 60_000);
    });
});

/** Given to another host that has lost its storage in that moment; returns that host. */
async function arrivesWithoutStorage(world: World): Promise<Host> {
  const from = await running(world, "a");
  const to = await ask(world, from);
  await reaches(world, "ready");
  world.lostVolumes.add("a-disk");
  await reaches(world, "moved");
  return to;
}

test("a machine that has arrived where its storage is lost is ended there, and started elsewhere", async () => {
  await cluster(31, async (world) => {
    const to = await arrivesWithoutStorage(world);
    const others = world.hosts.filter((host) => host !== to).map(({ id }) => id);
    world.homes.split([to.id], others);
    await world.until(() => !to.hypervisor.has("a"), 10_000);
    world.lostVolumes.clear();
    await world.until(() => others.includes(world.whereIs("a") ?? ""), 10_000);
    assert.ok(!to.attached.has("a-disk"));
  });
});

test("a machine that has arrived and cannot go on is killed when it is asked for", async () => {
  await cluster(32, async (world) => {
    const to = await arrivesWithoutStorage(world);
    await world.pass(5000);
    assert.ok(to.hypervisor.has("a"));
    await world.change("a", { desired: "killed" });
    await world.until(async () => (await record(world)).hostId === undefined, 5000);
    assert.equal(arrivalsOf(world), 0);
  });
});
