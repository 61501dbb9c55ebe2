import assert from "node:assert/strict";
import { component, mirror, stripe, witness } from "../cluster/index.ts";
import type { TreeNode } from "../cluster/index.ts";
import { Simulation } from "../sim/index.ts";
import { idOf, PlaneWorld } from "../../test/support/plane-world.ts";
import { sample } from "../../test/support/sample.ts";
import { test } from "../../test/support/test.ts";
import { randomBytes, randomRange, Requests } from "../../test/support/volume-bench.ts";
import { VolumeClient } from "../../test/support/volume-client.ts";

const SIZE_BYTES = 4 * 2 ** 20 + 512;
const MIRROR = mirror([component(idOf("b")), component(idOf("c")), witness(idOf("a"))]);

async function cluster(
  seed: number,
  tree: TreeNode,
  letters: string,
  work: (world: PlaneWorld, client: VolumeClient) => Promise<void>,
): Promise<void> {
  const simulation = new Simulation({ seed });
  const world = new PlaneWorld(simulation, tree, SIZE_BYTES, letters);
  await simulation.run(async () => {
    await world.build();
    const owner = await world.host("a").take();
    await work(world, new VolumeClient(world.prng, SIZE_BYTES, new Requests(owner.volume)));
    await world.hosts.get("a")!.owner?.close();
  });
}

const TREES: Readonly<Record<string, TreeNode>> = {
  "two copies elsewhere": MIRROR,
  "one copy here": mirror([component(idOf("a")), component(idOf("b")), witness(idOf("c"))]),
  "stripes over hosts": mirror([
    stripe([component(idOf("a")), component(idOf("b"))], 256),
    component(idOf("c"), 2),
    witness(idOf("d")),
  ]),
};

for (const [name, tree] of Object.entries(TREES)) {
  const letters = name.startsWith("stripes") ? "abcd" : "abc";
  test(`${name}: a host loses power under load, comes back, and is equal again`, async () => {
    for (let seed = 1; seed <= sample(2, 12); seed++) {
      await cluster(seed, tree, letters, async (world, client) => {
        await client.work(15);
        const host = world.host(world.prng.pick(tree === MIRROR ? ["b", "c"] : ["b"]));
        const working = client.work(30);
        host.crash();
        await working;
        assert.equal(await world.state(host.letter), "stale");
        await client.work(10);
        await host.start();
        await client.work(10);
        await world.until(async () => (await world.state(host.letter)) === "active");
        await client.verify(`seed ${seed}`);
        assert.ok(!world.events.includes("copies-differed"));
      });
    }
  });

  test(`${name}: a cut cable stalls writes for a bounded time, and heals`, async () => {
    for (let seed = 11; seed < 11 + sample(1, 9); seed++) {
      await cluster(seed, tree, letters, async (world, client) => {
        await client.work(10);
        // A host that was hardly heard yet gets more time.
        await world.pass(5000);
        const others = Array.from(letters).filter((letter) => letter !== "b");
        const addresses = others.map((letter) => world.host(letter).address);
        world.fabric.partition([world.host("b").address], addresses);
        const begin = world.simulation.nowMs;
        await client.work(30);
        assert.ok(world.simulation.nowMs - begin < 3000, "the stall is shorter than 3 s");
        assert.equal(await world.state("b"), "stale");
        world.fabric.heal();
        await world.until(async () => (await world.state("b")) === "active");
        await client.verify(`seed ${seed}`);
      });
    }
  });
}

test("what another host has answered is read at once, until it is written or opened anew", async () => {
  await cluster(31, MIRROR, "abc", async (world, { requests }) => {
    const lengthBytes = 4 * 4096;
    const host = world.host("a");
    const isReadNow = (expected: Uint8Array): boolean => {
      const { volume } = host.owner!;
      const target = volume.allocate(lengthBytes);
      if (!volume.readNow(target, 0, lengthBytes, 8192)) return false;
      assert.equal(Buffer.compare(target.bytes.subarray(0, lengthBytes), expected), 0);
      return true;
    };
    for (let round = 0; round < 3; round++) {
      const bytes = randomBytes(world.prng, lengthBytes);
      const writing = requests.write(bytes, 8192);
      assert.ok(!isReadNow(bytes), "a change is under way");
      assert.equal(await writing, undefined);
      assert.ok(!isReadNow(bytes), "nobody has read it");
      assert.equal((await requests.read(8192, lengthBytes)).fault, undefined);
      assert.ok(isReadNow(bytes));
      assert.equal(await requests.write(randomBytes(world.prng, 512), 1 << 20), undefined);
      assert.ok(isReadNow(bytes), "a change elsewhere does no harm");
    }
    const far = world.host("a").remote!.far;
    assert.ok(far.contentCount >= 4);
    await host.owner!.close();
    await host.take();
    assert.ok(!isReadNow(new Uint8Array()), "others may have written meanwhile");
  });
});

test("another host takes over when the owner's host has lost power, and nothing is lost", async () => {
  for (let seed = 21; seed < 21 + sample(3, 18); seed++) {
    await cluster(seed, TREES["one copy here"]!, "abc", async (world, client) => {
      await client.work(10);
      for (let i = 0; i < 8; i++) {
        const { offset, lengthBytes } = randomRange(world.prng, SIZE_BYTES);
        const bytes = randomBytes(world.prng, lengthBytes);
        const change = client.history.change(offset, bytes);
        void client.requests.write(bytes, offset).then((fault) => {
          if (fault === undefined) client.history.acknowledge(change);
        });
      }
      await world.pass(world.prng.below(20) / 10);
      const host = world.host("a");
      host.crash();
      // A link that is down fails its calls at once; until then they wait.
      await world.until(() => world.host("b").links!.linkTo(idOf("a")) === undefined);
      const owner = await world.host("b").take();
      client.requests = new Requests(owner.volume);
      await client.verify(`seed ${seed}`);
      await client.work(10);
      assert.equal(await world.state("a"), "stale");
      await host.start();
      await world.until(async () => (await world.state("a")) === "active");
      await client.verify(`seed ${seed}, at the end`);
      await owner.close();
    });
  }
});
