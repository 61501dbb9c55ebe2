import assert from "node:assert/strict";
import { marks, Prng, setU32 } from "../base/index.ts";
import {
  contentKey,
  ContentValueLayout,
  keyAfterPrefix,
  sealValue,
  TABLE_CONTENT,
} from "../format/index.ts";
import { MetadataBatch } from "../ports/index.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import { decodeContent } from "./content-references.ts";
import { contentAt, entryOffset, pageOf, physicalOf } from "./logical-map.ts";
import { MapWatch } from "./map-watch.ts";
import { countingBytes, RANGE_BLOCKS_MAX } from "./scrub-counts.ts";
import type { ScrubReport } from "./scrub-report.ts";
import { isClean } from "./scrub-report.ts";

const BLOCKS = 1024;
const AT_ONCE = 32;
/** Of some 14,000 that the device has. */
const RANGE_BLOCKS = 300;

async function inWorld(world: StoreWorld, work: () => Promise<void>): Promise<void> {
  const outcome = await world.run(async () => {
    await world.open();
    await work();
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
}

/** A content for each block from `first` on. */
async function fill(world: StoreWorld, first: number, count: number): Promise<void> {
  for (let at = first; at < first + count; at += AT_ONCE)
    await world.send(
      "data",
      at,
      Array.from({ length: AT_ONCE }, (_none, index) => 1 + at + index),
    );
  await world.device!.destage();
}

function keyOf(world: StoreWorld, block: number): Uint8Array {
  const { logical } = world.device!.state;
  const at = logical.load(1, pageOf(block)) + entryOffset(block);
  return contentKey(logical.entries, contentAt(at));
}

function placeOf(world: StoreWorld, block: number): number {
  const { logical } = world.device!.state;
  return physicalOf(logical.entries, logical.load(1, pageOf(block)) + entryOffset(block));
}

/** Makes the count of a block's content wrong, past everything that keeps it right. */
async function miscount(world: StoreWorld, block: number, by: number): Promise<void> {
  const { metadata } = world.device!.state;
  const key = keyOf(world, block);
  const value = metadata.get(key)!.slice();
  const { references } = decodeContent(key, value)!;
  setU32(value, ContentValueLayout.at.references, references + by);
  sealValue(key, value);
  const batch = new MetadataBatch();
  batch.put(key, value);
  await metadata.commit(batch);
}

function findingsOf(report: ScrubReport): Partial<ScrubReport> {
  const { contents: _contents, logicalBlocks: _logicalBlocks, ...findings } = report;
  return Object.fromEntries(Object.entries(findings).filter(([, count]) => count > 0));
}

test("counts that are too high and too low are found in all ranges", async () => {
  const world = new StoreWorld({ seed: 1, blockCount: BLOCKS });
  await inWorld(world, async () => {
    await fill(world, 0, BLOCKS);
    assert.ok(placeOf(world, 0) < RANGE_BLOCKS && placeOf(world, 1000) > 3 * RANGE_BLOCKS);
    for (const block of [0, 500]) await miscount(world, block, 1);
    await miscount(world, 700, 2 ** 31);
    for (const block of [20, 300, 800, 1000]) await miscount(world, block, -1);
    for (const rangeBlocks of [RANGE_BLOCKS, RANGE_BLOCKS_MAX]) {
      const report = await world.device!.scrub({ rangeBlocks });
      assert.deepEqual(findingsOf(report), { countsTooHigh: 3, countsTooLow: 4 });
      assert.equal(report.contents, BLOCKS);
      assert.equal(report.logicalBlocks, BLOCKS);
    }
  });
});

test("pointers to no content, and blocks that leaked or may be given away, are found", async () => {
  const world = new StoreWorld({ seed: 1, blockCount: BLOCKS });
  await inWorld(world, async () => {
    await fill(world, 0, BLOCKS);
    await world.send("data", 900, [6]);
    await world.device!.destage();
    const { space, metadata } = world.device!.state;
    const before = placeOf(world, 3);
    space.unallocate(before);
    space.allocate();
    const batch = new MetadataBatch();
    batch.delete(keyOf(world, 5));
    await metadata.commit(batch);
    for (const rangeBlocks of [RANGE_BLOCKS, RANGE_BLOCKS_MAX]) {
      const report = await world.device!.scrub({ rangeBlocks });
      const expected = { danglingPointers: 2, leakedBlocks: 2, unprotectedBlocks: 1 };
      assert.deepEqual(findingsOf(report), expected);
    }
  });
});

test("a pointer to another content at the same place is found, whatever the sum", async () => {
  const collides = (): boolean => true;
  const world = new StoreWorld({ seed: 14, digests: { mode: "fast", collides } });
  await inWorld(world, async () => {
    await world.send("data", 0, [1, 2, 3]);
    await world.device!.destage();
    // Ids that differ in the last byte only: what was the second's is the third's.
    const { metadata } = world.device!.state;
    const value = metadata.get(keyOf(world, 1))!.slice();
    const batch = new MetadataBatch();
    batch.delete(keyOf(world, 1));
    sealValue(keyOf(world, 2), value);
    batch.put(keyOf(world, 2), value);
    await metadata.commit(batch);
    const { danglingPointers, countsTooHigh, leakedBlocks } = await world.device!.scrub();
    assert.deepEqual(
      { danglingPointers, countsTooHigh, leakedBlocks },
      { danglingPointers: 2, countsTooHigh: 1, leakedBlocks: 1 },
    );
  });
});

test("what a scrub counts with has the same size for devices of any size", () => {
  assert.ok(countingBytes(RANGE_BLOCKS_MAX) <= 68 << 20);
});

test("a scrub walks over the maps once for each range, not for so many contents", async () => {
  const world = new StoreWorld({ seed: 1, blockCount: BLOCKS });
  await inWorld(world, async () => {
    await fill(world, 0, BLOCKS);
    const { metadata, superblock } = world.device!.state;
    const from = Uint8Array.of(TABLE_CONTENT);
    const scan = metadata.scan.bind(metadata);
    let contents = 0;
    metadata.scan = (start, end, visit) =>
      scan(start, end, (key, value) => {
        if (Buffer.compare(end, keyAfterPrefix(from)) === 0) contents++;
        return visit(key, value);
      });
    await world.device!.scrub({ readBlocks: false });
    assert.ok(contents < 1.1 * BLOCKS, `${contents}`);
    contents = 0;
    const rangeBlocks = Math.ceil(superblock.blockCount / 3);
    await world.device!.scrub({ readBlocks: false, rangeBlocks });
    assert.ok(contents > 2.9 * BLOCKS && contents < 3.3 * BLOCKS, `${contents}`);
  });
});

/** Blocks that a load never touches, with contents of their own. */
const STILL_BLOCKS = 128;

/** Writes, discards and destages, and makes and deletes snapshots, until `isOver`. */
async function load(world: StoreWorld, prng: Prng, isOver: () => boolean): Promise<void> {
  const device = world.device!;
  const snapshots: string[] = [];
  const blocks = world.blockCount - STILL_BLOCKS;
  while (!isOver()) {
    const sends = Array.from({ length: prng.between(1, 4) }, () => {
      const kind = prng.pick(["data", "data", "data", "discard", "zero"] as const);
      const length = prng.between(1, kind === "data" ? 24 : 150);
      const first = STILL_BLOCKS + prng.below(blocks - length + 1);
      // Few contents: most lose and gain references at once, some go and come again.
      const tags = Array.from({ length }, () => (kind === "data" ? 2000 + prng.below(60) : 0));
      return world.send(kind, first, tags);
    });
    await Promise.all(sends);
    await device.destage();
    if (prng.chance(0.3) && snapshots.length < 4) {
      const id = prng
        .between(2 ** 28, 2 ** 32 - 1)
        .toString(16)
        .repeat(4);
      await world.fork(id, prng.chance(0.7));
      snapshots.push(id);
    } else if (prng.chance(0.2) && snapshots.length > 0) {
      await device.deleteComponent(snapshots.splice(prng.below(snapshots.length), 1)[0]!);
    }
  }
}

/** Turns take a while, so that batches become durable between two of them. */
function slowTurns(world: StoreWorld, prng: Prng): void {
  const { clock } = world.machine;
  const after = clock.after.bind(clock);
  clock.after = (delayMs, callback) =>
    after(delayMs === 0 ? prng.below(20) / 10 : delayMs, callback);
}

/** Returns what a scrub says under load, of a device with a wrong count and a leaked block. */
async function scrubUnderLoad(seed: number, isWrong: boolean): Promise<ScrubReport> {
  const world = new StoreWorld({ seed, blockCount: 640, diskBytes: 16 << 20 });
  const prng = new Prng(seed);
  let report: ScrubReport | undefined;
  await inWorld(world, async () => {
    await fill(world, 0, STILL_BLOCKS);
    let rounds = 0;
    await load(world, prng, () => rounds++ > 6);
    if (isWrong) {
      world.device!.state.space.allocate();
      await miscount(world, 0, 1);
      await miscount(world, 100, -1);
    }
    slowTurns(world, prng);
    const scrubbing = { isOver: false };
    const loading = load(world, prng, () => scrubbing.isOver);
    const options = { valuesAtOnce: prng.between(1, 12), rangeBlocks: prng.between(300, 3000) };
    report = await world.device!.scrub(options);
    scrubbing.isOver = true;
    await loading;
    await world.verify();
    const { danglingPointers, unprotectedBlocks, wrongDigests } = await world.device!.scrub();
    assert.deepEqual([danglingPointers, unprotectedBlocks, wrongDigests], [0, 0, 0]);
  });
  return report!;
}

test("a scrub says nothing false while others write, discard, and make snapshots", async () => {
  for (let seed = 0; seed < 40; seed++) {
    const report = await scrubUnderLoad(seed, false);
    assert.ok(isClean(report), `seed ${seed}: ${JSON.stringify(report)}`);
  }
});

test("while others change the maps, a scrub finds what is wrong in what stands still", async () => {
  for (let seed = 100; seed < 112; seed++) {
    const report = await scrubUnderLoad(seed, true);
    const expected = { countsTooHigh: 1, countsTooLow: 1, leakedBlocks: 1 };
    assert.deepEqual(findingsOf(report), expected, `seed ${seed}`);
  }
});

test("a block is counted again when it has changed while it was counted", async () => {
  const world = new StoreWorld({ seed: 1, blockCount: BLOCKS });
  const mark = marks.expect("a block that a scrub suspected changed while it was counted");
  await inWorld(world, async () => {
    await fill(world, 0, 128);
    await miscount(world, 7, 1);
    const { watches } = world.device!.state.contents;
    const add = watches.add.bind(watches);
    let added = 0;
    watches.add = (watch) => {
      // The digests', the range's, and the one for what is counted by itself.
      if (++added === 3) watch.noteBlock(placeOf(world, 7));
      return add(watch);
    };
    const report = await world.device!.scrub();
    assert.equal(added, 4);
    assert.deepEqual(findingsOf(report), { countsTooHigh: 1 });
    assert.equal(watches.size, 0);
  });
  mark.verify();
});

test("a walk begins when no change of the maps is under way", async () => {
  const world = new StoreWorld({ seed: 1, blockCount: BLOCKS });
  await inWorld(world, async () => {
    await fill(world, 0, 128);
    await miscount(world, 7, 1);
    const device = world.device!;
    const { watches } = device.state.contents;
    let isHeld = false;
    const exclusive = device.exclusive.bind(device);
    device.exclusive = (work) =>
      exclusive(async () => {
        isHeld = true;
        return await work().finally(() => (isHeld = false));
      });
    const add = watches.add.bind(watches);
    const begun: boolean[] = [];
    watches.add = (watch) => {
      begun.push(isHeld);
      return add(watch);
    };
    await device.scrub();
    // Of the digests, the counts, and what is counted by itself.
    assert.deepEqual(begun, [true, true, true]);
  });
});

test("a pointer to no content is noted, too, when it goes", async () => {
  const world = new StoreWorld({ seed: 1, blockCount: BLOCKS });
  await inWorld(world, async () => {
    await fill(world, 0, 128);
    const { metadata, contents, superblock } = world.device!.state;
    const place = placeOf(world, 5);
    const batch = new MetadataBatch();
    batch.delete(keyOf(world, 5));
    await metadata.commit(batch);
    const watch = new MapWatch(0, superblock.blockCount);
    contents.watches.add(watch);
    await world.send("data", 5, [9000]);
    await world.device!.destage();
    contents.watches.delete(watch);
    assert.ok(watch.hasBlock(place));
    assert.ok(watch.hasBlock(placeOf(world, 5)));
    assert.ok(!watch.hasBlock(placeOf(world, 6)));
  });
});
