import assert from "node:assert/strict";
import { test } from "node:test";
import { component, mirror, stripe, witness } from "../cluster/index.ts";
import type { ComponentState, TreeNode } from "../cluster/index.ts";
import type { OwnerState } from "../object/index.ts";
import { withReach } from "./accessibility.ts";

const MIRROR = mirror([component("a1"), component("b1"), witness("w")]);
const STRIPES = mirror([
  stripe([component("a1"), component("a2")], 16),
  stripe([component("b1"), component("b2")], 16),
]);

/** Each component is on the host of its letter; `states` are of those that are not active. */
function owned(
  tree: TreeNode,
  ids: readonly string[],
  states: Readonly<Record<string, ComponentState>>,
): OwnerState {
  return {
    objectId: "object",
    name: "web1",
    sizeBytes: 1 << 20,
    epoch: 2,
    owner: "w",
    accessible: true,
    reason: undefined,
    tree,
    components: ids.map((componentId) => ({
      componentId,
      hostId: componentId.slice(0, 1),
      deviceId: "device",
      state: states[componentId] ?? { kind: "active" },
      sequence: 0,
      isCatchingUp: false,
    })),
  };
}

function seen(state: OwnerState, reached: string): OwnerState {
  return withReach(
    state,
    (hostId) => reached.includes(hostId),
    (hostId) => `host ${hostId}`,
  );
}

const STALE: ComponentState = { kind: "stale", since: 0 };

test("an owner that reaches a witness alone has nothing to read from, asked or not", () => {
  const state = owned(MIRROR, ["a1", "b1", "w"], { a1: STALE });
  assert.equal(seen(state, "aw").accessible, false, "what is stale is not read");
  assert.equal(seen(state, "bw"), state);
  assert.equal(seen(state, "b"), state, "who reaches a copy goes by what the owner says");
  const lost = seen(state, "w");
  assert.equal(lost.accessible, false);
  assert.equal(
    lost.reason,
    "no complete copy is in reach: a1 on host a is stale, b1 on host b cannot be reached",
  );
});

test("an owner that has stopped says why itself", () => {
  const state = { ...owned(MIRROR, ["a1", "b1", "w"], {}), accessible: false, reason: "fenced" };
  assert.equal(seen(state, ""), state);
});

test("columns of different copies make one", () => {
  const ids = ["a1", "a2", "b1", "b2"];
  const mixed = owned(STRIPES, ids, { a1: STALE, b2: STALE });
  assert.equal(seen(mixed, "ab"), mixed);
  assert.equal(seen(mixed, "a").accessible, false);
  const gone = owned(STRIPES, ids, { a1: STALE, b1: STALE });
  assert.match(seen(gone, "ab").reason ?? "", /a1 on host a is stale, b1 on host b is stale/);
});
