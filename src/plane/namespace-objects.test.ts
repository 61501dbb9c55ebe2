import assert from "node:assert/strict";
import { test } from "node:test";
import { listVolumes } from "../cluster/index.ts";
import type { ObjectPolicy } from "../cluster/index.ts";
import { Simulation } from "../sim/index.ts";
import { CLUSTER, ClusterWorld } from "../../test/support/cluster-world.ts";
import { inaccessibility } from "./index.ts";
import type { NamespaceState } from "./index.ts";

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
