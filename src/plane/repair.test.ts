import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import { changeSettings, dropService, findObject, listIntents } from "../cluster/index.ts";
import { putService, swapObject } from "../cluster/index.ts";
import type { ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import { ObjectOwner } from "../object/index.ts";
import { Simulation } from "../sim/index.ts";
import type { Device } from "../store/index.ts";
import { CLUSTER, ClusterWorld, requestsOf } from "../../test/support/cluster-world.ts";
import type { ClusterHost } from "../../test/support/cluster-world.ts";
import { sample } from "../../test/support/sample.ts";
import { test } from "../../test/support/test.ts";
import { VolumeClient } from "../../test/support/volume-client.ts";

const SIZE_BYTES = 4 * 2 ** 20;
const MIRROR: ObjectPolicy = { failuresToTolerate: 1, stripes: 1 };
const SINGLE: ObjectPolicy = { failuresToTolerate: 0, stripes: 1 };
const DELAY_MS = 40_000;
/** Looks that come anyway are up to ten seconds apart. */
const SOON_MS = 2500;

async function cluster(
  seed: number,
  letters: string,
  work: (world: ClusterWorld) => Promise<void>,
): Promise<void> {
  const simulation = new Simulation({ seed });
  const world = new ClusterWorld(simulation, letters);
  await simulation.run(async () => {
    await world.build();
    await changeSettings(world.directory, CLUSTER, { repairDelayMs: DELAY_MS });
    await work(world);
  });
}

let volumes = 0;
async function volumeOf(world: ClusterWorld, policy: ObjectPolicy): Promise<ObjectRecord> {
  const made = { name: `v${++volumes}`, sizeBytes: SIZE_BYTES, policy };
  return await world.host("a").plane.createVolume(made);
}

async function clientOf(world: ClusterWorld, host: ClusterHost, volume: ObjectRecord) {
  const owner = await world.take(host, volume.objectId);
  return { owner, client: new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner)) };
}

const hostOf = (world: ClusterWorld, volume: ObjectRecord, leaf: number): ClusterHost =>
  world.hostOf(volume.components[leaf]!.hostId);

/** A host that holds nothing of the volume. */
function bystander(world: ClusterWorld, volume: ObjectRecord): ClusterHost {
  const used = volume.components.map(({ hostId }) => hostId);
  return [...world.hosts.values()].find(({ hostId }) => !used.includes(hostId))!;
}

async function isWholeWithout(world: ClusterWorld, volume: ObjectRecord, gone: ClusterHost) {
  const { components } = await world.record(volume.objectId);
  return components.every(({ state, hostId }) => state.kind === "active" && hostId !== gone.hostId);
}

/** Nobody has it, and all of it is there. */
async function untilGivenBack(world: ClusterWorld, volume: ObjectRecord, gone: ClusterHost) {
  await world.until(async () => {
    const { owner } = await world.record(volume.objectId);
    return owner === undefined && (await isWholeWithout(world, volume, gone));
  });
}

async function write(world: ClusterWorld, volume: ObjectRecord, host: ClusterHost) {
  const { owner, client } = await clientOf(world, host, volume);
  await client.work(60);
  await owner.close();
  return client;
}

async function verify(world: ClusterWorld, volume: ObjectRecord, client: VolumeClient) {
  const owner = await world.take(bystander(world, volume), volume.objectId);
  client.requests = requestsOf(owner);
  await client.verify("afterwards");
  await owner.close();
}

test("a host that stays away is waited for, and then does without", async () => {
  await cluster(1, "abcd", async (world) => {
    const volume = await volumeOf(world, MIRROR);
    const { owner, client } = await clientOf(world, hostOf(world, volume, 1), volume);
    await client.work(40);
    const gone = hostOf(world, volume, 0);
    gone.crash();
    await client.work(20);
    await world.pass(DELAY_MS - 5000);
    assert.ok(!world.heard("component-building"), "it may come back");
    await world.until(() => isWholeWithout(world, volume, gone));
    await client.work(20);
    await gone.start();
    await world.until(() => gone.device.components().length === 0);
    await client.verify("after the repair");
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
    await world.assertClean();
  });
});

test("a host that is back before the delay has passed only catches up", async () => {
  await cluster(2, "abcd", async (world) => {
    const volume = await volumeOf(world, MIRROR);
    const { owner, client } = await clientOf(world, hostOf(world, volume, 1), volume);
    await client.work(40);
    hostOf(world, volume, 0).crash();
    await client.work(20);
    await world.pass(DELAY_MS / 2);
    await hostOf(world, volume, 0).start();
    await world.untilActive(volume.objectId);
    await world.pass(2 * DELAY_MS);
    assert.ok(!world.heard("component-building"));
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
  });
});

test("a device that fails without being emptied is replaced at once", async () => {
  await cluster(3, "abcd", async (world) => {
    const volume = await volumeOf(world, MIRROR);
    const { owner, client } = await clientOf(world, hostOf(world, volume, 1), volume);
    await client.work(40);
    const sick = hostOf(world, volume, 0);
    sick.failed.add("/dev/one");
    const began = world.simulation.clock.nowMs();
    await world.until(() => isWholeWithout(world, volume, sick));
    assert.ok(world.simulation.clock.nowMs() - began < DELAY_MS);
    await client.verify("after the repair");
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
  });
});

test("a volume that nobody uses is repaired, and given back", async () => {
  await cluster(4, "abcd", async (world) => {
    const volume = await volumeOf(world, MIRROR);
    const client = await write(world, volume, hostOf(world, volume, 1));
    const gone = hostOf(world, volume, 0);
    gone.crash();
    await untilGivenBack(world, volume, gone);
    await gone.start();
    await world.allConnected();
    await world.assertEqualCopies(volume.objectId);
    await verify(world, volume, client);
  });
});

test("what calls for a repair of an unused volume is acted on at once", async () => {
  for (const seed of [31, 32, 33, 34])
    await cluster(seed, "abcd", async (world) => {
      const { clock } = world.simulation;
      const volume = await volumeOf(world, MIRROR);
      await write(world, volume, hostOf(world, volume, 1));
      const isRepaired = (): boolean =>
        [...world.hosts.values()].some(({ plane }) => plane.repairOwners().length > 0);
      const took = async (): Promise<number> => {
        const beganMs = clock.nowMs();
        await world.until(isRepaired);
        return clock.nowMs() - beganMs;
      };
      // Wherever the looks that come anyway are in their period.
      await world.pass(10_000 + (seed - 30) * 2700);
      const leaving = hostOf(world, volume, 0);
      const service = { id: leaving.hostId, kind: "host", mode: "evacuate" } as const;
      await putService(world.directory, CLUSTER, service);
      const afterOrder = await took();
      assert.ok(afterOrder < SOON_MS, `${afterOrder} ms after a host was to be emptied`);
      const user = await bystander(world, volume).take(volume.objectId);
      assert.ok(!isRepaired());
      await user.close();
      const afterRelease = await took();
      assert.ok(afterRelease < SOON_MS, `${afterRelease} ms after the volume was let go`);
      await untilGivenBack(world, volume, leaving);
    });
});

test("whoever wants a volume gets it from the host that repairs it", async () => {
  await cluster(5, "abcd", async (world) => {
    const volume = await volumeOf(world, MIRROR);
    const client = await write(world, volume, hostOf(world, volume, 1));
    const gone = hostOf(world, volume, 0);
    const repairer = hostOf(world, volume, 1);
    gone.crash();
    await world.until(() => repairer.plane.repairOwners().length > 0);
    const user = await bystander(world, volume).take(volume.objectId);
    assert.equal(repairer.plane.repairOwners().length, 0);
    client.requests = requestsOf(user);
    await client.work(20);
    await world.until(() => isWholeWithout(world, volume, gone));
    await client.verify("after the repair");
    await user.close();
    await repairer.plane.deleteVolume(volume.name);
  });
});

test("without a host for it a volume stays as it is, and it is told why", async () => {
  await cluster(6, "abc", async (world) => {
    const volume = await volumeOf(world, MIRROR);
    const { owner, client } = await clientOf(world, hostOf(world, volume, 1), volume);
    await client.work(20);
    const gone = hostOf(world, volume, 0);
    gone.crash();
    await client.work(5);
    await world.until(() => world.heard("repair-blocked"));
    const told = world.events.filter((event) => event.startsWith("repair-blocked"));
    assert.equal(told.length, 1);
    assert.match(told[0]!, /no device may take component .* start . again, add a host/);
    const [stale] = owner.state.components.filter(({ state }) => state.kind === "stale");
    assert.match(stale!.blockedReason ?? "", /no device may take/);
    await gone.start();
    await world.untilActive(volume.objectId);
    await world.until(() => {
      return owner.state.components.every((one) => one.blockedReason === undefined);
    });
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
  });
});

test("no more components are made at a time than the settings say", async () => {
  await cluster(7, "abcd", async (world) => {
    await changeSettings(world.directory, CLUSTER, { rebuildsAtOnce: 1 });
    const all: ObjectRecord[] = [];
    for (let i = 0; i < 5; i++) all.push(await volumeOf(world, MIRROR));
    for (const volume of all) await write(world, volume, hostOf(world, volume, 1));
    const gone = hostOf(world, all[0]!, 0);
    gone.crash();
    const hit = all.filter((volume) => volume.components.some((c) => c.hostId === gone.hostId));
    let most = 0;
    await world.until(async () => {
      const records = await Promise.all(all.map(({ objectId }) => world.record(objectId)));
      const building = records
        .flatMap(({ components }) => components)
        .filter(({ state }) => {
          return state.kind === "building";
        });
      most = Math.max(most, building.length);
      const done = await Promise.all(hit.map((volume) => isWholeWithout(world, volume, gone)));
      return done.every(Boolean);
    });
    assert.equal(most, 1);
  });
});

test("everything leaves a host that is evacuated, the only copies too, while clients work", async () => {
  for (let seed = 21; seed < 21 + sample(1, 6); seed++)
    await cluster(seed, "abcd", async (world) => {
      const single = await volumeOf(world, SINGLE);
      const leaving = hostOf(world, single, 0);
      const mirrored = await volumeOf(world, MIRROR);
      const one = await clientOf(world, bystander(world, single), single);
      const idle = await write(world, mirrored, hostOf(world, mirrored, 0));
      await one.client.work(40);
      await putService(world.directory, CLUSTER, {
        id: leaving.hostId,
        kind: "host",
        mode: "evacuate",
      });
      const clients = { areDone: false };
      const working = (async () => {
        while (!clients.areDone) {
          await one.client.work(5);
          await world.pass(50);
        }
      })();
      await world.until(async () => {
        const moved = await isWholeWithout(world, single, leaving);
        return moved && (await isWholeWithout(world, mirrored, leaving));
      });
      await world.until(() => leaving.device.components().length === 0);
      clients.areDone = true;
      await working;
      await one.client.verify(`seed ${seed}`);
      await one.owner.close();
      await world.until(async () => (await world.record(mirrored.objectId)).owner === undefined);
      await world.assertEqualCopies(mirrored.objectId);
      await verify(world, mirrored, idle);
      await world.assertClean();
    });
});

test("only what could not be used without it leaves a host that goes for a moment", async () => {
  await cluster(31, "abcd", async (world) => {
    const single = await volumeOf(world, SINGLE);
    const leaving = hostOf(world, single, 0);
    const mirrored = await volumeOf(world, MIRROR);
    const isThere = mirrored.components.some(({ hostId }) => hostId === leaving.hostId);
    await putService(world.directory, CLUSTER, {
      id: leaving.hostId,
      kind: "host",
      mode: "ensure-accessibility",
    });
    await world.until(() => isWholeWithout(world, single, leaving));
    await world.pass(30_000);
    const { components } = await world.record(mirrored.objectId);
    assert.equal(
      components.some(({ hostId }) => hostId === leaving.hostId),
      isThere,
    );
    await dropService(world.directory, CLUSTER, leaving.hostId);
  });
});

function usedOf(device: Device): number {
  const { freeBytes, capacityBytes } = device.stats();
  return 1 - freeBytes / capacityBytes;
}

for (const isAdded of [false, true])
  test(`components leave a device that is nearly full for ${isAdded ? "one that is added" : "others"}, and stay then`, async () => {
    await cluster(41, "abcd", async (world) => {
      const others = ["b", "c", "d"].map((letter) => world.host(letter));
      for (const { hostId: id } of others)
        await putService(world.directory, CLUSTER, { id, kind: "host", mode: "none" });
      const { device, plane } = world.host("a");
      const owners: ObjectOwner[] = [];
      while (usedOf(device) < 0.82) {
        const { objectId } = await volumeOf(world, SINGLE);
        const taken = await ObjectOwner.take(plane.ownerWorld(), objectId, false);
        owners.push(taken);
        const bytes = new Uint8Array(SIZE_BYTES);
        world.prng.fill(bytes);
        const requests = requestsOf(taken);
        for (let at = 0; at < SIZE_BYTES; at += 2 ** 20)
          assert.equal(await requests.write(bytes.subarray(at, at + 2 ** 20), at), undefined);
        await device.destage();
      }
      const count = device.components().length;
      if (isAdded) await world.host("a").add("/dev/two");
      else for (const { hostId } of others) await dropService(world.directory, CLUSTER, hostId);
      await world.until(() => usedOf(device) < 0.8);
      await world.pass(60_000);
      const left = device.components().length;
      assert.ok(left < count && left >= 3, `${left} of ${count} components are left`);
      const shares = [...world.hosts.values()].map((host) => usedOf(host.device));
      if (!isAdded) assert.ok(Math.max(...shares) - Math.min(...shares) < 0.3, shares.join(", "));
      await world.pass(60_000);
      assert.equal(device.components().length, left, "nothing moves back");
      for (const owner of owners) await owner.close();
      await world.assertClean();
    });
  });

test("a component is made anew where its contents are already, although others have more room", async () => {
  await cluster(51, "abcde", async (world) => {
    const volume = await volumeOf(world, MIRROR);
    const used = volume.components.map(({ hostId }) => hostId);
    const free = [...world.hosts.values()].filter(({ hostId }) => !used.includes(hostId));
    const [empty, alike] = free.toSorted((a, b) => (a.letter < b.letter ? -1 : 1));
    for (const host of world.hosts.values())
      if (host !== alike)
        await putService(world.directory, CLUSTER, { id: host.hostId, kind: "host", mode: "none" });
    await world.pass(2000);
    const copy = await volumeOf(world, SINGLE);
    assert.equal(copy.components[0]!.hostId, alike!.hostId);
    const bytes = new Uint8Array(SIZE_BYTES);
    world.prng.fill(bytes);
    const home = hostOf(world, volume, 1);
    for (const { objectId } of [copy, volume]) {
      const owner = await world.take(home, objectId);
      const requests = requestsOf(owner);
      for (let at = 0; at < SIZE_BYTES; at += 2 ** 20)
        assert.equal(await requests.write(bytes.subarray(at, at + 2 ** 20), at), undefined);
      if (objectId === copy.objectId) await owner.close();
    }
    await alike!.device.destage();
    for (const { hostId } of world.hosts.values())
      await dropService(world.directory, CLUSTER, hostId);
    await world.pass(6000);
    assert.ok(empty!.device.stats().freeBytes > alike!.device.stats().freeBytes);
    const sick = hostOf(world, volume, 0);
    sick.failed.add("/dev/one");
    await world.until(() => isWholeWithout(world, volume, sick));
    const { components } = await world.record(volume.objectId);
    assert.ok(components.some(({ hostId }) => hostId === alike!.hostId));
    assert.equal(home.plane.rebuild.bytesSent, 0);
  });
});

test("what a host out of reach still has of a deleted volume goes when it is in reach, without a restart", async () => {
  await cluster(21, "abc", async (world) => {
    const volume = await volumeOf(world, MIRROR);
    const far = hostOf(world, volume, 1);
    const near = hostOf(world, volume, 0);
    const { owner, client } = await clientOf(world, near, volume);
    await client.work(20);
    const others = [...world.hosts.values()].filter((host) => host !== far);
    world.fabric.partition(
      [far.address],
      others.map(({ address }) => address),
    );
    await client.work(5);
    await owner.close();
    await near.plane.deleteVolume(volume.name);
    assert.ok(far.device.components().length > 0);
    world.fabric.heal();
    await world.until(() => far.device.components().length === 0);
    // The intent outlives what it is for.
    await world.until(async () => (await listIntents(world.directory, CLUSTER)).length === 0);
  });
});

/** A volume whose owner's host dies before a write that its other copy has is decided. */
async function leftUndecided(world: ClusterWorld) {
  const volume = await volumeOf(world, MIRROR);
  const near = hostOf(world, volume, 0);
  const far = hostOf(world, volume, 1);
  const { owner } = await clientOf(world, near, volume);
  const bytes = new Uint8Array(BLOCK_SIZE_BYTES).fill(7);
  void requestsOf(owner).write(bytes, 0);
  while (far.device.undecided().length === 0) await world.pass(0.05);
  near.crash();
  return { volume, near, far };
}

test("what nobody has decided of a volume that nobody uses is decided: it holds up others", async () => {
  await cluster(22, "abc", async (world) => {
    const { volume, near, far } = await leftUndecided(world);
    await near.start();
    assert.equal(far.device.undecided().length, 1);
    await world.until(
      () => far.device.undecided().length === 0 && near.device.undecided().length === 0,
    );
    await world.until(async () => (await world.record(volume.objectId)).owner === undefined);
    await world.untilActive(volume.objectId);
    await world.assertEqualCopies(volume.objectId);
  });
});

test("what could not be decided for want of a host is decided once that is in reach again", async () => {
  await cluster(25, "abc", async (world) => {
    const { far } = await leftUndecided(world);
    const others = [...world.hosts.values()].filter((host) => host !== far);
    const cut = [[far.address], others.map(({ address }) => address)] as const;
    world.fabric.partition(...cut);
    // Until it has tried, and would leave it alone for half a minute.
    await world.pass(25_000);
    assert.equal(far.device.undecided().length, 1);
    world.fabric.heal();
    const healedMs = world.simulation.nowMs;
    await world.until(() => far.device.undecided().length === 0);
    assert.ok(world.simulation.nowMs - healedMs < 8000, "not only after half a minute");
  });
});

/**
 * As a take leaves it that the directory did not answer: the record names a host that has nothing.
 */
async function leaveOwned(world: ClusterWorld, host: ClusterHost, objectId: string): Promise<void> {
  const stored = await findObject(world.directory, CLUSTER, objectId);
  assert.ok(stored !== undefined && stored.record.owner === undefined);
  const { record } = stored;
  const next = { ...record, epoch: record.epoch + 1, owner: host.hostId };
  assert.ok(await swapObject(world.directory, CLUSTER, stored, next));
}

test("what nobody on a host has is given up there, although the record names the host", async () => {
  await cluster(23, "abcd", async (world) => {
    const volume = await volumeOf(world, MIRROR);
    const near = hostOf(world, volume, 0);
    const client = await write(world, volume, near);
    await leaveOwned(world, near, volume.objectId);
    await world.until(async () => (await world.record(volume.objectId)).owner === undefined);
    await leaveOwned(world, near, volume.objectId);
    // Whoever wants it need not wait until the host looks.
    const { askToLeave } = bystander(world, volume).plane.ownerWorld();
    assert.equal(await askToLeave?.(near.hostId, volume.objectId), true);
    await verify(world, volume, client);
    const owner = await world.take(near, volume.objectId);
    await world.pass(2 * DELAY_MS);
    assert.ok(!owner.isOver, "what is in use is left alone");
    await owner.close();
  });
});

test("what a host is just taking is left alone", async () => {
  await cluster(24, "abc", async (world) => {
    const volume = await volumeOf(world, MIRROR);
    const near = hostOf(world, volume, 0);
    const far = hostOf(world, volume, 1);
    const { directory } = world;
    const others = [...world.hosts.values()].filter((host) => host !== far);
    world.fabric.partition(
      [far.address],
      others.map(({ address }) => address),
    );
    // It opens what it cannot reach for as long as the link is not known to be down.
    const taking = world.take(near, volume.objectId);
    const isNamed = async (): Promise<boolean> =>
      (await findObject(directory, CLUSTER, volume.objectId))?.record.owner === near.hostId;
    await world.until(isNamed);
    assert.equal(await near.plane.ownerWorld().askToLeave?.(near.hostId, volume.objectId), false);
    assert.ok(await isNamed());
    await (await taking).close();
  });
});
