/** Rules of changing a policy in use, one by one: each of these fails without the rule. */
import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import { leavesOf, listIntents, swapObject, findObject } from "../cluster/index.ts";
import type { ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import type { ObjectOwner } from "../object/index.ts";
import type { DirectoryOutcome, DirectoryWrite } from "../ports/index.ts";
import { Simulation } from "../sim/index.ts";
import { CLUSTER, ClusterWorld, requestsOf } from "../../test/support/cluster-world.ts";
import type { ClusterHost } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";
import { VolumeClient } from "../../test/support/volume-client.ts";

const SIZE_BYTES = 2 * 2 ** 20;
const SINGLE: ObjectPolicy = { failuresToTolerate: 0, stripes: 1 };
const MIRROR: ObjectPolicy = { failuresToTolerate: 1, stripes: 1 };
const STRIPES: ObjectPolicy = { failuresToTolerate: 1, stripes: 2 };
const TRIPLE: ObjectPolicy = { failuresToTolerate: 2, stripes: 1 };

/** A volume in use, on a host that has a copy of it. */
class InUse {
  readonly world: ClusterWorld;
  readonly volume: ObjectRecord;
  readonly owner: ObjectOwner;
  readonly client: VolumeClient;

  constructor(world: ClusterWorld, volume: ObjectRecord, owner: ObjectOwner) {
    this.world = world;
    this.volume = volume;
    this.owner = owner;
    this.client = new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner));
  }

  get host(): ClusterHost {
    return this.world.hostOf(this.volume.components[0]!.hostId);
  }

  record(): Promise<ObjectRecord> {
    return this.world.record(this.volume.objectId);
  }

  begin(policy: ObjectPolicy): Promise<ObjectRecord> {
    return this.host.plane.policies.begin("v", policy);
  }

  async untilIs(policy: ObjectPolicy): Promise<void> {
    await this.world.until(async () => {
      const { change, policy: now, components } = await this.record();
      const isWhole = components.every(({ state }) => state.kind === "active");
      return change === undefined && isWhole && JSON.stringify(now) === JSON.stringify(policy);
    });
  }

  /** `instead` is called once, in place of the write of the record that ends the change. */
  atSwitch(
    instead: (commit: () => Promise<DirectoryOutcome>) => Promise<DirectoryOutcome>,
  ): Promise<void> {
    const { directory } = this.world;
    const transact = directory.transact.bind(directory);
    return new Promise((resolve) => {
      directory.transact = async (conditions, writes) => {
        const commit = (): Promise<DirectoryOutcome> => transact(conditions, writes);
        if (!(await this.#isSwitch(writes))) return await commit();
        directory.transact = transact;
        try {
          return await instead(commit);
        } finally {
          resolve();
        }
      };
    });
  }

  async #isSwitch(writes: readonly DirectoryWrite[]): Promise<boolean> {
    const { objectId, change } = await this.record();
    return (
      change !== undefined &&
      writes.some(
        (write) =>
          write.kind === "put" &&
          write.key.endsWith(objectId) &&
          write.value.includes(`"policy":${JSON.stringify(change.policy)}`) &&
          !write.value.includes('"change":'),
      )
    );
  }

  /** All is as the record says: data, copies, and nothing is left over anywhere. */
  async assertWhole(owner = this.owner): Promise<void> {
    const { world, client, volume } = this;
    await client.verify("afterwards");
    await owner.close();
    await world.until(async () => (await listIntents(world.directory, CLUSTER)).length === 0);
    const { components } = await this.record();
    const there = [...world.hosts.values()].flatMap((host) =>
      [...host.devices.values()].flatMap((device) => device.components()),
    );
    assert.deepEqual(
      there.map(({ componentId }) => componentId).toSorted(),
      components.map(({ componentId }) => componentId).toSorted(),
    );
    await world.assertEqualCopies(volume.objectId);
    await world.assertClean();
  }
}

async function inUse(
  seed: number,
  policy: ObjectPolicy,
  work: (used: InUse) => Promise<void>,
): Promise<void> {
  const world = new ClusterWorld(new Simulation({ seed }), "abcde");
  await world.simulation.run(async () => {
    await world.build();
    const made = { name: "v", sizeBytes: SIZE_BYTES, policy };
    const volume = await world.host("a").plane.createVolume(made);
    const host = world.hostOf(volume.components[0]!.hostId);
    const used = new InUse(world, volume, await world.take(host, volume.objectId));
    await used.client.work(20);
    await work(used);
  });
}

test("a change that is taken back in the moment of the switch does not happen", async () => {
  await inUse(1, MIRROR, async (used) => {
    await used.begin(STRIPES);
    await used.atSwitch(async (commit) => {
      await used.begin(MIRROR);
      return await commit();
    });
    await used.client.work(10);
    await used.untilIs(MIRROR);
    await used.client.work(10);
    assert.ok(!used.world.heard("policy-changed"));
    await used.assertWhole();
  });
});

test("a change that another one replaces in the moment of the switch does not happen", async () => {
  await inUse(2, MIRROR, async (used) => {
    await used.begin(STRIPES);
    await used.atSwitch(async (commit) => {
      await used.begin(TRIPLE);
      return await commit();
    });
    await used.client.work(10);
    await used.untilIs(TRIPLE);
    await used.client.work(10);
    await used.assertWhole();
  });
});

test("what turns out to be left over in the moment of the switch goes, too", async () => {
  await inUse(3, MIRROR, async (used) => {
    const { world, volume } = used;
    await used.begin(STRIPES);
    const { objectId } = volume;
    const [replaced] = volume.components;
    const host = world.host("d");
    const place = { hostId: host.hostId, deviceId: host.device.deviceId };
    const componentId = "dd".repeat(16);
    await used.atSwitch(async (commit) => {
      const sizeBytes = SIZE_BYTES;
      await host.device.createComponent({ componentId, objectId, sizeBytes, lacksAll: true });
      const stored = (await findObject(world.directory, CLUSTER, objectId))!;
      const state = { kind: "building", replaces: replaced!.componentId } as const;
      const components = [...stored.record.components, { ...place, componentId, state }];
      await swapObject(world.directory, CLUSTER, stored, { ...stored.record, components });
      return await commit();
    });
    await used.untilIs(STRIPES);
    await used.client.work(10);
    await used.assertWhole();
  });
});

test("a copy that is lost in the middle of the switch does not stay as the object's", async () => {
  await inUse(10, MIRROR, async (used) => {
    const { world, volume, client } = used;
    const kept = world.hostOf(volume.components[1]!.hostId);
    const { components } = await used.begin(TRIPLE);
    let writing: Promise<void> | undefined;
    for (const { hostId, componentId, state } of components) {
      const witness = world.hostOf(hostId).device.component(componentId);
      if (state.kind !== "joining" || witness?.blockCount !== 0) continue;
      const open = witness.open.bind(witness);
      // Who asks it has found everything else in order.
      witness.open = async (epoch) => {
        if (writing === undefined) kept.crash();
        writing ??= client.write(0, new Uint8Array(BLOCK_SIZE_BYTES).fill(9));
        return await open(epoch);
      };
    }
    await world.until(() => writing !== undefined);
    await writing;
    await world.pass(3000);
    assert.ok((await used.record()).change !== undefined, "it waits");
    await kept.start();
    await used.untilIs(TRIPLE);
    await client.work(10);
    await used.assertWhole();
  });
});

test("what joins counts once its digests are those of the others", async () => {
  await inUse(4, MIRROR, async (used) => {
    const { world } = used;
    const { components } = await used.begin(TRIPLE);
    let lost = 0;
    for (const { hostId, componentId, state } of components) {
      const component = world.hostOf(hostId).device.component(componentId);
      if (state.kind !== "joining" || component === undefined || component.blockCount === 0)
        continue;
      const apply = component.apply.bind(component);
      // What it is sent first does not come to be.
      component.apply = async (...batch) => {
        if (lost++ > 0) await apply(...batch);
      };
    }
    await used.untilIs(TRIPLE);
    assert.ok(lost > 1);
    assert.ok(world.heard("copies-differed"));
    await used.assertWhole();
  });
});

test("nothing is written while the object is switched over", async () => {
  await inUse(5, MIRROR, async (used) => {
    const { world, client } = used;
    await used.begin(STRIPES);
    let isAnswered = false;
    let writing: Promise<void> | undefined;
    await used.atSwitch(async (commit) => {
      const block = new Uint8Array(BLOCK_SIZE_BYTES).fill(9);
      writing = client.write(0, block).then(() => void (isAnswered = true));
      await world.pass(200);
      assert.ok(!isAnswered, "it waits");
      return await commit();
    });
    await writing;
    await used.untilIs(STRIPES);
    await used.assertWhole();
  });
});

test("whoever cannot know whether the object was switched over stops", async () => {
  for (const isDone of [true, false])
    await inUse(6, MIRROR, async (used) => {
      const { world, client, volume } = used;
      await used.begin(STRIPES);
      await used.atSwitch(async (commit) => {
        if (isDone) await commit();
        throw new CodedError({ code: "directory-refused", message: "nobody knows" });
      });
      await world.until(() => used.owner.isOver);
      await used.owner.close();
      const next = await world.take(used.host, volume.objectId);
      client.requests = requestsOf(next);
      await used.untilIs(STRIPES);
      await client.work(10);
      await used.assertWhole(next);
    });
});

test("an answer that is lost is no reason to stop, whatever it was", async () => {
  for (const isDone of [true, false])
    await inUse(7, MIRROR, async (used) => {
      await used.begin(STRIPES);
      await used.atSwitch(async (commit) => {
        if (isDone) await commit();
        throw new CodedError({ code: "directory-outcome-unknown", message: "no answer" });
      });
      await used.untilIs(STRIPES);
      await used.client.work(10);
      await used.assertWhole();
    });
});

test("all that joins has to be there, witnesses included", async () => {
  for (const isWitness of [false, true])
    await inUse(8, MIRROR, async (used) => {
      const { world } = used;
      const { change, components } = await used.begin(TRIPLE);
      const kind = isWitness ? "witness" : "component";
      const missing = components.find(
        ({ componentId, state }) =>
          state.kind === "joining" &&
          leavesOf(change!.tree).some(
            (leaf) => leaf.kind === kind && leaf.componentId === componentId,
          ),
      );
      const host = world.hostOf(missing!.hostId);
      assert.notEqual(host, used.host);
      host.crash();
      await world.pass(8000);
      assert.ok((await used.record()).change !== undefined, "it waits");
      await used.client.work(10);
      await host.start();
      await used.untilIs(TRIPLE);
      await used.assertWhole();
    });
});

test("of copies that are given up nothing is left, even if nobody can be told at the time", async () => {
  await inUse(9, MIRROR, async (used) => {
    const { world, volume, client } = used;
    const away = world.hostOf(volume.components[1]!.hostId);
    away.crash();
    await client.work(10);
    await world.until(() => world.heard("component-stale"));
    await used.begin(SINGLE);
    await used.untilIs(SINGLE);
    used.host.crash();
    await away.start();
    await used.host.start();
    const next = await world.take(used.host, volume.objectId);
    client.requests = requestsOf(next);
    await used.assertWhole(next);
  });
});
