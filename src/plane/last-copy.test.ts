/** The last good copy of a volume that should have two. */
import assert from "node:assert/strict";
import { changeSettings, putService } from "../cluster/index.ts";
import type { ObjectRecord, ServiceMode } from "../cluster/index.ts";
import { Simulation } from "../sim/index.ts";
import { CLUSTER, ClusterWorld, requestsOf } from "../../test/support/cluster-world.ts";
import type { ClusterHost } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";
import { VolumeClient } from "../../test/support/volume-client.ts";

const SIZE_BYTES = 4 * 2 ** 20;

interface Story {
  readonly world: ClusterWorld;
  readonly volume: ObjectRecord;
  /** Whose copy is the only good one. */
  readonly good: ClusterHost;
  readonly client: VolumeClient;
}

/** A volume in use on the witness's host; its other copy is stale, and away. */
async function oneCopyLeft(letters: string, work: (story: Story) => Promise<void>): Promise<void> {
  const world = new ClusterWorld(new Simulation({ seed: 5 }), letters);
  await world.simulation.run(async () => {
    await world.build();
    await changeSettings(world.directory, CLUSTER, { repairDelayMs: 3_600_000 });
    const policy = { failuresToTolerate: 1, stripes: 1 };
    const made = { name: "v", sizeBytes: SIZE_BYTES, policy };
    const volume = await world.host("a").plane.createVolume(made);
    const [good, away, user] = volume.components.map(({ hostId }) => world.hostOf(hostId));
    assert.ok(good !== undefined && away !== undefined && user !== undefined);
    const owner = await world.take(user, volume.objectId);
    const client = new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner));
    await client.work(20);
    away.crash();
    await client.work(20);
    const states = (await world.record(volume.objectId)).components.map(({ state }) => state.kind);
    assert.deepEqual(states, ["active", "stale", "active"]);
    await work({ world, volume, good, client });
  });
}

test("with no other place for it, the last good copy is stuck, and without it the volume is unusable", async () => {
  await oneCopyLeft("abc", async ({ good, client }) => {
    const { plane } = good;
    const planned = async (mode: ServiceMode, kind: "host" | "device") => {
      const id = kind === "host" ? good.hostId : good.device.deviceId;
      const { components, unusable } = await plane.planService({ id, kind, mode });
      return [components.map(({ what }) => what), unusable];
    };
    assert.deepEqual(await planned("none", "host"), [["stays"], ["v"]]);
    assert.deepEqual(await planned("ensure-accessibility", "host"), [["stuck"], ["v"]]);
    assert.deepEqual(await planned("evacuate", "host"), [["stuck"], ["v"]]);
    assert.deepEqual(await planned("evacuate", "device"), [["stuck"], ["v"]]);
    await client.verify("it was only asked");
  });
});

test("the last good copy leaves its device when another one holds everything, and not before", async () => {
  await oneCopyLeft("abcd", async ({ world, volume, good, client }) => {
    const { deviceId } = good.device;
    const onIt = async (): Promise<boolean> => {
      const { components } = await world.record(volume.objectId);
      return components.some((entry) => entry.deviceId === deviceId);
    };
    await putService(world.directory, CLUSTER, { id: deviceId, kind: "device", mode: "evacuate" });
    while (await onIt()) {
      const { components } = await world.record(volume.objectId);
      const { state } = components.find((entry) => entry.deviceId === deviceId)!;
      assert.equal(state.kind, "active");
      await client.work(2);
      await world.pass(20);
    }
    await world.until(() => good.device.components().length === 0);
    await client.verify("afterwards");
  });
});
