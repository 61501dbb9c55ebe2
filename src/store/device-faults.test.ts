/**
 * Disks lie, break and fill up. Whatever they do: wrong data is never returned, nothing
 * acknowledged is lost while a good copy of it exists, and the device says where it hurts.
 */
import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES, CodedError, Prng } from "../base/index.ts";
import {
  checkpointKey,
  componentKey,
  JOURNAL_OFFSET_BYTES,
  keyAfterPrefix,
  SUPERBLOCK_OFFSETS,
  TABLE_CONTENT,
  TABLE_LOGICAL,
  TABLE_REGIONS,
  TABLE_SPACE,
} from "../format/index.ts";
import { randomWorkload, StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import { isClean } from "./index.ts";
import type { DeviceEvent } from "./index.ts";

async function inWorld(world: StoreWorld, work: () => Promise<void>): Promise<void> {
  world.replaceMachine();
  const outcome = await world.run(work);
  assert.equal(outcome.kind, "done");
  // Whatever the work left open ends with the machine, as with a killed process.
  world.machine.cutPower({ kind: "all" });
}

/** A closed device with tags 1..8 in blocks 0..7. */
async function stored(seed: number): Promise<StoreWorld> {
  const world = new StoreWorld({ seed });
  await inWorld(world, async () => {
    await world.open();
    await world.send("data", 0, [1, 2, 3, 4, 5, 6, 7, 8]);
    await world.device!.close();
  });
  return world;
}

/**
 * A device whose power was cut with everything still in the journal: `groups` writes, one frame
 * each.
 */
async function journalled(seed: number, groups: number): Promise<StoreWorld> {
  const world = new StoreWorld({ seed });
  await inWorld(world, async () => {
    await world.open();
    for (let i = 0; i < groups; i++) await world.send("data", i, [100 + i]);
  });
  return world;
}

function eventsOf(world: StoreWorld): DeviceEvent[] {
  const events: DeviceEvent[] = [];
  world.device!.onEvent((event) => events.push(event));
  return events;
}

/** Byte offset on the disk of the block with this content. */
function findBlock(world: StoreWorld, tag: number, from = 0): number {
  const bytes = new Uint8Array(BLOCK_SIZE_BYTES);
  const wanted = StoreWorld.content(tag);
  for (let at = from; at < world.disk.sizeBytes; at += BLOCK_SIZE_BYTES) {
    world.disk.copyOut(bytes, at);
    if (Buffer.compare(bytes, wanted) === 0) return at;
  }
  throw new Error(`content ${tag} is not on the disk`);
}

async function failsWith(code: string, work: Promise<unknown>): Promise<CodedError> {
  let caught: unknown;
  await work.catch((error: unknown) => (caught = error));
  assert(caught instanceof CodedError, `expected ${code}, got ${String(caught)}`);
  assert.equal(caught.code, code);
  return caught;
}

test("a flipped bit in a stored block is a read error with its place, and spares its neighbours", async () => {
  const world = await stored(1);
  const at = findBlock(world, 5, JOURNAL_OFFSET_BYTES + (8 << 20));
  world.disk.flipBit(at + 1000, 3);
  await inWorld(world, async () => {
    await world.open();
    const events = eventsOf(world);
    await assert.rejects(world.read(4, 1), /read-error/);
    await assert.rejects(world.read(0, 8), /read-error/);
    assert.deepEqual(Buffer.from(await world.read(3, 1)), Buffer.from(StoreWorld.content(4)));
    const damage = events.find((event) => event.kind === "block-damaged");
    assert.equal(damage?.details["blockIndex"], 4);
    assert.equal(world.device!.stats().counters.checksumErrors, 2);
    assert.equal(world.device!.stats().badBlocks, 1);
  });
});

test("memory that another process scribbles over is neither damage nor believed", async () => {
  const world = await stored(3);
  await inWorld(world, async () => {
    await world.open();
    const events = eventsOf(world);
    for (let round = 0; round < 20; round++) {
      for (let physical = 0; physical < 16; physical++)
        world.device!.state.blockCache.remove(physical);
      for (const [first, count] of [
        [0, 8],
        [3, 1],
        [0, 64],
      ] as const) {
        const reads = [world.readShared(first, count), world.readShared(first, 1)];
        await Promise.all(reads);
      }
      // What the cache has got is right, whatever the other process did.
      await world.verify();
    }
    assert.deepEqual(events, []);
    assert.equal(world.device!.stats().counters.checksumErrors, 0);
    assert.equal(world.device!.stats().badBlocks, 0);
  });
});

test("a flipped bit is found in shared memory, too", async () => {
  const world = await stored(4);
  world.disk.flipBit(findBlock(world, 5, JOURNAL_OFFSET_BYTES + (8 << 20)) + 1000, 3);
  await inWorld(world, async () => {
    await world.open();
    const events = eventsOf(world);
    await assert.rejects(world.readShared(0, 8), /read-error/);
    assert.equal(events.find((event) => event.kind === "block-damaged")?.details["blockIndex"], 4);
    assert.equal(world.device!.stats().badBlocks, 1);
    assert.deepEqual(Buffer.from(await world.read(3, 1)), Buffer.from(StoreWorld.content(4)));
  });
});

test("a damaged block is repaired in place when the same content is written again anywhere", async () => {
  const world = await stored(2);
  world.disk.flipBit(findBlock(world, 5, JOURNAL_OFFSET_BYTES + (8 << 20)) + 7);
  await inWorld(world, async () => {
    await world.open();
    await assert.rejects(world.read(4, 1), /read-error/);
    await world.send("data", 100, [5]);
    await world.device!.destage();
    await world.verify();
    await world.scrub();
    assert.equal(world.device!.stats().badBlocks, 0);
  });
});

test("a block that the disk cannot read is a read error", async () => {
  const world = await stored(3);
  world.disk.failReads(findBlock(world, 2, JOURNAL_OFFSET_BYTES + (8 << 20)), 512);
  await inWorld(world, async () => {
    await world.open();
    await assert.rejects(world.read(1, 1), /read-error/);
    await world.read(2, 6);
    const report = await world.device!.scrub();
    assert.equal(report.damagedBlocks, 1);
  });
});

test("any single flipped bit in the metadata is an error or harmless, never wrong data", async () => {
  const prng = new Prng(77);
  const tables = [TABLE_LOGICAL, TABLE_CONTENT, TABLE_REGIONS, TABLE_SPACE].map((table) => {
    const from = Uint8Array.of(table);
    return { from, to: keyAfterPrefix(from) };
  });
  const ranges = [
    ...tables,
    { from: checkpointKey(), to: keyAfterPrefix(checkpointKey()) },
    { from: componentKey(0), to: keyAfterPrefix(componentKey(1)) },
  ];
  for (const { from, to } of ranges) {
    for (let round = 0; round < 4; round++) {
      const world = await stored(4);
      const keys: Uint8Array[] = [];
      world.metadata.visible.scan(from, to, (entry) => keys.push(entry.key.slice()) > 0);
      world.metadata.corrupt(prng.pick(keys), prng.below(1 << 16));
      await inWorld(world, async () => {
        try {
          await world.open();
        } catch (error) {
          assert(error instanceof CodedError && error.code === "metadata-damaged", String(error));
          return;
        }
        for (let block = 0; block < 8; block++) {
          const bytes = await world.read(block, 1).catch(() => undefined);
          if (bytes === undefined) continue;
          assert.deepEqual(Buffer.from(bytes), Buffer.from(StoreWorld.content(block + 1)));
        }
      });
    }
  }
});

test("a lost logical-map page is an error, not a hole", async () => {
  const world = await stored(5);
  const prefix = Uint8Array.of(TABLE_LOGICAL);
  const keys: Uint8Array[] = [];
  world.metadata.visible.scan(prefix, keyAfterPrefix(prefix), (entry) => keys.push(entry.key) > 0);
  world.metadata.apply({ operation: 1, operations: [{ key: keys[0]!, value: undefined }] });
  world.metadata.flush(1);
  await inWorld(world, async () => {
    await world.open();
    await assert.rejects(world.read(0, 1), /read-error/);
  });
});

test("a damaged journal payload that was acknowledged reads as an error, before destage and after", async () => {
  const world = await journalled(6, 5);
  world.disk.flipBit(findBlock(world, 101) + 99);
  await inWorld(world, async () => {
    await world.open();
    await assert.rejects(world.read(1, 1), /read-error/);
    await world.device!.destage();
    await assert.rejects(world.read(1, 1), /read-error/);
    for (const block of [0, 2, 3, 4]) {
      const bytes = await world.read(block, 1);
      assert.deepEqual(Buffer.from(bytes), Buffer.from(StoreWorld.content(100 + block)));
    }
    await world.send("data", 1, [7]);
    await world.device!.destage();
    assert.deepEqual(Buffer.from(await world.read(1, 1)), Buffer.from(StoreWorld.content(7)));
  });
});

test("a damaged journal head is restored from the frame's tail", async () => {
  const world = await journalled(7, 5);
  world.disk.flipBit(findBlock(world, 102) - BLOCK_SIZE_BYTES + 20);
  await inWorld(world, async () => {
    await world.open();
    await world.verify();
    assert(world.log.messages("warning").some((message) => message.includes("restored")));
  });
});

test("an acknowledged frame without head and tail stops the start, and nothing is changed", async () => {
  const world = await journalled(8, 5);
  const payload = findBlock(world, 102);
  world.disk.flipBit(payload - BLOCK_SIZE_BYTES + 20);
  world.disk.flipBit(payload + BLOCK_SIZE_BYTES + 20);
  await inWorld(world, async () => {
    await failsWith("journal-damaged", world.open());
  });
  world.disk.flipBit(payload - BLOCK_SIZE_BYTES + 20);
  await inWorld(world, async () => {
    await world.open();
    await world.verify();
  });
});

test("one damaged superblock is written again; two stop the start", async () => {
  const world = await stored(9);
  world.disk.flipBit(SUPERBLOCK_OFFSETS[0]! + 50);
  await inWorld(world, async () => {
    await world.open();
    await world.verify();
    await world.device!.close();
  });
  world.disk.flipBit(SUPERBLOCK_OFFSETS[1]! + 50);
  await inWorld(world, async () => {
    await world.open();
    await world.verify();
    await world.device!.close();
  });
  for (const offset of SUPERBLOCK_OFFSETS) world.disk.flipBit(offset + 50);
  await inWorld(world, async () => {
    await failsWith("superblock-damaged", world.open());
  });
});

test("an unknown format version is refused", async () => {
  const world = await stored(10);
  for (const offset of SUPERBLOCK_OFFSETS) world.disk.flipBit(offset + 8, 4);
  await inWorld(world, async () => {
    const error = await failsWith("format-unknown", world.open());
    assert.match(error.message, /version 17/);
  });
});

test("a device that has become smaller is refused, unless what it uses is there", async () => {
  const world = await stored(10);
  const { sizeBytes } = world.disk;
  const shrink = (bytes: number) =>
    Object.defineProperty(world.disk, "sizeBytes", { value: sizeBytes - bytes });
  shrink(BLOCK_SIZE_BYTES);
  await inWorld(world, async () => {
    const error = await failsWith("device-shrunk", world.open());
    assert.match(error.message, /has 67104768 bytes now, and uses 67108864/);
  });
  shrink(0);
  await inWorld(world, async () => {
    await world.open();
    await world.verify();
  });
});

test("a full device refuses new data, keeps what it has, and takes data again after a discard", async () => {
  const world = new StoreWorld({ seed: 11, diskBytes: 11 << 20, blockCount: 2000 });
  await inWorld(world, async () => {
    await world.open();
    let block = 0;
    while (world.faults.length === 0) {
      assert(block < 1990, "the device never became full");
      await world.send(
        "data",
        block,
        [block + 1, block + 2, block + 3].map((tag) => tag * 7 + 1),
      );
      block += 3;
    }
    assert.equal(world.faults[0], "no-space");
    for (const one of world.blocks) one.sent.length = 0;
    await world.verify();
    await world.scrub();
    assert.equal(
      await world.send(
        "discard",
        0,
        Array.from({ length: 90 }, () => 0),
      ),
      undefined,
    );
    await world.device!.destage();
    assert.equal(await world.send("data", 500, [9001]), undefined);
    await world.verify();
    await world.device!.close();
  });
});

test("duplicates fit on a device that has no room for new contents", async () => {
  const world = new StoreWorld({ seed: 12, diskBytes: 11 << 20, blockCount: 2000 });
  await inWorld(world, async () => {
    await world.open();
    for (let block = 0; block < 1500; block += 100) {
      const tags = Array.from({ length: 100 }, () => 3);
      assert.equal(await world.send("data", block, tags), undefined);
    }
    await world.device!.destage();
    assert.equal(world.device!.stats().uniqueBytes, BLOCK_SIZE_BYTES);
    await world.verify();
  });
});

test("a failed journal write fails the transactions that wait and all that follow", async () => {
  const world = await stored(13);
  await inWorld(world, async () => {
    await world.open();
    world.simDisk!.failNextWrites(1);
    assert.equal(await world.send("data", 0, [50]), "write-error");
    assert.equal(await world.send("data", 1, [51]), "write-error");
  });
  await inWorld(world, async () => {
    await world.open();
    await world.verify();
  });
});

test("a device whose journal has failed shows nobody what may not be there tomorrow", async () => {
  const world = await stored(21);
  await inWorld(world, async () => {
    await world.open();
    world.simDisk!.failNextWrites(1);
    assert.equal(await world.send("data", 0, [50]), "write-error");
    await assert.rejects(world.component!.open(100), { code: "device-failed" });
  });
});

test("a new owner hears of what is prepared when no crash can take it back", async () => {
  const world = await stored(22);
  await inWorld(world, async () => {
    await world.open();
    world.simDisk!.flushLatency = { minMs: 500, maxMs: 500 };
    void world.send("data", 0, [50]);
    const opening = await world.component!.open(100);
    const image = world.machine.imageAfterCut(world.disk, { kind: "none" });
    const bytes = new Uint8Array(BLOCK_SIZE_BYTES);
    const wanted = Buffer.from(StoreWorld.content(50));
    let isThere = false;
    for (let at = 0; at < image.sizeBytes && !isThere; at += BLOCK_SIZE_BYTES) {
      image.copyOut(bytes, at);
      isThere = wanted.equals(bytes);
    }
    assert.ok(opening.preparedSequence > opening.committedSequence, "the write is under way");
    assert.ok(isThere, "and durable");
  });
});

test("contents that share the first half of their fingerprint stay apart", async () => {
  const world = new StoreWorld({ seed: 14, digests: { mode: "fast", collides: () => true } });
  await inWorld(world, async () => {
    await world.open();
    await world.send("data", 0, [1, 2, 3, 1, 2, 3]);
    await world.device!.destage();
    await world.verify();
    assert.equal(world.device!.stats().uniqueBytes, 3 * BLOCK_SIZE_BYTES);
    await world.scrub();
  });
});

test("reads that race with destage and reuse of freed blocks return one of the values written", async () => {
  // The block store is hardly larger than the component: freed blocks are handed out again at once.
  const world = new StoreWorld({ seed: 15, diskBytes: (9 << 20) + (262 << 12), blockCount: 236 });
  await inWorld(world, async () => {
    await world.open();
    world.simDisk!.readLatency = { minMs: 0, maxMs: 40 };
    const { prng } = world;
    let tag = 1;
    const underWay: Promise<unknown>[] = [];
    for (let round = 0; round < 400; round++) {
      const first = prng.below(230);
      await world.send("data", first, [tag++, tag++, tag++, tag++, tag++, tag++]);
      for (let i = 0; i < 4; i++) underWay.push(world.read(prng.below(236), 1));
      await world.device!.destage();
      if (round % 20 === 0) {
        await Promise.all(underWay.splice(0));
        await world.verify();
      }
    }
    await Promise.all(underWay);
    assert.deepEqual(world.faults, []);
    const stats = world.device!.stats();
    assert.equal(stats.counters.checksumErrors, 0);
    assert(stats.blockCache!.hits > 100, "the block cache was hardly used");
    await world.scrub();
  });
});

test("a component that is deleted gives all its space back, also when power is cut on the way", async () => {
  let begun = 0;
  for (let cut = 1; cut < 8; cut++) {
    const world = new StoreWorld({ seed: 16 });
    world.replaceMachine();
    await world.run(async () => {
      await world.open();
      await randomWorkload(world, 20);
      await world.device!.destage();
      world.machine.cutPowerAt(world.machine.operationCount + cut, { kind: "random", seed: cut });
      await world.device!.deleteComponent(world.componentId);
    });
    if (world.machine.isOn) world.machine.cutPower({ kind: "none" });
    world.componentId = "a1".repeat(16);
    await inWorld(world, async () => {
      await world.open();
      const isBegun = world.device!.component("a0".repeat(16)) === undefined;
      await world.device!.destage();
      await world.scrub();
      if (isBegun) assert.equal(world.device!.stats().uniqueBytes, 0, `cut ${cut}`);
      begun += isBegun ? 1 : 0;
    });
  }
  assert(begun >= 2, `only ${begun} deletions had begun`);
});

test("what is destaged may be unreadable in the journal: the frames behind it are not lost", async () => {
  const world = new StoreWorld({ seed: 71 });
  await inWorld(world, async () => {
    await world.open();
    for (let i = 0; i < 4; i++) await world.send("data", i, [200 + i]);
    await world.device!.destage();
    for (let i = 4; i < 7; i++) await world.send("data", i, [200 + i]);
  });
  const payloadAt = findBlock(world, 201, JOURNAL_OFFSET_BYTES);
  world.disk.failReads(payloadAt - BLOCK_SIZE_BYTES, 3 * BLOCK_SIZE_BYTES);
  await inWorld(world, async () => {
    await world.open();
    for (let i = 0; i < 7; i++) {
      const expected = Buffer.from(StoreWorld.content(200 + i));
      assert.deepEqual(Buffer.from(await world.read(i, 1)), expected, `block ${i}`);
    }
    await world.device!.destage();
    assert.ok(isClean(await world.device!.scrub()));
    assert.equal(world.device!.stats().journal.pendingBytes, 0);
  });
});

test("nobody writes the checkpoint of a round of destage that failed", async () => {
  const world = new StoreWorld({ seed: 11 });
  const outcome = await world.run(async () => {
    await world.open();
    assert.equal(await world.send("data", 0, [1, 2]), undefined);
    world.simMetadata!.refuseNextCommits(1);
    const failed = new Promise<void>((resolve) => {
      world.device!.onEvent(({ kind }) => kind === "no-space" && resolve());
    });
    void world.device!.destage();
    await failed;
    const sizeBytes = 16 * BLOCK_SIZE_BYTES;
    const ids = { componentId: "c8".repeat(16), objectId: "08".repeat(16) };
    await world.device!.createComponent({ ...ids, sizeBytes });
    world.machine.cutPower({ kind: "all" });
  });
  assert.equal(outcome.kind, "power-cut");
  world.replaceMachine();
  await world.run(async () => {
    await world.open();
    await world.verify();
    await world.device!.close();
  });
});
