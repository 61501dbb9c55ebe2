import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import type { VmRecord } from "../cluster/index.ts";
import { vm } from "../../test/support/vm-world.ts";
import { admissionProblem } from "./admission.ts";
import { HostViews } from "./host-views.ts";

const GIB = 2 ** 30;
const views = new HostViews(
  [4, 8, 16].map((gib, i) => ({
    ...{ hostId: `h${i}`, reaches: [], inaccessible: [] },
    capacity: { memoryBytes: gib * GIB, cpuCount: 4 },
  })),
  1,
);
const HOSTS = ["h0", "h1", "h2"];
const of = (gib: number, change: Partial<VmRecord> = {}): VmRecord => {
  return { ...vm(`m${gib}`), memoryBytes: gib * GIB, ...change };
};

test("the hosts with the most memory are the ones that fail", () => {
  assert.equal(admissionProblem([of(6), of(5)], HOSTS, views, 1), undefined);
  assert.match(admissionProblem([of(7), of(6)], HOSTS, views, 1) ?? "", /13 GiB.*12 GiB is left/);
  assert.match(
    admissionProblem([of(2), of(3)], HOSTS, views, 2) ?? "",
    /4 GiB is left with 2 of 3/,
  );
  assert.equal(admissionProblem([of(7), of(6)], HOSTS, views, 0), undefined);
});

test("a machine must fit on one host, and only those count that are to run and are protected", () => {
  assert.match(admissionProblem([of(9)], HOSTS, views, 1) ?? "", /9 GiB fits on no host/);
  assert.equal(admissionProblem([of(9, { isProtected: false })], HOSTS, views, 1), undefined);
  assert.equal(admissionProblem([of(9, { desired: "stopped" })], HOSTS, views, 1), undefined);
});
