/** A fresh list is what the directory lists, at every moment, and reads it only after a change. */
import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Prng } from "../base/index.ts";
import type { DirectoryRecord, DirectoryWatch } from "../ports/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { EmbeddedDirectory } from "./embedded-directory.ts";
import { FreshList } from "./fresh-list.ts";

async function withList(
  work: (
    directory: EmbeddedDirectory,
    list: FreshList<DirectoryRecord>,
    lists: () => number,
  ) => Promise<void>,
): Promise<void> {
  const simulation = new Simulation({ seed: 1 });
  const machine = new SimMachine(simulation);
  const store = new SimMetadataStore(machine, new MetadataMedium());
  const directory = await EmbeddedDirectory.open(store, machine.clock);
  let count = 0;
  const list = directory.list.bind(directory);
  directory.list = async (prefix) => {
    count++;
    return await list(prefix);
  };
  const fresh = new FreshList(directory, "a/", (record) => record);
  await simulation.run(() => work(directory, fresh, () => count));
}

test("whatever is written, it is what the directory lists", async () => {
  await withList(async (directory, fresh) => {
    const prng = new Prng(3);
    for (let round = 0; round < 500; round++) {
      const key = `${prng.chance(0.8) ? "a" : "b"}/${prng.below(6)}`;
      const write = prng.chance(0.4)
        ? ({ kind: "delete", key } as const)
        : ({ kind: "put", key, value: String(round) } as const);
      await directory.transact([], [write]);
      if (prng.chance(0.4)) continue;
      assert.deepEqual(await fresh.read(), (await directory.list("a/")).records);
    }
  });
});

test("nothing is read again while nothing changes", async () => {
  await withList(async (directory, fresh, lists) => {
    await directory.transact([], [{ kind: "put", key: "a/1", value: "x" }]);
    const first = await fresh.read();
    await directory.transact([], [{ kind: "put", key: "b/1", value: "x" }]);
    assert.equal(await fresh.read(), first);
    assert.equal(lists(), 1);
  });
});

test("what was there for a moment, while it was listed, does not stay", async () => {
  await withList(async (directory, fresh) => {
    await directory.transact([], [{ kind: "put", key: "a/1", value: "x" }]);
    await fresh.read();
    await directory.transact([], [{ kind: "put", key: "a/0", value: "y" }]);
    const stamp = directory.stamp.bind(directory);
    directory.stamp = async (prefix) => {
      const seen = await stamp(prefix);
      await directory.transact([], [{ kind: "put", key: "a/2", value: "for a moment" }]);
      return seen;
    };
    assert.equal((await fresh.read()).length, 3);
    directory.stamp = stamp;
    await directory.transact([], [{ kind: "delete", key: "a/2" }]);
    assert.equal((await fresh.read()).length, 2);
  });
});

test("who is told of changes reads nothing again, and what was missed is never made up", async () => {
  await withList(async (directory, fresh, lists) => {
    const prng = new Prng(5);
    let watch: DirectoryWatch | undefined;
    const follow = async (): Promise<void> => {
      const { revision } = await directory.list("b/");
      fresh.follow(revision + 1);
      watch = directory.watch("a/", revision + 1, (event) => fresh.take(event), assert.fail);
    };
    const leave = (): void => {
      watch?.cancel();
      watch = undefined;
      fresh.unfollow();
    };
    let [read, listed] = [0, 0];
    for (let round = 0; round < 3000; round++) {
      if (prng.chance(0.02)) await (watch === undefined ? follow() : leave());
      const key = `a/${prng.below(6)}`;
      const write = prng.chance(0.3)
        ? ({ kind: "delete", key } as const)
        : ({ kind: "put", key, value: String(round) } as const);
      await directory.transact([], [write]);
      if (prng.chance(0.3)) continue;
      // As is usual where it is asked over a network: what has changed is heard of first.
      await Promise.resolve();
      const before = lists();
      const found = await fresh.read();
      if (watch !== undefined) [read, listed] = [read + 1, listed + lists() - before];
      assert.deepEqual(found, (await directory.list("a/")).records, `round ${round}`);
    }
    assert.ok(read > 500 && listed < read / 10, `${listed} lists for ${read} looks`);
  });
});

test("what comes while everything is listed is not forgotten", async () => {
  await withList(async (directory, fresh) => {
    await directory.transact([], [{ kind: "put", key: "a/1", value: "x" }]);
    fresh.follow(1);
    directory.watch("a/", 1, (event) => fresh.take(event), assert.fail);
    const list = directory.list.bind(directory);
    let isFirst = true;
    directory.list = async (prefix) => {
      const found = await list(prefix);
      if (isFirst) await directory.transact([], [{ kind: "put", key: "a/1", value: "newer" }]);
      isFirst = false;
      await Promise.resolve();
      return found;
    };
    assert.deepEqual(
      (await fresh.read()).map(({ value }) => value),
      ["newer"],
    );
    // Of the same count, and newest: a gap before it would go unseen.
    await directory.transact([], [{ kind: "put", key: "a/2", value: "y" }]);
    assert.deepEqual(
      (await fresh.read()).map(({ value }) => value),
      ["newer", "y"],
    );
  });
});
