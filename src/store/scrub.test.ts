import assert from "node:assert/strict";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import { isClean } from "./scrub.ts";

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
