import assert from "node:assert/strict";
import { test } from "node:test";
import { assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import { componentsOf, legsOf } from "../cluster/index.ts";
import type { TreeNode } from "../cluster/index.ts";
import { componentId, MirrorWorld as World, TREES } from "../../test/support/mirror-world.ts";
import { randomBytes } from "../../test/support/volume-bench.ts";
import { ObjectLayout } from "./object-layout.ts";
import { ALL_RULES } from "./owner-world.ts";

test("what a returning copy missed is sent, and nothing else", async () => {
  const world = new World(TREES["a mirror of two with a witness"]!, 5);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const bytes = randomBytes(world.prng, 1 << 20);
    for (let i = 0; i < 5; i++) assert.equal(await requests.write(bytes, i << 20), undefined);
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    const missed = randomBytes(world.prng, 1 << 20);
    for (let i = 0; i < 3; i++) assert.equal(await requests.write(missed, 2 << 20), undefined);
    assert.equal(await world.state("b"), "stale");
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    assert.equal(world.catchUp.bytesSent, 1 << 20);
    assert.deepEqual(world.events, ["component-stale", "component-active"]);
    host.way.cut();
    // Contents that the other side has, elsewhere.
    assert.equal(await requests.write(bytes, 3 << 20), undefined);
    assert.equal(await requests.write(bytes, 2 << 20), undefined);
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    assert.equal(world.catchUp.bytesSent, 1 << 20, "nothing more was sent");
    await assertDefined(world.owner, "no owner").close();
  });
});

for (const changesMax of [undefined, 16]) {
  const where = changesMax === undefined ? "within the log of changes" : "beyond it";
  test(`a component of any striping is sent what it missed of its own, and no more, ${where}`, async () => {
    const tree = assertDefined(TREES["legs that are striped differently"], "no such tree");
    for (const letter of ["a", "c"]) {
      const world = new World(tree, 9, ALL_RULES, changesMax);
      await world.simulation.run(async () => {
        await world.build();
        const requests = await world.take("x");
        for (let i = 0; i < 5; i++) await requests.write(randomBytes(world.prng, 1 << 20), i << 20);
        const host = assertDefined(world.hosts.get(letter), "no host");
        host.way.cut();
        // Sixteen blocks of every thirty-two, more writes than the shorter log remembers.
        for (let i = 0; i < 40; i++)
          await requests.write(randomBytes(world.prng, 1 << 16), i << 17);
        host.way.heal();
        await world.until(async () => (await world.state(letter)) === "active");
        const missed = Array.from({ length: 40 }, (_none, i) => i << 5);
        const own = missed.filter((block) => holds(tree, letter, block)).length;
        assert.equal(world.catchUp.bytesSent, own << 16, `${letter} missed ${own} writes`);
        assert.ok(own === 40 || (own > 10 && own < 30));
        await assertDefined(world.owner, "no owner").close();
        await world.assertEqualLegs(letter);
      });
    }
  });
}

/** Whether a block lies in the component of this letter. */
function holds(tree: TreeNode, letter: string, block: number): boolean {
  const index = legsOf(tree).findIndex((leg) =>
    componentsOf(leg).some((one) => one.componentId === componentId(letter)),
  );
  const leg = assertDefined(new ObjectLayout(tree).legs[index], "no such leg");
  return leg.componentIds[leg.columnOf(block)] === componentId(letter);
}

test("a content that a returning copy lacks in many places travels once", async () => {
  const world = new World(TREES["a mirror of two with a witness"]!, 6);
  await world.simulation.run(async () => {
    await world.build();
    const requests = await world.take("x");
    const host = assertDefined(world.hosts.get("b"), "no host");
    host.way.cut();
    const bytes = new Uint8Array(1 << 20).fill(7);
    for (let i = 0; i < 4; i++) assert.equal(await requests.write(bytes, i << 20), undefined);
    host.way.heal();
    await world.until(async () => (await world.state("b")) === "active");
    assert.equal(world.catchUp.bytesSent, BLOCK_SIZE_BYTES);
    assert.equal(world.catchUp.bytesSkipped, (4 << 20) - BLOCK_SIZE_BYTES);
    await assertDefined(world.owner, "no owner").close();
    await world.assertEqualLegs("repeated content");
  });
});
