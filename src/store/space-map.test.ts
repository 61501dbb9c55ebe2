import assert from "node:assert/strict";
import fc from "fast-check";
import { test } from "../../test/support/test.ts";
import { SPACE_GROUP_BLOCKS } from "../format/index.ts";
import { GROUP_BYTES } from "./space-group.ts";
import { SPACE_COUNT_BYTES, SpaceMap } from "./space-map.ts";

const GROUP_VALUE_BYTES = SPACE_GROUP_BLOCKS / 8;

/** Groups as they were stored, by number. */
class Stored {
  readonly groups = new Map<number, Uint8Array>();
  reads = 0;

  /** A map as a start would make it. */
  open(blockCount: number, groupsKept?: number): SpaceMap {
    const read = (group: number): Uint8Array | undefined => {
      this.reads++;
      return this.groups.get(group);
    };
    const space = new SpaceMap(blockCount, read, groupsKept);
    for (const [group, bits] of this.groups) space.countGroup(group, bits);
    return space;
  }

  /** A batch: as metadata do, what is stored can be read before it is known how the batch ends. */
  commit(space: SpaceMap, isGood: boolean, during: () => void = () => {}): void {
    const groups = space.takeDirtyGroups();
    const before = groups.map((group) => this.groups.get(group));
    for (const group of groups) {
      const bits = new Uint8Array(GROUP_VALUE_BYTES);
      space.storeGroup(group, bits);
      this.groups.set(group, bits);
    }
    during();
    if (isGood) return space.groupsStored(groups);
    for (const [i, group] of groups.entries()) {
      if (before[i] === undefined) this.groups.delete(group);
      else this.groups.set(group, before[i]);
    }
    space.markGroupsDirty(groups);
  }
}

test("a space map hands every block out once, and a stored map loads as it was", () => {
  const blockCount = SPACE_GROUP_BLOCKS + 37;
  const stored = new Stored();
  const space = stored.open(blockCount);
  const handed = new Set<number>();
  for (let i = 0; i < blockCount; i++) handed.add(space.allocate()!);
  assert.equal(handed.size, blockCount);
  assert.equal(space.allocate(), undefined);
  const freed = [0, 5, SPACE_GROUP_BLOCKS - 1, SPACE_GROUP_BLOCKS, blockCount - 1];
  space.beginFree(freed);
  stored.commit(space, true);
  const copy = stored.open(blockCount);
  assert.equal(copy.freeBlocks, freed.length, "what is being freed is free on disk");
  assert.equal(space.freeBlocks, 0, "and not to be had before the reads have ended");
  space.finishFree(freed, 3);
  space.releaseQuarantine(2);
  assert.equal(space.freeBlocks, 0);
  space.releaseQuarantine(3);
  assert.equal(space.freeBlocks, freed.length);
  assert.deepEqual(new Set(freed.map(() => space.allocate())), new Set(freed));
  assert.deepEqual(new Set(freed.map(() => copy.allocate())), new Set(freed));
});

test("a stored group of any bits loads bit for bit, and none beyond the device", () => {
  const blockCount = SPACE_GROUP_BLOCKS - 45;
  fc.assert(
    fc.property(fc.array(fc.nat(blockCount - 1)), (blocks) => {
      const used = new Set(blocks);
      const bits = new Uint8Array(GROUP_VALUE_BYTES);
      for (const block of used) bits[block >>> 3]! |= 1 << (block & 7);
      const stored = new Stored();
      stored.groups.set(0, bits);
      const space = stored.open(blockCount);
      assert.equal(space.freeBlocks, blockCount - used.size);
      for (let block = 0; block < blockCount; block++)
        assert.equal(space.isTaken(block), used.has(block));
      bits[blockCount >>> 3]! |= 1 << (blockCount & 7);
      assert.throws(() => stored.open(blockCount), /beyond the device/);
    }),
  );
});

test("blocks being punched are not handed out, and count as free on disk", () => {
  const space = new Stored().open(100);
  const first = space.allocate()!;
  space.beginFree([first]);
  space.finishFree([first], 1);
  space.releaseQuarantine(1);
  assert.equal(space.unpunchedBlocks, 1);
  const run = space.beginPunch(0, 10);
  assert.deepEqual(run, { start: first, count: 1 });
  for (let i = 0; i < 99; i++) assert.notEqual(space.allocate(), first);
  assert.equal(space.allocate(), undefined);
  assert(!space.isUsedOnDisk(first));
  space.finishPunch(first, 1, true);
  assert.equal(space.unpunchedBlocks, 0);
  assert.equal(space.allocate(), first);
});

test("blocks beyond 2^32, on devices of more than 16 TiB, are blocks of their own", () => {
  const count = 2 ** 32 + 3 * SPACE_GROUP_BLOCKS;
  const stored = new Stored();
  stored.groups.set(2 ** 32 / SPACE_GROUP_BLOCKS + 1, new Uint8Array(GROUP_VALUE_BYTES).fill(255));
  const space = stored.open(count);
  const first = 2 ** 32 + 64;
  assert.equal(space.isTaken(2 ** 32 + SPACE_GROUP_BLOCKS), true);
  assert.equal(space.isTaken(SPACE_GROUP_BLOCKS), false);
  space.reserve(first, 2);
  assert.deepEqual([space.isTaken(first), space.isTaken(64)], [true, false]);
  space.adopt(first);
  assert.deepEqual([space.isUsedOnDisk(first), space.isUsedOnDisk(first + 1)], [true, false]);
  assert.equal(space.reserveRun(8), 0);
  space.reserve(count - 1, 1);
  space.releaseReserved([first + 1, count - 1], 1);
  space.releaseQuarantine(1);
  assert.deepEqual(space.beginPunch(2 ** 32, 16), { start: first + 1, count: 1 });
  space.finishPunch(first + 1, 1, true);
  assert.deepEqual(space.beginPunch(2 ** 32, 16), { start: count - 1, count: 1 });
  space.finishPunch(count - 1, 1, true);
  assert.equal(space.beginPunch(2 ** 32, 16), undefined);
  assert.equal(space.freeBlocks, count - SPACE_GROUP_BLOCKS - 1 - 8);
  assert.deepEqual(space.takeDirtyGroups(), [2 ** 32 / SPACE_GROUP_BLOCKS]);
});

const GROUPS = 9;
const BLOCKS = GROUPS * SPACE_GROUP_BLOCKS - 100;
const KEPT = 2;

/** Blocks by what they are, one by one: what a space map has to agree with. */
class Model {
  readonly stored = new Stored();
  space: SpaceMap = this.stored.open(BLOCKS, KEPT);
  readonly used = new Set<number>();
  readonly reserved = new Set<number>();
  readonly quarantined = new Map<number, number>();
  punching: { start: number; count: number } | undefined;
  #stamp = 0;

  get #hidden(): number {
    return this.reserved.size + this.quarantined.size + (this.punching?.count ?? 0);
  }

  isFree(block: number): boolean {
    const { start = 0, count = 0 } = this.punching ?? {};
    const isHeld = this.reserved.has(block) || this.quarantined.has(block);
    return !this.used.has(block) && !isHeld && !(block >= start && block < start + count);
  }

  take(block: number, into: Set<number>): void {
    assert(block < BLOCKS && this.isFree(block), `block ${block} was handed out twice`);
    into.add(block);
  }

  allocate(count: number): void {
    for (let i = 0; i < count; i++) this.take(this.space.allocate()!, this.used);
  }

  /** Of a set, `count` spread over all of it. */
  static some(from: Iterable<number>, count: number, seed: number): number[] {
    const all = [...from];
    const step = Math.max(1, Math.floor(all.length / Math.max(1, count)));
    return all.filter((_block, i) => i % step === seed % step).slice(0, count);
  }

  free(count: number, seed: number, isGood: boolean): void {
    const blocks = Model.some(this.used, count, seed);
    const fresh = [this.space.allocate()!, this.space.allocate()!];
    for (const block of fresh) this.take(block, this.used);
    this.space.beginFree(blocks);
    // What is looked at meanwhile must not make the map forget what is being stored.
    this.stored.commit(this.space, isGood, () => this.lookAtAll(seed));
    if (!isGood) {
      this.space.undoFree(blocks);
      for (const block of fresh) {
        this.space.unallocate(block);
        this.used.delete(block);
      }
      return;
    }
    for (const block of blocks) {
      this.used.delete(block);
      this.quarantined.set(block, this.#stamp);
    }
    this.space.finishFree(blocks, this.#stamp++);
  }

  reserve(count: number): void {
    const start = this.space.reserveRun(count);
    if (start === undefined) return;
    for (let i = 0; i < count; i++) this.take(start + i, this.reserved);
  }

  settleReserved(seed: number): void {
    const blocks = [...this.reserved];
    const adopted = blocks.filter((_block, i) => (i + seed) % 3 > 0);
    const others = blocks.filter((block) => !adopted.includes(block));
    for (const block of adopted) {
      this.space.adopt(block);
      this.used.add(block);
    }
    this.reserved.clear();
    for (const block of others) this.quarantined.set(block, this.#stamp);
    this.space.releaseReserved(others, this.#stamp++);
  }

  release(back: number): void {
    const upTo = this.#stamp - back;
    this.space.releaseQuarantine(upTo);
    for (const [block, stamp] of this.quarantined)
      if (stamp <= upTo) this.quarantined.delete(block);
  }

  punch(from: number, isPunched: boolean): void {
    if (this.punching === undefined) {
      const run = this.space.beginPunch(from, 300);
      for (let i = 0; i < (run?.count ?? 0); i++) assert(this.isFree(run!.start + i));
      this.punching = run;
    } else {
      this.space.finishPunch(this.punching.start, this.punching.count, isPunched);
      this.punching = undefined;
    }
  }

  /** The process ends: what was in use by the last batch is all that is known. */
  restart(): void {
    if (this.punching !== undefined) this.punch(0, false);
    this.settleReserved(0);
    this.release(0);
    this.stored.commit(this.space, true);
    this.space = this.stored.open(BLOCKS, KEPT);
    this.space.assumeUnpunched();
    assert.equal(this.space.unpunchedBlocks, BLOCKS - this.used.size);
  }

  lookAtAll(seed: number): void {
    for (let group = 0; group < GROUPS; group++) {
      const block = Math.min(BLOCKS - 1, group * SPACE_GROUP_BLOCKS + (seed % SPACE_GROUP_BLOCKS));
      this.space.isTaken(block);
    }
  }

  check(): void {
    const { space } = this;
    assert.equal(space.usedBlocks, this.used.size);
    assert.equal(space.reservedBlocks, this.reserved.size);
    assert.equal(space.quarantinedBlocks, this.quarantined.size);
    assert.equal(space.freeBlocks, BLOCKS - this.used.size - this.#hidden);
    assert(space.unpunchedBlocks >= 0 && space.unpunchedBlocks <= space.freeBlocks);
  }

  checkAll(): void {
    this.check();
    for (let block = 0; block < BLOCKS; block++) {
      assert.equal(this.space.isTaken(block), !this.isFree(block), `whether ${block} is taken`);
      assert.equal(this.space.isUsedOnDisk(block), this.used.has(block), `${block} on disk`);
    }
  }
}

test("a map that keeps two groups in memory agrees with a plain set of blocks over many", () => {
  const step = fc.record({
    what: fc.constantFrom("allocate", "free", "undo", "reserve", "settle", "release", "punch"),
    count: fc.integer({ min: 1, max: 3000 }),
    seed: fc.nat(1_000_000),
  });
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 60 }), fc.nat(40), (steps, restart) => {
      const model = new Model();
      model.allocate(3 * SPACE_GROUP_BLOCKS);
      for (const [i, { what, count, seed }] of steps.entries()) {
        if (i === restart) model.restart();
        const room = model.space.freeBlocks - 10;
        if (what === "allocate") model.allocate(Math.min(count, room));
        else if (what === "free" && room > 0) model.free(count, seed, true);
        else if (what === "undo" && room > 0) model.free(count, seed, false);
        else if (what === "reserve") model.reserve(count % 200);
        else if (what === "settle") model.settleReserved(seed);
        else if (what === "release") model.release(seed % 3);
        else if (what === "punch") model.punch(seed % BLOCKS, seed % 2 === 0);
        model.lookAtAll(seed);
        model.check();
      }
      model.checkAll();
      model.restart();
      model.checkAll();
      assert(model.space.memoryBytes <= (KEPT + 1) * GROUP_BYTES + GROUPS * SPACE_COUNT_BYTES);
      model.allocate(model.space.freeBlocks);
      assert.equal(model.space.allocate(), undefined);
    }),
    { numRuns: 25 },
  );
});

test("a device of 20 TiB that is half full has no more in memory than the groups in use", () => {
  const groupCount = (20 * 2 ** 40) / 4096 / SPACE_GROUP_BLOCKS;
  const half = new Uint8Array(GROUP_VALUE_BYTES).fill(0x5a);
  const stored = new Stored();
  for (let group = 0; group < groupCount; group += 50) stored.groups.set(group, half);
  const space = stored.open(groupCount * SPACE_GROUP_BLOCKS);
  space.assumeUnpunched();
  assert.equal(space.memoryBytes, groupCount * SPACE_COUNT_BYTES, "nothing was looked at yet");
  const freed: number[] = [];
  for (let group = 0; group < groupCount; group += 50) freed.push(group * SPACE_GROUP_BLOCKS + 1);
  for (let from = 0; from < freed.length; from += 2048) {
    const round = freed.slice(from, from + 2048);
    space.beginFree(round);
    stored.commit(space, true);
    space.finishFree(round, from);
    space.releaseQuarantine(from);
  }
  assert.equal(stored.reads, freed.length);
  assert(space.memoryBytes <= 4096 * GROUP_BYTES + groupCount * SPACE_COUNT_BYTES);
  assert.equal(space.unpunchedBlocks, space.freeBlocks);
  for (const block of freed.slice(0, 3000))
    assert(!space.isTaken(block) && space.isTaken(block + 2));
});

test("a group that is free or full is known without reading it", () => {
  const stored = new Stored();
  const space = stored.open(4 * SPACE_GROUP_BLOCKS, 1);
  for (let i = 0; i < SPACE_GROUP_BLOCKS; i++) space.allocate();
  stored.commit(space, true);
  for (let i = 0; i < 3; i++)
    for (let group = 0; group < 4; group++)
      assert.equal(space.isTaken(group * SPACE_GROUP_BLOCKS + 9), group === 0);
  assert.equal(stored.reads, 0);
});

test("of a stored group that cannot be believed nothing is handed out, and it is told once", () => {
  const stored = new Stored();
  const space = stored.open(2 * SPACE_GROUP_BLOCKS, 1);
  for (let i = 0; i < 5; i++) space.allocate();
  stored.commit(space, true);
  space.assumeUnpunched();
  assert.equal(space.isTaken(SPACE_GROUP_BLOCKS), false);
  const told: number[] = [];
  space.listen((group) => told.push(group));
  stored.groups.delete(0);
  assert.equal(space.allocate(), SPACE_GROUP_BLOCKS);
  assert.deepEqual(told, [0]);
  assert.equal(space.freeBlocks, SPACE_GROUP_BLOCKS - 1);
  assert.equal(space.unpunchedBlocks, SPACE_GROUP_BLOCKS - 1);
  space.beginFree([3]);
  stored.commit(space, true);
  space.finishFree([3], 1);
  space.releaseQuarantine(1);
  assert.equal(space.freeBlocks, SPACE_GROUP_BLOCKS);
  assert.deepEqual(told, [0]);
});
