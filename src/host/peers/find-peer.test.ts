import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { hostUnknown } from "./find-peer.ts";

test("who mistypes a host's name is told which was meant", () => {
  const { code, fault } = hostUnknown("node12", ["node1", "node21", "other"]);
  assert.deepEqual([code, fault.hint], ["host-unknown", "Did you mean node1?"]);
  assert.match(hostUnknown("zzz", ["node1"]).fault.hint ?? "", /^drystone host list/);
});
