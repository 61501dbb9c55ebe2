/** What a mirror holds is what the directory lists, and it says when it cannot know. */
import assert from "node:assert/strict";
import { CodedError, Prng } from "../base/index.ts";
import { DirectoryWorld } from "../../test/support/directory-world.ts";
import { test } from "../../test/support/test.ts";
import { DirectoryMirror } from "./directory-mirror.ts";
import { DirectoryPulse } from "./directory-pulse.ts";

interface Parsed {
  readonly key: string;
  readonly value: string;
}

async function run(
  work: (world: DirectoryWorld, mirror: DirectoryMirror<Parsed>) => Promise<void>,
): Promise<void> {
  await DirectoryWorld.run(async (world) => {
    const mirror = new DirectoryMirror({
      ...{ directory: world.seen, clock: world.clock, prefix: "a/" },
      parse: (key, value) => {
        if (value === "damaged") throw new CodedError({ code: "damaged", message: "it is" });
        return { key, value };
      },
      orderOf: (parsed: Parsed) => parsed.key,
    });
    await work(world, mirror);
    mirror.close();
  });
}

test("whatever is written, a moment later it holds what the directory lists, by one list", async () => {
  await run(async (world, mirror) => {
    const prng = new Prng(7);
    for (let round = 0; round < 200; round++) {
      const key = `${prng.chance(0.8) ? "a" : "b"}/${prng.below(12)}`;
      if (prng.chance(0.3)) await world.directory.transact([], [{ kind: "delete", key }]);
      else await world.put(key, String(round));
      await world.pass(1);
      assert.deepEqual(await mirror.values(), await world.listed("a/"));
    }
    assert.deepEqual(world.lists, ["a/"]);
  });
});

test("as long as nothing changes it is the same array", async () => {
  await run(async (world, mirror) => {
    await world.put("a/1", "x");
    const first = await mirror.values();
    await world.put("b/1", "of no concern");
    await world.pass(5000);
    assert.equal(await mirror.values(), first);
    await world.put("a/2", "y");
    await world.pass(1);
    assert.notEqual(await mirror.values(), first);
  });
});

test("while the directory is away it does not tell what it remembers", async () => {
  await run(async (world, mirror) => {
    await world.put("a/1", "x");
    await mirror.values();
    world.isAway = true;
    await world.pass(1500);
    await assert.rejects(mirror.values(), CodedError);
    world.isAway = false;
    assert.equal((await mirror.values()).length, 1);
    assert.equal(world.lists.length, 1);
  });
});

test("mirrors of one directory find out together whether it answers", async () => {
  await DirectoryWorld.run(async (world) => {
    const { clock, seen: directory } = world;
    const pulse = new DirectoryPulse(directory, clock, "a/");
    const mirrors = ["a/", "b/", "c/"].map((prefix) => {
      const parse = (key: string): string => key;
      return new DirectoryMirror({ directory, clock, prefix, pulse, parse, orderOf: () => "" });
    });
    const look = (): Promise<unknown> => Promise.all(mirrors.map((mirror) => mirror.values()));
    await look();
    const before = world.getCount;
    for (let second = 0; second < 10; second++) {
      await world.pass(1000);
      await look();
    }
    assert.equal(world.getCount - before, 10);
    world.isAway = true;
    await world.pass(1500);
    for (const mirror of mirrors) await assert.rejects(mirror.values(), CodedError);
    for (const mirror of mirrors) mirror.close();
  });
});

test("after a gap in its watch it reads everything again", async () => {
  await run(async (world, mirror) => {
    await world.put("a/1", "x");
    await mirror.values();
    world.lose[0]!();
    await world.put("a/2", "y");
    assert.deepEqual(await mirror.values(), await world.listed("a/"));
    await world.put("a/3", "z");
    await world.pass(1);
    assert.deepEqual(await mirror.values(), await world.listed("a/"));
    assert.equal(world.lists.length, 2);
  });
});

test("who has changed something sees it at the next look, also if a look is under way", async () => {
  await run(async (world, mirror) => {
    await world.put("a/1", "x");
    world.listMs = 50;
    const early = mirror.values();
    await world.put("a/2", "y");
    await mirror.include("a/2");
    const late = mirror.values();
    assert.deepEqual(await late, await world.listed("a/"));
    assert.deepEqual(await early, await world.listed("a/"));
    assert.equal(world.lists.length, 2);
  });
});

test("a record that was read is there before the watch tells of it, without a list", async () => {
  await run(async (world, mirror) => {
    await world.put("a/1", "x");
    await mirror.values();
    world.watchMs = 50;
    await world.put("a/2", "y");
    await world.put("a/1", "z");
    assert.equal((await mirror.values()).length, 1);
    await mirror.include("a/1");
    assert.deepEqual(await mirror.values(), [{ key: "a/1", value: "z" }]);
    await world.pass(60);
    assert.deepEqual(await mirror.values(), await world.listed("a/"));
    assert.equal(world.lists.length, 1);
  });
});

test("what a watch tells late brings back nothing older than what was read", async () => {
  await run(async (world, mirror) => {
    const changes: (string | undefined)[] = [];
    mirror.onChange((_before, after) => changes.push(after?.value));
    await world.put("a/1", "first");
    await mirror.values();
    world.watchMs = 50;
    await world.put("a/1", "second");
    await world.directory.transact([], [{ kind: "delete", key: "a/1" }]);
    await world.put("a/1", "third");
    await mirror.include("a/1");
    await world.put("a/1", "fourth");
    for (let ms = 0; ms < 49; ms++) {
      assert.deepEqual(await mirror.values(), [{ key: "a/1", value: "third" }]);
      await world.pass(1);
    }
    await world.pass(10);
    assert.deepEqual(changes, ["third", "fourth"]);
    assert.deepEqual(await mirror.values(), [{ key: "a/1", value: "fourth" }]);
  });
});

test("what the watch has told already is not told again for being read", async () => {
  await run(async (world, mirror) => {
    await world.put("a/1", "x");
    const first = await mirror.values();
    await mirror.include("a/1");
    await mirror.include("a/2");
    assert.equal(await mirror.values(), first);
    world.watchMs = 50;
    await world.directory.transact([], [{ kind: "delete", key: "a/1" }]);
    await mirror.include("a/1");
    await world.pass(60);
    assert.deepEqual(await mirror.values(), []);
  });
});

test("a damaged record fails the look that meets it, until it is mended", async () => {
  await run(async (world, mirror) => {
    await world.put("a/1", "x");
    await mirror.values();
    await world.put("a/1", "damaged");
    await world.pass(1);
    await assert.rejects(mirror.values(), CodedError);
    await world.put("a/1", "y");
    assert.deepEqual(await mirror.values(), [{ key: "a/1", value: "y" }]);
  });
});
