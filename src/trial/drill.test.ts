import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Depot, exampleLayout, runDrill } from "./index.ts";
import type { DrillAction, DrillReport, DrillRequest } from "./index.ts";

const FAIL_MS = 4000;
const depot = new Depot();

function drill(change: Partial<DrillRequest>): Promise<DrillReport> {
  const request = { seed: 7, layout: exampleLayout(5, 20), script: [], lengthMs: 12_000 };
  return runDrill({ ...request, ...change }, { depot });
}

test("what would happen if a host failed is what happens when it does", async (context) => {
  for (const host of [0, 2]) {
    const script: readonly DrillAction[] = [{ atMs: FAIL_MS, kind: "cut-power", host }];
    const report = await drill({ script, whatIf: { atMs: FAIL_MS, host } });
    assert.equal(report.failure, undefined);
    const { machines = [], unusable, atRisk = [] } = report.foreseen ?? {};
    assert.equal(machines.length, 4, "four machines run on each host");
    assert.deepEqual(unusable, []);
    const volumes = exampleLayout(5, 20).volumes.filter(({ tree }) =>
      tree.children?.some((child) => child.host === host),
    );
    assert.deepEqual([...atRisk].toSorted(), volumes.map(({ name }) => name).toSorted());
    const begun = report.runs.filter(({ isExecuting, atMs }) => isExecuting && atMs > FAIL_MS);
    assert.deepEqual(
      begun.map(({ machine, host: where }) => `${machine} on ${where}`).toSorted(),
      machines.map(({ vm, hostId }) => `${vm} on ${hostId}`).toSorted(),
    );
    for (const { vm, afterMs } of machines) {
      const after = begun.find(({ machine }) => machine === vm)!.atMs - FAIL_MS;
      const text = `${vm} after ${Math.round(after)} ms, foreseen ${afterMs}`;
      assert.ok(Math.abs(after - afterMs!) <= 0.2 * after, text);
      context.diagnostic(text);
    }
  }
});

test("whatever is done by hand, no promise is broken, and all is well once it is put right", async () => {
  const script: readonly DrillAction[] = [
    { atMs: 1000, kind: "cut-storage", host: 0 },
    { atMs: 2000, kind: "break-disk", host: 1 },
    { atMs: 8000, kind: "mend-storage", host: 0 },
    { atMs: 9000, kind: "mend-disk", host: 1 },
    { atMs: 12_000, kind: "cut-management", host: 2 },
    { atMs: 13_000, kind: "kill-process", host: 3 },
    { atMs: 20_000, kind: "start", host: 3 },
    { atMs: 21_000, kind: "mend-management", host: 2 },
  ];
  const layout = exampleLayout(4, 8);
  const report = await drill({ layout, script, lengthMs: 40_000 });
  assert.equal(report.failure, undefined);
  const cut = report.moments.find(({ atMs }) => atMs === 5000)!;
  assert.ok(cut.hosts[0]!.isStorageCut && cut.hosts[1]!.isDiskBroken);
  const without = report.moments.find(({ atMs }) => atMs === 18_500)!;
  assert.ok(!without.hosts[2]!.hasLease && !without.hosts[3]!.isUp);
  const { hosts, volumes, machines } = report.moments.at(-1)!;
  assert.ok(hosts.every(({ isUp, hasLease }) => isUp && hasLease));
  assert.ok(
    machines.every(({ host }) => host !== undefined),
    "every machine runs",
  );
  const states = volumes.flatMap(({ components }) => components.map(({ state }) => state));
  assert.deepEqual([...new Set(states)], ["active"]);
});

test("a drill takes the same way every time, and what is asked changes nothing", async () => {
  const layout = exampleLayout(3, 3);
  const script: readonly DrillAction[] = [{ atMs: 1000, kind: "cut-power", host: 1 }];
  const first = await drill({ layout, script });
  const second = await drill({ layout, script, whatIf: { atMs: 3000, host: 2 } });
  assert.equal(first.digest, second.digest);
  assert.equal(first.events, second.events);
  const other = await drill({ layout, script, seed: 8 });
  assert.notEqual(first.digest, other.digest);
});
