import assert from "node:assert/strict";
import fc from "fast-check";
import { BLOCK_SIZE_BYTES, isZero, Prng } from "../../base/index.ts";
import { WideBlockCipher } from "../../platform/index.ts";
import { fakeMemory } from "../../../test/support/fake-component.ts";
import { StoppingSource } from "../../../test/support/stopping-source.ts";
import { test } from "../../../test/support/test.ts";
import { Requests, turn } from "../../../test/support/volume-bench.ts";
import { EncryptedVolume } from "./encrypted-volume.ts";
import { ScratchMemory } from "./scratch-memory.ts";

const BLOCKS = 16;
const SIZE_BYTES = BLOCKS * BLOCK_SIZE_BYTES;
const SECTORS = SIZE_BYTES / 512;
const CIPHER = new WideBlockCipher(new Uint8Array(32).fill(0x42));

/** An encrypted volume over a source that holds what is encrypted. */
class Bench {
  readonly stored: Uint8Array;
  readonly source: StoppingSource;
  readonly volume: EncryptedVolume;
  readonly requests: Requests;

  constructor(seed: number, sizeBytes = SIZE_BYTES, memory = new ScratchMemory(fakeMemory)) {
    this.stored = new Uint8Array(sizeBytes);
    this.source = new StoppingSource(this.stored, new Prng(seed));
    this.volume = new EncryptedVolume(this.source, CIPHER, memory);
    this.requests = new Requests(this.volume);
  }

  async answerAll(): Promise<void> {
    for (;;) {
      await turn();
      if (this.source.pendingCount === 0) return;
      this.source.step();
    }
  }

  /** What the source must hold for a volume of these bytes. */
  encrypted(model: Uint8Array): Uint8Array {
    const bytes = new Uint8Array(model.length);
    for (let at = 0; at < model.length; at += BLOCK_SIZE_BYTES)
      if (!isZero(model, at, at + BLOCK_SIZE_BYTES)) CIPHER.encrypt(model, at, bytes, at);
    return bytes;
  }
}

const anyRequest = fc.record({
  kind: fc.constantFrom("write", "read", "discard", "zero", "keep", "flush"),
  first: fc.nat(SECTORS - 1),
  count: fc.oneof(fc.integer({ min: 1, max: 24 }), fc.constant(8)),
  isAligned: fc.boolean(),
  /** 0: the payload is zeroes. */
  fill: fc.nat(3),
  /** Answers of the source before the next call. */
  steps: fc.nat(3),
});

type AnyRequest = typeof anyRequest extends fc.Arbitrary<infer T> ? T : never;

function call(bench: Bench, model: Uint8Array, one: AnyRequest): Promise<void> {
  const { requests } = bench;
  const first = one.isAligned ? one.first - (one.first % 8) : one.first;
  const count = Math.min(one.isAligned ? 8 * Math.ceil(one.count / 8) : one.count, SECTORS - first);
  const [offset, lengthBytes] = [first * 512, count * 512];
  const range = [offset, offset + lengthBytes] as const;
  const succeeds = async (answer: Promise<string | undefined>): Promise<void> =>
    assert.equal(await answer, undefined);
  switch (one.kind) {
    case "write": {
      const bytes = new Uint8Array(lengthBytes).fill(one.fill);
      model.set(bytes, offset);
      return succeeds(requests.write(bytes, offset));
    }
    case "read": {
      const expected = model.slice(...range);
      return requests.read(offset, lengthBytes).then(({ fault, bytes }) => {
        assert.equal(fault, undefined);
        assert.deepEqual(bytes, expected);
      });
    }
    case "discard":
      model.fill(0, ...range);
      return succeeds(requests.discard(offset, lengthBytes));
    case "flush":
      return succeeds(requests.flush());
    default:
      model.fill(0, ...range);
      return succeeds(requests.zero(offset, lengthBytes, one.kind === "keep"));
  }
}

test("any requests at once leave what they would leave one after the other, encrypted", async () => {
  const property = fc.asyncProperty(
    fc.array(anyRequest, { minLength: 1, maxLength: 30 }),
    fc.integer({ min: 1, max: 1 << 30 }),
    fc.boolean(),
    async (all, seed, isInMemory) => {
      const bench = new Bench(seed);
      bench.source.isInMemory = isInMemory;
      const model = new Uint8Array(SIZE_BYTES);
      const checks: Promise<void>[] = [];
      for (const one of all) {
        checks.push(call(bench, model, one));
        for (let i = 0; i < one.steps && bench.source.pendingCount > 0; i++) bench.source.step();
        if (one.steps > 0) await turn();
      }
      await bench.answerAll();
      await Promise.all(checks);
      assert.deepEqual(bench.stored, bench.encrypted(model));
    },
  );
  await fc.assert(property, { numRuns: 150 });
});

test("writes to parts of one block at once lose nothing of each other", async () => {
  const bench = new Bench(1);
  const model = new Uint8Array(SIZE_BYTES);
  const writes: Promise<string | undefined>[] = [];
  for (let sector = 0; sector < 8; sector++) {
    const bytes = new Uint8Array(512).fill(sector + 1);
    model.set(bytes, 4096 + sector * 512);
    writes.push(bench.requests.write(bytes, 4096 + sector * 512));
  }
  await bench.answerAll();
  for (const write of writes) assert.equal(await write, undefined);
  assert.deepEqual(bench.stored, bench.encrypted(model));
});

test("requests longer than the memory for one piece are whole", async () => {
  const bench = new Bench(2, 4 << 20);
  const bytes = Uint8Array.from({ length: 3 << 20 }, (_, i) => (i >> 9) + 1);
  const write = bench.requests.write(bytes, 512);
  await bench.answerAll();
  assert.equal(await write, undefined);
  const read = bench.requests.read(512, bytes.length);
  await bench.answerAll();
  assert.ok(Buffer.compare((await read).bytes, bytes) === 0);
  bench.source.isInMemory = true;
  assert.ok(
    Buffer.compare((await bench.requests.read(4096, 65536)).bytes, bytes.subarray(3584, 69120)) ===
      0,
  );
  assert.equal(bench.source.readNowCount, 1);
});

test("what is read at once is what was written, and nothing while a change is under way", async () => {
  const bench = new Bench(3);
  const write = bench.requests.write(new Uint8Array(8192).fill(7), 4096);
  const target = fakeMemory(8192);
  bench.source.isInMemory = true;
  assert.equal(bench.volume.readNow(target, 0, 8192, 4096), false);
  await bench.answerAll();
  await write;
  assert.equal(bench.volume.readNow(target, 0, 8192, 4096), true);
  assert.ok(target.bytes.every((byte) => byte === 7));
  assert.equal(bench.volume.readNow(target, 0, 512, 4096), false, "a part of a block");
});

test("into the target of a read go readable bytes only", async () => {
  const bench = new Bench(4);
  const write = bench.requests.write(new Uint8Array(4096).fill(7), 0);
  await bench.answerAll();
  await write;
  const target = fakeMemory(4096);
  const seen: unknown[] = [];
  const { source } = bench;
  const read = source.read.bind(source);
  source.read = (memory, ...rest) => {
    seen.push(memory);
    read(memory, ...rest);
  };
  let isDone = false;
  bench.volume.read(target, 0, 4096, 0, () => (isDone = true), 0);
  await bench.answerAll();
  assert.ok(isDone && target.bytes.every((byte) => byte === 7));
  assert.ok(seen.length === 1 && seen[0] !== target);
});

test("a block that cannot be read is not written in part, and faults reach their requests", async () => {
  const bench = new Bench(5);
  const whole = bench.requests.write(new Uint8Array(SIZE_BYTES).fill(9), 0);
  await bench.answerAll();
  await whole;
  const before = bench.stored.slice();
  bench.source.fault = "io-error";
  const answers = [
    bench.requests.write(new Uint8Array(512), 0),
    bench.requests.discard(8192 + 512, 8192),
    bench.requests.write(new Uint8Array(8192), 32768 + 1024),
    bench.requests.read(0, 4096).then(({ fault }) => fault),
  ];
  await bench.answerAll();
  assert.deepEqual(
    await Promise.all(answers),
    answers.map(() => "io-error"),
  );
  assert.deepEqual(bench.stored, before);
});

test("volumes that follow each other use the same memory, whatever became of their requests", async () => {
  let allocations = 0;
  const memory = new ScratchMemory((lengthBytes) => {
    allocations++;
    return fakeMemory(lengthBytes);
  });
  const seen: number[] = [];
  for (let round = 0; round < 4; round++) {
    const bench = new Bench(7, SIZE_BYTES, memory);
    const all = [
      bench.requests.read(0, SIZE_BYTES).then(({ fault }) => fault),
      bench.requests.write(new Uint8Array(512).fill(1), 512),
      bench.requests.discard(512, 8192),
    ];
    if (round % 2 === 1) bench.source.stop();
    await bench.answerAll();
    await Promise.all(all);
    seen.push(allocations);
  }
  assert.deepEqual(seen, [seen[0], seen[0], seen[0], seen[0]]);
});

test("front ends hold back while the volume has no room", async () => {
  const bench = new Bench(6);
  bench.source.isFull = true;
  assert.equal(bench.volume.hasRoom(), false);
  let calls = 0;
  bench.volume.onRoom(() => calls++);
  await turn();
  assert.equal(calls, 0);
  bench.source.makeRoom();
  await turn();
  assert.equal(calls, 1);
});
