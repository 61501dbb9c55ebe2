import { deepEqual, equal, ok } from "node:assert/strict";
import { assertDefined, Prng, REGION_BLOCKS } from "../base/index.ts";
import { component, mirror, stripe } from "../cluster/index.ts";
import type { LegNode, TreeNode } from "../cluster/index.ts";
import { CHANGE_DATA } from "../store/index.ts";
import type { Component } from "../store/index.ts";
import { FakeComponent, fakeMemory } from "../../test/support/fake-component.ts";
import { test } from "../../test/support/test.ts";
import { BlockTransfer } from "./block-transfer.ts";
import { sourcesOf } from "./catch-up-sources.ts";
import type { MemberPlace, Source } from "./catch-up-sources.ts";
import { Leg, LegMember, Legs } from "./legs.ts";
import { ObjectLayout } from "./object-layout.ts";
import { TransferMemory } from "./transfer-memory.ts";

const BLOCKS = 10 * REGION_BLOCKS + 7;
const id = (letter: string): string => letter.repeat(32);

/** Members are active but those that are named, and remember which blocks were read. */
class World {
  readonly legs: Legs<Component>;
  readonly read = new Map<string, number>();

  constructor(tree: TreeNode, absent: string, near: string, blocks = BLOCKS) {
    const { legs } = new ObjectLayout(tree);
    const made = legs.map((layout) => {
      const members = layout.componentIds.map((componentId, column) => {
        const count = layout.componentBlockCount(column, blocks);
        const one = new FakeComponent(componentId, count, new Prng(1));
        one.completesReadsAtOnce = true;
        one.readFaultOf = (_first, length) => {
          const letter = componentId[0]!;
          this.read.set(letter, (this.read.get(letter) ?? 0) + length);
          return undefined;
        };
        const role = absent.includes(componentId[0]!) ? "absent" : "active";
        return new LegMember<Component>(componentId, one, role);
      });
      return new Leg(layout, members);
    });
    this.legs = new Legs(made, (componentId) => near.includes(componentId[0]!));
  }

  placeOf(letter: string): MemberPlace {
    for (const leg of this.legs.legs) {
      const column = leg.layout.componentIds.indexOf(id(letter));
      if (column >= 0) return { leg, column };
    }
    throw new Error(`no ${letter}`);
  }

  sources(letter: string, blocks: number): readonly Source[] {
    return sourcesOf(this.legs, this.placeOf(letter), blocks, true);
  }

  memberOf(letter: string): LegMember<Component> {
    const { leg, column } = this.placeOf(letter);
    return assertDefined(leg.members[column], "no such column");
  }
}

const told = (sources: readonly Source[]): string[] =>
  sources.map(({ member, fromBlock, toBlock }) => {
    return `${member.componentId[0]!} ${fromBlock}-${toBlock}`;
  });

const copies = (letters: string): TreeNode =>
  mirror(letters.split("").map((letter) => component(id(letter))));

test("a near whole copy tells everything, alone", () => {
  const world = new World(copies("abcd"), "a", "c");
  deepEqual(told(world.sources("a", BLOCKS)), [`c 0-${BLOCKS}`]);
});

test("several far copies each tell a part of the object", () => {
  const world = new World(copies("abcd"), "a", "");
  const [first, second] = [4 * REGION_BLOCKS, 8 * REGION_BLOCKS];
  deepEqual(told(world.sources("a", BLOCKS)), [
    ...[`b 0-${first}`, `c ${first}-${second}`, `d ${second}-${BLOCKS}`],
  ]);
  const tiny = new World(copies("abcd"), "a", "", 5);
  deepEqual(told(tiny.sources("a", 5)), ["b 0-5"]);
});

test("where no copy is whole everybody tells what there is", () => {
  const tree = mirror([
    component(id("a")),
    stripe([component(id("b")), component(id("c"))], 4),
    stripe([component(id("d")), component(id("e"))], 4),
  ]);
  const world = new World(tree, "acd", "", 16);
  deepEqual(told(world.sources("a", 16)), ["b 0-8", "e 0-8"]);
});

test("columns are asked that hold a block of the target's, and no others", () => {
  const prng = new Prng(7);
  for (let round = 0; round < 60; round++) {
    const mine = 1 + prng.below(4);
    const theirs = 1 + prng.below(4);
    const leg = (from: number, count: number): LegNode =>
      stripe(
        Array.from({ length: count }, (_none, i) => component(id("abcdefgh"[from + i]!))),
        prng.pick([2, 3, 4]),
      );
    const blocks = 400;
    const tree = mirror([leg(0, mine), leg(4, theirs)]);
    const world = new World(tree, "abcd", "", blocks);
    for (let column = 0; column < mine; column++) {
      const target = world.placeOf("abcd"[column]!);
      const other = world.placeOf("e").leg;
      const wanted = new Set<number>();
      for (let block = 0; block < blocks; block++)
        if (target.leg.layout.columnOf(block) === column) wanted.add(other.layout.columnOf(block));
      const found = sourcesOf(world.legs, target, blocks, true).map(({ column: one }) => one);
      deepEqual(new Set(found), wanted, `round ${round}`);
      equal(found.length, wanted.size);
      equal(sourcesOf(world.legs, target, blocks, false).length, theirs);
    }
  }
});

test("data is read from whoever told of it, or else from the nearest, or else from anybody", async () => {
  const world = new World(copies("abcd"), "a", "c");
  const target = world.memberOf("a");
  const transfer = new BlockTransfer(world.legs, 1, new TransferMemory(fakeMemory));
  const what = { objectBlock: 0, targetBlock: 0, blockCount: 3, sequence: 1, kind: CHANGE_DATA };
  await transfer.send(target, [{ ...what, askedFirst: world.memberOf("d") }]);
  deepEqual([...world.read], [["d", 3]]);
  await transfer.send(target, [{ ...what, sequence: 2 }]);
  deepEqual(
    [...world.read],
    [
      ["d", 3],
      ["c", 3],
    ],
  );
  world.memberOf("d").role = "absent";
  await transfer.send(target, [{ ...what, sequence: 3, askedFirst: world.memberOf("d") }]);
  equal(world.read.get("c"), 6);
  ok(!world.read.has("a"));
});
