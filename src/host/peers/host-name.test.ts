import assert from "node:assert/strict";
import { test } from "../../../test/support/test.ts";
import { unreachable } from "../../link/link.ts";
import { withHostName } from "./host-name.ts";

test("a host that cannot be reached is told by its name", () => {
  const { fault } = unreachable("5b4df4cfb5d20a6ffc85e7bbae4bebd5", "nobody listens");
  const told = withHostName(fault, (hostId) => (hostId.startsWith("5b4d") ? "h2" : hostId));
  assert.equal(told.message, "host h2 cannot be reached: nobody listens");
  const other = { code: "no-space", message: "full", details: { hostId: "5b4d" } };
  assert.equal(
    withHostName(other, () => "h2"),
    other,
  );
});
