/**
 * What every `Disk` promises, as tests. An adapter's own test file calls `diskConformance` with a
 * way to make a disk and to open the same bytes again.
 */
import assert from "node:assert/strict";
import { AssertionError, isZero, Prng } from "../../src/base/index.ts";
import { DiskRequests } from "../../src/ports/index.ts";
import type { Disk, DiskFault, DiskMemory } from "../../src/ports/index.ts";
import { registerSuite, type Promises, type World } from "./world.ts";

export interface DiskWorld extends World {
  /** A disk of `DISK_CONFORMANCE_BYTES`, never written. */
  readonly disk: Disk;
  /** The same bytes again, after `close` of the disk before. */
  reopen(): Promise<Disk>;
}

export const DISK_CONFORMANCE_BYTES: number = 8 << 20;

const PAGE = 4096;

type DiskTest = (world: DiskWorld, disk: Disk, requests: DiskRequests) => Promise<void>;

function filled(disk: Disk, length: number, seed: number): DiskMemory {
  const memory = disk.allocate(length);
  new Prng(seed).fill(memory.bytes);
  return memory;
}

async function readBack(disk: Disk, offset: number, length: number): Promise<Uint8Array> {
  const memory = disk.allocate(length);
  memory.bytes.fill(0xaa);
  await new DiskRequests(disk).read(memory, 0, length, offset);
  return memory.bytes;
}

async function assertHolds(disk: Disk, offset: number, expected: Uint8Array): Promise<void> {
  const bytes = await readBack(disk, offset, expected.length);
  assert.equal(Buffer.compare(bytes, expected), 0, `bytes at ${offset} differ`);
}

async function assertZero(disk: Disk, offset: number, length: number): Promise<void> {
  assert.ok(isZero(await readBack(disk, offset, length), 0, length), `bytes at ${offset} not zero`);
}

/** Collects completions and lets a test wait for a number of them. */
class Completions {
  readonly tokens: number[] = [];
  readonly faults: (DiskFault | undefined)[] = [];
  #wanted = Infinity;
  #resolve: (() => void) | undefined;

  readonly done = (token: number, fault: DiskFault | undefined): void => {
    this.tokens.push(token);
    this.faults.push(fault);
    if (this.tokens.length >= this.#wanted) this.#resolve?.();
  };

  async reach(count: number): Promise<void> {
    if (this.tokens.length >= count) return;
    this.#wanted = count;
    await new Promise<void>((resolve) => (this.#resolve = resolve));
  }
}

const contents: Record<string, DiskTest> = {
  "what was never written reads as zeroes": async (_world, disk) => {
    await assertZero(disk, 0, 64 * PAGE);
    await assertZero(disk, disk.sizeBytes - PAGE, PAGE);
  },
  "what was written is read back and its neighbours stay": async (_world, disk, requests) => {
    const memory = filled(disk, 4 * PAGE, 1);
    await requests.write(memory, 0, 4 * PAGE, 8 * PAGE);
    await assertHolds(disk, 8 * PAGE, memory.bytes);
    await assertZero(disk, 0, 8 * PAGE);
    await assertZero(disk, 12 * PAGE, 8 * PAGE);
  },
  "the last bytes of the disk can be written": async (_world, disk, requests) => {
    const memory = filled(disk, PAGE, 2);
    await requests.write(memory, 0, PAGE, disk.sizeBytes - PAGE);
    await assertHolds(disk, disk.sizeBytes - PAGE, memory.bytes);
  },
  "a part of the memory is written and read alone": async (_world, disk, requests) => {
    const memory = filled(disk, 8 * PAGE, 3);
    await requests.write(memory, 2 * PAGE, 2 * PAGE, 0);
    const target = disk.allocate(4 * PAGE);
    await requests.read(target, PAGE, 2 * PAGE, 0);
    assert.ok(isZero(target.bytes, 0, PAGE));
    const written = memory.bytes.subarray(2 * PAGE, 4 * PAGE);
    assert.equal(Buffer.compare(target.bytes.subarray(PAGE, 3 * PAGE), written), 0);
    assert.ok(isZero(target.bytes, 3 * PAGE, 4 * PAGE));
  },
  "a request at the smallest alignment changes that much": async (_world, disk, requests) => {
    const unit = disk.alignmentBytes;
    const memory = filled(disk, unit, 4);
    await requests.write(memory, 0, unit, 3 * unit);
    await assertHolds(disk, 3 * unit, memory.bytes);
    await assertZero(disk, 2 * unit, unit);
    await assertZero(disk, 4 * unit, unit);
  },
  "a request of 1 MiB is one request": async (_world, disk, requests) => {
    const memory = filled(disk, 1 << 20, 5);
    await requests.write(memory, 0, 1 << 20, 1 << 20);
    await assertHolds(disk, 1 << 20, memory.bytes);
  },
  "a punched range reads as zeroes and its neighbours stay": async (_world, disk, requests) => {
    const memory = filled(disk, 16 * PAGE, 6);
    await requests.write(memory, 0, 16 * PAGE, 0);
    await requests.punch(4 * PAGE, 8 * PAGE);
    await assertHolds(disk, 0, memory.bytes.subarray(0, 4 * PAGE));
    await assertZero(disk, 4 * PAGE, 8 * PAGE);
    await assertHolds(disk, 12 * PAGE, memory.bytes.subarray(12 * PAGE));
  },
  "a punched range can be written again": async (_world, disk, requests) => {
    const memory = filled(disk, PAGE, 7);
    await requests.punch(0, 4 * PAGE);
    await requests.write(memory, 0, PAGE, PAGE);
    await assertHolds(disk, PAGE, memory.bytes);
    await assertZero(disk, 2 * PAGE, PAGE);
  },
  "random writes, punches and reads behave as an array of bytes does": async (_w, disk) => {
    await compareWithModel(disk, 11);
  },
};

async function compareWithModel(disk: Disk, seed: number): Promise<void> {
  const prng = new Prng(seed);
  const requests = new DiskRequests(disk);
  const pages = disk.sizeBytes / PAGE;
  const model = new Uint8Array(disk.sizeBytes);
  for (let round = 0; round < 30; round++) {
    // Ranges of one round lie apart: requests under way together have no order.
    const span = Math.floor(pages / 16);
    const jobs = Array.from({ length: 16 }, async (_, slot) => {
      const first = slot * span + prng.below(span - 16);
      const count = 1 + prng.below(16);
      const range = model.subarray(first * PAGE, (first + count) * PAGE);
      const choice = prng.below(10);
      if (choice < 5) {
        const memory = filled(disk, count * PAGE, prng.u32());
        range.set(memory.bytes);
        await requests.write(memory, 0, count * PAGE, first * PAGE);
      } else if (choice < 6) {
        range.fill(0);
        await requests.punch(first * PAGE, count * PAGE);
      } else if (choice < 7) await requests.flush();
      else await assertHolds(disk, first * PAGE, range);
    });
    await Promise.all(jobs);
  }
  await assertHolds(disk, 0, model);
}

const durability: Record<string, DiskTest> = {
  "a flushed write survives reopening": async (world, disk, requests) => {
    const memory = filled(disk, 4 * PAGE, 21);
    const expected = memory.bytes.slice();
    await requests.write(memory, 0, 4 * PAGE, 5 * PAGE);
    await requests.flush();
    await disk.close();
    const again = await world.reopen();
    await assertHolds(again, 5 * PAGE, expected);
    await assertZero(again, 0, 5 * PAGE);
    assert.equal(again.sizeBytes, DISK_CONFORMANCE_BYTES);
    await again.close();
  },
  "a write within a flushed range survives reopening": async (world, disk, requests) => {
    const memory = filled(disk, 4 * PAGE, 23);
    const expected = memory.bytes.slice();
    await requests.write(memory, 0, 4 * PAGE, 5 * PAGE);
    await requests.flushRange(5 * PAGE, 4 * PAGE);
    await disk.close();
    const again = await world.reopen();
    await assertHolds(again, 5 * PAGE, expected);
    await again.close();
  },
  "a flushed punch survives reopening": async (world, disk, requests) => {
    const memory = filled(disk, 4 * PAGE, 22);
    await requests.write(memory, 0, 4 * PAGE, 0);
    await requests.punch(0, 2 * PAGE);
    await requests.flush();
    const expected = memory.bytes.slice(2 * PAGE);
    await disk.close();
    const again = await world.reopen();
    await assertZero(again, 0, 2 * PAGE);
    await assertHolds(again, 2 * PAGE, expected);
    await again.close();
  },
  "a flush of an untouched disk completes": async (_world, _disk, requests) => {
    await requests.flush();
  },
  "close waits for requests under way": async (world, disk) => {
    const completions = new Completions();
    const memory = filled(disk, 64 * PAGE, 23);
    const expected = memory.bytes.slice();
    for (let i = 0; i < 64; i++) {
      disk.write(memory, i * PAGE, PAGE, i * PAGE, completions.done, i);
    }
    await disk.close();
    assert.equal(completions.tokens.length, 64);
    const again = await world.reopen();
    await assertHolds(again, 0, expected);
    await again.close();
  },
  "a disk that is open cannot be opened a second time": async (world) => {
    await assert.rejects(world.reopen(), { code: "device-in-use" });
  },
};

const completion: Record<string, DiskTest> = {
  "no completion comes from inside the call": async (_world, disk) => {
    const completions = new Completions();
    const memory = disk.allocate(PAGE);
    const calls = [
      () => disk.write(memory, 0, PAGE, 0, completions.done, 1),
      () => disk.flush(completions.done, 2),
      () => disk.punch(0, PAGE, completions.done, 3),
      () => disk.read(memory, 0, PAGE, 0, completions.done, 4),
      () => disk.submit(),
    ];
    for (const [index, call] of calls.entries()) {
      const before = completions.tokens.length;
      call();
      assert.equal(completions.tokens.length, before, `call ${index} completed at once`);
      await completions.reach(Math.min(index + 1, 4));
    }
  },
  "requests of one turn all complete, each token once, without submit": async (_world, disk) => {
    const completions = new Completions();
    const memory = disk.allocate(64 * PAGE);
    for (let i = 0; i < 64; i++) {
      if (i % 4 === 0) disk.flush(completions.done, i);
      else if (i % 4 === 1) disk.punch(i * PAGE, PAGE, completions.done, i);
      else if (i % 4 === 2) disk.write(memory, i * PAGE, PAGE, i * PAGE, completions.done, i);
      else disk.read(memory, i * PAGE, PAGE, i * PAGE, completions.done, i);
    }
    await completions.reach(64);
    assert.deepEqual(
      completions.tokens.toSorted((a, b) => a - b),
      [...Array(64).keys()],
    );
    assert.ok(completions.faults.every((fault) => fault === undefined));
  },
  "far more requests than any queue holds all complete": async (_world, disk) => {
    const completions = new Completions();
    const memory = filled(disk, 16 * PAGE, 31);
    const count = 3000;
    for (let i = 0; i < count; i++) {
      const page = i % (disk.sizeBytes / PAGE);
      disk.write(memory, (i % 16) * PAGE, PAGE, page * PAGE, completions.done, i);
    }
    disk.submit();
    await completions.reach(count);
    assert.equal(new Set(completions.tokens).size, count);
    assert.ok(completions.faults.every((fault) => fault === undefined));
  },
  "tokens come back as they were given, equal ones as often as given": async (_world, disk) => {
    const completions = new Completions();
    const memory = disk.allocate(PAGE);
    const tokens = [0, 7, 7, 2 ** 31, 2 ** 45];
    for (const token of tokens) disk.read(memory, 0, PAGE, 0, completions.done, token);
    await completions.reach(tokens.length);
    assert.deepEqual(
      completions.tokens.toSorted((a, b) => a - b),
      tokens,
    );
  },
  "a completion may make the next request": async (_world, disk) => {
    const memory = disk.allocate(PAGE);
    const order: number[] = [];
    await new Promise<void>((resolve) => {
      const done = (token: number, fault: DiskFault | undefined): void => {
        assert.equal(fault, undefined);
        order.push(token);
        if (token === 300) resolve();
        else disk.write(memory, 0, PAGE, token * PAGE, done, token + 1);
      };
      disk.flush(done, 0);
    });
    assert.deepEqual(order, [...Array(301).keys()]);
  },
};

const misuse: Record<string, DiskTest> = {
  "unaligned requests are refused by assertion": async (_world, disk) => {
    const memory = disk.allocate(4 * PAGE);
    const none = (): void => assert.fail("a refused request completed");
    const half = disk.alignmentBytes / 2;
    for (const [at, length, offset] of [
      [0, PAGE, half],
      [0, half, 0],
      [half, PAGE, 0],
      [0, 0, 0],
    ] as const) {
      assert.throws(() => disk.read(memory, at, length, offset, none, 1), AssertionError);
      assert.throws(() => disk.write(memory, at, length, offset, none, 1), AssertionError);
      if (at === 0) assert.throws(() => disk.punch(offset, length, none, 1), AssertionError);
    }
  },
  "requests beyond the disk or the memory are refused by assertion": async (_world, disk) => {
    const memory = disk.allocate(PAGE);
    const none = (): void => assert.fail("a refused request completed");
    for (const [at, length, offset] of [
      [0, PAGE, disk.sizeBytes],
      [0, 2 * PAGE, 0],
      [PAGE, PAGE, 0],
      [0, PAGE, -PAGE],
    ] as const) {
      assert.throws(() => disk.read(memory, at, length, offset, none, 1), AssertionError);
      assert.throws(() => disk.write(memory, at, length, offset, none, 1), AssertionError);
    }
    assert.throws(() => disk.punch(disk.sizeBytes - PAGE, 2 * PAGE, none, 1), AssertionError);
  },
  "memory from elsewhere is refused by assertion": async (_world, disk) => {
    const foreign: DiskMemory = {
      bytes: new Uint8Array(PAGE),
      handle: { address: 0, lengthBytes: PAGE },
    };
    const none = (): void => assert.fail("a refused request completed");
    assert.throws(() => disk.read(foreign, 0, PAGE, 0, none, 1), AssertionError);
    assert.throws(() => disk.write(foreign, 0, PAGE, 0, none, 1), AssertionError);
  },
  "a closed disk refuses requests by assertion": async (_world, disk) => {
    const memory = disk.allocate(PAGE);
    const none = (): void => assert.fail("a refused request completed");
    await disk.close();
    assert.throws(() => disk.read(memory, 0, PAGE, 0, none, 1), AssertionError);
    assert.throws(() => disk.flush(none, 1), AssertionError);
  },
};

const space: Record<string, DiskTest> = {
  "memory is zeroed, of the length asked for, and says so in its handle": async (_world, disk) => {
    for (const length of [disk.alignmentBytes, PAGE, 1 << 20]) {
      const memory = disk.allocate(length);
      assert.equal(memory.bytes.length, length);
      assert.equal(memory.handle.lengthBytes, length);
      assert.ok(isZero(memory.bytes, 0, length));
    }
  },
  "size and alignment fit each other": async (_world, disk) => {
    assert.equal(disk.sizeBytes, DISK_CONFORMANCE_BYTES);
    assert.equal(disk.sizeBytes % disk.alignmentBytes, 0);
    assert.ok(disk.alignmentBytes >= 512 && PAGE % disk.alignmentBytes === 0);
    assert.ok(disk.kind.length > 0);
  },
  "a punch never makes the disk larger, and a write never smaller": async (_w, disk, requests) => {
    const before = disk.allocatedBytes();
    await requests.write(filled(disk, 1 << 20, 41), 0, 1 << 20, 0);
    await requests.flush();
    const written = disk.allocatedBytes();
    assert.ok(written >= before, `${written} >= ${before}`);
    assert.ok(disk.availableBytes() >= 0);
    await requests.punch(0, 1 << 20);
    await requests.flush();
    assert.ok(disk.allocatedBytes() <= written, `${disk.allocatedBytes()} <= ${written}`);
  },
};

/** Of disks that set space aside only when written to, and give it back when punched. */
const thinSpace: Record<string, DiskTest> = {
  "space is set aside by writing and given back by punching": async (_world, disk, requests) => {
    const before = disk.allocatedBytes();
    await requests.write(filled(disk, 1 << 20, 42), 0, 1 << 20, 0);
    await requests.flush();
    assert.ok(disk.allocatedBytes() >= before + (1 << 20));
    await requests.punch(0, 1 << 20);
    await requests.flush();
    assert.ok(disk.allocatedBytes() <= before + (64 << 10));
  },
};

export interface DiskConformanceOptions {
  /** False for a disk whose space is all set aside from the start, such as a block device. */
  readonly isThin?: boolean;
}

/** Registers the suite under the adapter's name. Each test has a world of its own. */
export function diskConformance(
  name: string,
  open: () => Promise<DiskWorld>,
  options: DiskConformanceOptions = {},
): void {
  const groups = [contents, durability, completion, misuse, space];
  if (options.isThin !== false) groups.push(thinSpace);
  registerSuite(name, open, groups.map(withRequests));
}

function withRequests(tests: Record<string, DiskTest>): Promises<DiskWorld> {
  const entries = Object.entries(tests).map(([promise, body]) => {
    const check = async (world: DiskWorld): Promise<void> =>
      await body(world, world.disk, new DiskRequests(world.disk));
    return [promise, check] as const;
  });
  return Object.fromEntries(entries);
}
