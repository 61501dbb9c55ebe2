import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { MetadataBatch } from "../ports/index.ts";
import { MetadataMedium, SimMachine, SimMetadataStore, Simulation } from "./index.ts";
import type { CrashPolicy } from "./index.ts";

const key = (index: number): Uint8Array => new Uint8Array([index]);

function put(store: SimMetadataStore, index: number, value: number): Promise<void> {
  const batch = new MetadataBatch();
  batch.put(key(index), new Uint8Array([value]));
  batch.put(key(100), new Uint8Array([value]));
  return store.commit(batch);
}

function setUp(): { machine: SimMachine; medium: MetadataMedium; store: SimMetadataStore } {
  const machine = new SimMachine(new Simulation({ seed: 1 }));
  const medium = new MetadataMedium();
  return { machine, medium, store: new SimMetadataStore(machine, medium) };
}

/** One durable batch, four that are not; then the power goes. What is left of keys 1 to 5. */
async function afterCut(policy: CrashPolicy): Promise<string> {
  const { machine, medium, store } = setUp();
  await machine.run(() => put(store, 1, 1));
  for (let index = 2; index <= 5; index++) void put(store, index, index);
  machine.cutPower(policy);
  const next = new SimMetadataStore(new SimMachine(machine.simulation), medium);
  const left = [1, 2, 3, 4, 5].filter((index) => next.get(key(index)) !== undefined);
  assert.equal(next.get(key(100))?.[0], left.at(-1), "a batch was kept in part");
  return left.join("");
}

test("a power cut keeps all, none or a prefix of the batches that were not durable", async () => {
  assert.equal(await afterCut({ kind: "none" }), "1");
  assert.equal(await afterCut({ kind: "all" }), "12345");
  assert.equal(await afterCut({ kind: "prefix", requests: 2 }), "123");
  const seen = new Set<string>();
  for (let seed = 0; seed < 50; seed++) seen.add(await afterCut({ kind: "random", seed }));
  assert.deepEqual([...seen].toSorted(), ["1", "12", "123", "1234", "12345"]);
});

test("code of the dead machine sees its own batch, and nobody else does", async () => {
  const { machine, medium, store } = setUp();
  machine.cutPowerAt(1, { kind: "none" });
  void put(store, 1, 1);
  void put(store, 2, 2);
  assert.equal(store.get(key(2))?.[0], 2);
  const next = new SimMetadataStore(new SimMachine(machine.simulation), medium);
  assert.equal(next.get(key(1)), undefined);
  assert.equal(next.get(key(2)), undefined);
});

test("a value is unreadable after its time", async () => {
  const { machine, store } = setUp();
  await machine.run(() => put(store, 1, 1));
  const value = store.get(key(1))!;
  assert.equal(value[0], 1);
  store.get(key(2));
  assert.equal(value[0], 0xe7);
  let kept: Uint8Array | undefined;
  store.scan(key(0), key(255), (_key, visited) => {
    kept = visited;
    return true;
  });
  assert.equal(kept?.[0], 0xe7);
});

test("a visitor that writes is found out", async () => {
  const { store } = setUp();
  void put(store, 1, 1);
  const failures: Promise<void>[] = [];
  store.scan(key(0), key(255), () => failures.push(put(store, 2, 2)) > 0);
  assert.equal(failures.length, 2);
  await Promise.all(failures.map((one) => assert.rejects(one, /must not write/)));
});

test("a corrupted value stays corrupted, a full store refuses whole batches", async () => {
  const { machine, medium, store } = setUp();
  await machine.run(async () => {
    await put(store, 1, 0);
    medium.corrupt(key(1), 3);
    assert.equal(store.get(key(1))?.[0], 8);
    medium.capacityBytes = medium.usedBytes;
    await assert.rejects(put(store, 2, 2), { code: "no-space" });
    medium.capacityBytes = Infinity;
    store.refuseNextCommits(1);
    await assert.rejects(put(store, 2, 2), { code: "no-space" });
    assert.equal(store.get(key(2)), undefined);
    await put(store, 2, 2);
  });
  machine.cutPower({ kind: "none" });
  const next = new SimMetadataStore(new SimMachine(machine.simulation), medium);
  assert.equal(next.get(key(1))?.[0], 8);
});
