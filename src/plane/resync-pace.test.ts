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
  readonly #spread: number;
  requestsPerSecond: number;
  /** For a reason that is not copying. */
  timesSlower = 1;
  /** What 10,000 blocks a second that are copied cost a request. */
  costMs = 1;
  readonly buckets: number[] = [...BOUNDS_MS, 0].map(() => 0);
  readonly pace = new AdaptivePace({
    clock: this.simulation.clock,
    latencies: () => ({ boundsMs: BOUNDS_MS, buckets: [...this.buckets] }),
  });
  copied = 0;
  lastBatch = 0;
  isBusy = false;
  isCopying = true;
  /** Latencies of the last moments. */
  readonly recent: number[] = [];
  #isOver = false;

  constructor(requestsPerSecond = 1000, spread = 0) {
    this.requestsPerSecond = requestsPerSecond;
    this.#spread = spread;
  }

  async use(): Promise<void> {
    let before = this.copied;
    let rate = 0;
    let due = 0;
    while (!this.#isOver) {
      await this.pass(10);
      rate = 0.7 * rate + 0.3 * (this.copied - before) * 100;
      before = this.copied;
      if (!this.isBusy) continue;
      for (due += this.requestsPerSecond / 100; due >= 1; due--) {
        const chance = Math.exp(this.#spread * normal(this.#prng));
        const ms = this.timesSlower * (2.5 + (this.costMs * rate) / 10_000) * chance;
        const bucket = BOUNDS_MS.findIndex((bound) => ms <= bound);
        this.buckets[bucket < 0 ? BOUNDS_MS.length : bucket]!++;
        this.recent.push(ms);
      }
    }
  }

  async copy(): Promise<void> {
    while (!this.#isOver) {
      if (!this.isCopying) {
        await this.pass(10);
        continue;
      }
      const count = await this.pace.turn(4096);
      this.lastBatch = count;
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

for (const requestsPerSecond of [80, 40, 15])
  test(`few requests come first, too: ${requestsPerSecond} a second`, async () => {
    const host = new Host(requestsPerSecond);
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

test("a busy moment leaves no slow pace behind when few requests come after it", async () => {
  const host = new Host(300);
  host.isBusy = true;
  await host.simulation.run(async () => {
    const all = [host.use(), host.copy()];
    await host.during(2000);
    host.timesSlower = 4;
    await host.during(1500);
    assert.ok((host.pace.rate ?? Infinity) < 1000, "it was held back");
    host.timesSlower = 1;
    host.requestsPerSecond = 32;
    await host.during(10_000);
    const rate = await host.during(20_000);
    assert.ok(rate > 4000, `${rate} blocks a second`);
    host.end();
    await Promise.all(all);
  });
});

test("what makes requests slow without copying holds it up for seconds only", async () => {
  const host = new Host(300);
  host.isBusy = true;
  await host.simulation.run(async () => {
    const all = [host.use(), host.copy()];
    await host.during(2000);
    host.timesSlower = 4;
    await host.during(4500);
    const rate = await host.during(5000);
    assert.ok(rate > 4000, `${rate} blocks a second`);
    host.end();
    await Promise.all(all);
  });
});

test("at its slowest pace copying goes on in small batches", async () => {
  const host = new Host();
  host.isBusy = true;
  host.costMs = 100;
  await host.simulation.run(async () => {
    const all = [host.use(), host.copy()];
    await host.during(20_000);
    for (let i = 0; i < 20; i++) {
      assert.ok((await host.during(2000)) > 32, "it goes on");
      assert.ok(host.lastBatch <= 128, `${host.lastBatch} blocks`);
    }
    host.end();
    await Promise.all(all);
  });
});

test("what is copied later begins as fast as what was copied first", async () => {
  const host = new Host();
  host.isBusy = true;
  await host.simulation.run(async () => {
    const all = [host.use(), host.copy()];
    await host.during(2000);
    host.costMs = 100;
    await host.during(18_000);
    assert.ok((host.pace.rate ?? Infinity) < 1000, "it was held back");
    host.isCopying = false;
    host.costMs = 1;
    await host.during(60_000);
    host.isCopying = true;
    const rate = await host.during(2000);
    assert.ok(rate > 4000, `${rate} blocks a second`);
    host.end();
    await Promise.all(all);
  });
});
