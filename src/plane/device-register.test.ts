import assert from "node:assert/strict";
import { CodedError } from "../base/index.ts";
import { listDevices, putDevice } from "../cluster/index.ts";
import type { ObjectRecord, StoredDevice } from "../cluster/index.ts";
import { Simulation } from "../sim/index.ts";
import {
  CLUSTER,
  ClusterWorld,
  emptyMedia,
  imageOf,
  requestsOf,
} from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";
import { VolumeClient } from "../../test/support/volume-client.ts";

const SIZE_BYTES = 4 * 2 ** 20;

interface Scene {
  readonly world: ClusterWorld;
  readonly volume: ObjectRecord;
  /** Hosts of the two copies, and of the witness. */
  readonly copies: readonly [string, string];
  readonly witness: string;
}

async function scene(seed: number, work: (scene: Scene) => Promise<void>): Promise<void> {
  const simulation = new Simulation({ seed });
  const world = new ClusterWorld(simulation, "abc");
  await simulation.run(async () => {
    await world.build();
    const policy = { failuresToTolerate: 1, stripes: 1 };
    const volume = await world.host("a").plane.createVolume({
      name: "v",
      sizeBytes: SIZE_BYTES,
      policy,
    });
    const [first, second, third] = volume.components.map(({ hostId }) => hostId[0]!);
    await work({ world, volume, copies: [first!, second!], witness: third! });
  });
}

/** Written by an owner on the host of the witness, which is closed again. */
async function written({ world, volume, witness }: Scene, client?: VolumeClient) {
  const owner = await world.host(witness).take(volume.objectId);
  const next = client ?? new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner));
  next.requests = requestsOf(owner);
  await next.work(20);
  return { owner, client: next };
}

test("the old image of a disk is no copy, although the directory calls it active", async () => {
  for (let seed = 1; seed <= 4; seed++)
    await scene(seed, async (all) => {
      const { world, volume, copies } = all;
      const first = await written(all);
      await first.owner.close();
      const host = world.host(copies[0]);
      await host.stop();
      const image = imageOf(host.medium());
      await host.start();
      await world.allConnected();
      const second = await written(all, first.client);
      await second.owner.close();
      // Nobody owns the volume, so nobody notices that a host is away.
      if (seed % 2 === 0) await host.stop();
      else host.crash();
      world.host(copies[1]).crash();
      host.media.set("/dev/one", image);
      await host.start();
      assert.ok(world.heard("device-outdated"), "an event says what it is");
      await assert.rejects(world.host(all.witness).take(volume.objectId), (error) => {
        return error instanceof CodedError && error.code === "object-inaccessible";
      });
      await world.host(copies[1]).start();
      await world.allConnected();
      const third = await written(all, first.client);
      await world.untilActive(volume.objectId);
      await third.client.verify(`seed ${seed}`);
      await third.owner.close();
      await world.assertClean();
    });
});

test("an image that was made while the host ran is known as old, too", async () => {
  await scene(5, async (all) => {
    const { world, volume, copies } = all;
    const { owner, client } = await written(all);
    const host = world.host(copies[0]);
    const image = imageOf(host.medium());
    await client.work(20);
    await world.pass(6000);
    await owner.close();
    host.crash();
    world.host(copies[1]).crash();
    image.disk.loseUnflushed({ kind: "random", seed: 1 });
    image.metadata.loseUnflushed({ kind: "random", seed: 1 });
    host.media.set("/dev/one", image);
    await host.start();
    assert.ok(world.heard("device-outdated"));
    await world.until(() => world.host("a").plane !== undefined);
    await assert.rejects(world.host(all.witness).take(volume.objectId));
  });
});

test("the disk itself, put back after an old image of it was used, is no copy either", async () => {
  await scene(6, async (all) => {
    const { world, volume, copies } = all;
    const host = world.host(copies[0]);
    await host.stop();
    const image = imageOf(host.medium());
    await host.start();
    await world.allConnected();
    const first = await written(all);
    await first.owner.close();
    await host.stop();
    const original = host.medium();
    host.media.set("/dev/one", image);
    await host.start();
    await world.allConnected();
    const second = await written(all, first.client);
    await world.untilActive(volume.objectId);
    await second.client.work(20);
    await second.owner.close();
    await host.stop();
    host.media.set("/dev/one", original);
    world.events.length = 0;
    await host.start();
    assert.ok(world.heard("device-outdated"));
    await world.allConnected();
    const third = await written(all, first.client);
    await world.untilActive(volume.objectId);
    await third.client.verify("the original");
    await third.owner.close();
    await world.assertClean();
  });
});

test("a disk that only lost power is what it was", async () => {
  for (let seed = 11; seed <= 14; seed++)
    await scene(seed, async (all) => {
      const { world, volume, copies } = all;
      const { owner, client } = await written(all);
      const host = world.host(copies[0]);
      for (let life = 0; life < 3; life++) {
        const working = client.work(10);
        await world.pass(world.prng.below(6000));
        host.crash();
        await working;
        await host.start();
        await world.untilActive(volume.objectId);
      }
      await client.verify(`seed ${seed}`);
      await owner.close();
      assert.ok(!world.heard("device-outdated"));
      assert.ok(!world.heard("copies-differed"));
    });
});

test("what a process that has ended said late of its disk does not hide that the disk is lost", async () => {
  await scene(22, async (all) => {
    const { world, volume, copies } = all;
    const { owner } = await written(all);
    await owner.close();
    const host = world.host(copies[0]);
    const deviceId = volume.components.find(({ hostId }) => hostId === host.hostId)!.deviceId;
    await host.stop();
    let isLate = true;
    const { directory } = world;
    const said = async (): Promise<StoredDevice> => {
      const all = await listDevices(directory, CLUSTER);
      return all.find(({ record }) => record.deviceId === deviceId)!;
    };
    world.directoryOf = () => ({
      get: (key) => directory.get(key),
      list: (prefix) => directory.list(prefix),
      stamp: (prefix) => directory.stamp(prefix),
      grantLease: (ttlMs) => directory.grantLease(ttlMs),
      keepAlive: (lease) => directory.keepAlive(lease),
      revokeLease: (lease) => directory.revokeLease(lease),
      watch: (...what) => directory.watch(...what),
      close: async () => {},
      async transact(conditions, writes) {
        const isLoss = writes.some((one) => one.kind === "put" && one.value.includes('"lost"'));
        if (isLate && isLoss) {
          isLate = false;
          const { record, revision } = await said();
          const freeBytes = record.freeBytes - 4096;
          assert.ok(await putDevice(directory, CLUSTER, { ...record, freeBytes }, revision));
        }
        return await directory.transact(conditions, writes);
      },
    });
    host.media.set("/dev/one", emptyMedia());
    await host.start();
    assert.equal(isLate, false);
    assert.equal((await said()).record.state, "lost");
    assert.ok(world.heard("device-lost"));
  });
});

test("an emptied disk is told of, and what it held does not count", async () => {
  await scene(21, async (all) => {
    const { world, volume, copies } = all;
    const { owner, client } = await written(all);
    await owner.close();
    const host = world.host(copies[0]);
    await host.stop();
    host.media.set("/dev/one", emptyMedia());
    await host.start();
    assert.ok(world.heard("device-lost"));
    await world.allConnected();
    const next = await written(all, client);
    assert.equal((await world.states(volume.objectId))[copies[0]], "stale");
    await next.client.verify("from the other copy");
    await next.owner.close();
  });
});

test("exchanged disks are refused, and taken again when each is back in its host", async () => {
  await scene(31, async (all) => {
    const { world, volume, copies } = all;
    const { owner, client } = await written(all);
    await owner.close();
    const [one, other] = [world.host(copies[0]), world.host(all.witness)];
    await one.stop();
    await other.stop();
    const [first, second] = [one.medium(), other.medium()];
    one.media.set("/dev/one", second);
    other.media.set("/dev/one", first);
    await one.start();
    await other.start();
    assert.equal(one.devices.size + other.devices.size, 0);
    assert.ok(world.heard("device-refused") && world.heard("device-gone"));
    await one.stop();
    await other.stop();
    one.media.set("/dev/one", first);
    other.media.set("/dev/one", second);
    await one.start();
    await other.start();
    await world.allConnected();
    const next = await written(all, client);
    await world.untilActive(volume.objectId);
    await next.client.verify("each in its place");
    await next.owner.close();
  });
});

test("a device that has failed stays failed where its host starts without it: it is not waited for", async () => {
  await scene(31, async ({ world, copies, witness }) => {
    const [host, other] = [world.host(copies[0]), world.host(witness)];
    const stateOf = async (): Promise<string | undefined> =>
      (await listDevices(world.directory, CLUSTER)).find(
        ({ record }) => record.hostId === host.hostId,
      )?.record.state;
    host.failed.add("/dev/one");
    await world.until(async () => (await stateOf()) === "failed");
    await host.stop();
    await other.stop();
    host.media.set("/dev/one", other.medium());
    await host.start();
    assert.equal(host.devices.size, 0);
    assert.equal(await stateOf(), "failed");
  });
});

test("what has not changed of a device is told again only once a minute", async () => {
  await scene(6, async (all) => {
    const { world, copies } = all;
    const { owner } = await written(all);
    await owner.close();
    const revisionOf = async (hostId: string): Promise<number> => {
      const devices = await listDevices(world.directory, CLUSTER);
      return devices.find(({ record }) => record.hostId === world.host(hostId).hostId)!.revision;
    };
    const pass = (ms: number): Promise<void> =>
      new Promise((resolve) => void world.simulation.clock.after(ms, resolve));
    // Until nothing is destaged any more.
    await pass(20_000);
    const quiet: number[] = [];
    for (let ms = 0; ms < 130_000; ms += 5000) {
      quiet.push(await revisionOf(copies[0]));
      await pass(5000);
    }
    const told = new Set(quiet).size;
    assert.ok(told >= 2 && told <= 4, `${told} times in two minutes`);
    const again = await written(all);
    await pass(6000);
    assert.notEqual(await revisionOf(copies[0]), quiet.at(-1), "a change is told soon");
    await again.owner.close();
  });
});

test("what an old image brings back of volumes that are gone goes, and what is named stays", async () => {
  await scene(5, async ({ world, volume, copies }) => {
    const host = world.host(copies[0]);
    const owner = await world.take(host, volume.objectId);
    const client = new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner));
    await client.work(20);
    await owner.close();
    await host.stop();
    const image = imageOf(host.medium());
    await host.start();
    await world.allConnected();
    const { name, policy } = volume;
    await host.plane.deleteVolume(name);
    const again = await host.plane.createVolume({ name, sizeBytes: SIZE_BYTES, policy });
    // Devices tell how far they have come.
    await world.pass(6000);
    await host.stop();
    host.media.set("/dev/one", image);
    await host.start();
    await world.allConnected();
    assert.ok(world.heard("device-outdated"));
    const gone = new Set(volume.components.map(({ componentId }) => componentId));
    const left = host.device.components().filter(({ componentId }) => gone.has(componentId));
    assert.deepEqual(left, []);
    const next = await world.take(world.host(copies[1]), again.objectId);
    await world.untilActive(again.objectId);
    await next.close();
    await world.until(async () => {
      await host.device.destage();
      return host.device.stats().uniqueBytes === 0;
    });
    await world.assertClean();
  });
});
