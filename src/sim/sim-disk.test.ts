import assert from "node:assert/strict";
import { test } from "../../test/support/test.ts";
import { Prng } from "../base/index.ts";
import { DiskRequests } from "../ports/index.ts";
import { DiskMedium, SimDisk, SimMachine, Simulation } from "./index.ts";
import type { CrashPolicy } from "./index.ts";

const SECTOR = 512;

function setUp(seed = 1): { machine: SimMachine; medium: DiskMedium; disk: SimDisk } {
  const machine = new SimMachine(new Simulation({ seed }));
  const medium = new DiskMedium({ sizeBytes: 1 << 20 });
  return { machine, medium, disk: new SimDisk(machine, medium) };
}

/** Writes `value` over `length` bytes at `offset`. */
async function put(disk: SimDisk, offset: number, length: number, value: number): Promise<void> {
  const memory = disk.allocate(length);
  memory.bytes.fill(value);
  await new DiskRequests(disk).write(memory, 0, length, offset);
}

function seen(medium: DiskMedium, offset: number, length: number): number[] {
  const bytes = new Uint8Array(length);
  medium.copyOut(bytes, offset);
  const firsts: number[] = [];
  for (let at = 0; at < length; at += SECTOR) {
    assert.ok(bytes.subarray(at, at + SECTOR).every((byte) => byte === bytes[at]));
    firsts.push(bytes[at]!);
  }
  return firsts;
}

/** 8 sectors of 1 flushed, of 2 completed and unflushed; then the power goes. */
async function afterCut(policy: CrashPolicy, seed = 1): Promise<number[]> {
  const { machine, medium, disk } = setUp(seed);
  await machine.run(async () => {
    await put(disk, 0, 4096, 1);
    await new DiskRequests(disk).flush();
    await put(disk, 0, 4096, 2);
  });
  machine.cutPower(policy);
  return seen(medium, 0, 4096);
}

test("an unflushed write is lost at a power cut that keeps none", async () => {
  assert.deepEqual(await afterCut({ kind: "none" }), Array(8).fill(1));
});

test("an unflushed write stays when only the process dies", async () => {
  assert.deepEqual(await afterCut({ kind: "all" }), Array(8).fill(2));
});

test("a prefix cut tears the next write at the sector that was asked for", async () => {
  const torn = await afterCut({ kind: "prefix", requests: 0, sectorsOfNext: 3 });
  assert.deepEqual(torn, [2, 2, 2, 1, 1, 1, 1, 1]);
});

test("random cuts reach whole, absent and torn writes", async () => {
  const kinds = new Set<string>();
  for (let seed = 0; seed < 60; seed++) {
    const sectors = await afterCut({ kind: "random", seed });
    const newer = sectors.filter((value) => value === 2).length;
    kinds.add(newer === 0 ? "absent" : newer === 8 ? "whole" : "torn");
  }
  assert.deepEqual([...kinds].toSorted(), ["absent", "torn", "whole"]);
});

test("a flush does not cover a write that completed after it was requested", async () => {
  const { machine, medium, disk } = setUp();
  disk.writeLatency = { minMs: 1, maxMs: 1 };
  disk.flushLatency = { minMs: 5, maxMs: 5 };
  await machine.run(async () => {
    const requests = new DiskRequests(disk);
    const early = put(disk, 0, 4096, 7);
    await Promise.all([requests.flush(), early]);
  });
  machine.cutPower({ kind: "none" });
  assert.deepEqual(seen(medium, 0, 4096), Array(8).fill(0));
});

test("what survives a cut can be opened by the next machine", async () => {
  const { machine, medium, disk } = setUp();
  await machine.run(async () => {
    await put(disk, 4096, 4096, 9);
    await new DiskRequests(disk).flush();
  });
  machine.cutPower({ kind: "none" });
  const next = new SimMachine(machine.simulation);
  const reopened = new SimDisk(next, medium);
  const memory = reopened.allocate(8192);
  await next.run(() => new DiskRequests(reopened).read(memory, 0, 8192, 0));
  assert.ok(memory.bytes.subarray(0, 4096).every((byte) => byte === 0));
  assert.ok(memory.bytes.subarray(4096).every((byte) => byte === 9));
});

test("a cut at each operation stops the work there, and nothing of it happens later", async () => {
  for (let at = 1; at <= 4; at++) {
    const { machine, medium, disk } = setUp(at);
    const acknowledged: number[] = [];
    machine.cutPowerAt(at, { kind: "none" });
    const outcome = await machine.run(async () => {
      const requests = new DiskRequests(disk);
      for (let round = 1; round <= 2; round++) {
        await put(disk, 0, 4096, round);
        await requests.flush();
        acknowledged.push(round);
      }
    });
    assert.equal(outcome.kind, "power-cut");
    await machine.simulation.runUntilIdle();
    assert.equal(acknowledged.length, at <= 2 ? 0 : 1);
    assert.deepEqual(seen(medium, 0, 4096), Array(8).fill(at <= 2 ? 0 : 1));
  }
});

test("a misdirected write lands elsewhere and reports success", async () => {
  const { machine, medium, disk } = setUp();
  disk.misdirectNextWrite(65_536);
  await machine.run(() => put(disk, 0, 4096, 5));
  assert.deepEqual(seen(medium, 0, 4096), Array(8).fill(0));
  assert.deepEqual(seen(medium, 65_536, 4096), Array(8).fill(5));
});

test("a flipped bit is on the platter and in what readers see", async () => {
  const { machine, medium, disk } = setUp();
  await machine.run(() => put(disk, 0, 4096, 0xf0));
  medium.flipBit(100, 0);
  const bytes = new Uint8Array(4096);
  medium.copyOut(bytes, 0);
  assert.equal(bytes[100], 0xf1);
  assert.equal(bytes[101], 0xf0);
});

test("a bit that flips before the flush is still wrong after it", async () => {
  const { machine, medium, disk } = setUp();
  await machine.run(async () => {
    await put(disk, 0, 4096, 0xf0);
    medium.flipBit(100, 0);
    await new DiskRequests(disk).flush();
  });
  machine.cutPower({ kind: "none" });
  const bytes = new Uint8Array(4096);
  medium.copyOut(bytes, 0);
  assert.equal(bytes[100], 0xf1);
});

test("a latent error fails reads until the sector is written again", async () => {
  const { machine, medium, disk } = setUp();
  medium.failReads(1000, 1);
  const memory = disk.allocate(4096);
  const requests = new DiskRequests(disk);
  await machine.run(async () => {
    await assert.rejects(requests.read(memory, 0, 4096, 0), { code: "read-error" });
    await requests.read(memory, 0, 512, 0);
    await put(disk, 512, 512, 1);
    await requests.read(memory, 0, 4096, 0);
  });
});

test("a full disk refuses new pages and takes overwrites", async () => {
  const { machine, medium, disk } = setUp();
  medium.capacityBytes = 8192;
  await machine.run(async () => {
    await put(disk, 0, 8192, 1);
    await assert.rejects(put(disk, 8192, 4096, 1), { code: "no-space" });
    await put(disk, 0, 4096, 2);
    await new DiskRequests(disk).punch(0, 4096);
    await put(disk, 8192, 4096, 3);
  });
  assert.equal(disk.allocatedBytes(), 8192);
  assert.equal(disk.availableBytes(), 0);
});

test("a hung disk completes nothing until it recovers, a vanished one fails all", async () => {
  const { machine, disk } = setUp();
  disk.hang();
  let isDone = false;
  const write = put(disk, 0, 4096, 1).then(() => (isDone = true));
  await machine.simulation.runForMs(10_000);
  assert.equal(isDone, false);
  disk.unhang();
  await machine.simulation.run(write);
  disk.vanish();
  await machine.run(() => assert.rejects(put(disk, 0, 4096, 1), { code: "gone" }));
});

test("memory that changes while it is being written is found out", async () => {
  const { machine, disk } = setUp();
  const memory = disk.allocate(4096);
  disk.write(memory, 0, 4096, 0, () => {}, 1);
  memory.bytes[17] = 1;
  await assert.rejects(machine.simulation.runUntilIdle(), /changed before its completion/);
});

test("an image of a cut is what the cut leaves, and the machine runs on", async () => {
  const { machine, medium, disk } = setUp();
  await machine.run(async () => {
    await put(disk, 0, 4096, 1);
    await new DiskRequests(disk).flush();
    await put(disk, 0, 4096, 2);
  });
  assert.equal(machine.unflushedCount, 1);
  const lost = machine.imageAfterCut(medium, { kind: "none" });
  const kept = machine.imageAfterCut(medium, { kind: "all" });
  const torn = machine.imageAfterCut(medium, { kind: "prefix", requests: 0, sectorsOfNext: 1 });
  await machine.run(() => put(disk, 0, 4096, 3));
  assert.deepEqual(seen(lost, 0, 4096), Array(8).fill(1));
  assert.deepEqual(seen(kept, 0, 4096), Array(8).fill(2));
  assert.deepEqual(seen(torn, 0, 4096), [2, 1, 1, 1, 1, 1, 1, 1]);
  assert.deepEqual(seen(medium, 0, 4096), Array(8).fill(3));
});

test("a failed write leaves each sector old or new", async () => {
  const mixes = new Set<string>();
  for (let seed = 0; seed < 30; seed++) {
    const { machine, medium, disk } = setUp(seed);
    await machine.run(async () => {
      await put(disk, 0, 4096, 1);
      disk.failNextWrites(1);
      await assert.rejects(put(disk, 0, 4096, 2), { code: "write-error" });
    });
    const sectors = seen(medium, 0, 4096);
    assert.ok(sectors.every((value) => value === 1 || value === 2));
    mixes.add(sectors.join(""));
  }
  assert.ok(mixes.size > 10);
});

test("random writes, flushes, punches and cuts leave no sector that was never there", async () => {
  for (let seed = 1; seed <= 40; seed++) await assertSectorsAreVersions(seed);
});

/** Keeps for each sector what it may hold after a cut, by the rules of the port, and compares. */
async function assertSectorsAreVersions(seed: number): Promise<void> {
  const { machine, medium, disk } = setUp(seed);
  const prng = new Prng(seed);
  const sectors = 32;
  const allowed = Array.from({ length: sectors }, () => new Set([0]));
  await machine.run(async () => {
    for (let round = 1; round <= 40; round++) {
      const first = prng.below(sectors - 8);
      const count = prng.between(1, 8);
      const touched = allowed.slice(first, first + count);
      const kind = prng.below(4);
      const value = kind === 0 ? 0 : round;
      if (kind === 3) {
        await new DiskRequests(disk).flush();
        // Nothing was under way: what each sector held last is now the only thing it may hold.
        for (const set of allowed) for (const old of [...set].slice(0, -1)) set.delete(old);
        continue;
      }
      for (const set of touched) {
        set.delete(value);
        set.add(value);
      }
      if (kind > 0) await put(disk, first * SECTOR, count * SECTOR, value);
      else await new DiskRequests(disk).punch(first * SECTOR, count * SECTOR);
    }
  });
  machine.cutPower({ kind: "random", seed });
  for (const [index, value] of seen(medium, 0, sectors * SECTOR).entries()) {
    assert.ok(allowed[index]!.has(value), `sector ${index} holds ${value} (seed ${seed})`);
  }
}
