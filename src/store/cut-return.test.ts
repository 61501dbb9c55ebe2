/** The return of a copy that is cut short by a crash, and begins anew. */
import assert from "node:assert/strict";
import { Simulation } from "../sim/index.ts";
import { Store } from "../../test/store-pair.ts";
import { test } from "../../test/support/test.ts";

test("what a returning copy dropped is asked for again, although its return was cut short", async () => {
  const simulation = new Simulation({ seed: 6 });
  const store = new Store(simulation);
  const deviceId = "d1".repeat(16);
  await simulation.run(async () => {
    await store.open(deviceId);
    await store.component.open(1);
    await store.write(1, 0, [1]);
    store.component.commit(1, 1);
    await store.write(2, 1, [2]);
    await store.write(3, 2, [3]);
    store.crash();
    await store.open(deviceId);
    assert.equal((await store.component.open(2)).preparedSequence, 3);
    // Its owner knows that it had all up to 3, which was decided elsewhere.
    assert.equal(await store.component.beginCatchUp(2, 3), 1);
    for (const sequence of [4, 5, 6]) {
      await store.write(sequence, sequence, [sequence]);
      store.component.commit(2, sequence);
    }
    store.crash();
    await store.open(deviceId);
    assert.ok(store.component.info.committedSequence >= 5, "it has heard of what came later");
    assert.equal((await store.component.open(3)).committedSequence, 1);
    assert.equal(await store.component.beginCatchUp(3, 3), 1);
    await store.device.close();
  });
});
