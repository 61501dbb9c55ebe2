import assert from "node:assert/strict";
import { CodedError, Prng } from "../../base/index.ts";
import type { VolumeIo } from "../../object/index.ts";
import { KeptLog } from "../../../test/nbd/quiet-ports.ts";
import { TestClock } from "../../../test/nbd/test-ports.ts";
import { fakeMemory } from "../../../test/support/fake-component.ts";
import { StoppingSource } from "../../../test/support/stopping-source.ts";
import { test } from "../../../test/support/test.ts";
import { randomBytes, randomRange, Requests } from "../../../test/support/volume-bench.ts";
import { HeldVolume } from "./held-volume.ts";

const SIZE_BYTES = 1 << 20;
const DEADLINE_MS = 60_000;

async function turn(): Promise<void> {
  for (let i = 0; i < 8; i++) await Promise.resolve();
}

/** A held volume whose sources share their content. */
class Bench {
  readonly clock = new TestClock();
  readonly log = new KeptLog();
  readonly content = new Uint8Array(SIZE_BYTES);
  readonly sources: StoppingSource[] = [];
  readonly volume: HeldVolume;
  readonly requests: Requests;
  /** What `reopen` does next; by default it makes a new source. */
  reopen: () => Promise<VolumeIo> = () => Promise.resolve(this.makeSource());
  reopenCalls = 0;
  isInMemory = false;
  readonly #prng: Prng;

  constructor(prng: Prng) {
    this.#prng = prng;
    this.volume = new HeldVolume(this, {
      name: "v",
      sizeBytes: SIZE_BYTES,
      readOnly: false,
      allocate: fakeMemory,
      volume: this.makeSource(),
      reopen: () => {
        this.reopenCalls++;
        return this.reopen();
      },
    });
    this.requests = new Requests(this.volume);
  }

  get source(): StoppingSource {
    return this.sources.at(-1)!;
  }

  makeSource(): StoppingSource {
    const source = new StoppingSource(this.content, this.#prng);
    source.isInMemory = this.isInMemory;
    this.sources.push(source);
    return source;
  }

  /** Everything that sources have to answer is answered. */
  async answerAll(): Promise<void> {
    for (;;) {
      await turn();
      const busy = this.sources.find(({ pendingCount }) => pendingCount > 0);
      if (busy === undefined) return;
      busy.step();
    }
  }
}

const refuse = (): Promise<VolumeIo> =>
  Promise.reject(new CodedError({ code: "object-inaccessible", message: "not yet" }));

interface Run {
  readonly bench: Bench;
  readonly prng: Prng;
  readonly model: Uint8Array;
  readonly checks: Promise<void>[];
  /** Numbers of the changes that are not answered. */
  readonly unanswered: Set<number>;
}

function callSomething(run: Run): void {
  const { bench, prng, model, checks, unanswered } = run;
  const { requests } = bench;
  const { offset, lengthBytes } = randomRange(prng, SIZE_BYTES);
  const number = checks.length;
  const change = (answer: Promise<string | undefined>): void => {
    unanswered.add(number);
    const check = answer.then((fault) => {
      unanswered.delete(number);
      assert.equal(fault, undefined);
    });
    checks.push(check);
  };
  const kind = prng.below(10);
  if (kind < 5) {
    const bytes = randomBytes(prng, lengthBytes);
    model.set(bytes, offset);
    change(requests.write(bytes, offset));
  } else if (kind < 8) {
    const expected = model.slice(offset, offset + lengthBytes);
    const check = requests.read(offset, lengthBytes).then(({ fault, bytes }) => {
      assert.equal(fault, undefined);
      assert.ok(Buffer.compare(bytes, expected) === 0, `a read at ${offset}+${lengthBytes}`);
    });
    checks.push(check);
  } else if (kind === 8) {
    model.fill(0, offset, offset + lengthBytes);
    if (prng.chance(0.5)) change(requests.discard(offset, lengthBytes));
    else change(requests.zero(offset, lengthBytes, true));
  } else {
    const before = [...unanswered];
    const check = requests.flush().then((fault) => {
      assert.equal(fault, undefined);
      assert.ok(!before.some((earlier) => unanswered.has(earlier)), "a flush came too early");
    });
    checks.push(check);
  }
}

async function runWithStops(seed: number): Promise<void> {
  const prng = new Prng(seed);
  const bench = new Bench(prng.fork());
  bench.isInMemory = seed % 2 === 0;
  bench.source.isInMemory = bench.isInMemory;
  const model = new Uint8Array(SIZE_BYTES);
  const run: Run = { bench, prng, model, checks: [], unanswered: new Set() };
  bench.reopen = () => (prng.chance(0.3) ? refuse() : Promise.resolve(bench.makeSource()));
  for (let calls = 0; calls < 250 || bench.requests.pendingCount > 0;) {
    const chance = prng.below(100);
    const busy = bench.sources.filter(({ pendingCount }) => pendingCount > 0);
    if (chance < 45 && calls < 250 && bench.requests.pendingCount < 40) {
      calls++;
      callSomething(run);
    } else if (chance < 92 && busy.length > 0) prng.pick(busy).step();
    else if (chance < 96) {
      bench.source.stop();
      if (prng.chance(0.5)) bench.volume.sourceStopped(bench.source, "a test");
    } else bench.clock.advance(20);
    if (prng.chance(0.5)) await turn();
  }
  await Promise.all(run.checks);
  assert.ok(Buffer.compare(bench.content, model) === 0, `contents of seed ${seed}`);
  assert.ok(bench.volume.reopenCount > 0, `no source stopped with seed ${seed}`);
  const isReadNow = bench.sources.some(({ readNowCount }) => readNowCount > 0);
  assert.equal(isReadNow, bench.isInMemory, `reads at once with seed ${seed}`);
}

test("whatever moment a source stops at, nothing is lost, reordered or answered twice", async () => {
  for (let seed = 1; seed <= 20; seed++) await runWithStops(seed);
});

test("requests are held while there is no source, and go on with the next one", async () => {
  const bench = new Bench(new Prng(1));
  let give: (volume: VolumeIo) => void = () => assert.fail("nobody asked for a source");
  bench.reopen = () => new Promise((resolve) => (give = resolve));
  bench.volume.sourceStopped(bench.source, "planned");
  assert.equal(bench.volume.state, "holding");
  const writing = bench.requests.write(new Uint8Array(4096).fill(7), 8192);
  const reading = bench.requests.read(8192, 4096);
  const extents = bench.volume.extents(0, 4096, 8);
  const flushing = bench.requests.flush();
  await turn();
  assert.equal(bench.requests.pendingCount, 3);
  assert.equal(bench.source.requestCount, 0);
  give(bench.makeSource());
  await bench.answerAll();
  assert.equal(await writing, undefined);
  assert.equal(await flushing, undefined);
  assert.equal((await reading).bytes[0], 7);
  assert.equal((await extents).length, 1);
  assert.equal(bench.volume.state, "open");
  assert.ok(bench.source.submitCount > 0, "what was issued again was submitted");
});

test("after the deadline requests fail, new ones at once, until there is a source", async () => {
  const bench = new Bench(new Prng(1));
  bench.reopen = refuse;
  const inSource = bench.requests.write(new Uint8Array(512), 0);
  const behindIt = bench.requests.write(new Uint8Array(512), 0);
  bench.source.stop();
  await bench.answerAll();
  const held = bench.requests.read(4096, 512);
  const flushed = bench.requests.flush();
  for (let ms = 0; ms < DEADLINE_MS - 1000; ms += 100) {
    bench.clock.advance(100);
    await turn();
  }
  assert.equal(bench.requests.pendingCount, 4);
  assert.ok(bench.reopenCalls > 20 && bench.reopenCalls < 50, `${bench.reopenCalls} attempts`);
  for (let ms = 0; ms <= 1000; ms += 100) bench.clock.advance(100);
  await turn();
  for (const answer of [inSource, behindIt, flushed]) assert.equal(await answer, "io-error");
  assert.equal((await held).fault, "io-error");
  assert.equal(bench.volume.state, "failing");
  assert.equal((await bench.requests.read(0, 512)).fault, "io-error");
  assert.equal(await bench.requests.flush(), "io-error");
  await assert.rejects(bench.volume.extents(0, 512, 1), { code: "io-error" });
  bench.reopen = () => Promise.resolve(bench.makeSource());
  bench.clock.advance(2000);
  await turn();
  assert.equal(bench.volume.state, "open");
  const again = bench.requests.read(0, 512);
  await bench.answerAll();
  assert.equal((await again).fault, undefined);
});

test("a request that bounces off every source fails at its own deadline", async () => {
  const bench = new Bench(new Prng(1));
  bench.reopen = () => {
    const source = bench.makeSource();
    source.fault = "unreachable";
    return Promise.resolve(source);
  };
  bench.source.fault = "unreachable";
  const writing = bench.requests.write(new Uint8Array(512), 0);
  for (let ms = 0; bench.requests.pendingCount > 0 && ms <= 2 * DEADLINE_MS; ms += 100) {
    bench.clock.advance(100);
    await bench.answerAll();
  }
  assert.equal(await writing, "io-error");
  assert.ok(bench.clock.nowMs() < DEADLINE_MS + 5000, "the deadline is held");
  assert.ok(bench.reopenCalls < 60, `${bench.reopenCalls} sources that were no good`);
});

test("faults that are no stop go to the client", async () => {
  const bench = new Bench(new Prng(1));
  for (const fault of ["no-space", "io-error", "shutting-down"] as const) {
    bench.source.fault = fault;
    const writing = bench.requests.write(new Uint8Array(512), 0);
    await bench.answerAll();
    assert.equal(await writing, fault);
  }
  assert.equal(bench.reopenCalls, 0);
});

test("a next source that is smaller is not taken", async () => {
  const bench = new Bench(new Prng(1));
  const small = new StoppingSource(new Uint8Array(4096), new Prng(1));
  bench.reopen = () => Promise.resolve(bench.reopenCalls === 1 ? small : bench.makeSource());
  bench.volume.sourceStopped(bench.source, "a test");
  await turn();
  assert.equal(bench.volume.state, "holding");
  assert.equal(bench.log.lines.filter(({ message }) => message.includes("no source")).length, 1);
  bench.clock.advance(50);
  await turn();
  assert.equal(bench.volume.state, "open");
});

test("copies and full sources ask front ends to hold back, and they hear when there is room", async () => {
  const bench = new Bench(new Prng(1));
  const answers: Promise<string | undefined>[] = [];
  while (bench.volume.hasRoom()) answers.push(bench.requests.write(new Uint8Array(SIZE_BYTES), 0));
  assert.ok(answers.length > 30 && answers.length < 36, `${answers.length} writes of 1 MiB`);
  let calls = 0;
  bench.volume.onRoom(() => calls++);
  await turn();
  assert.equal(calls, 0);
  await bench.answerAll();
  assert.equal(calls, 1);
  await Promise.all(answers);
  bench.source.isFull = true;
  assert.equal(bench.volume.hasRoom(), false);
  bench.volume.onRoom(() => calls++);
  await turn();
  assert.equal(calls, 1);
  bench.source.makeRoom();
  await turn();
  assert.equal(calls, 2);
});

test("a full source that stops keeps nobody waiting for room", async () => {
  const bench = new Bench(new Prng(1));
  let calls = 0;
  bench.source.isFull = true;
  bench.volume.onRoom(() => calls++);
  await turn();
  bench.volume.sourceStopped(bench.source, "a test");
  await turn();
  assert.equal(calls, 1);
});

test("closing refuses what is held, and waits for what the source has", async () => {
  const bench = new Bench(new Prng(1));
  bench.reopen = refuse;
  const inSource = bench.requests.write(new Uint8Array(512), 0);
  bench.source.stop();
  bench.volume.sourceStopped(bench.source, "a test");
  const held = bench.requests.write(new Uint8Array(512), 4096);
  let isClosed = false;
  const closing = bench.volume.close().then(() => (isClosed = true));
  assert.equal(await held, "shutting-down");
  await turn();
  assert.equal(isClosed, false);
  await bench.answerAll();
  assert.equal(await inSource, "shutting-down");
  await closing;
  assert.equal((await bench.requests.read(0, 512)).fault, "shutting-down");
  assert.equal(bench.clock.timerCount, 0);
});
