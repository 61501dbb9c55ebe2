import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Simulation } from "./index.ts";

async function diary(seed: number): Promise<string[]> {
  const simulation = new Simulation({ seed });
  const lines: string[] = [];
  const say = (line: string): void => void lines.push(`${simulation.nowMs} ${line}`);
  for (let i = 0; i < 20; i++) simulation.schedule(i % 3, () => say(`event ${i}`));
  const sleeper = async (name: string): Promise<void> => {
    for (let i = 0; i < 5; i++) {
      await new Promise<void>((resolve) => simulation.clock.after(1, resolve));
      say(name);
    }
  };
  await simulation.run(Promise.all([sleeper("a"), sleeper("b"), sleeper("c")]));
  return lines;
}

test("the same seed gives the same run, another seed another order", async () => {
  assert.deepEqual(await diary(1), await diary(1));
  assert.notDeepEqual(await diary(1), await diary(2));
});

test("equal times keep the order of scheduling when asked to", async () => {
  const simulation = new Simulation({ seed: 1, order: "as-scheduled" });
  const order: number[] = [];
  for (let i = 0; i < 100; i++) simulation.schedule(5, () => order.push(i));
  await simulation.runUntilIdle();
  assert.deepEqual(order, [...Array(100).keys()]);
});

test("events run in the order of their times", async () => {
  const simulation = new Simulation({ seed: 3 });
  const times: number[] = [];
  for (let i = 0; i < 1000; i++) {
    simulation.schedule(simulation.prng.below(500), () => times.push(simulation.nowMs));
  }
  await simulation.runUntilIdle();
  assert.equal(times.length, 1000);
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  );
});

for (const turn of [undefined, () => new Promise<void>((resolve) => setImmediate(resolve))]) {
  const name = turn === undefined ? "microtasks" : "macrotasks";
  test(`a long chain of awaits is not taken for a standstill (${name})`, async () => {
    const simulation = new Simulation({ seed: 1, ...(turn === undefined ? {} : { turn }) });
    const work = async (): Promise<string> => {
      for (let i = 0; i < 2000; i++) await Promise.resolve();
      await new Promise<void>((resolve) => simulation.schedule(1, resolve));
      return "done";
    };
    assert.equal(await simulation.run(work), "done");
  });

  test(`a promise that nobody resolves is a standstill (${name})`, async () => {
    const simulation = new Simulation({ seed: 1, ...(turn === undefined ? {} : { turn }) });
    await assert.rejects(simulation.run(new Promise(() => {})), { code: "standstill" });
  });
}

test("a run that never comes to rest is stopped", async () => {
  const simulation = new Simulation({ seed: 1, eventCountMax: 1000 });
  const again = (): void => void simulation.schedule(1, again);
  again();
  await assert.rejects(simulation.runUntilIdle(), /no rest after 1000 events \(seed 1\)/);
});

test("timers do not keep a simulation busy, and run when time passes", async () => {
  const simulation = new Simulation({ seed: 1 });
  let beats = 0;
  const beat = (): void => {
    beats++;
    simulation.clock.after(10, beat);
  };
  simulation.clock.after(10, beat);
  await simulation.runUntilIdle();
  assert.equal(beats, 0);
  await simulation.runForMs(100);
  assert.equal(beats, 10);
});

test("an error in an event ends the run with that error", async () => {
  const simulation = new Simulation({ seed: 1 });
  simulation.schedule(1, () => {
    throw new Error("from within");
  });
  await assert.rejects(simulation.runUntilIdle(), /from within/);
});

test("odd behaviour is off unless asked for, and differs from seed to seed", () => {
  assert.equal(new Simulation({ seed: 1 }).buggify, undefined);
  const kinds = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const { buggify } = new Simulation({ seed, buggify: true });
    let fired = 0;
    for (let i = 0; i < 100; i++) if (buggify?.fires("site", 0.5) === true) fired++;
    assert.deepEqual(buggify?.sitesOn(), fired > 0 ? ["site"] : []);
    kinds.add(fired === 0 ? "off" : fired === 100 ? "always" : "sometimes");
  }
  assert.deepEqual([...kinds].toSorted(), ["off", "sometimes"]);
});
