import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Simulation } from "../sim/index.ts";
import { Depot } from "./depot.ts";
import { LifeMemory } from "./life-memory.ts";

async function passEvents(simulation: Simulation, count: number): Promise<void> {
  for (let i = 0; i < count; i++) simulation.schedule(1, () => {});
  await simulation.runUntilIdle();
}

test("memory of a life that ended long ago is lent again, zeroed", async () => {
  const simulation = new Simulation({ seed: 1 });
  const memory = new LifeMemory(new Depot(), simulation);
  const first = memory.borrow(4096).fill(7);
  memory.lifeEnded();
  await passEvents(simulation, 200);
  memory.giveBackOld();
  const second = memory.borrow(4096);
  assert.equal(second, first);
  assert.deepEqual(second, new Uint8Array(4096));
});

test("memory of a life that has just ended, or has not, is lent to nobody else", async () => {
  const simulation = new Simulation({ seed: 1 });
  const memory = new LifeMemory(new Depot(), simulation);
  const first = memory.borrow(4096);
  await passEvents(simulation, 400);
  memory.giveBackOld();
  const second = memory.borrow(4096);
  assert.notEqual(second, first);
  memory.lifeEnded();
  memory.giveBackOld();
  const third = memory.borrow(4096);
  assert.ok(third !== first && third !== second);
});
