import assert from "node:assert/strict";
import type { ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import { BLOCK_SIZE_BYTES, marks } from "../base/index.ts";
import { changeSettings, findObject, listIntents, swapObject } from "../cluster/index.ts";
import type { ResyncState } from "../object/index.ts";
import { Simulation } from "../sim/index.ts";
import type { Device } from "../store/index.ts";
import { CLUSTER, ClusterWorld, emptyMedia, imageOf } from "../../test/support/cluster-world.ts";
import { requestsOf } from "../../test/support/cluster-world.ts";
import type { ClusterHost } from "../../test/support/cluster-world.ts";
import { sample } from "../../test/support/sample.ts";
import { test } from "../../test/support/test.ts";
import { randomBytes } from "../../test/support/volume-bench.ts";
import { VolumeClient } from "../../test/support/volume-client.ts";

const SIZE_BYTES = 4 * 2 ** 20;
const MIRROR: ObjectPolicy = { failuresToTolerate: 1, stripes: 1 };
const STRIPES: ObjectPolicy = { failuresToTolerate: 1, stripes: 2 };

async function cluster(
  seed: number,
  letters: string,
  policy: ObjectPolicy,
  work: (world: ClusterWorld, volume: ObjectRecord) => Promise<void>,
): Promise<void> {
  const simulation = new Simulation({ seed });
  const world = new ClusterWorld(simulation, letters);
  await simulation.run(async () => {
    if (policy.stripes > 1)
      for (const host of world.hosts.values()) host.media.set("/dev/two", emptyMedia());
    await world.build();
    const made = { name: "v", sizeBytes: SIZE_BYTES, policy };
    await work(world, await world.host("a").plane.createVolume(made));
  });
}

async function clientOf(world: ClusterWorld, host: ClusterHost, volume: ObjectRecord) {
  const owner = await world.take(host, volume.objectId);
  return { owner, client: new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner)) };
}

/** All devices of a host are replaced by empty ones. */
async function wipe(host: ClusterHost): Promise<void> {
  host.crash();
  for (const path of host.media.keys()) host.media.set(path, emptyMedia());
  await host.start();
}

const hostOf = (world: ClusterWorld, volume: ObjectRecord, leaf: number): ClusterHost =>
  world.hostOf(volume.components[leaf]!.hostId);

async function untilRebuilt(world: ClusterWorld, volume: ObjectRecord): Promise<ObjectRecord> {
  const before = volume.components.map(({ componentId }) => componentId);
  await world.until(async () => {
    const { components } = await world.record(volume.objectId);
    const isWhole = components.every(({ state }) => state.kind === "active");
    return isWhole && components.some(({ componentId }) => !before.includes(componentId));
  });
  return await world.record(volume.objectId);
}

for (const policy of [MIRROR, STRIPES]) {
  const what = policy.stripes > 1 ? "striped copies" : "copies";
  test(`${what} on emptied disks are made anew while clients write`, async () => {
    for (let seed = 1; seed <= sample(2, 12); seed++)
      await cluster(seed, "abc", policy, async (world, volume) => {
        const witness = hostOf(world, volume, volume.components.length - 1);
        const { owner, client } = await clientOf(world, witness, volume);
        await client.work(40);
        const working = client.work(40);
        await wipe(hostOf(world, volume, 0));
        await working;
        const rebuilt = await untilRebuilt(world, volume);
        assert.equal(rebuilt.components.length, volume.components.length);
        await client.work(10);
        await client.verify(`seed ${seed}`);
        assert.ok(!world.heard("copies-differed"));
        await owner.close();
        await world.assertEqualCopies(volume.objectId);
        await world.assertClean();
      });
  });
}

test("an owner that dies in the middle of it leaves a rebuild to the next one", async () => {
  for (let seed = 11; seed < 11 + sample(3, 18); seed++)
    await cluster(seed, "abcd", MIRROR, async (world, volume) => {
      const first = await clientOf(world, world.host("d"), volume);
      await first.client.work(60);
      const broken = hostOf(world, volume, 0);
      broken.crash();
      await first.client.work(5);
      broken.media.set("/dev/one", emptyMedia());
      await broken.start();
      await world.until(() => world.heard("component-building"));
      await world.pass(world.prng.below(60));
      world.host("d").crash();
      const other = hostOf(world, volume, 1);
      await world.until(() => other.plane.links.linkTo(world.host("d").hostId) === undefined);
      const { owner } = await clientOf(world, other, volume);
      first.client.requests = requestsOf(owner);
      await world.host("d").start();
      await untilRebuilt(world, volume);
      await first.client.verify(`seed ${seed}`);
      await owner.close();
      await world.assertEqualCopies(volume.objectId);
      await world.assertClean();
    });
});

for (const policy of [MIRROR, STRIPES])
  test(`what is said of contents takes less than a hundredth of them: stripes ${policy.stripes}`, async () => {
    await cluster(3, "abc", policy, async (world, volume) => {
      const near = hostOf(world, volume, 0);
      const { owner } = await clientOf(world, near, volume);
      const requests = requestsOf(owner);
      const once = randomBytes(world.prng, SIZE_BYTES / 4);
      const piece = 64 * BLOCK_SIZE_BYTES;
      for (const start of [0, once.length])
        for (let at = 0; at < once.length; at += piece)
          assert.equal(await requests.write(once.subarray(at, at + piece), start + at), undefined);
      const sentBefore = near.plane.links.counters.bytesOut;
      await wipe(hostOf(world, volume, 1));
      await untilRebuilt(world, volume);
      const { bytesNeeded, bytesSent, metadataBytes } = near.plane.rebuild;
      // Of two columns each has one of the two, on a device of its own.
      assert.deepEqual([bytesNeeded, bytesSent], [2 * once.length, policy.stripes * once.length]);
      const share = metadataBytes / bytesNeeded;
      assert.ok(share > 0.0078 && share < 0.009, `${metadataBytes} bytes of fingerprints`);
      const beside = near.plane.links.counters.bytesOut - sentBefore - bytesSent - metadataBytes;
      assert.ok(beside < 4 * BLOCK_SIZE_BYTES, `${beside} bytes were sent and not counted`);
      await owner.close();
      await world.assertEqualCopies(volume.objectId);
    });
  });

test("a witness on an emptied disk is made anew, without data", async () => {
  await cluster(21, "abc", MIRROR, async (world, volume) => {
    const { owner, client } = await clientOf(world, hostOf(world, volume, 0), volume);
    await client.work(10);
    await wipe(hostOf(world, volume, 2));
    await untilRebuilt(world, volume);
    await owner.close();
  });
});

test("a witness whose owner dies before it is put in its place is put there by the next one", async () => {
  await cluster(23, "abc", MIRROR, async (world, volume) => {
    const first = hostOf(world, volume, 0);
    const other = hostOf(world, volume, 1);
    await clientOf(world, first, volume);
    const { directory } = world;
    const transact = directory.transact.bind(directory);
    let isNamed = false;
    directory.transact = async (conditions, writes) => {
      const isBegun = writes.some((one) => one.kind === "put" && one.value.includes('"building"'));
      const answer = await transact(conditions, writes);
      if (!isBegun || isNamed) return answer;
      isNamed = true;
      first.crash();
      return await new Promise(() => {});
    };
    await wipe(hostOf(world, volume, 2));
    await world.until(() => isNamed);
    await world.until(() => other.plane.links.linkTo(first.hostId) === undefined);
    await first.start();
    const { owner, client } = await clientOf(world, other, volume);
    await client.work(10);
    await untilRebuilt(world, volume);
    await owner.close();
    await world.until(async () => (await listIntents(directory, CLUSTER)).length === 0);
  });
});

test("a witness that is there is asked after anew once the way to it has ended", async () => {
  await cluster(22, "abc", MIRROR, async (world, volume) => {
    const { owner, client } = await clientOf(world, hostOf(world, volume, 0), volume);
    await client.work(10);
    const witness = hostOf(world, volume, 2);
    const { links } = hostOf(world, volume, 0).plane;
    const call = links.call.bind(links);
    const askedMs: number[] = [];
    links.call = async (...asked) => {
      if (asked[1] === "device.lacks") askedMs.push(world.simulation.nowMs);
      return await call(...asked);
    };
    await world.pass(60_000);
    assert.ok(askedMs.length <= 5, `it was asked after ${askedMs.length} times in a minute`);
    const asked = askedMs.length;
    await world.until(() => askedMs.length > asked);
    witness.crash();
    await witness.start();
    await witness.device.deleteComponent(volume.components[2]!.componentId);
    await untilRebuilt(world, volume);
    const afterMs = world.simulation.nowMs - askedMs[asked]!;
    assert.ok(afterMs < 10_000, "before it would have been asked after anyway");
    await owner.close();
  });
});

test("a second rebuild of a component is refused, and the first one goes on", async () => {
  const expectation = marks.expect("a second rebuild of a component was refused");
  await cluster(41, "abcde", MIRROR, async (world, volume) => {
    const { owner, client } = await clientOf(world, hostOf(world, volume, 1), volume);
    await client.work(20);
    const lost = volume.components[0]!;
    const first = "dd".repeat(16);
    const { directory } = world;
    const transact = directory.transact.bind(directory);
    directory.transact = async (conditions, writes) => {
      const isBegun = writes.some((one) => one.kind === "put" && one.value.includes('"building"'));
      if (!isBegun) return await transact(conditions, writes);
      directory.transact = transact;
      // Somebody else begins to make it in the last moment.
      await beginRebuild(world, volume, lost.componentId, first);
      return await transact(conditions, writes);
    };
    let most = 0;
    const told = world.until(async () => {
      const { components } = await world.record(volume.objectId);
      const building = components.filter(({ state }) => state.kind === "building");
      most = Math.max(most, building.length);
      return components.some((one) => one.componentId === first && one.state.kind === "active");
    });
    await wipe(world.hostOf(lost.hostId));
    await told;
    assert.equal(most, 1);
    await client.work(10);
    await client.verify("afterwards");
    await owner.close();
    await world.until(async () => (await listIntents(directory, CLUSTER)).length === 0);
    const there = [...world.hosts.values()].flatMap(({ device }) => device.components());
    assert.equal(there.length, volume.components.length, "nothing is left of the second one");
    await world.assertEqualCopies(volume.objectId);
    await world.assertClean();
  });
  expectation.verify();
});

/** On a host that has nothing of the volume. */
async function beginRebuild(
  world: ClusterWorld,
  { objectId, components }: ObjectRecord,
  replaces: string,
  componentId: string,
): Promise<void> {
  const host = [...world.hosts.values()].find(({ hostId }) =>
    components.every((one) => one.hostId !== hostId),
  )!;
  const place = { hostId: host.hostId, deviceId: host.device.deviceId };
  const sizeBytes = SIZE_BYTES;
  await host.device.createComponent({ componentId, objectId, sizeBytes, lacksAll: true });
  const stored = (await findObject(world.directory, CLUSTER, objectId))!;
  const entry = { ...place, componentId, state: { kind: "building", replaces } as const };
  const record = { ...stored.record, components: [...stored.record.components, entry] };
  await swapObject(world.directory, CLUSTER, stored, record);
}

/** Of some components of a device: what is brought to them waits here from some batch on. */
class Brought {
  /** Batches that have been let through, and those that wait. */
  through = 0;
  waiting = 0;
  readonly #isOf: (componentId: string) => boolean;
  readonly #freeCount: number;
  readonly #open: Promise<void>;
  open: () => void = () => {};

  constructor(isOf: (componentId: string) => boolean, freeCount: number) {
    this.#isOf = isOf;
    this.#freeCount = freeCount;
    this.#open = new Promise<void>((resolve) => {
      this.open = resolve;
    });
  }

  watch(device: Device): void {
    const watched = new Set<string>();
    const find = device.component.bind(device);
    device.component = (componentId) => {
      const found = find(componentId);
      if (found === undefined || !this.#isOf(componentId) || watched.has(componentId)) return found;
      watched.add(componentId);
      const apply = found.apply.bind(found);
      found.apply = async (...batch) => {
        if (this.through === this.#freeCount) {
          this.waiting++;
          await this.#open;
        } else this.through++;
        await apply(...batch);
      };
      return found;
    };
  }
}

for (const winner of ["the old copy", "the new copy"] as const)
  test(`a host is back while another copy is half made in its place, and ${winner} is complete first`, async () => {
    const abandoned = marks.expect("a component that was being made was given up");
    await cluster(61, "abcd", MIRROR, async (world, volume) => {
      await changeSettings(world.directory, CLUSTER, { repairDelayMs: 2000 });
      const { owner, client } = await clientOf(world, hostOf(world, volume, 1), volume);
      const piece = 64 * BLOCK_SIZE_BYTES;
      for (let at = 0; at < SIZE_BYTES; at += piece)
        await client.write(at, randomBytes(world.prng, piece));
      const [away, spare] = [hostOf(world, volume, 0), world.host("d")];
      const oldId = volume.components[0]!.componentId;
      const made = new Brought((componentId) => componentId !== oldId, 1);
      const returned = new Brought((componentId) => componentId === oldId, 0);
      made.watch(spare.device);
      away.onOpened = (device) => returned.watch(device);
      away.crash();
      await client.work(10);
      await world.until(() => made.through === 1 && made.waiting > 0);
      await away.start();
      await world.until(() => returned.waiting > 0);
      const both = await world.record(volume.objectId);
      assert.equal(both.components.length, volume.components.length + 1);
      (winner === "the old copy" ? returned : made).open();
      await world.until(async () => {
        const { components } = await world.record(volume.objectId);
        const isWhole = components.every(({ state }) => state.kind === "active");
        return isWhole && components.length === volume.components.length;
      });
      const { components } = await world.record(volume.objectId);
      const isOld = components.some(({ componentId }) => componentId === oldId);
      assert.equal(isOld, winner === "the old copy");
      assert.equal(world.heard("component-abandoned"), isOld);
      made.open();
      returned.open();
      const left = isOld ? spare : away;
      await world.until(() => left.device.components().length === 0);
      await world.until(async () => (await listIntents(world.directory, CLUSTER)).length === 0);
      await client.work(10);
      await client.verify("afterwards");
      await owner.close();
      await world.assertEqualCopies(volume.objectId);
      await world.assertClean();
    });
    abandoned.verify(winner === "the old copy" ? 1 : 0);
  });

test("a rebuild that is cut short counts on, and what was sent counts as sent", async () => {
  await cluster(63, "abcd", MIRROR, async (world, volume) => {
    await changeSettings(world.directory, CLUSTER, { repairDelayMs: 2000 });
    const near = hostOf(world, volume, 1);
    const { owner } = await clientOf(world, near, volume);
    const requests = requestsOf(owner);
    const piece = 64 * BLOCK_SIZE_BYTES;
    for (let at = 0; at < SIZE_BYTES; at += piece)
      assert.equal(await requests.write(randomBytes(world.prng, piece), at), undefined);
    const spare = world.host("d");
    const made = new Brought(() => true, 1);
    made.watch(spare.device);
    const building = (): ResyncState | undefined =>
      owner.state.components.find(({ state }) => state.kind === "building")?.resync;
    hostOf(world, volume, 0).crash();
    assert.equal(await requests.write(randomBytes(world.prng, piece), 0), undefined);
    await world.until(() => made.through === 1 && made.waiting > 0);
    // What has come through is durable.
    await world.pass(500);
    const { bytesSent } = building()!;
    assert.ok(bytesSent > 0 && bytesSent < SIZE_BYTES, `${bytesSent} bytes`);
    spare.crash();
    await world.until(() => !owner.state.components.some(({ isCatchingUp }) => isCatchingUp));
    assert.equal(building()?.bytesSent, bytesSent, "between two attempts it is known, too");
    await spare.start();
    await untilRebuilt(world, volume);
    const went = near.plane.rebuild;
    assert.deepEqual([went.bytesNeeded, went.bytesSkipped], [SIZE_BYTES, 0]);
    assert.equal(went.bytesSent, SIZE_BYTES, "nothing twice");
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
  });
});

test("what is built on a disk that is emptied, too, is built elsewhere", async () => {
  await cluster(31, "abcd", MIRROR, async (world, volume) => {
    const { owner, client } = await clientOf(world, hostOf(world, volume, 2), volume);
    await client.work(60);
    await wipe(hostOf(world, volume, 0));
    await world.until(() => world.heard("component-building"));
    const { components } = await world.record(volume.objectId);
    const building = components.find(({ state }) => state.kind === "building");
    await wipe(world.hostOf(building!.hostId));
    await untilRebuilt(world, volume);
    await client.verify("after two losses");
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
  });
});

test("the only copy is moved by nobody, and its loss is told", async () => {
  const policy = { failuresToTolerate: 0, stripes: 1 };
  await cluster(41, "abc", policy, async (world, volume) => {
    const home = hostOf(world, volume, 0);
    const { owner, client } = await clientOf(world, home, volume);
    await client.work(10);
    await owner.close();
    await wipe(home);
    await assert.rejects(home.take(volume.objectId), /no copy is complete|cannot be used/);
    assert.equal((await listIntents(world.directory, CLUSTER)).length, 0);
  });
});

test("an owner notices that a disk came back without what it had said to hold", async () => {
  await cluster(51, "abc", MIRROR, async (world, volume) => {
    const home = hostOf(world, volume, 0);
    const { owner, client } = await clientOf(world, home, volume);
    await client.work(20);
    await world.pass(6000);
    // Too short a time for the directory to hear of it.
    const other = hostOf(world, volume, 1);
    const image = imageOf(other.medium());
    await client.work(5);
    other.crash();
    other.media.set("/dev/one", image);
    await other.start();
    await world.until(() => world.heard("component-stale"));
    await world.untilActive(volume.objectId);
    await client.verify("afterwards");
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
  });
});
