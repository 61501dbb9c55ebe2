import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Depot, FAULT_KINDS, runTrial } from "./index.ts";
import type { TrialReport } from "./index.ts";

const depot = new Depot();
/** Rare paths that a handful of trials take: where they do not, the trials prove little. */
const TAKEN = [
  "a tail was settled",
  "a copy was marked stale",
  "changes were looked for beyond the log",
  "a content that was here already was referred to",
  "a content on its way home was copied",
  "a component was made anew",
  "an undecided tail was dropped",
  "an object was held at one moment",
  "a page was given to a snapshot",
  "an unused volume was decided",
  "a write of an earlier owner was refused",
  "a device was looked through for damage",
  "copies were compared in the background",
];
/** What a disk loses or changes is rarely a block that is needed still: looked for in these. */
const SICK_SEEDS = [25, 51, 3, 5, 6, 17, 33, 37, 40];
/** In which events and answers are late or lost. */
const UNHEARD_SEEDS = [20, 32, 129, 310, 163, 255, 160, 66];
const SEEDS_MIN = 5;
const SEEDS_MAX = 24;
/** In which what an earlier owner has sent comes late: tried before those after the first few. */
const LATE_SEED = 75;
const IS_LONG = process.env["DRYSTONE_LONG"] === "1";
const LOSSY_SEEDS = IS_LONG ? 20 : 2;
/** Seeds that are run twice. */
const REPEATED = IS_LONG ? [3, 8, 13, 21] : [3];
/** By seed, what the trials below were like. */
const before = new Map<number, TrialReport>();

test("whole clusters keep their promises whatever goes wrong, and what is rare happens", async (context) => {
  let virtualMs = 0;
  let requests = 0;
  const missing = new Set(TAKEN);
  const seeds = Array.from({ length: SEEDS_MAX }, (_, i) => i + 1);
  seeds.splice(SEEDS_MIN, 0, LATE_SEED);
  for (const [i, seed] of seeds.entries()) {
    if (i >= SEEDS_MIN && missing.size === 0) break;
    const report = await runTrial(seed, { depot });
    const { failure, trace } = report;
    if (failure !== undefined) console.log(trace.slice(-200).join("\n"));
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.kind}: ${failure?.what}`);
    assert.equal(report.undecidedBlocks, 0);
    before.set(seed, report);
    virtualMs += report.virtualMs;
    requests += report.requests;
    for (const name of Object.keys(report.marks)) missing.delete(name);
  }
  assert.deepEqual([...missing], [], "paths that no trial took");
  context.diagnostic(`${requests} requests in ${Math.round(virtualMs / 1000)} virtual seconds`);
});

test("what is lost on the way to a returning copy is noticed and sent again", async () => {
  const mutant = { name: "lossy", rule: "none", component: { isAppliedWhole: false } };
  for (let seed = 1; seed <= LOSSY_SEEDS; seed++) {
    const { failure } = await runTrial(seed, { depot, mutant });
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.kind}: ${failure?.what}`);
  }
});

test("damage is found and mended in the background, whatever else goes wrong", async () => {
  const missing = new Set([
    "damage was found before somebody read it",
    "a damaged block was written again from a good copy",
  ]);
  for (const seed of SICK_SEEDS) {
    if (missing.size === 0) break;
    const { failure, marks } = await runTrial(seed, { depot });
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.kind}: ${failure?.what}`);
    for (const name of Object.keys(marks)) missing.delete(name);
  }
  assert.deepEqual([...missing], []);
});

test("what is heard late, or is answered and not heard, does no harm", async () => {
  const missing = new Set([
    "an event of the directory came late",
    "a call that came to the directory twice was made once",
    "a new lease brought back nothing of before",
  ]);
  for (const seed of UNHEARD_SEEDS) {
    if (missing.size === 0) break;
    const { failure, marks } = await runTrial(seed, { depot });
    assert.equal(failure, undefined, `seed ${seed}: ${failure?.kind}: ${failure?.what}`);
    for (const name of Object.keys(marks)) missing.delete(name);
  }
  assert.deepEqual([...missing], []);
});

test("a seed takes the same way every time, whatever the depot was used for before", async () => {
  for (const seed of REPEATED) {
    const first = before.get(seed) ?? (await runTrial(seed, { depot }));
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
