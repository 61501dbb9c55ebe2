import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { component, mirror, stripe } from "../cluster/index.ts";
import type { LegNode } from "../cluster/index.ts";
import { LegLayout, ObjectLayout } from "./object-layout.ts";

const legs: fc.Arbitrary<LegNode> = fc.oneof(
  fc.constant(component("a")),
  fc
    .tuple(fc.integer({ min: 2, max: 16 }), fc.integer({ min: 1, max: 300 }))
    .map(([columns, unitBlocks]) =>
      stripe(
        Array.from({ length: columns }, (_, i) => component(`c${i}`)),
        unitBlocks,
      ),
    ),
);
const blocks = fc.oneof(fc.nat(10_000), fc.integer({ min: 0, max: 2 ** 34 }));

test("a block lies in one component of a leg, and leads back to itself", () => {
  fc.assert(
    fc.property(legs, blocks, (leg, block) => {
      const layout = new LegLayout(leg);
      const column = layout.columnOf(block);
      assert.ok(column >= 0 && column < layout.columnCount);
      assert.equal(layout.objectBlockOf(column, layout.componentBlockOf(block)), block);
    }),
  );
});

test("components of an object hold each of its blocks once and nothing else", () => {
  fc.assert(
    fc.property(legs, fc.integer({ min: 1, max: 3000 }), (leg, objectBlocks) => {
      const layout = new LegLayout(leg);
      const seen = new Set<number>();
      for (let column = 0; column < layout.columnCount; column++) {
        const count = layout.componentBlockCount(column, objectBlocks);
        for (let at = 0; at < count; at++) seen.add(layout.objectBlockOf(column, at));
      }
      assert.equal(seen.size, objectBlocks);
      assert.ok(Math.max(...seen) === objectBlocks - 1);
      const sum = layout.componentIds.reduce(
        (total, _, column) => total + layout.componentBlockCount(column, objectBlocks),
        0,
      );
      assert.equal(sum, objectBlocks);
    }),
    { numRuns: 60 },
  );
});

test("within a run, blocks of the object are neighbours in one component", () => {
  fc.assert(
    fc.property(legs, blocks, (leg, block) => {
      const layout = new LegLayout(leg);
      const run = Math.min(layout.runBlocks(block), 1000);
      assert.ok(run >= 1);
      const last = block + run - 1;
      assert.equal(layout.columnOf(last), layout.columnOf(block));
      assert.equal(layout.componentBlockOf(last), layout.componentBlockOf(block) + run - 1);
      if (layout.columnCount === 1) return;
      assert.notEqual(layout.columnOf(block + layout.runBlocks(block)), layout.columnOf(block));
    }),
  );
});

test("growing an object never moves a block and never shrinks a component", () => {
  fc.assert(
    fc.property(legs, blocks, fc.nat(10_000), (leg, objectBlocks, more) => {
      const layout = new LegLayout(leg);
      for (let column = 0; column < layout.columnCount; column++)
        assert.ok(
          layout.componentBlockCount(column, objectBlocks + more) >=
            layout.componentBlockCount(column, objectBlocks),
        );
    }),
  );
});

test("sizes of components are given by id, for every leg", () => {
  const layout = new ObjectLayout(
    mirror([component("a"), stripe([component("b"), component("c")], 4)]),
  );
  assert.deepEqual(
    [...layout.componentSizes(10)],
    [
      ["a", 10],
      ["b", 6],
      ["c", 4],
    ],
  );
});
