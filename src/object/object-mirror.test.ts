import assert from "node:assert/strict";
import { assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { TreeNode } from "../cluster/index.ts";
import { MIRROR_BYTES, MirrorWorld as World, TREES } from "../../test/support/mirror-world.ts";
import { test } from "../../test/support/test.ts";
import { randomBytes, randomRange } from "../../test/support/volume-bench.ts";
import { ALL_RULES } from "./owner-world.ts";
import type { OwnerRules } from "./owner-world.ts";

const IS_LONG = process.env["DRYSTONE_LONG"] === "1";
/** Seeds of each tree. */
const OUTAGES = IS_LONG ? 20 : 3;
const HAND_OVERS = IS_LONG ? 20 : 4;

/** A host dies under load, misses writes, comes back, and must be equal to the others again. */
async function outage(tree: TreeNode, seed: number, rules: OwnerRules = ALL_RULES): Promise<void> {
  const world = new World(tree, seed, rules);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    await world.work(requests, 25);
    const letter = world.prng.pick(["a", "b"]);
    const host = assertDefined(world.hosts.get(letter), "no host");
    const working = world.work(requests, 30);
    if (world.prng.chance(0.5)) host.crash(world.prng);
    else host.way.cut();
    await working;
    assert.equal(await world.state(letter), "stale");
    await world.work(requests, 20);
    const returning = world.work(requests, 20);
    if (host.device === undefined) await host.start();
    host.way.heal();
    await returning;
    await world.until(async () => (await world.state(letter)) === "active");
    await world.verify(requests, `seed ${seed}`);
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs(`seed ${seed}`);
    assert.ok(!world.events.includes("copies-differed"), "everything was sent");
  });
}

/** Owners die with writes under way, and hosts with them; the next owner makes the legs equal. */
async function handOver(
  tree: TreeNode,
  seed: number,
  rules: OwnerRules = ALL_RULES,
): Promise<void> {
  const world = new World(tree, seed, rules);
  await world.simulation.run(async () => {
    await world.build();
    let requests = await world.take("x");
    for (let life = 0; life < 4; life++) {
      await world.work(requests, 12);
      for (let i = 0; i < 10; i++) {
        const { offset, lengthBytes } = randomRange(world.prng, MIRROR_BYTES);
        const bytes = randomBytes(world.prng, lengthBytes);
        const change = world.history.change(offset, bytes);
        void requests.write(bytes, offset).then((fault) => {
          if (fault === undefined) world.history.acknowledge(change);
        });
      }
      await new Promise<void>((resolve) => {
        world.simulation.clock.after(world.prng.below(20) / 10, resolve);
      });
      const crashed = [...world.hosts.values()].filter(() => world.prng.chance(0.5));
      world.ownerDies();
      for (const host of crashed) host.crash(world.prng);
      for (const host of crashed) await host.start();
      requests = await world.take(`y${life}`);
      await world.verify(requests, `seed ${seed}, life ${life}`);
    }
    await world.until(async () => {
      const states = await Promise.all([...world.hosts.keys()].map((one) => world.state(one)));
      return states.every((state) => state === "active");
    });
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs(`seed ${seed}`);
  });
}

for (const [name, tree] of Object.entries(TREES)) {
  test(`${name}: a host dies, misses writes, comes back and is equal again`, async () => {
    for (let seed = 1; seed <= OUTAGES; seed++) await outage(tree, seed);
  });

  test(`${name}: the next owner settles what the last one had under way`, async () => {
    for (let seed = 101; seed <= 100 + HAND_OVERS; seed++) await handOver(tree, seed);
  });
}

/** The first seed that fails without the rule. */
async function found(
  run: (seed: number, rules: OwnerRules) => Promise<void>,
  rule: keyof OwnerRules,
  seedMax: number,
): Promise<number | undefined> {
  for (let seed = 1; seed <= seedMax; seed++) {
    try {
      await run(seed, { ...ALL_RULES, [rule]: false });
    } catch (error) {
      assert.ok(error instanceof Error);
      return seed;
    }
  }
  return undefined;
}

test("without the filter by range, a returning stripe that holds the wrong blocks is found", async () => {
  const tree = assertDefined(TREES["legs that are striped differently"], "no such tree");
  const seed = await found((one, rules) => outage(tree, one, rules), "filtersByRange", 20);
  assert.ok(seed !== undefined, "nobody noticed");
});

test("a copy whose blocks come from several hosts at once gets each in its place", async () => {
  for (let seed = 1; seed <= 3; seed++) {
    const world = new World(
      assertDefined(TREES["legs that are striped differently"], "no such tree"),
      seed,
    );
    await world.simulation.run(async () => {
      await world.build();
      const requests = await world.take("x");
      const host = assertDefined(world.hosts.get("c"), "no host");
      host.way.cut();
      await world.work(requests, 60);
      host.way.heal();
      await world.until(async () => (await world.state("c")) === "active");
      assert.ok(!world.events.includes("copies-differed"), `seed ${seed}`);
      await assertDefined(world.owner, "no owner").close();
      await world.assertEqualLegs(`seed ${seed}`);
    });
  }
});

test("nothing is answered without a copy that the directory may call active", async () => {
  const world = new World(
    assertDefined(TREES["a mirror of two with a witness"], "no such tree"),
    7,
  );
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    await world.work(requests, 10);
    assert.equal(await world.state("b"), "stale");
    world.answersAreLost = true;
    world.leaseIsAlive = false;
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    const fault = await requests.write(randomBytes(world.prng, BLOCK_SIZE_BYTES), 0);
    assert.ok(fault !== undefined || (await world.state("b")) === "stale", "a copy was left out");
  });
});

test("a copy that cannot catch up is tried with growing pauses, for as long as it takes", async () => {
  const world = new World(
    assertDefined(TREES["a mirror of two with a witness"], "no such tree"),
    8,
  );
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    await world.work(requests, 10);
    world.asked = 0;
    await new Promise<void>((resolve) => void world.simulation.clock.after(300_000, resolve));
    assert.ok(world.asked > 50 && world.asked < 80, `${world.asked} attempts in five minutes`);
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
  });
});
