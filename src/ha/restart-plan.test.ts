import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import type { StoredVm, VmRecord } from "../cluster/index.ts";
import { vm } from "../../test/support/vm-world.ts";
import { HostViews } from "./host-views.ts";
import { DOES_NOT_START, FAILURES_MAX, planRestarts } from "./restart-plan.ts";
import type { Plan, PlanInput } from "./restart-plan.ts";

const GIB = 2 ** 30;
const NOW_MS = 1_000_000_000;

interface HostSays {
  readonly memoryBytes?: number;
  readonly cpuCount?: number;
  readonly inaccessible?: readonly string[];
}

function viewsOf(hosts: Readonly<Record<string, HostSays>>): HostViews {
  const views = Object.entries(hosts).map(([hostId, said]) => {
    const { memoryBytes = 8 * GIB, cpuCount = 8, inaccessible = [] } = said;
    return {
      hostId,
      reaches: Object.keys(hosts),
      inaccessible: inaccessible.map((name) => ({ vm: name, reason: `${name} lacks votes` })),
      capacity: { memoryBytes, cpuCount },
    };
  });
  return new HostViews(views, 1);
}

function stored(name: string, change: Partial<VmRecord> = {}): StoredVm {
  const record = { ...vm(name), memoryBytes: GIB, persistedSequence: 1, ...change };
  return { record, revision: 1 };
}

/** It runs there. */
const on = (hostId: string): Partial<VmRecord> => ({ hostId, epoch: 1, startedEpoch: 1 });

function plan(
  vms: readonly StoredVm[],
  hosts: Readonly<Record<string, HostSays>>,
  change: Partial<PlanInput> = {},
): Plan {
  const alive = Object.keys(hosts);
  const facts = {
    wallMs: NOW_MS,
    nameOf: (hostId: string) => hostId,
    isArmed: true,
    closed: new Set<string>(),
  };
  return planRestarts({ vms, alive, views: viewsOf(hosts), ...facts, ...change });
}

const placed = ({ starts }: Plan): readonly string[] =>
  starts.map(({ stored: { record }, hostId }) => `${record.name}@${hostId}`);
const waiting = ({ waits }: Plan): readonly string[] =>
  waits.map(({ stored: { record }, for: what }) => `${record.name}:${what}`);

test("of a failed host's machines those start at once that some host reaches, others wait for their objects", () => {
  const vms = [
    stored("a", on("dead")),
    stored("b", on("dead")),
    stored("c", { ...on("dead"), volumes: [] }),
    stored("left", { ...on("dead"), isProtected: false }),
    stored("well", on("h1")),
  ];
  const made = plan(vms, { h1: { inaccessible: ["b"] }, h2: { inaccessible: ["a", "b"] } });
  assert.deepEqual(placed(made), ["a@h1", "c@h2"]);
  assert.deepEqual(waiting(made), ["b:objects"]);
  assert.match(made.waits[0]!.because, /lease of host dead has ended.*h1: b lacks votes/);
  // And when the objects are back, whatever was tried before.
  const later = plan(vms, { h1: {}, h2: {} });
  assert.deepEqual(placed(later).length, 3);
});

test("those of a higher priority are placed first, and the others when those have started", () => {
  const vms = [
    stored("low", { ...on("dead"), priority: 3 }),
    stored("high", { ...on("dead"), priority: 1 }),
    stored("high2", { ...on("dead"), priority: 1 }),
  ];
  const first = plan(vms, { h1: {} });
  assert.deepEqual(placed(first), ["high@h1", "high2@h1"]);
  assert.deepEqual(waiting(first), ["low:turn"]);
  const history = [{ timeMs: NOW_MS, hostId: "h1", what: "placed on h1", because: "" }];
  const starting = stored("high", {
    hostId: "h1",
    epoch: 2,
    startedEpoch: 1,
    priority: 1,
    history,
  });
  const second = [vms[0]!, starting];
  assert.deepEqual(waiting(plan(second, { h1: {} })), ["low:turn"]);
  // One that never gets through does not keep the others down for ever.
  assert.deepEqual(placed(plan(second, { h1: {} }, { wallMs: NOW_MS + 60_000 })), ["low@h1"]);
});

test("one of a higher priority that cannot be placed holds up nobody", () => {
  const vms = [
    stored("big", { ...on("dead"), priority: 0, memoryBytes: 64 * GIB }),
    stored("lost", { ...on("dead"), priority: 0 }),
    stored("low", { ...on("dead"), priority: 4 }),
  ];
  const made = plan(vms, { h1: { inaccessible: ["lost"] } });
  assert.deepEqual(placed(made), ["low@h1"]);
  assert.deepEqual(waiting(made), ["big:room", "lost:objects"]);
  assert.match(made.waits[0]!.because, /needs 64 GiB of memory and 1 processors.*h1 8 GiB and 64/);
});

test("no host gets more than it has room for, and what does not fit waits for room", () => {
  const vms = Array.from({ length: 20 }, (_, i) => stored(`v${10 + i}`, on("dead")));
  const made = plan(vms, { h1: { memoryBytes: 3 * GIB }, h2: { memoryBytes: 4 * GIB } });
  assert.equal(made.starts.filter(({ hostId }) => hostId === "h1").length, 3);
  assert.equal(made.starts.filter(({ hostId }) => hostId === "h2").length, 4);
  assert.equal(waiting(made).filter((one) => one.endsWith(":room")).length, 13);
  const busy = plan([stored("a", on("dead")), stored("b", on("h1"))], {
    h1: { memoryBytes: 1.5 * GIB },
  });
  assert.deepEqual(waiting(busy), ["a:room"]);
});

test("a host starts so many machines at a time", () => {
  const vms = Array.from({ length: 12 }, (_, i) => stored(`v${10 + i}`, on("dead")));
  const made = plan(vms, { h1: { memoryBytes: 100 * GIB, cpuCount: 64 } });
  assert.equal(made.starts.length, 8);
  assert.equal(waiting(made).filter((one) => one.endsWith(":turn")).length, 4);
});

test("machines of one group are kept apart as long as there are hosts", () => {
  const group = { antiAffinity: "db" };
  const vms = [
    stored("a", { ...on("h1"), ...group }),
    stored("b", { ...on("dead"), ...group }),
    stored("c", { ...on("dead"), ...group }),
  ];
  const made = plan(vms, { h1: { memoryBytes: 100 * GIB }, h2: { memoryBytes: 2 * GIB } });
  assert.deepEqual(placed(made), ["b@h2", "c@h1"]);
  assert.match(made.starts[1]!.because, /beside others of db, for want of another host/);
});

test("failed starts go to other hosts, put the next one off, and in the end somebody has to look", () => {
  const failed = (hostId: string, agoMs: number): VmRecord["history"][number] => {
    return { timeMs: NOW_MS - agoMs, hostId, what: DOES_NOT_START, because: "" };
  };
  const once = { failureCount: 1, lastFailureMs: NOW_MS, history: [failed("h1", 0)] };
  assert.deepEqual(placed(plan([stored("a", once)], { h1: {}, h2: {} })), ["a@h2"]);
  const often = { failureCount: 4, lastFailureMs: NOW_MS - 9000 };
  assert.deepEqual(waiting(plan([stored("a", often)], { h1: {} })), ["a:back-off"]);
  const later = { wallMs: NOW_MS + 2000 };
  assert.deepEqual(placed(plan([stored("a", often)], { h1: {} }, later)), ["a@h1"]);
  const hopeless = { failureCount: FAILURES_MAX, lastFailureMs: 0 };
  assert.deepEqual(waiting(plan([stored("a", hopeless)], { h1: {} })), ["a:help"]);
  // A wall clock that was set back makes nobody wait for years.
  const future = { failureCount: 8, lastFailureMs: NOW_MS + 10 ** 9 };
  assert.deepEqual(placed(plan([stored("a", future)], { h1: {} })), ["a@h1"]);
});

test("nothing is started on a host that is in maintenance", () => {
  const vms = [stored("a", on("dead"))];
  const closed = new Set(["h1"]);
  assert.deepEqual(placed(plan(vms, { h1: {}, h2: {} }, { closed })), ["a@h2"]);
  const made = plan(vms, { h1: {} }, { closed });
  assert.deepEqual(waiting(made), ["a:objects"]);
  assert.match(made.waits[0]!.because, /h1: it is in maintenance/);
});

test("while high availability is disarmed nothing moves because of a host, and starts are done", () => {
  const vms = [stored("a", on("dead")), stored("b")];
  assert.deepEqual(placed(plan(vms, { h1: {} }, { isArmed: false })), ["b@h1"]);
});

test("machines leave a host in maintenance while they run, two at a time, to where there is room", () => {
  const closed = new Set(["h1"]);
  const hosts = { h1: {}, h2: { memoryBytes: 2 * GIB }, h3: { inaccessible: ["a"] } };
  const vms = ["c", "b", "a"].map((name) => stored(name, on("h1")));
  const movesOf = (machines: readonly StoredVm[], change: Partial<PlanInput> = {}): string[] =>
    plan(machines, hosts, { closed, ...change }).moves.map(
      ({ stored: { record }, hostId }) => `${record.name}@${hostId}`,
    );
  assert.deepEqual(movesOf(vms), ["a@h2", "b@h3"]);
  assert.deepEqual(movesOf(vms, { isArmed: false }), []);
  assert.deepEqual(movesOf(vms, { closed: new Set() }), []);
  const asked = { id: 1, to: "h2", epoch: 1, phase: "asked", address: "" } as const;
  const under = [stored("a", { ...on("h1"), migration: asked }), ...vms.slice(0, 2)];
  assert.deepEqual(movesOf(under), ["b@h3"], "one is on its way");
  const big = stored("a", { ...on("h1"), memoryBytes: 3 * GIB });
  assert.deepEqual(movesOf([big]), [], "it fits on none that reaches its objects, and runs on");
  const decision = { timeMs: NOW_MS - 1000, hostId: "h1", what: "does not move", because: "" };
  assert.deepEqual(movesOf([stored("a", { ...on("h1"), history: [decision] })]), []);
  const long = { ...decision, timeMs: NOW_MS - 100_000 };
  assert.deepEqual(movesOf([stored("a", { ...on("h1"), history: [long] })]), ["a@h2"]);
});

test("the reason tells a host that has failed from one that is heard in storage", () => {
  const [failed] = plan([stored("a", on("h9"))], { h1: {}, h2: {} }).starts;
  assert.match(failed?.because ?? "", /lease of host h9 has ended, and nobody hears it in storage/);
  const hears = { reaches: ["h1", "h2", "h9"], inaccessible: [] };
  const capacity = { memoryBytes: 8 * GIB, cpuCount: 8 };
  const views = new HostViews(
    ["h1", "h2"].map((hostId) => ({ hostId, ...hears, capacity })),
    1,
  );
  const [isolated] = plan([stored("a", on("h9"))], { h1: {}, h2: {} }, { views }).starts;
  assert.match(isolated?.because ?? "", /h1, h2 heard it in storage last: it is isolated/);
});
