/** What every `Clock` promises, as tests. */
import assert from "node:assert/strict";
import type { Clock } from "../../src/ports/index.ts";
import { registerSuite, type Promises, type World } from "./world.ts";

export interface ClockWorld extends World {
  readonly clock: Clock;
}

const JANUARY_2024_MS = 1_704_067_200_000;

const pass = (clock: Clock, ms: number): Promise<void> =>
  new Promise((resolve) => clock.after(ms, resolve));

const promises: Promises<ClockWorld> = {
  "time does not run backwards": async ({ clock }) => {
    let last = clock.nowMs();
    for (let i = 0; i < 20; i++) {
      await pass(clock, i % 3);
      assert.ok(clock.nowMs() >= last);
      last = clock.nowMs();
    }
  },
  "a timer comes no earlier than asked for": async ({ clock }) => {
    for (const delayMs of [0, 1, 7, 20]) {
      const startMs = clock.nowMs();
      await pass(clock, delayMs);
      const passedMs = clock.nowMs() - startMs;
      assert.ok(passedMs >= delayMs, `${passedMs} ms instead of ${delayMs}`);
    }
  },
  "a timer never runs inside the call": async ({ clock }) => {
    let hasRun = false;
    await new Promise<void>((resolve) => {
      clock.after(0, () => {
        hasRun = true;
        resolve();
      });
      assert.equal(hasRun, false);
    });
    assert.equal(hasRun, true);
  },
  "timers run in the order of their times, each once": async ({ clock }) => {
    const order: number[] = [];
    await Promise.all(
      [40, 10, 30, 20].map(async (delayMs) => {
        await pass(clock, delayMs);
        order.push(delayMs);
      }),
    );
    assert.deepEqual(order, [10, 20, 30, 40]);
  },
  "a cancelled timer does not run, and cancelling again does nothing": async ({ clock }) => {
    let runs = 0;
    const timer = clock.after(5, () => runs++);
    timer.cancel();
    timer.cancel();
    await pass(clock, 20);
    assert.equal(runs, 0);
  },
  "a timer that ran may be cancelled, and one may cancel another": async ({ clock }) => {
    let runs = 0;
    const other = clock.after(30, () => runs++);
    const timer = clock.after(1, () => {
      runs++;
      other.cancel();
    });
    await pass(clock, 60);
    timer.cancel();
    assert.equal(runs, 1);
  },
  "the wall clock tells a plausible date": async ({ clock }) => {
    assert.ok(clock.wallMs() > JANUARY_2024_MS);
    assert.ok(clock.wallMs() < JANUARY_2024_MS + 50 * 365 * 86_400_000);
  },
};

export function clockConformance(name: string, open: () => Promise<ClockWorld>): void {
  registerSuite(name, open, [promises]);
}
