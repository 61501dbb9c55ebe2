import { deepEqual } from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { byHost, byName } from "./natural-order.ts";

test("numbers within names count as numbers, and devices are in the order of their hosts", () => {
  const named = ["h10", "h2", "h1"].map((name) => ({ name }));
  deepEqual(
    byName(named).map(({ name }) => name),
    ["h1", "h2", "h10"],
  );
  const devices = [
    { host: "h10", path: "/a" },
    { host: "h2", path: "/disk10" },
    { host: "h2", path: "/disk9" },
  ];
  deepEqual(
    byHost(devices).map(({ host, path }) => `${host}${path}`),
    ["h2/disk9", "h2/disk10", "h10/a"],
  );
});
