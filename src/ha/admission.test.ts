import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import type { VmRecord } from "../cluster/index.ts";
import { vm } from "../../test/support/vm-world.ts";
import { admissionProblem } from "./admission.ts";
import type { AdmissionInput, AdmissionProblem } from "./admission.ts";

const GIB = 2 ** 30;
const HOSTS: Readonly<Record<string, number>> = { h0: 4, h1: 8, h2: 16 };

let count = 0;
const of = (gib: number, change: Partial<VmRecord> = {}): VmRecord => {
  return { ...vm(`m${gib}-${count++}`), memoryBytes: gib * GIB, ...change };
};
const on = (hostId: string, change: Partial<VmRecord> = {}): Partial<VmRecord> => {
  return { hostId, epoch: 1, startedEpoch: 1, persistedSequence: 1, ...change };
};

function problem(
  vms: readonly VmRecord[],
  toleratedHosts = 1,
  gibOf = HOSTS,
  change: Partial<AdmissionInput> = {},
): AdmissionProblem | undefined {
  const capacityOf = (id: string) => ({ memoryBytes: (gibOf[id] ?? 0) * GIB, cpuCount: 4 });
  return admissionProblem({
    vms,
    alive: Object.keys(gibOf),
    views: { capacityOf },
    closed: new Set(),
    nameOf: (hostId) => hostId.toUpperCase(),
    toleratedHosts,
    ...change,
  });
}

test("the host whose failure leaves too little room for its machines is named, with what is left", () => {
  assert.equal(problem([of(6, { priority: 0 }), of(4)]), undefined);
  const found = problem([of(7, { name: "a" }), of(6, { name: "b" })]);
  assert.deepEqual(found?.failed, ["h2"]);
  const text = /^if H2 of 3 hosts failed, b would have no place: it needs 6 GiB of memory/;
  assert.match(found.because, text);
  assert.match(found.because, /left: H0 4 GiB and 32; H1 1 GiB and 31$/);
  assert.equal(problem([of(7), of(6)], 0), undefined);
  assert.deepEqual(problem([of(2), of(3)], 2)?.failed, ["h1", "h2"]);
  assert.match(
    problem([of(1)], 3)?.because ?? "",
    /if H0 and H1 and H2 of 3 hosts failed.*none lives/,
  );
});

test("a machine must fit on one host, and only those count that are to run and are protected", () => {
  assert.match(problem([of(9)])?.because ?? "", /9 GiB.*left: H0 4 GiB and 32; H1 8 GiB and 32$/);
  assert.equal(problem([of(9, { isProtected: false })]), undefined);
  assert.equal(problem([of(9, { desired: "stopped" })]), undefined);
});

test("room that is enough in all and lies in pieces is not enough", () => {
  const even = { h0: 8, h1: 8, h2: 8, h3: 8 };
  // 20 of 24 GiB that three hosts have: the fourth machine fits on none of them.
  const five = ["h0", "h1", "h2", "h3"].map((hostId) => of(5, on(hostId)));
  assert.equal(problem(five, 1, even)?.unplaced.length, 1);
  assert.equal(problem([of(4, on("h0")), ...five.slice(1)], 1, even)?.unplacedBytes, 5 * GIB);
  const four = ["h0", "h1", "h2", "h3"].map((hostId) => of(4, on(hostId)));
  assert.equal(problem(four, 1, even), undefined);
});

test("machines that are not protected take room, and none is kept for them", () => {
  const even = { h0: 8, h1: 8 };
  const one = of(4, on("h0"));
  assert.equal(problem([one, of(4, on("h1", { isProtected: false }))], 1, even), undefined);
  const found = problem([one, of(5, on("h1", { isProtected: false }))], 1, even);
  assert.deepEqual([found?.failed, found?.unplaced], [["h0"], [one.name]]);
  assert.equal(problem([of(8, on("h0", { isProtected: false }))], 1, even), undefined);
});

test("what waits for its place now is placed first, and nothing is placed on hosts in maintenance", () => {
  const even = { h0: 8, h1: 8, h2: 8 };
  const found = problem([of(8, on("h0")), of(8, on("h1")), of(8, on("h2")), of(1)], 1, even);
  assert.deepEqual(found?.failed, []);
  assert.match(found.because, /^m1-\d+ would have no place: it needs 1 GiB/);
  const closed = new Set(["h2"]);
  assert.equal(problem([of(8, on("h0"))], 1, even), undefined);
  assert.deepEqual(problem([of(8, on("h0")), of(1, on("h1"))], 1, even, { closed })?.failed, [
    "h0",
  ]);
  assert.equal(problem([of(8, on("h0")), of(1, on("h1"))], 1, even), undefined);
});

test("machines come in the order of their priorities, and where too many sets of hosts may fail the worst ones are found step by step", () => {
  const even = { h0: 4, h1: 4 };
  const low = of(1, { ...on("h0"), priority: 4 });
  const high = of(4, { ...on("h0"), priority: 0 });
  assert.deepEqual(problem([low, { ...high, memoryBytes: 3 * GIB }], 1, even), undefined);
  const taken = of(1, on("h1", { isProtected: false }));
  const found = problem([low, { ...high, memoryBytes: 3 * GIB }, taken], 1, even);
  assert.deepEqual(found?.unplaced, [low.name]);
  const many = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`n${i}`, i === 7 ? 9 : 1]));
  const big = problem([of(9, on("n7"))], 3, many);
  assert.ok(big!.failed.includes("n7"));
  assert.equal(problem([of(1, on("n7"))], 3, many), undefined);
});
