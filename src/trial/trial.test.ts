import assert from "node:assert/strict";
import { test } from "node:test";
import { Depot, FAULT_KINDS, runTrial } from "./index.ts";

const depot = new Depot();

test("whole clusters keep their promises whatever goes wrong", async (context) => {
  let virtualMs = 0;
  let requests = 0;
  for (let seed = 1; seed <= 5; seed++) {
    const report = await runTrial(seed, { depot });
    const { failure, trace } = report;
    if (failure !== undefined) console.log(trace.slice(-200).join("\n"));
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.kind}: ${failure?.what}`);
    assert.equal(report.undecidedBlocks, 0);
    virtualMs += report.virtualMs;
    requests += report.requests;
  }
  context.diagnostic(`${requests} requests in ${Math.round(virtualMs / 1000)} virtual seconds`);
});

test("what is lost on the way to a returning copy is noticed and sent again", async () => {
  const mutant = { name: "lossy", rule: "none", component: { isAppliedWhole: false } };
  for (let seed = 1; seed <= 5; seed++) {
    const { failure } = await runTrial(seed, { depot, mutant });
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.kind}: ${failure?.what}`);
  }
});

test("a seed takes the same way every time", async () => {
  for (const seed of [3, 8]) {
    const first = await runTrial(seed, { depot });
    const second = await runTrial(seed, { depot: new Depot() });
    assert.equal(first.digest, second.digest);
    assert.equal(first.events, second.events);
  }
});

test("every kind of fault has a name of its own and somebody it can happen to", () => {
  const names = FAULT_KINDS.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  for (const needs of ["any-host", "sick-host", "either"] as const)
    assert.ok(FAULT_KINDS.some((kind) => kind.needs === needs));
});
