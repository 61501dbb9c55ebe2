import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { judgeHealth, raisedChecks } from "../health/health.ts";
import { seenOf } from "./host-networks.ts";
import type { HostView } from "../api/views.ts";

const peer = {
  ...{ hostId: "h2", name: "two", managementAddress: "m:1", storageAddress: "s:2" },
  ...{ managementLinkAddress: "m:3", faultDomain: "d", lease: "held" },
} as const;

function seen(
  storage: boolean,
  management: boolean | undefined,
  hostId = "h2",
  lease: "held" | "lost" = "held",
): HostView {
  const of = {
    ...{ ...peer, lease, isUp: storage },
    ...(storage ? {} : { reason: "its cable is pulled" }),
    ...(management === undefined ? { managementLinkAddress: "" } : {}),
  };
  const link = management === undefined ? undefined : { isUp: management, reason: "no route" };
  const facts = { name: hostId, hostId, apiAddress: "m:1", faultDomain: "d", attachedCount: 0 };
  return { ...facts, ...seenOf(of, link) };
}

test("a host that one network reaches is not down, and it says why it is not up", () => {
  const all = [seen(true, true), seen(false, true), seen(true, false), seen(false, false)];
  assert.deepEqual(
    all.map(({ state, storage, management, reason }) => [state, storage, management, reason]),
    [
      ["up", "up", "up", undefined],
      ["storage-unreachable", "down", "up", "its cable is pulled"],
      ["management-unreachable", "up", "down", "no route"],
      ["down", "down", "down", "its cable is pulled"],
    ],
  );
});

test("with one network there is nothing between up and down", () => {
  const all = [seen(true, undefined), seen(false, undefined)];
  assert.deepEqual(
    all.map(({ state, storage, management }) => [state, storage, management]),
    [
      ["up", "up", undefined],
      ["down", "down", undefined],
    ],
  );
});

test("who is alone on one network is told to look at its own cable", () => {
  const self = seen(true, true, "h1");
  const codes = (...hosts: readonly HostView[]): readonly string[] =>
    judgeHealth(
      raisedChecks({
        ...{ hostId: "h1", hosts: [self, ...hosts], volumes: [], attachments: [], faults: [] },
        ...{
          devices: [],
          resyncs: [],
          vms: [],
          stats: undefined,
          directory: undefined,
          machine: undefined,
        },
      }),
    )
      .reasons.map(({ code }) => code)
      .filter((code) => code !== "no-device");
  const one = seen(false, true, "h2");
  assert.deepEqual(codes(one, seen(true, true, "h3")), ["storage-unreachable"]);
  assert.deepEqual(codes(one, seen(false, true, "h3")), ["storage-isolated"]);
  const others = [seen(true, false, "h2"), seen(true, false, "h3")];
  assert.deepEqual(codes(...others), ["management-isolated"]);
  assert.deepEqual(codes(seen(false, false, "h2"), one), ["host-down", "storage-unreachable"]);
  assert.deepEqual(codes(seen(true, true, "h2", "lost")), ["host-without-lease"]);
});
