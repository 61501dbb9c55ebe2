import assert from "node:assert/strict";
import { component } from "../cluster/index.ts";
import type { ObjectRecord } from "../cluster/index.ts";
import { test } from "../../test/support/test.ts";
import { byLineage } from "./lineage-order.ts";
import { comesBefore } from "./repair-queue.ts";

function object(name: string, of?: { readonly id: string; readonly sequence: number }) {
  const record: ObjectRecord = {
    ...{ objectId: name, name, sizeBytes: 4096, epoch: 1, owner: "h" },
    policy: { failuresToTolerate: 1, stripes: 1 },
    tree: component(name),
    components: [],
    ...(of === undefined
      ? {}
      : { snapshot: { objectId: of.id, sequence: of.sequence, createdMs: 0 } }),
  };
  return record;
}

test("volumes come before snapshots, and of those of one volume the newest first", () => {
  const records = [
    object("a1", { id: "y", sequence: 7 }),
    object("a2", { id: "x", sequence: 3 }),
    object("y"),
    object("b1", { id: "x", sequence: 9 }),
    object("c1", { id: "x", sequence: 5 }),
    object("x"),
  ];
  const order = records.toSorted(byLineage).map(({ name }) => name);
  assert.deepEqual(order, ["y", "x", "b1", "c1", "a2", "a1"]);
  const waiting = records.map((record) => ({
    ...{ record, componentId: record.name, why: "lost" as const },
    // What is nearer to being lost is first all the same.
    copiesLeft: record.name === "a2" ? 1 : 2,
  }));
  const inTurn = waiting.toSorted(comesBefore).map(({ componentId }) => componentId);
  assert.deepEqual(inTurn, ["a2", "x", "y", "b1", "c1", "a1"]);
});
