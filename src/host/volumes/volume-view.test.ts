import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { component, mirror, witness } from "../../cluster/index.ts";
import type { ComponentState, ObjectRecord } from "../../cluster/index.ts";
import type { ComponentOwnerState, OwnerState } from "../../object/index.ts";
import { volumeView } from "./volume-view.ts";

const IDS = ["a", "b", "c"].map((letter) => letter.repeat(32));
const BLOCKED = "no device may take component b of v: it holds 8 MiB; add a device or a host";

function recordOf(second: ComponentState): ObjectRecord {
  const [one, two, vote] = IDS;
  const states: ComponentState[] = [{ kind: "active" }, second, { kind: "active" }];
  return {
    objectId: "0b".repeat(16),
    name: "v",
    sizeBytes: 4096,
    policy: { failuresToTolerate: 1, stripes: 1 },
    epoch: 2,
    owner: "h0",
    tree: mirror([component(one!), component(two!), witness(vote!)]),
    components: states.map((state, i) => ({
      ...{ componentId: IDS[i]!, hostId: `h${i}`, deviceId: `d${i}`, state },
    })),
  };
}

function reasonsOf(
  record: ObjectRecord,
  options: {
    readonly owned?: Partial<ComponentOwnerState>;
    readonly away?: string;
  },
): readonly (string | undefined)[] {
  const { owned, away } = options;
  const { objectId, name, sizeBytes, epoch, tree } = record;
  const ownerState: OwnerState = {
    ...{ objectId, name, sizeBytes, epoch, tree, owner: "h0", accessible: true, reason: undefined },
    components: record.components.map((entry, i) => ({
      ...{ ...entry, sequence: 5, isCatchingUp: false },
      ...(i === 1 ? owned : {}),
    })),
  };
  const view = volumeView(record, {
    nameOf: (hostId) => `name-of-${hostId}`,
    isReachable: (hostId) => hostId !== away,
    ownerState: owned === undefined ? undefined : ownerState,
    attachment: undefined,
    logicalBytes: undefined,
    sequenceOf: () => 5,
  });
  return view.components.map(({ reason }) => reason);
}

test("a volume shows of each component that is not good why nothing is done, and what would help", () => {
  const stale = recordOf({ kind: "stale", since: 3 });
  const blocked = reasonsOf(stale, { owned: { blockedReason: BLOCKED } });
  assert.deepEqual(blocked, [undefined, BLOCKED, undefined]);
  assert.deepEqual(reasonsOf(stale, { owned: { isCatchingUp: true } })[1], undefined);
  assert.match(reasonsOf(stale, { owned: {} })[1]!, /tried again in a moment/);
  assert.equal(
    reasonsOf(stale, { owned: { failedAttempt: "an attempt has failed (no way)" } })[1],
    "an attempt has failed (no way); it is tried again in a moment",
  );
  assert.match(reasonsOf(stale, {})[1]!, /nobody uses the volume/);
  const away = reasonsOf(stale, { owned: {}, away: "h1" });
  assert.match(away[1]!, /^host name-of-h1 cannot be reached: start it again; .* repair delay/);
  const good = recordOf({ kind: "active" });
  assert.deepEqual(reasonsOf(good, { owned: {} }), [undefined, undefined, undefined]);
  // One that has to leave and cannot.
  assert.equal(reasonsOf(good, { owned: { blockedReason: BLOCKED } })[1], BLOCKED);
  const building = recordOf({ kind: "building", replaces: IDS[0]! });
  assert.match(reasonsOf(building, { owned: {}, away: "h1" })[1]!, /elsewhere after a minute/);
});
