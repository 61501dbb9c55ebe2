/** A file system that somebody else fills while large writes are on their way to it. */
import assert from "node:assert/strict";
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import { JOURNAL_OFFSET_BYTES } from "../format/index.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";

const OLD = [1, 2, 3, 4];
const LARGE = Array.from({ length: 32 }, (_none, block) => 50 + block);

/** A device with something in it whose file system has no more room than the journal needs. */
async function openFull(world: StoreWorld): Promise<string[]> {
  await world.open();
  assert.equal(await world.send("data", 0, OLD), undefined);
  const { journal } = world.device!.state;
  const { segmentBytes, segmentCount } = journal.geometry;
  // A real host sets the journal's space aside.
  assert.ok(world.disk.reserve(JOURNAL_OFFSET_BYTES, segmentBytes * segmentCount));
  world.disk.capacityBytes = world.disk.allocatedBytes;
  const kinds: string[] = [];
  world.device!.onEvent(({ kind }) => kinds.push(kind));
  return kinds;
}

function untilKind(world: StoreWorld, wanted: string): Promise<void> {
  return new Promise((resolve) => {
    world.device!.onEvent(({ kind }) => kind === wanted && resolve());
  });
}

async function holds(world: StoreWorld, block: number, tags: readonly number[]): Promise<boolean> {
  const found = await world.read(block, tags.length);
  return tags.every((tag, i) => {
    const at = i * BLOCK_SIZE_BYTES;
    return StoreWorld.content(tag).every((byte, index) => found[at + index] === byte);
  });
}

test("large writes that find the file system full wait for room, others are refused, reads go on", async () => {
  const world = new StoreWorld({ seed: 5, placedBlocksMin: 16 });
  const outcome = await world.run(async () => {
    const kinds = await openFull(world);
    const short = untilKind(world, "no-space");
    const held = [world.send("data", 64, LARGE), world.send("data", 128, LARGE.toReversed())];
    await short;
    assert.equal(await world.send("data", 8, [99]), "no-space");
    assert.ok(await holds(world, 0, OLD));
    const again = untilKind(world, "space-available");
    world.disk.capacityBytes = 1 << 30;
    await again;
    assert.deepEqual(await Promise.all(held), [undefined, undefined]);
    assert.equal(await world.send("data", 8, [98]), undefined);
    assert.deepEqual(kinds, ["no-space", "space-available"]);
    world.machine.cutPower({ kind: "none" });
  });
  assert.equal(outcome.kind, "power-cut");
  world.replaceMachine();
  const after = await world.run(async () => {
    await world.open();
    assert.ok(await holds(world, 0, OLD));
    assert.ok(await holds(world, 8, [98]));
    assert.ok(await holds(world, 64, LARGE));
    assert.ok(await holds(world, 128, LARGE.toReversed()));
    await world.scrub();
    await world.device!.close();
  });
  assert.equal(after.kind, "done");
});

test("nobody waits for room for ever: the device fails, and is well again when it is opened with room", async () => {
  const world = new StoreWorld({ seed: 6, placedBlocksMin: 16 });
  const outcome = await world.run(async () => {
    const kinds = await openFull(world);
    assert.equal(await world.send("data", 64, LARGE), "write-error");
    assert.deepEqual([kinds[0], kinds.at(-1)], ["no-space", "device-failed"]);
    assert.ok(await holds(world, 0, OLD));
    world.machine.cutPower({ kind: "all" });
  });
  assert.equal(outcome.kind, "power-cut");
  world.disk.capacityBytes = 1 << 30;
  world.replaceMachine();
  const after = await world.run(async () => {
    await world.open();
    assert.ok(await holds(world, 0, OLD));
    await world.verify();
    await world.scrub();
    await world.device!.close();
  });
  assert.equal(after.kind, "done");
});
