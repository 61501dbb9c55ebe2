/** Who goes on without a copy, and who leaves the object to the other side. */
import assert from "node:assert/strict";
import type { ObjectRecord } from "../cluster/index.ts";
import { Simulation } from "../sim/index.ts";
import { ClusterWorld, requestsOf } from "../../test/support/cluster-world.ts";
import type { ClusterHost } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";

const BLOCK = new Uint8Array(4096).fill(7);
const MADE = {
  name: "v",
  sizeBytes: 1 << 20,
  policy: { failuresToTolerate: 1, stripes: 1 },
} as const;

async function cluster(
  seed: number,
  work: (world: ClusterWorld, volume: ObjectRecord, hosts: readonly ClusterHost[]) => Promise<void>,
): Promise<void> {
  const simulation = new Simulation({ seed });
  const world = new ClusterWorld(simulation, "abc");
  await simulation.run(async () => {
    await world.build();
    const volume = await world.host("a").plane.createVolume(MADE);
    // A copy, a copy and a witness.
    const hosts = volume.components.map(({ hostId }) => world.hostOf(hostId));
    await work(world, volume, hosts);
  });
}

test("an owner that is cut off from the others stops, and the other side serves what was answered", async () => {
  for (let seed = 1; seed <= 8; seed++)
    await cluster(seed, async (world, volume, [one, two, witness]) => {
      const owner = await world.take(one!, volume.objectId);
      const requests = requestsOf(owner);
      assert.equal(await requests.write(BLOCK, 0), undefined);
      world.fabric.partition([one!.address], [two!.address, witness!.address]);
      // Whether it was done is unknown: it was not answered.
      assert.equal(
        await requests.write(
          BLOCK.map(() => 8),
          0,
        ),
        "unreachable",
      );
      assert.match(owner.state.reason ?? "", /^only 1 of 3 votes of v are in reach$/);
      await owner.close();
      assert.deepEqual(Object.values(await world.states(volume.objectId)), [
        "active",
        "active",
        "active",
      ]);
      const next = await world.take(two!, volume.objectId);
      const { bytes } = await requestsOf(next).read(0, 4096);
      assert.ok([7, 8].includes(bytes[0]!));
      assert.equal(
        await requestsOf(next).write(
          BLOCK.map(() => 9),
          0,
        ),
        undefined,
      );
      world.fabric.heal();
      await world.untilActive(volume.objectId);
      await next.close();
      await world.assertEqualCopies(volume.objectId);
    });
});

test("an owner that keeps the witness goes on without the other copy, and one without it does, too", async () => {
  for (const lost of [1, 2])
    await cluster(20 + lost, async (world, volume, hosts) => {
      const owner = await world.take(hosts[0]!, volume.objectId);
      const rest = hosts.filter((_, index) => index !== lost);
      world.fabric.partition(
        [hosts[lost]!.address],
        rest.map(({ address }) => address),
      );
      const requests = requestsOf(owner);
      assert.equal(await requests.write(BLOCK, 0), undefined);
      world.fabric.heal();
      await world.untilActive(volume.objectId);
      await owner.close();
    });
});
