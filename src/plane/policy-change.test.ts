import assert from "node:assert/strict";
import { CodedError } from "../base/index.ts";
import { findObject, leavesOf, legsOf, listIntents, swapObject } from "../cluster/index.ts";
import type { ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import { Simulation } from "../sim/index.ts";
import { CLUSTER, ClusterWorld, emptyMedia, requestsOf } from "../../test/support/cluster-world.ts";
import type { ClusterHost } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";
import { VolumeClient } from "../../test/support/volume-client.ts";

/** More of them when something here was changed. */
const SEEDS = Number(process.env["DRYSTONE_SEEDS"] ?? 1);
const SIZE_BYTES = 4 * 2 ** 20;
const SINGLE: ObjectPolicy = { failuresToTolerate: 0, stripes: 1 };
const MIRROR: ObjectPolicy = { failuresToTolerate: 1, stripes: 1 };
const STRIPES: ObjectPolicy = { failuresToTolerate: 1, stripes: 2 };
const TRIPLE: ObjectPolicy = { failuresToTolerate: 2, stripes: 1 };

async function cluster(
  seed: number,
  letters: string,
  policy: ObjectPolicy,
  work: (world: ClusterWorld, volume: ObjectRecord) => Promise<void>,
): Promise<void> {
  const simulation = new Simulation({ seed });
  const world = new ClusterWorld(simulation, letters);
  await simulation.run(async () => {
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

async function untilChanged(world: ClusterWorld, volume: ObjectRecord, policy: ObjectPolicy) {
  await world.until(async () => {
    const { change, components, policy: now } = await world.record(volume.objectId);
    const isWhole = components.every(({ state }) => state.kind === "active");
    return change === undefined && isWhole && JSON.stringify(now) === JSON.stringify(policy);
  });
}

/** Nothing is left of what the volume had before. */
async function assertNothingLeft(world: ClusterWorld, volume: ObjectRecord): Promise<void> {
  await world.until(async () => (await listIntents(world.directory, CLUSTER)).length === 0);
  const { components } = await world.record(volume.objectId);
  const there = [...world.hosts.values()].flatMap((host) =>
    [...host.devices.values()].flatMap((device) =>
      device.components().map(({ componentId }) => componentId),
    ),
  );
  assert.deepEqual(there.toSorted(), components.map((one) => one.componentId).toSorted());
}

const WAYS: readonly (readonly [string, ObjectPolicy, ObjectPolicy])[] = [
  ["a second copy", SINGLE, MIRROR],
  ["a third copy", MIRROR, TRIPLE],
  ["one copy instead of two", MIRROR, SINGLE],
  ["stripes", MIRROR, STRIPES],
  ["no stripes", STRIPES, MIRROR],
  ["no stripes and a third copy", STRIPES, TRIPLE],
  ["stripes, of a single copy", SINGLE, { failuresToTolerate: 0, stripes: 3 }],
];

for (const [what, from, to] of WAYS)
  test(`a volume in use gets ${what}`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++)
      await cluster(seed, "abcde", from, async (world, volume) => {
        const user = world.host("e");
        const { owner, client } = await clientOf(world, user, volume);
        await client.work(40);
        const working = client.work(60);
        await world.host("b").plane.policies.begin("v", to);
        await working;
        await untilChanged(world, volume, to);
        await client.work(20);
        await client.verify(`seed ${seed}`);
        assert.ok(!world.heard("copies-differed"));
        assert.ok(world.heard("policy-changed"));
        await owner.close();
        await assertNothingLeft(world, volume);
        await world.assertEqualCopies(volume.objectId);
        await world.assertClean();
      });
  });

test("stripes on the hosts that have the data already are made of what is there", async () => {
  await cluster(21, "abc", MIRROR, async (world, volume) => {
    const { owner, client } = await clientOf(world, world.host("c"), volume);
    await client.work(60);
    await world.host("a").plane.policies.begin("v", STRIPES);
    await untilChanged(world, volume, STRIPES);
    const { components, tree } = await world.record(volume.objectId);
    const votes = new Set(
      leavesOf(tree).flatMap((one) => (one.kind === "witness" ? one.componentId : [])),
    );
    const data = components.filter(({ componentId }) => !votes.has(componentId));
    const before = new Set(volume.components.slice(0, 2).map(({ hostId }) => hostId));
    assert.equal(data.filter(({ hostId }) => before.has(hostId)).length, 4);
    // Of two columns of each leg one is on the device that has everything.
    const { bytesNeeded, bytesSent } = world.host("c").plane.rebuild;
    assert.ok(bytesNeeded > 0 && bytesSent <= bytesNeeded / 2 + 2 ** 20, `${bytesSent}`);
    await owner.close();
  });
});

test("an owner that dies in the middle of it leaves the change to the next one", async () => {
  for (let seed = 31; seed < 31 + 3 * SEEDS; seed++)
    await cluster(seed, "abcd", MIRROR, async (world, volume) => {
      const first = await clientOf(world, world.host("d"), volume);
      await first.client.work(60);
      await world.host("a").plane.policies.begin("v", STRIPES);
      await world.pass(world.prng.below(800));
      world.host("d").crash();
      const other = world.host("a");
      await world.until(() => other.plane.links.linkTo(world.host("d").hostId) === undefined);
      const { owner } = await clientOf(world, other, volume);
      first.client.requests = requestsOf(owner);
      await world.host("d").start();
      await untilChanged(world, volume, STRIPES);
      await first.client.verify(`seed ${seed}`);
      await owner.close();
      await assertNothingLeft(world, volume);
      await world.assertEqualCopies(volume.objectId);
    });
});

test("the policy of a volume that nobody uses changes, too", async () => {
  await cluster(41, "abcd", SINGLE, async (world, volume) => {
    const { owner, client } = await clientOf(world, world.host("d"), volume);
    await client.work(40);
    await owner.close();
    await world.host("b").plane.policies.begin("v", MIRROR);
    await untilChanged(world, volume, MIRROR);
    await world.until(async () => (await world.record(volume.objectId)).owner === undefined);
    const again = await world.take(world.host("c"), volume.objectId);
    client.requests = requestsOf(again);
    await client.verify("afterwards");
    await again.close();
    await assertNothingLeft(world, volume);
    await world.assertEqualCopies(volume.objectId);
  });
});

test("with too few hosts a change is refused, and it is said what is missing", async () => {
  await cluster(51, "abc", MIRROR, async (world, volume) => {
    await assert.rejects(world.host("a").plane.policies.begin("v", TRIPLE), (error: unknown) => {
      assert.ok(error instanceof CodedError);
      assert.equal(error.code, "policy-unsatisfiable");
      assert.match(error.message, /2 failures to tolerate need 5 fault domains .* there are 3: /);
      return true;
    });
    const record = await world.record(volume.objectId);
    assert.equal(record.change, undefined);
    await assertNothingLeft(world, volume);
  });
});

test("a change is taken back, or another one takes its place, while it is under way", async () => {
  await cluster(61, "abcde", MIRROR, async (world, volume) => {
    const { owner, client } = await clientOf(world, world.host("e"), volume);
    await client.work(60);
    const { policies } = world.host("a").plane;
    await policies.begin("v", STRIPES);
    await world.pass(world.prng.below(300));
    await policies.begin("v", MIRROR);
    await untilChanged(world, volume, MIRROR);
    await client.work(20);
    await policies.begin("v", STRIPES);
    await world.pass(world.prng.below(300));
    await policies.begin("v", TRIPLE);
    await untilChanged(world, volume, TRIPLE);
    await client.work(20);
    await client.verify("afterwards");
    await owner.close();
    await assertNothingLeft(world, volume);
    await world.assertEqualCopies(volume.objectId);
  });
});

test("what joins on a disk that is emptied is made elsewhere", async () => {
  await cluster(71, "abcdef", MIRROR, async (world, volume) => {
    const { owner, client } = await clientOf(world, world.host("a"), volume);
    await client.work(60);
    const { components } = await world.host("a").plane.policies.begin("v", TRIPLE);
    const joining = components.find(({ state }) => state.kind === "joining")!;
    const host = world.hostOf(joining.hostId);
    host.crash();
    for (const path of host.media.keys()) host.media.set(path, emptyMedia());
    await host.start();
    await untilChanged(world, volume, TRIPLE);
    const after = (await world.record(volume.objectId)).components;
    assert.ok(after.every(({ componentId }) => componentId !== joining.componentId));
    await client.verify("afterwards");
    await owner.close();
    await assertNothingLeft(world, volume);
    await world.assertEqualCopies(volume.objectId);
  });
});

test("a copy that is behind does not become the only one", async () => {
  await cluster(81, "abc", MIRROR, async (world, volume) => {
    const { owner, client } = await clientOf(
      world,
      world.hostOf(volume.components[2]!.hostId),
      volume,
    );
    await client.work(20);
    const behind = world.hostOf(volume.components[0]!.hostId);
    behind.crash();
    await client.work(20);
    await world.until(() => world.heard("component-stale"));
    const stored = (await findObject(world.directory, CLUSTER, volume.objectId))!;
    const [leg] = legsOf(volume.tree);
    const change = { policy: SINGLE, tree: leg! };
    await swapObject(world.directory, CLUSTER, stored, { ...stored.record, change });
    await world.pass(5000);
    assert.ok((await world.record(volume.objectId)).change !== undefined, "it waits");
    await behind.start();
    await untilChanged(world, volume, SINGLE);
    await client.verify("afterwards");
    await owner.close();
    await assertNothingLeft(world, volume);
  });
});
