import assert from "node:assert/strict";
import { test } from "node:test";
import { figuresOfCopies, rebuildTables } from "./rebuild-peers.ts";

const COPIES = new Map([
  ["drystone, 95 % known", [{ wireMib: 10, seconds: 2, cpuSeconds: 1 }]],
  ["ceph", [{ wireMib: 200, seconds: 12, cpuSeconds: 4 }]],
]);

test("a copy is held against each peer's in bytes and in speed", () => {
  const text = rebuildTables({ figures: figuresOfCopies(COPIES, 200 << 20) });
  assert.match(text, /\| drystone, 95 % known +\| 10\.0 +\| 2\.00 +\| 105 /);
  assert.match(text, /\| drystone, 95 % known \/ ceph \| 0\.0500 +\| 6\.00 +\| 0\.250 /);
});
