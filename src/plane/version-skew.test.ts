import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES, marks } from "../base/index.ts";
import { unknownCall } from "../link/index.ts";
import { Simulation } from "../sim/index.ts";
import { ClusterWorld, requestsOf } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";
import { VolumeClient } from "../../test/support/volume-client.ts";

const SIZE_BYTES = 4 * 2 ** 20;

test("a host that is older than offers of fingerprints is sent everything, and is equal then", async () => {
  const expectation = marks.expect("an older host was sent everything at once");
  const world = new ClusterWorld(new Simulation({ seed: 5 }), "abc");
  await world.simulation.run(async () => {
    await world.build();
    const policy = { failuresToTolerate: 1, stripes: 1 };
    const volume = await world.host("a").plane.createVolume({
      name: "v",
      sizeBytes: SIZE_BYTES,
      policy,
    });
    const [user, older] = [volume.components[0]!, volume.components[1]!].map(({ hostId }) =>
      world.hostOf(hostId),
    );
    assert.ok(user !== undefined && older !== undefined);
    const owner = await world.take(user, volume.objectId);
    const client = new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner));
    await client.work(40);
    await client.write(0, new Uint8Array(32 * BLOCK_SIZE_BYTES).fill(7));
    older.crash();
    await client.work(60);
    // What has no content any more has to reach it, too.
    await client.write(0, new Uint8Array(32 * BLOCK_SIZE_BYTES).fill(8));
    await client.zero(0, 16 * BLOCK_SIZE_BYTES);
    await world.until(() => world.heard("component-stale"));
    await older.start();
    const { links } = older.plane;
    links.handle("component.offer", () => Promise.reject(unknownCall("component.offer")));
    await world.untilActive(volume.objectId);
    assert.ok(!world.heard("copies-differed"));
    await client.verify("afterwards");
    await owner.close();
    await world.assertEqualCopies(volume.objectId);
    await world.assertClean();
  });
  expectation.verify();
});
