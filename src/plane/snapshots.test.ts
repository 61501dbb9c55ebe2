import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import { createVolumeRecord, findVolume, listIntents } from "../cluster/index.ts";
import type { ObjectPolicy, ObjectRecord } from "../cluster/index.ts";
import type { ObjectOwner } from "../object/index.ts";
import { Simulation } from "../sim/index.ts";
import { CLUSTER, ClusterWorld, emptyMedia } from "../../test/support/cluster-world.ts";
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
  policy: ObjectPolicy,
  work: (world: ClusterWorld, volume: ObjectRecord) => Promise<void>,
): Promise<void> {
  const simulation = new Simulation({ seed });
  const world = new ClusterWorld(simulation, "abc");
  await simulation.run(async () => {
    if (policy.stripes > 1)
      for (const host of world.hosts.values()) host.media.set("/dev/two", emptyMedia());
    await world.build();
    const made = { name: "v", sizeBytes: SIZE_BYTES, policy };
    await work(world, await world.host("a").plane.createVolume(made));
  });
}

async function fork(
  world: ClusterWorld,
  host: ClusterHost,
  owner: ObjectOwner,
  name: string,
  isFrozen = true,
): Promise<ObjectRecord> {
  return await host.plane.forkVolume(owner, {
    name,
    isFrozen,
    commit: (made, intents) => createVolumeRecord(world.directory, CLUSTER, made, intents),
  });
}

/** All that an object holds. */
async function contentsOf(owner: ObjectOwner): Promise<Uint8Array> {
  const all = new Uint8Array(SIZE_BYTES);
  const requests = requestsOf(owner);
  const step = 64 * BLOCK_SIZE_BYTES;
  for (let offset = 0; offset < SIZE_BYTES; offset += step) {
    const { fault, bytes } = await requests.read(offset, step);
    assert.equal(fault, undefined);
    all.set(bytes, offset);
  }
  return all;
}

async function contentsOn(
  world: ClusterWorld,
  host: ClusterHost,
  objectId: string,
): Promise<Uint8Array> {
  const owner = await world.take(host, objectId);
  const contents = await contentsOf(owner);
  await owner.close();
  return contents;
}

function same(a: Uint8Array, b: Uint8Array, what: string): void {
  assert.ok(Buffer.compare(a, b) === 0, what);
}

for (const policy of [MIRROR, STRIPES]) {
  const what = policy.stripes > 1 ? "striped" : "mirrored";
  test(`snapshots and clones of a ${what} volume keep what it held, wherever they are read`, async () => {
    for (let seed = 1; seed <= sample(1, 6); seed++)
      await cluster(seed, policy, async (world, volume) => {
        const [a, b] = [world.host("a"), world.host("b")];
        const owner = await world.take(a, volume.objectId);
        const client = new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner));
        await client.work(60);
        const before = await contentsOf(owner);
        const first = await fork(world, a, owner, "v@1");
        const clone = await fork(world, a, owner, "w", false);
        await client.work(40);
        const between = await contentsOf(owner);
        const second = await fork(world, a, owner, "v@2");
        await client.work(40);
        same(await contentsOn(world, b, first.objectId), before, "the first snapshot");
        same(await contentsOn(world, b, second.objectId), between, "the second snapshot");
        const cloned = await world.take(b, clone.objectId);
        same(await contentsOf(cloned), before, "the clone");
        await new VolumeClient(world.prng, SIZE_BYTES, requestsOf(cloned)).work(30);
        await cloned.close();
        await a.plane.deleteVolume("v@2");
        same(await contentsOn(world, a, first.objectId), before, "after the deletion");
        await client.verify(`seed ${seed}`);
        await owner.close();
        for (const { objectId } of [volume, first, clone]) await world.assertEqualCopies(objectId);
        assert.equal((await listIntents(world.directory, CLUSTER)).length, 0);
        await world.assertClean();
      });
  });
}

test("a snapshot under writes is of one moment, across all stripes", async () => {
  for (let seed = 1; seed <= 2; seed++)
    await cluster(seed, STRIPES, async (world, volume) => {
      const a = world.host("a");
      const owner = await world.take(a, volume.objectId);
      const requests = requestsOf(owner);
      const state = { isOver: false };
      // In turn into each of two stripes: what was answered is there, and what follows it is not.
      const writing = (async () => {
        for (let round = 1; !state.isOver; round++)
          for (const offset of [0, 2 ** 20]) {
            const bytes = new Uint8Array(BLOCK_SIZE_BYTES).fill(round % 251);
            assert.equal(await requests.write(bytes, offset), undefined);
          }
      })();
      for (let i = 0; i < 8; i++) {
        await world.pass(world.prng.between(1, 40));
        const { objectId } = await fork(world, a, owner, `v@${i}`);
        const contents = await contentsOn(world, a, objectId);
        const [left, right] = [contents[0]!, contents[2 ** 20]!];
        const isOrdered = left === right || (right + 1) % 251 === left;
        assert.ok(isOrdered, `seed ${seed}: ${left} and ${right}`);
        await world.assertEqualCopies(objectId);
      }
      state.isOver = true;
      await writing;
      await owner.close();
      await world.assertClean();
    });
});

test("a copy that was away gets the snapshots that it missed", async () => {
  for (let seed = 1; seed <= 2; seed++)
    await cluster(seed, MIRROR, async (world, volume) => {
      const [near, far, witness] = volume.components.map(({ hostId }) => world.hostOf(hostId));
      const owner = await world.take(witness!, volume.objectId);
      const client = new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner));
      await client.work(40);
      far!.crash();
      await client.work(20);
      const before = await contentsOf(owner);
      const snapshot = await fork(world, witness!, owner, "v@1");
      assert.equal((await world.states(snapshot.objectId))[far!.letter], "stale");
      await client.work(20);
      await far!.start();
      await world.untilActive(volume.objectId);
      await world.untilActive(snapshot.objectId);
      near!.crash();
      same(await contentsOn(world, far!, snapshot.objectId), before, "from the other copy alone");
      await client.verify(`seed ${seed}`);
      await near!.start();
      await world.untilActive(volume.objectId);
      await owner.close();
      await world.assertClean();
    });
});

test("no snapshot is taken that nobody could use: more than half of its votes are made at once", async () => {
  await cluster(3, MIRROR, async (world, volume) => {
    const [near, far, witness] = volume.components.map(({ hostId }) => world.hostOf(hostId));
    const owner = await world.take(near!, volume.objectId);
    const client = new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner));
    far!.crash();
    await client.work(10);
    assert.equal((await world.states(volume.objectId))[far!.letter], "stale");
    witness!.crash();
    await assert.rejects(fork(world, near!, owner, "v@1"), (error) => {
      return error instanceof CodedError && error.code === "object-inaccessible";
    });
    await far!.start();
    await witness!.start();
    await world.untilActive(volume.objectId);
    const { objectId } = await fork(world, near!, owner, "v@1");
    await world.untilActive(objectId);
    await owner.close();
    assert.equal((await listIntents(world.directory, CLUSTER)).length, 0);
    await world.assertClean();
  });
});

test("a snapshot of which nobody knows whether it was taken is whole if it was", async () => {
  await cluster(4, MIRROR, async (world, volume) => {
    const a = world.host("a");
    const owner = await world.take(a, volume.objectId);
    await new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner)).work(20);
    const held = await contentsOf(owner);
    const commit: Parameters<typeof a.plane.forkVolume>[1]["commit"] = async (made, intents) => {
      await createVolumeRecord(world.directory, CLUSTER, made, intents);
      throw new CodedError({ code: "directory-outcome-unknown", message: "no answer came" });
    };
    await assert.rejects(a.plane.forkVolume(owner, { name: "v@1", isFrozen: true, commit }));
    const { record } = await findVolume(world.directory, CLUSTER, "v@1");
    same(await contentsOn(world, a, record.objectId), held, "the snapshot");
    await world.assertEqualCopies(record.objectId);
    await owner.close();
  });
});

test("snapshots on a disk that is emptied are made anew, and are sent what differs between them once", async () => {
  await cluster(5, MIRROR, async (world, volume) => {
    const [near, far, witness] = volume.components.map(({ hostId }) => world.hostOf(hostId));
    const owner = await world.take(witness!, volume.objectId);
    const client = new VolumeClient(world.prng, SIZE_BYTES, requestsOf(owner));
    await client.work(60);
    const snapshots: { objectId: string; held: Uint8Array }[] = [];
    for (let i = 0; i < 4; i++) {
      const held = await contentsOf(owner);
      const { objectId } = await fork(world, witness!, owner, `v@${i}`);
      snapshots.push({ objectId, held });
      await client.work(10);
    }
    const distinct = new Set<string>();
    for (const held of [...snapshots.map((one) => one.held), await contentsOf(owner)])
      for (let at = 0; at < SIZE_BYTES; at += BLOCK_SIZE_BYTES) {
        const block = Buffer.from(held.subarray(at, at + BLOCK_SIZE_BYTES));
        if (block.some((byte) => byte !== 0)) distinct.add(block.toString("base64"));
      }
    far!.crash();
    far!.media.set("/dev/one", emptyMedia());
    await far!.start();
    const objects = [volume.objectId, ...snapshots.map(({ objectId }) => objectId)];
    for (const objectId of objects)
      await world.until(async () => {
        const { components } = await world.record(objectId);
        return components.every(
          ({ state, componentId }) =>
            state.kind === "active" &&
            !(volume.components[1]!.componentId === componentId) &&
            [...world.hosts.values()].some((host) => host.deviceOf(componentId)),
        );
      });
    const sent = [...world.hosts.values()].reduce(
      (sum, host) => sum + host.plane.rebuild.bytesSent,
      0,
    );
    const lacked = distinct.size * BLOCK_SIZE_BYTES;
    assert.ok(sent <= 1.1 * lacked, `${sent} bytes sent, ${lacked} lacked`);
    assert.equal(far!.device.stats().uniqueBytes, near!.device.stats().uniqueBytes);
    near!.crash();
    for (const { objectId, held } of snapshots)
      same(await contentsOn(world, far!, objectId), held, "from the new copies alone");
    await near!.start();
    await owner.close();
    await world.assertClean();
  });
});

test("a device that is emptied has no more metadata afterwards, however many snapshots there are", async (t) => {
  await cluster(71, MIRROR, async (world, volume) => {
    const [broken, near] = volume.components.map(({ hostId }) => world.hostOf(hostId));
    assert.ok(broken !== undefined && near !== undefined);
    const owner = await world.take(near, volume.objectId);
    const requests = requestsOf(owner);
    const piece = 64 * BLOCK_SIZE_BYTES;
    for (let at = 0; at < SIZE_BYTES; at += piece)
      assert.equal(await requests.write(randomBytes(world.prng, piece), at), undefined);
    const objects = [volume.objectId];
    for (let i = 0; i < 20; i++) {
      objects.push((await fork(world, near, owner, `v@${i}`)).objectId);
      const at = BLOCK_SIZE_BYTES * ((i * 100) % (SIZE_BYTES / BLOCK_SIZE_BYTES));
      assert.equal(await requests.write(randomBytes(world.prng, BLOCK_SIZE_BYTES), at), undefined);
    }
    const used = ({ device }: ClusterHost): number => device.state.metadata.usedBytes();
    await broken.device.destage();
    const before = used(broken);
    broken.crash();
    broken.media.set("/dev/one", emptyMedia());
    await broken.start();
    const isWhole = async (objectId: string): Promise<boolean> => {
      const { components } = await world.record(objectId);
      return components.every(
        ({ state, hostId }) =>
          state.kind === "active" &&
          (hostId !== broken.hostId || components.length === volume.components.length),
      );
    };
    await world.until(async () => {
      const there = broken.device.components().map(({ objectId }) => objectId);
      if (!objects.every((objectId) => there.includes(objectId))) return false;
      return (await Promise.all(objects.map(isWhole))).every(Boolean);
    });
    await broken.device.destage();
    await broken.device.pagesShared();
    const traffic = [...world.hosts.values()].map(({ plane }) => plane.rebuild);
    const sum = (kind: "bytesSent" | "metadataBytes"): number =>
      traffic.reduce((all, one) => all + one[kind], 0);
    t.diagnostic(`${before} bytes of metadata before, ${used(broken)} afterwards`);
    t.diagnostic(`${sum("bytesSent")} bytes sent, ${sum("metadataBytes")} of fingerprints`);
    assert.ok(used(broken) < 1.25 * before, `${used(broken)} bytes, ${before} before`);
    assert.ok(sum("bytesSent") < 1.02 * (SIZE_BYTES + 20 * BLOCK_SIZE_BYTES));
    await owner.close();
    for (const objectId of objects) await world.assertEqualCopies(objectId);
    await world.assertClean();
  });
});
