import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import { vm } from "../../test/support/vm-world.ts";
import type { PlanInput } from "./restart-plan.ts";
import { foreseeFailure } from "./what-if.ts";

const GIB = 2 ** 30;

function stored(name: string, change: Partial<VmRecord> = {}): StoredVm {
  const place = { hostId: "h1", epoch: 1, startedEpoch: 1 };
  const record = { ...vm(name), ...place, memoryBytes: GIB, persistedSequence: 1, ...change };
  return { record, revision: 1 };
}

function input(vms: readonly StoredVm[], change: Partial<PlanInput> = {}): PlanInput {
  return {
    vms,
    alive: ["h1", "h2", "h3"],
    views: {
      whyNot: () => undefined,
      heardBy: () => [],
      capacityOf: () => ({ memoryBytes: 4 * GIB, cpuCount: 8 }),
    },
    closed: new Set(),
    wallMs: 1_000_000_000,
    nameOf: (hostId) => hostId.toUpperCase(),
    isArmed: true,
    ...change,
  };
}

const NONE: ReadonlySet<string> = new Set();

test("machines of the host start on others in the order of their priorities, one wave after the other", () => {
  const vms = [
    stored("low", { priority: 5 }),
    stored("high", { priority: 1 }),
    stored("elsewhere", { hostId: "h2" }),
    stored("off", { desired: "stopped" }),
  ];
  const [first, second, ...rest] = foreseeFailure(input(vms), "h1", NONE);
  assert.deepEqual(rest, []);
  assert.deepEqual([first!.vm, first!.outcome, first!.hostId], ["high", "restarts", "h3"]);
  assert.deepEqual([second!.vm, second!.outcome], ["low", "restarts"]);
  assert.ok(first!.afterMs! > 4000 && second!.afterMs! > first!.afterMs!);
});

test("a start is taken to last as long as starts of the cluster's machines did", () => {
  const entry = (timeMs: number, what: string) => ({ timeMs, hostId: "h2", what, because: "" });
  const placed = (timeMs: number, tookMs: number) => [
    entry(timeMs, "placed on h2"),
    entry(timeMs + tookMs, "started"),
  ];
  const history = [
    ...placed(0, 300),
    entry(500, "stopped"),
    ...placed(1000, 420),
    // The clock of the one that decided is ahead of the other's, or behind.
    ...placed(3000, -2000),
    ...placed(9000, 3_600_000),
    ...placed(2_000_000, 500),
    entry(2_100_000, "runs steadily"),
  ];
  const [one] = foreseeFailure(input([stored("a", { history })]), "h1", NONE, { leaseMs: 8000 });
  assert.equal(one!.afterMs, 7000 + 420);
  const [unknown] = foreseeFailure(input([stored("a")]), "h1", NONE, { leaseMs: 8000 });
  assert.equal(unknown!.afterMs, 7000 + 1000);
});

test("what finds no room waits, what is not protected stays down, and nothing is changed", () => {
  const vms = [
    stored("a", { memoryBytes: 3 * GIB, priority: 1 }),
    stored("b", { memoryBytes: 3 * GIB, priority: 2 }),
    stored("c", { memoryBytes: 3 * GIB }),
    stored("alone", { isProtected: false }),
  ];
  const before = structuredClone(vms);
  const seen = foreseeFailure(input(vms), "h1", NONE);
  const fates = seen.map(({ vm: name, outcome, hostId }) => [name, outcome, hostId ?? ""]);
  assert.deepEqual(fates, [
    ["a", "restarts", "h2"],
    ["b", "restarts", "h3"],
    ["c", "waits", ""],
    ["alone", "stays-down", ""],
  ]);
  assert.match(seen[2]!.because, /it needs 3 GiB of memory/);
  assert.deepEqual(vms, before);
});

test("machines on any host wait for a volume that cannot be used without the failed one", () => {
  const vms = [
    stored("here", { volumes: ["v1"] }),
    stored("there", { hostId: "h2", volumes: ["v1"] }),
  ];
  const seen = foreseeFailure(input(vms), "h1", new Set(["v1"]));
  assert.deepEqual(
    seen.map(({ vm: name, outcome }) => `${name} ${outcome}`),
    ["here waits", "there waits"],
  );
  for (const { because } of seen) assert.match(because, /volume v1 cannot be used without H1/);
});

test("disarmed, everything stays down", () => {
  const [only] = foreseeFailure(input([stored("a")], { isArmed: false }), "h1", NONE);
  assert.equal(only!.outcome, "stays-down");
  assert.equal(only!.because, "high availability is disarmed");
});
