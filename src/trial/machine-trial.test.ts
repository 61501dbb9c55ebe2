import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { MACHINE_MUTANTS, runMachineTrial } from "./index.ts";

const SEEDS_TO_FIND = 12;
/** Found after some trials: where to begin, so that a few are enough. */
const FIRST_SEED: Readonly<Record<string, number>> = {
  "acts-on-old-records": 11,
  "query-after-insert": 15,
  "armed-as-it-was": 22,
  "admitted-by-sums": 6,
  "run-without-lease": 5,
  "ends-the-unreadable": 4,
  "taken-while-disarmed": 3,
};
/**
 * Found after hundreds of trials, if at all: there are tests of their rules in `ha-rules.test.ts`.
 */
const RARE: readonly string[] = [
  "record-overwritten",
  "taken-from-the-living",
  "placed-before-it-ends",
  "starts-again-by-old-records",
  "decided-without-office",
];

test("machines keep their promises whatever goes wrong", async (context) => {
  let requests = 0;
  for (let seed = 1; seed <= 6; seed++) {
    const report = await runMachineTrial(seed);
    const { failure, trace } = report;
    if (failure !== undefined) console.log(trace.slice(-200).join("\n"));
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.kind}: ${failure?.what}`);
    requests += report.requests;
  }
  context.diagnostic(`${requests} writes of guests`);
});

test("without any one of the rules a promise is broken within a few trials", async (context) => {
  for (const mutant of MACHINE_MUTANTS) {
    let found: string | undefined;
    if (RARE.includes(mutant.name)) continue;
    const first = FIRST_SEED[mutant.name] ?? 1;
    for (let seed = first; seed < first + SEEDS_TO_FIND && found === undefined; seed++) {
      const { failure } = await runMachineTrial(seed, mutant);
      if (failure !== undefined) found = `seed ${seed}: ${failure.kind}`;
    }
    assert.ok(found !== undefined, `nobody noticed that "${mutant.rule}" was taken out`);
    context.diagnostic(`${mutant.name}: ${found}`);
  }
});

test("a seed takes the same way every time with machines, too", async () => {
  const first = await runMachineTrial(5);
  const second = await runMachineTrial(5);
  assert.equal(first.digest, second.digest);
  assert.equal(first.events, second.events);
});
