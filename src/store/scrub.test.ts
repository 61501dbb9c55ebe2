import assert from "node:assert/strict";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import { isClean } from "./scrub-report.ts";

const BLOCKS = 1024;
const AT_ONCE = 32;

/** A device with so many different contents that several batches are read. */
async function withContents(work: (world: StoreWorld) => Promise<void>): Promise<void> {
  const world = new StoreWorld({ seed: 1, blockCount: BLOCKS });
  const outcome = await world.run(async () => {
    await world.open();
    for (let at = 0; at < BLOCKS; at += AT_ONCE)
      await world.send(
        "data",
        at,
        Array.from({ length: AT_ONCE }, (_none, index) => 1 + at + index),
      );
    await world.device!.destage();
    await work(world);
    await world.verify();
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
}

test("while a scrub reads blocks, others change the maps between two of its batches", async () => {
  await withContents(async (world) => {
    const device = world.device!;
    const order: string[] = [];
    let creation: Promise<unknown> | undefined;
    const report = await device.scrub({
      onProgress: (done, total) => {
        order.push(done === total ? "scrub" : "batch");
        creation ??= device
          .createComponent({
            componentId: "c8".repeat(16),
            objectId: "08".repeat(16),
            sizeBytes: 4096,
          })
          .then(() => order.push("creation"));
      },
    });
    await creation;
    assert.ok(isClean(report), JSON.stringify(report));
    assert.ok(order.indexOf("creation") < order.indexOf("scrub"), order.join(", "));
  });
});

test("writes and destage between the batches of a scrub are no findings of it", async () => {
  await withContents(async (world) => {
    const device = world.device!;
    const writing: Promise<unknown>[] = [];
    let tag = 10_000;
    const report = await device.scrub({
      onProgress: () => {
        const at = (writing.length * 200) % (BLOCKS - 8);
        const tags = Array.from({ length: 8 }, () => tag++);
        writing.push(world.send("data", at, tags).then(() => device.destage()));
      },
    });
    await Promise.all(writing);
    assert.ok(isClean(report), JSON.stringify(report));
    assert.ok(writing.length >= 4);
    await world.scrub();
  });
});

test("scrubs of a device read into the same memory, which disks never take back", async () => {
  await withContents(async (world) => {
    const device = world.device!;
    const { disk } = device.state;
    await device.scrub();
    let allocatedBytes = 0;
    const allocate = disk.allocate.bind(disk);
    disk.allocate = (lengthBytes) => {
      allocatedBytes += lengthBytes;
      return allocate(lengthBytes);
    };
    const reports = await Promise.all([device.scrub(), device.scrub()]);
    assert.ok(reports.every(isClean));
    assert.equal(allocatedBytes, 0);
  });
});

test("while a scrub looks at the maps, others get a turn after a few values", async () => {
  const world = new StoreWorld({ seed: 1, blockCount: 1 << 17 });
  const outcome = await world.run(async () => {
    await world.open();
    // Zeroes that are set aside have a page for every 64 blocks.
    await world.send(
      "zero",
      0,
      Array.from({ length: world.blockCount }, () => 0),
    );
    await world.device!.destage();
    const { metadata } = world.device!.state;
    const scan = metadata.scan.bind(metadata);
    let pages = 0;
    let atOnce = 0;
    let most = 0;
    metadata.scan = (from, to, visit) =>
      scan(from, to, (key, value) => {
        most = Math.max(most, ++atOnce);
        pages++;
        return visit(key, value);
      });
    const { clock } = world.machine;
    const after = clock.after.bind(clock);
    clock.after = (delayMs, callback) => {
      atOnce = 0;
      return after(delayMs, callback);
    };
    assert.ok(isClean(await world.device!.scrub()));
    assert.ok(pages >= 2 * 2048, `${pages} pages`);
    assert.ok(most < 2048, `${most} values in one turn`);
    await world.device!.close();
  });
  assert.equal(outcome.kind, "done");
});

test("a scrub holds the maps for a few values at a time", async () => {
  const world = new StoreWorld({ seed: 1, blockCount: 1 << 17 });
  const outcome = await world.run(async () => {
    await world.open();
    const zeroes = Array.from({ length: world.blockCount }, () => 0);
    await world.send("zero", 0, zeroes);
    const tags = Array.from({ length: AT_ONCE }, (_none, index) => 1 + index);
    await world.send("data", 0, tags);
    await world.device!.destage();
    const device = world.device!;
    const { metadata } = device.state;
    const held = { isHeld: false, values: 0, most: 0, all: 0 };
    const scan = metadata.scan.bind(metadata);
    metadata.scan = (from, to, visit) =>
      scan(from, to, (key, value) => {
        held.all++;
        if (held.isHeld) held.values++;
        return visit(key, value);
      });
    const exclusive = device.exclusive.bind(device);
    device.exclusive = (work) =>
      exclusive(async () => {
        Object.assign(held, { isHeld: true, values: 0 });
        try {
          return await work();
        } finally {
          held.isHeld = false;
          held.most = Math.max(held.most, held.values);
        }
      });
    assert.ok(isClean(await device.scrub()));
    assert.ok(held.all >= 2 * 2048, `${held.all} values`);
    assert.ok(held.most > 0 && held.most < 1024, `${held.most} values in one hold`);
    await device.close();
  });
  assert.equal(outcome.kind, "done");
});

test("a scrub tells how far it has come in all of its parts", async () => {
  await withContents(async (world) => {
    const shares: number[] = [];
    const onProgress = (done: number, total: number): void => void shares.push(done / total);
    await world.device!.scrub({ valuesAtOnce: 2, rangeBlocks: 4000, onProgress });
    assert.deepEqual(
      shares,
      shares.toSorted((a, b) => a - b),
    );
    assert.equal(shares.at(-1), 1);
    // The maps are walked over before any block is read.
    assert.ok(new Set(shares).size > 20, shares.join(" "));
    shares.length = 0;
    await world.device!.scrub({ readBlocks: false, onProgress });
    assert.equal(shares.at(-1), 1);
  });
});

test("a scrub ends when its device is closed, and reads nothing afterwards", async () => {
  await withContents(async (world) => {
    for (const at of [1, 5, 40]) {
      const device = world.device!;
      let told = 0;
      let closing: Promise<void> | undefined;
      const onProgress = (): void => {
        if (++told === at) closing = device.close();
      };
      const scrub = device.scrub({ valuesAtOnce: 2, onProgress });
      await assert.rejects(scrub, { code: "unreachable" });
      await closing;
      assert.equal(told, at);
      assert.equal(device.state.contents.watches.size, 0);
      await world.open();
    }
  });
});
