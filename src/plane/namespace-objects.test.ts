import assert from "node:assert/strict";
import { crc32c, encodeUtf8 } from "../base/index.ts";
import { listVolumes } from "../cluster/index.ts";
import type { ObjectPolicy } from "../cluster/index.ts";
import { Simulation } from "../sim/index.ts";
import { CLUSTER, ClusterWorld } from "../../test/support/cluster-world.ts";
import { test } from "../../test/support/test.ts";
import { inaccessibility } from "./index.ts";
import type { NamespaceState } from "./index.ts";

/** Of each of the two that a home has. */
const SLOT_BYTES = 16 * 4096;
const MIRROR: ObjectPolicy = { failuresToTolerate: 1, stripes: 1 };

const state = (sequence: number, isProtected = true): NamespaceState => ({
  vm: "a",
  sequence,
  isProtected,
  definition: `{"é":${sequence}}`,
});

async function cluster(seed: number, work: (world: ClusterWorld) => Promise<void>): Promise<void> {
  const simulation = new Simulation({ seed });
  const world = new ClusterWorld(simulation, "abc");
  await simulation.run(async () => {
    await world.build();
    await work(world);
  });
}

test("what was persisted is retrieved from any host, and an older state changes nothing", async () => {
  await cluster(1, async (world) => {
    const [a, b, c] = ["a", "b", "c"].map((letter) => world.host(letter).plane.namespaces);
    assert.equal(await a!.retrieve("a"), undefined);
    for (let sequence = 1; sequence <= 5; sequence++) {
      await a!.persist(state(sequence), MIRROR);
      assert.equal((await b!.retrieve("a"))?.sequence, sequence);
    }
    await b!.persist(state(3, false), MIRROR);
    assert.deepEqual(await c!.retrieve("a"), state(5));
    await c!.remove("a");
    assert.equal(await a!.retrieve("a"), undefined);
    assert.deepEqual(await listVolumes(world.directory, CLUSTER), []);
  });
});

test("hosts that persist at once leave the newest state", async () => {
  for (let seed = 10; seed < 14; seed++)
    await cluster(seed, async (world) => {
      const hosts = ["a", "b", "c"].map((letter) => world.host(letter).plane.namespaces);
      await hosts[0]!.persist(state(1), MIRROR);
      await Promise.all(hosts.map((one, i) => one.persist(state(2 + i), MIRROR)));
      assert.equal((await hosts[0]!.retrieve("a"))?.sequence, 4);
    });
});

test("a home that hosts are just writing is removed once they have", async () => {
  for (let seed = 14; seed < 18; seed++)
    await cluster(seed, async (world) => {
      const hosts = ["a", "b", "c"].map((letter) => world.host(letter).plane.namespaces);
      await hosts[0]!.persist(state(1), MIRROR);
      const [record] = await listVolumes(world.directory, CLUSTER);
      const writer = await world.take(world.host("a"), record!.objectId);
      const removals = hosts.map((one) => one.remove("a"));
      await world.pass(1000);
      assert.equal((await listVolumes(world.directory, CLUSTER)).length, 1, "it is in use");
      await writer.close();
      await Promise.all(removals);
      assert.deepEqual(await listVolumes(world.directory, CLUSTER), []);
    });
});

test("a host that is split off reaches no home, and what it reaches is told from the record", async () => {
  await cluster(20, async (world) => {
    const [a, b] = ["a", "b"].map((letter) => world.host(letter));
    await b!.plane.namespaces.persist(state(1), MIRROR);
    world.fabric.partition([a!.address], [b!.address, world.host("c").address]);
    await world.until(() => !a!.plane.hosts.isReachable(b!.hostId));
    await assert.rejects(a!.plane.namespaces.persist(state(2), MIRROR), {
      code: "object-inaccessible",
    });
    await b!.plane.namespaces.persist(state(3), MIRROR);
    const [record] = await listVolumes(world.directory, CLUSTER);
    const seenFrom = (host: typeof a): string | undefined =>
      inaccessibility(record!, (hostId) => host!.plane.hosts.isReachable(hostId));
    assert.match(seenFrom(a) ?? "", /^only 1 of 3 votes of ~a are in reach$/);
    assert.equal(seenFrom(b), undefined);
    world.fabric.heal();
    await world.allConnected();
    assert.equal((await a!.plane.namespaces.retrieve("a"))?.sequence, 3);
  });
});

test("a home survives the power of all hosts", async () => {
  for (let seed = 30; seed < 36; seed++)
    await cluster(seed, async (world) => {
      const { namespaces } = world.host("a").plane;
      await namespaces.persist(state(1), MIRROR);
      const writing = namespaces.persist(state(2), MIRROR);
      writing.catch(() => {});
      await world.pass(world.prng.below(30));
      const hosts = ["a", "b", "c"].map((letter) => world.host(letter));
      for (const host of hosts) host.crash();
      for (const host of hosts) await host.start();
      await world.allConnected();
      const found = await world.host("b").plane.namespaces.retrieve("a");
      assert.ok(found?.sequence === 1 || found?.sequence === 2, `${found?.sequence}`);
    });
});

/** Over what a home holds there. */
async function scribble(world: ClusterWorld, offset: number, bytes: Uint8Array): Promise<void> {
  const [record] = await listVolumes(world.directory, CLUSTER);
  const owner = await world.take(world.host("a"), record!.objectId);
  const fault = await new Promise<string | undefined>((resolve) => {
    owner.volume.write(bytes, 0, bytes.length, offset, (_token, failed) => resolve(failed), 0);
    owner.volume.submit();
  });
  assert.equal(fault, undefined);
  await owner.close();
}

test("of a home that is damaged the older state counts, and it takes a newer one", async () => {
  await cluster(50, async (world) => {
    const { namespaces } = world.host("a").plane;
    for (const sequence of [1, 2]) await namespaces.persist(state(sequence), MIRROR);
    // Behind what the second slot says.
    await scribble(world, SLOT_BYTES + 4096, new Uint8Array(4096).fill(0x55));
    assert.equal((await namespaces.retrieve("a"))?.sequence, 2, "nothing is kept there");
    const slot = new Uint8Array(4096).fill(0x55);
    slot.set([40, 0, 0, 0]);
    await scribble(world, SLOT_BYTES, slot);
    assert.deepEqual(await world.host("b").plane.namespaces.retrieve("a"), state(1));
    await scribble(world, 0, new Uint8Array(4096).fill(0xff));
    assert.equal(await namespaces.retrieve("a"), undefined);
    await namespaces.persist(state(3), MIRROR);
    assert.deepEqual(await world.host("b").plane.namespaces.retrieve("a"), state(3));
  });
});

test("a home of a newer version is refused with both formats, and left as it is", async () => {
  await cluster(51, async (world) => {
    const { namespaces } = world.host("a").plane;
    await namespaces.persist(state(1), MIRROR);
    const text = encodeUtf8(JSON.stringify({ format: 9, sequence: 7 }));
    const slot = new Uint8Array(4096);
    const view = new DataView(slot.buffer);
    view.setUint32(0, text.length, true);
    view.setUint32(4, crc32c(text), true);
    slot.set(text, 8);
    await scribble(world, 0, slot);
    const newer = { code: "vm-invalid", message: /kept about a has format 9, not 1/ };
    await assert.rejects(namespaces.retrieve("a"), newer);
    await assert.rejects(namespaces.persist(state(8), MIRROR), newer);
    await assert.rejects(world.host("b").plane.namespaces.retrieve("a"), newer);
  });
});

test("a copy that is stale makes no object accessible", async () => {
  await cluster(40, async (world) => {
    const { namespaces } = world.host("a").plane;
    await namespaces.persist(state(1), MIRROR);
    const [record] = await listVolumes(world.directory, CLUSTER);
    const [first, second, witness] = record!.components;
    const stale = { ...second!, state: { kind: "stale", since: 1 } as const };
    const lame = { ...record!, components: [first!, stale, witness!] };
    assert.equal(
      inaccessibility(lame, (hostId) => hostId !== stale.hostId),
      undefined,
    );
    assert.match(
      inaccessibility(lame, (hostId) => hostId !== first!.hostId) ?? "",
      /^no complete copy of ~a is in reach$/,
    );
  });
});
