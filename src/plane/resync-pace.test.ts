import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Prng } from "../base/index.ts";
import { Simulation } from "../sim/index.ts";
import { AdaptivePace } from "./resync-pace.ts";

const BOUNDS_MS = [0.5, 1, 2, 3, 4, 6, 8, 12, 16, 32, 64];

/** Requests that take longer the faster it is copied; by chance, too, if they vary. */
class Host {
  readonly simulation = new Simulation({ seed: 7 });
  readonly #prng = new Prng(5);
  readonly #requestsPerSecond: number;
  readonly #spread: number;
  readonly buckets: number[] = [...BOUNDS_MS, 0].map(() => 0);
  readonly pace = new AdaptivePace({
    clock: this.simulation.clock,
    latencies: () => ({ boundsMs: BOUNDS_MS, buckets: [...this.buckets] }),
  });
  copied = 0;
  isBusy = false;
  /** Latencies of the last moments. */
  readonly recent: number[] = [];
  #isOver = false;

  constructor(requestsPerSecond = 1000, spread = 0) {
    this.#requestsPerSecond = requestsPerSecond;
    this.#spread = spread;
  }

  /** Each 10,000 blocks a second that are copied cost a request a millisecond. */
  async use(): Promise<void> {
    let before = this.copied;
    let rate = 0;
    let due = 0;
    while (!this.#isOver) {
      await this.pass(10);
      rate = 0.7 * rate + 0.3 * (this.copied - before) * 100;
      before = this.copied;
      if (!this.isBusy) continue;
      for (due += this.#requestsPerSecond / 100; due >= 1; due--) {
        const ms = (2.5 + rate / 10_000) * Math.exp(this.#spread * normal(this.#prng));
        const bucket = BOUNDS_MS.findIndex((bound) => ms <= bound);
        this.buckets[bucket < 0 ? BOUNDS_MS.length : bucket]!++;
        this.recent.push(ms);
      }
    }
  }

  async copy(): Promise<void> {
    while (!this.#isOver) {
      const count = await this.pace.turn(4096);
      // The disk makes 200,000 blocks a second.
      await this.pass(count / 200);
      this.copied += count;
    }
  }

  pass(ms: number): Promise<void> {
    return new Promise((resolve) => void this.simulation.clock.after(ms, resolve));
  }

  async during(ms: number): Promise<number> {
    const before = this.copied;
    this.recent.length = 0;
    await this.pass(ms);
    return ((this.copied - before) / ms) * 1000;
  }

  end(): void {
    this.#isOver = true;
  }
}

/** As near to the normal distribution as is needed here. */
function normal(prng: Prng): number {
  const sum = Array.from({ length: 12 }, () => prng.below(1_000_001) / 1e6).reduce(
    (a, b) => a + b,
    0,
  );
  return sum - 6;
}

test("nothing is held back while nobody asks for anything, and requests come first", async () => {
  const host = new Host();
  await host.simulation.run(async () => {
    const all = [host.use(), host.copy()];
    assert.ok((await host.during(3000)) > 150_000, "all that the disk can do");
    host.isBusy = true;
    await host.during(10_000);
    const busy = await host.during(20_000);
    const sorted = host.recent.toSorted((a, b) => a - b);
    const p99 = sorted[Math.floor(0.99 * sorted.length)]!;
    assert.ok(p99 <= 1.5 * 3.2, `requests took ${p99} ms`);
    assert.ok(busy > 3000, `copying went on: ${busy} blocks a second`);
    host.isBusy = false;
    await host.during(1000);
    assert.ok((await host.during(3000)) > 150_000, "as fast as before");
    host.end();
    await Promise.all(all);
  });
});

test("few requests that take now more, now less time by chance do not hold up copying", async () => {
  const host = new Host(80, 1);
  host.isBusy = true;
  await host.simulation.run(async () => {
    const all = [host.use(), host.copy()];
    await host.during(20_000);
    for (let i = 0; i < 12; i++) {
      const rate = await host.during(10_000);
      assert.ok(rate > 2000, `${rate} blocks a second`);
    }
    host.end();
    await Promise.all(all);
  });
});

test("few requests come first, too", async () => {
  const host = new Host(80);
  host.isBusy = true;
  await host.simulation.run(async () => {
    const all = [host.use(), host.copy()];
    await host.during(20_000);
    await host.during(60_000);
    const sorted = host.recent.toSorted((a, b) => a - b);
    assert.ok(sorted[Math.floor(0.9 * sorted.length)]! <= 1.5 * 3.2);
    host.end();
    await Promise.all(all);
  });
});
