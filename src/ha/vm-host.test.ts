/** What becomes of virtual machines when hosts, processes and networks fail. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { CodedError } from "../base/index.ts";
import { createVm, directoryKeys, findVm, isProtected, listVms } from "../cluster/index.ts";
import { readHaSettings, removeVm, swapHaSettings } from "../cluster/index.ts";
import { CLUSTER, cluster, DIRECTORY, FAILOVER_MS_MAX } from "../../test/support/vm-world.ts";
import { running, vm } from "../../test/support/vm-world.ts";

test("machines are spread over hosts, stop when asked, and give their volumes back", async () => {
  await cluster(1, async (world) => {
    for (const name of ["a", "b", "c"]) await createVm(world.directory, CLUSTER, vm(name));
    await world.until(() => ["a", "b", "c"].every((name) => world.whereIs(name)), 8000);
    const places = new Set(["a", "b", "c"].map((name) => world.whereIs(name)));
    assert.equal(places.size, 3);
    await world.change("a", { desired: "stopped" });
    await world.until(async () => {
      const { record } = await findVm(world.directory, CLUSTER, "a");
      return record.hostId === undefined;
    }, 5000);
    assert.equal(world.whereIs("a"), undefined);
    assert.ok(world.hosts.every((host) => !host.attached.has("a-disk")));
  });
});

test("a host looks after machines as long as the cluster has any", async () => {
  await cluster(2, async (world) => {
    const onDuty = async (): Promise<number> =>
      (await world.directory.list(directoryKeys.vmHosts(CLUSTER))).records.length;
    await world.pass(10_000);
    assert.equal(await onDuty(), 0);
    await running(world, "a");
    assert.equal(await onDuty(), 3);
    await world.change("a", { desired: "killed" });
    await world.until(() => world.whereIs("a") === undefined, 5000);
    await world.until(async () => {
      const stored = await findVm(world.directory, CLUSTER, "a");
      return stored.record.hostId === undefined && removeVm(world.directory, CLUSTER, stored);
    }, 5000);
    await world.until(async () => (await onDuty()) === 0, 5000);
  });
});

test("a machine whose host loses power runs elsewhere within ten seconds", async () => {
  for (let seed = 1; seed <= 10; seed++)
    await cluster(seed, async (world) => {
      const host = await running(world, "a");
      await world.pass(world.simulation.prng.below(5000));
      host.cutPower();
      await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
      const { record } = await findVm(world.directory, CLUSTER, "a");
      assert.ok(record.history.some(({ because }) => /lease of host h\d has ended/.test(because)));
    });
});

test("a machine whose host is isolated stands still before another one starts it", async () => {
  for (let seed = 1; seed <= 10; seed++)
    await cluster(seed, async (world) => {
      const host = await running(world, "a");
      world.fabric.partition([host.address], [DIRECTORY]);
      await world.until(() => world.whereIs("a") !== host.id, FAILOVER_MS_MAX);
      await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
      assert.notEqual(world.whereIs("a"), host.id);
      world.fabric.heal();
      await world.until(async () => (await host.hypervisor.list()).length === 0, 10_000);
    });
});

test("when nobody reaches the directory machines stand still, and go on where they were", async () => {
  await cluster(3, async (world) => {
    const host = await running(world, "a");
    world.fabric.partition(
      [DIRECTORY],
      world.hosts.map(({ address }) => address),
    );
    await world.until(() => world.whereIs("a") === undefined, 10_000);
    await world.pass(1000);
    world.fabric.heal();
    await world.until(() => world.whereIs("a") !== undefined, 20_000);
    const { vms } = await listVms(world.directory, CLUSTER);
    assert.equal(vms[0]?.record.hostId, world.whereIs("a"));
    assert.ok(world.events.includes(`${host.id} vm-paused`));
    const starts = world.events.filter((event) => event.endsWith("vm-started"));
    assert.equal(starts.length, 1, "it has kept its memory");
  });
});

test("a host process that is back in time finds its machines running", async () => {
  await cluster(4, async (world) => {
    const host = await running(world, "a");
    host.kill();
    await world.pass(2000);
    host.start();
    await world.pass(15_000);
    assert.equal(world.whereIs("a"), host.id);
    const { record } = await findVm(world.directory, CLUSTER, "a");
    assert.equal(record.epoch, 1);
  });
});

test("a machine whose host process stays away stands still before another host starts it", async () => {
  for (let seed = 20; seed < 26; seed++)
    for (const isClean of [false, true])
      await cluster(seed, async (world) => {
        const host = await running(world, "a");
        await world.pass(world.simulation.prng.below(3000));
        if (isClean) await host.stop();
        else host.kill();
        assert.equal(world.whereIs("a"), host.id, "for the time being it runs on");
        await world.until(() => world.whereIs("a") === undefined, FAILOVER_MS_MAX);
        const isElsewhere = (): boolean => world.whereIs("a") !== undefined;
        await world.until(isElsewhere, FAILOVER_MS_MAX);
        assert.notEqual(world.whereIs("a"), host.id);
        host.start();
        await world.until(async () => (await host.hypervisor.list()).length === 0, 15_000);
      });
});

test("a machine that is not protected stays where it was", async () => {
  await cluster(5, async (world) => {
    await createVm(world.directory, CLUSTER, vm("a", false));
    await world.until(() => world.whereIs("a") !== undefined, 5000);
    const host = world.host(world.whereIs("a"));
    host.cutPower();
    await world.pass(30_000);
    assert.equal(world.whereIs("a"), undefined);
    host.start();
    await world.until(() => world.whereIs("a") === host.id, 10_000);
  });
});

test("a machine that does not start is tried elsewhere, and the reasons are kept", async () => {
  await cluster(6, async (world) => {
    for (const host of world.hosts) host.hypervisor.startsToFail = host.id === "h1" ? 9 : 0;
    await createVm(world.directory, CLUSTER, vm("a"));
    await world.until(() => world.whereIs("a") !== undefined, 10_000);
    assert.notEqual(world.whereIs("a"), "h1");
    world.lostVolumes.add("b-disk");
    await createVm(world.directory, CLUSTER, vm("b"));
    await world.pass(5000);
    const { record } = await findVm(world.directory, CLUSTER, "b");
    assert.ok(record.history.some(({ because }) => because === "no copy of b-disk"));
    world.lostVolumes.clear();
    await world.until(() => world.whereIs("b") !== undefined, 25_000);
  });
});

test("a machine is not started again by what was read before its last start there had ended", async () => {
  await cluster(31, async (world) => {
    const host = world.host("h1");
    let startCount = 0;
    let mayFail = false;
    host.hypervisor.start = async () => {
      startCount++;
      await world.until(() => mayFail, 10_000);
      throw new CodedError({ code: "vm-start-failed", message: "it does not" });
    };
    await createVm(world.directory, CLUSTER, { ...vm("a"), hostId: "h1", epoch: 1 });
    await world.until(() => startCount === 1, 5000);
    let isHeld = false;
    let mayBeKnown = false;
    host.beforeKnown = async () => {
      isHeld = true;
      await world.until(() => mayBeKnown, 10_000);
    };
    host.host?.wake();
    await world.until(() => isHeld, 5000);
    mayFail = true;
    await world.until(async () => {
      return (await findVm(world.directory, CLUSTER, "a")).record.hostId !== "h1";
    }, 5000);
    host.beforeKnown = undefined;
    mayBeKnown = true;
    await world.pass(20);
    assert.equal(startCount, 1);
  });
});

test("a machine that started while the directory went away keeps its volumes", async () => {
  await cluster(30, async (world) => {
    for (const host of world.hosts) {
      const start = host.hypervisor.start.bind(host.hypervisor);
      host.hypervisor.start = async (machine) => {
        await start(machine);
        world.fabric.partition([host.address], [DIRECTORY]);
      };
    }
    await createVm(world.directory, CLUSTER, vm("a", false));
    await world.until(() => world.whereIs("a") !== undefined, 5000);
    const host = world.host(world.whereIs("a"));
    // Longer than any call of the directory waits for its answer.
    await world.pass(12_000);
    world.fabric.heal();
    await world.until(() => world.whereIs("a") === host.id, 10_000);
    assert.ok(host.attached.has("a-disk"));
    assert.ok(!world.events.includes(`${host.id} vm-failed`));
  });
});

test("a guest that shuts itself down stays down", async () => {
  await cluster(7, async (world) => {
    const host = await running(world, "a");
    await host.hypervisor.shutDown("a");
    await world.pass(10_000);
    assert.equal(world.whereIs("a"), undefined);
    const { record } = await findVm(world.directory, CLUSTER, "a");
    assert.equal(record.desired, "stopped");
  });
});

test("whatever hosts and networks do, no machine runs twice", async () => {
  for (let seed = 100; seed < 112; seed++)
    await cluster(seed, async (world) => {
      const { prng } = world.simulation;
      for (const name of ["a", "b"]) await createVm(world.directory, CLUSTER, vm(name));
      const addresses = world.hosts.map(({ address }) => address);
      for (let round = 0; round < 12; round++) {
        await world.pass(prng.below(6000));
        const host = prng.pick(world.hosts);
        const kind = prng.pick([0, 1, 2, 3, 4]);
        if (host.host === undefined) host.start();
        else if (kind === 0) host.cutPower();
        else if (kind === 1) host.kill();
        else if (kind === 2) world.fabric.partition([host.address], [DIRECTORY]);
        else if (kind === 3) world.fabric.block(DIRECTORY, host.address);
        else if (prng.chance(0.2)) world.fabric.partition([DIRECTORY], addresses);
        else world.fabric.heal();
      }
      world.fabric.heal();
      for (const host of world.hosts) if (host.host === undefined) host.start();
      const areRunning = (): boolean => ["a", "b"].every((name) => world.whereIs(name));
      await world.until(areRunning, 30_000);
    });
});

test("a machine whose process ends again and again is started less and less often, then no more", async () => {
  await cluster(40, async (world) => {
    await running(world, "a");
    let ends = 0;
    await world.until(async () => {
      const where = world.whereIs("a");
      if (where !== undefined) {
        await world.host(where).hypervisor.kill("a");
        ends++;
      }
      await world.pass(2000);
      const { record } = await findVm(world.directory, CLUSTER, "a");
      return record.history.at(-1)?.what === "waits for help";
    }, 3_600_000);
    assert.ok(ends > 8 && ends < 16, `${ends} starts`);
    await world.change("a", { failureCount: 0 });
    await world.until(() => world.whereIs("a") !== undefined, 5000);
  });
});

test("a host that comes back while its machine is given to another starts it or the other does", async () => {
  for (let seed = 60; seed < 110; seed++)
    await cluster(seed, async (world) => {
      const host = await running(world, "a");
      const stored = await readHaSettings(world.directory, CLUSTER);
      const armed = { ...stored.settings, isArmed: true };
      await swapHaSettings(world.directory, CLUSTER, stored, { ...armed, isArmed: false });
      host.cutPower();
      await world.pass(8000);
      const again = await readHaSettings(world.directory, CLUSTER);
      await swapHaSettings(world.directory, CLUSTER, again, armed);
      // The master hears of the change and decides at once.
      if (seed % 2 === 0) host.start();
      await world.change("a", { priority: 1 });
      await world.pass(world.simulation.prng.below(12));
      if (seed % 2 === 1) host.start();
      await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
      await world.pass(1500);
    });
});

test("while it is disarmed nothing stands still and nothing is started elsewhere", async () => {
  await cluster(42, async (world) => {
    const host = await running(world, "a");
    const stored = await readHaSettings(world.directory, CLUSTER);
    await swapHaSettings(world.directory, CLUSTER, stored, { ...stored.settings, isArmed: false });
    await world.pass(2000);
    world.fabric.partition([host.address], [DIRECTORY]);
    await world.pass(60_000);
    assert.equal(world.whereIs("a"), host.id);
    world.fabric.heal();
    await world.pass(10_000);
    const again = await readHaSettings(world.directory, CLUSTER);
    await swapHaSettings(world.directory, CLUSTER, again, { ...again.settings, isArmed: true });
    host.cutPower();
    await world.until(() => world.whereIs("a") !== undefined, FAILOVER_MS_MAX);
  });
});

test("a host that is cut off right after all are disarmed knows of it", async () => {
  for (let seed = 60; seed < 66; seed++)
    await cluster(seed, async (world) => {
      const host = await running(world, "a");
      await world.pass(world.simulation.prng.below(1000));
      const stored = await readHaSettings(world.directory, CLUSTER);
      const next = { ...stored.settings, isArmed: false };
      await swapHaSettings(world.directory, CLUSTER, stored, next);
      await world.pass(50);
      world.fabric.partition([host.address], [DIRECTORY]);
      await world.pass(60_000);
      assert.equal(world.whereIs("a"), host.id);
    });
});

test("changes in a row are no reason to ask again what no watch has told of", async () => {
  await cluster(43, async (world) => {
    await running(world, "a");
    await world.pass(3000);
    const asked = new Map<string, number>();
    const get = world.directory.get.bind(world.directory);
    world.directory.get = async (key) => {
      asked.set(key, (asked.get(key) ?? 0) + 1);
      return await get(key);
    };
    for (let i = 0; i < 40; i++) {
      await world.change("a", { priority: i % 5 });
      await world.pass(20);
    }
    const each = world.hosts.length;
    const { haSettings, vmMaster } = directoryKeys;
    // The one that decides reads both at each decision.
    assert.ok((asked.get(haSettings(CLUSTER)) ?? 0) <= 40 + 2 * each);
    assert.ok((asked.get(vmMaster(CLUSTER)) ?? 0) <= 40 + 2 * each);
  });
});

test("the office of a master that is gone is taken at once", async () => {
  for (let seed = 70; seed < 76; seed++)
    await cluster(seed, async (world) => {
      await running(world, "a");
      await world.pass(5000 + world.simulation.prng.below(1000));
      const key = directoryKeys.vmMaster(CLUSTER);
      const before = await world.directory.get(key);
      world.host(before?.value).kill();
      await world.directory.transact([], [{ kind: "delete", key }]);
      await world.until(async () => (await world.directory.get(key)) !== undefined, 200);
    });
});

test("waiting for objects uses no attempt up", async () => {
  await cluster(41, async (world) => {
    const host = await running(world, "a");
    world.homes.split(...world.hosts.map(({ id }) => [id]));
    host.cutPower();
    await world.pass(900_000);
    const { record } = await findVm(world.directory, CLUSTER, "a");
    assert.equal(record.failureCount, 0);
    world.homes.heal();
    // One event away, however long it was: nothing was put off.
    await world.until(() => world.whereIs("a") !== undefined, 4000);
  });
});

test("a master that dies in the middle of it leaves the rest to the next one", async () => {
  for (let seed = 50; seed < 56; seed++)
    await cluster(
      seed,
      async (world) => {
        const names = Array.from({ length: 12 }, (_, i) => `m${10 + i}`);
        for (const [i, name] of names.entries())
          await createVm(world.directory, CLUSTER, { ...vm(name), priority: i % 5 });
        const areSafe = async (): Promise<boolean> =>
          (await listVms(world.directory, CLUSTER)).vms.every(
            ({ record }) => isProtected(record) && world.whereIs(record.name) !== undefined,
          );
        await world.until(areSafe, 60_000);
        const chief = await world.directory.get(directoryKeys.vmMaster(CLUSTER));
        const victims = world.hosts.filter(({ id }) => id !== chief?.value);
        victims[0]!.cutPower();
        await world.pass(5000 + world.simulation.prng.below(1500));
        world.host(chief?.value).cutPower();
        await world.until(() => names.every((name) => world.whereIs(name) !== undefined), 30_000);
      },
      5,
    );
});

test("a bug in the work for machines is told of, and the host goes on with it", async () => {
  await cluster(1, async (world) => {
    // Asked by each new master, and not checked here as a host does it.
    world.homes.storageOf = () =>
      ({ retrieve: async () => null }) as unknown as ReturnType<typeof world.homes.storageOf>;
    await running(world, "a");
    await world.change("a", { desired: "killed" });
    await world.until(() => world.whereIs("a") === undefined, 5000);
  });
});
