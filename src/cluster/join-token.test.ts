import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "../sim/index.ts";
import { EmbeddedDirectory } from "./embedded-directory.ts";
import { createJoinToken, useJoinToken } from "./join-token.ts";

const CLUSTER = "c1";
const HASH = "a".repeat(64);
const HOUR_MS = 3600 * 1000;
const DAY_MS = 24 * HOUR_MS;

async function fresh(): Promise<{
  directory: EmbeddedDirectory;
  run: <T>(work: Promise<T>) => Promise<T>;
}> {
  const simulation = new Simulation({ seed: 1 });
  const machine = new SimMachine(simulation);
  const store = new SimMetadataStore(machine, new MetadataMedium());
  const directory = await EmbeddedDirectory.open(store, machine.clock);
  return { directory, run: (work) => simulation.run(work) };
}

test("a token is good for one host and until it expires", async () => {
  const { directory, run } = await fresh();
  const use = (hash: string, nowMs: number, hostId = "h2"): Promise<void> =>
    run(useJoinToken(directory, CLUSTER, hash, { nowMs, hostId }));
  await run(createJoinToken(directory, CLUSTER, HASH, { nowMs: 1000, ttlMs: HOUR_MS }));
  await assert.rejects(use("b".repeat(64), 1000), { code: "token-unknown" });
  await assert.rejects(use(HASH, 1000 + HOUR_MS), { code: "token-expired" });
  await use(HASH, 999 + HOUR_MS);
  await assert.rejects(use(HASH, 1001, "h3"), { code: "token-used", message: /by host h2/ });
});

test("of two hosts with one token at the same moment one joins", async () => {
  const { directory, run } = await fresh();
  await run(createJoinToken(directory, CLUSTER, HASH, { nowMs: 0, ttlMs: HOUR_MS }));
  const both = ["h2", "h3"].map((hostId) =>
    useJoinToken(directory, CLUSTER, HASH, { nowMs: 1, hostId }),
  );
  const outcomes = await run(Promise.allSettled(both));
  assert.deepEqual(outcomes.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
});

test("old tokens are forgotten, and there is a limit to those that are not", async () => {
  const { directory, run } = await fresh();
  const create = (index: number, nowMs: number): Promise<void> => {
    const hash = index.toString(16).padStart(64, "0");
    return run(createJoinToken(directory, CLUSTER, hash, { nowMs, ttlMs: HOUR_MS }));
  };
  for (let index = 0; index < 256; index++) await create(index, 0);
  await assert.rejects(create(256, DAY_MS), { code: "too-many-tokens" });
  await create(256, DAY_MS + HOUR_MS + 1);
  assert.equal((await directory.list("/drystone/c1/join-token/")).records.length, 1);
});
