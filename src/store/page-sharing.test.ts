import assert from "node:assert/strict";
import { REGION_BLOCKS } from "../base/index.ts";
import type { CrashPolicy } from "../sim/index.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { ForkWorld } from "../../test/fork-workload.ts";
import type { ForkModel } from "../../test/fork-workload.ts";
import { test } from "../../test/support/test.ts";
import type { ComponentInfo } from "./component-table.ts";
import { existingPages } from "./known-pages.ts";

const BLOCKS = 2048;
const PAGES = BLOCKS / 64;
const SNAPSHOTS = 20;

/** A volume without holes, and snapshots between each two of which one block has changed. */
async function volumeWithSnapshots(world: ForkWorld): Promise<void> {
  for (let first = 0; first < BLOCKS; first += 64)
    await world.send(
      "data",
      first,
      Array.from({ length: 64 }, (_none, i) => 1 + first + i),
    );
  for (let i = 0; i < SNAPSHOTS; i++) {
    await world.makeFork();
    await world.send("data", (i * 3 * 64) % BLOCKS, [10_000 + i]);
  }
  await world.device!.destage();
}

function infoOf(world: ForkWorld, componentId: string): ComponentInfo {
  const info = world.device!.components().find((one) => one.componentId === componentId);
  assert(info !== undefined);
  return info;
}

function ownPages(world: ForkWorld, componentId: string): number {
  return existingPages(world.device!.state, infoOf(world, componentId).index, 0, PAGES).length;
}

async function digestsOf({ device, blockCount }: ForkWorld, id: string): Promise<Uint8Array> {
  const component = device!.component(id)!;
  return await component.digests(component.info.epoch, 0, Math.ceil(blockCount / REGION_BLOCKS));
}

/** How to tell what is made anew in which order, the newest having the number 0. */
const ORDERS: Record<string, (i: number) => number> = {
  "the volume first, then from the newest to the oldest": (i) => i,
  "the oldest first, the volume last": (i) => SNAPSHOTS - i,
  "any order": (i) => (i * 8) % (SNAPSHOTS + 1),
};

for (const [order, place] of Object.entries(ORDERS))
  test(`snapshots that are made anew take no more than their changes: ${order}`, async (t) => {
    const from = new ForkWorld({ seed: 6, blockCount: BLOCKS });
    const { simulation } = from;
    const to = new ForkWorld({ seed: 6, blockCount: BLOCKS, simulation });
    await simulation.run(async () => {
      await from.open();
      await to.open();
      await volumeWithSnapshots(from);
      const tags = from.blocks.map((block) => block.acknowledged);
      const volume: ForkModel = { componentId: from.componentId, tags, state: "there" };
      const newestFirst = [volume, ...from.forks.toReversed()];
      const usedEmpty = to.device!.state.metadata.usedBytes();
      for (let i = 0; i <= SNAPSHOTS; i++) {
        const fork = newestFirst[place(i)]!;
        const componentId = `e0${fork.componentId.slice(2)}`;
        await to.remake(from, fork.componentId, componentId);
        to.forks.push({ ...fork, componentId });
        await to.device!.pagesShared();
      }
      const used = to.device!.state.metadata.usedBytes() - usedEmpty;
      const usedThere = from.device!.state.metadata.usedBytes();
      const own = to.forks.map(({ componentId }) => ownPages(to, componentId));
      t.diagnostic(`${usedThere} bytes of metadata there, ${used} here; pages: ${own.join(" ")}`);
      assert.equal(own.filter((pages) => pages === PAGES).length, 1, "one of them has a whole map");
      assert.ok(used < 1.25 * usedThere, `${used} bytes of metadata, ${usedThere} there`);
      await to.verifyForks();
      await to.scrub();
      await from.device!.close();
      await to.device!.close();
    });
  });

test("whoever reads while pages come to be shared reads what there was, also if that fails", async () => {
  for (const refusals of [0, 1]) {
    const world = new ForkWorld({ seed: 10, blockCount: BLOCKS });
    const outcome = await world.run(async () => {
      await world.open();
      await volumeWithSnapshots(world);
      world.forks.splice(1);
      const made = await world.remakeFork(world.forks[0]!);
      const component = world.forked(made)!;
      const digests = await digestsOf(world, made.componentId);
      world.simMetadata!.refuseNextCommits(refusals);
      const over = new AbortController();
      const shared = world.device!.pagesShared().then(() => over.abort());
      let reads = 0;
      for (; !over.signal.aborted; reads++) {
        const first = 8 * world.prng.below(BLOCKS / 8);
        const bytes = await world.read(first, 8, component);
        for (let i = 0; i < 8; i++) {
          const wanted = StoreWorld.content(made.tags[first + i]!);
          const actual = bytes.subarray(i * wanted.length, (i + 1) * wanted.length);
          assert.equal(Buffer.compare(actual, wanted), 0, `block ${first + i}`);
        }
      }
      await shared;
      assert.ok(reads > 0, "somebody read meanwhile");
      assert.equal(ownPages(world, made.componentId), refusals === 0 ? 0 : PAGES);
      assert.deepEqual(await digestsOf(world, made.componentId), digests);
      await world.scrub();
      await world.device!.close();
      await world.open();
      await world.device!.pagesShared();
      assert.equal(ownPages(world, made.componentId), 0, "the next start makes up for it");
      assert.deepEqual(await digestsOf(world, made.componentId), digests);
      await world.verifyForks();
      await world.scrub();
      await world.device!.close();
    });
    assert.equal(outcome.kind, "done");
  }
});

const POLICIES: readonly CrashPolicy[] = [
  { kind: "none" },
  { kind: "all" },
  { kind: "random", seed: 1 },
];

/**
 * Snapshots are made anew, each beside what it is made of, while there are writes and deletions.
 */
class Sweep {
  readonly world: ForkWorld;
  /** Of those that were made anew. */
  readonly digests = new Map<string, Uint8Array>();
  operations: { first: number; last: number } = { first: 0, last: 0 };

  constructor(seed: number) {
    this.world = new ForkWorld({ seed, blockCount: 320 });
  }

  async prepare(): Promise<void> {
    const { world } = this;
    await world.open();
    for (let i = 0; i < 4; i++) {
      await world.send("data", i * 64 + 3, [1 + i, 2, 3, 4, 5, 6, 7]);
      if (i === 2) await world.send("discard", 130, [0, 0, 0]);
      await world.makeFork();
    }
    // In pages that the snapshots do not have.
    await world.send("data", 256, [70, 71]);
    await world.device!.destage();
    this.operations.first = world.machine.operationCount;
  }

  async run(): Promise<void> {
    const { world } = this;
    const writes = async (): Promise<void> => {
      for (let i = 0; i < 6; i++) await world.send("data", (i * 50) % 300, [80 + i, 90 + i]);
    };
    const written = writes();
    for (const [i, fork] of [...world.forks].entries()) {
      const digests = await digestsOf(world, fork.componentId);
      const { componentId } = await world.remakeFork(fork);
      this.digests.set(componentId, digests);
      if (i % 2 === 0) await world.deleteFork(fork);
    }
    await written;
    await world.makeFork();
    await world.device!.pagesShared();
    await world.deleteFork(world.forks.find((fork) => this.digests.has(fork.componentId))!);
    this.operations.last = world.machine.operationCount;
    await world.device!.close();
  }

  /** In a new life: before what was cut short goes on, and after. */
  async check(): Promise<void> {
    const { world } = this;
    await world.open();
    await world.dropHalfMade();
    await world.verify();
    for (let isShared = false; ; isShared = true) {
      await world.verifyForks();
      await world.scrub();
      for (const [id, wanted] of this.digests)
        if (world.device!.component(id) !== undefined)
          assert.deepEqual(await digestsOf(world, id), wanted);
      if (isShared) break;
      await world.device!.destage();
      await world.device!.pagesShared();
    }
    for (const { madeAnew } of world.device!.components()) assert.equal(madeAnew, false);
    await world.device!.close();
  }
}

test("a power cut at any operation leaves what is made anew as it was, and it is shared at last", async (t) => {
  const dry = new Sweep(12);
  const outcome = await dry.world.run(async () => {
    await dry.prepare();
    await dry.run();
  });
  assert.equal(outcome.kind, "done");
  const { first, last } = dry.operations;
  for (let at = first + 1; at <= last; at++) {
    const sweep = new Sweep(12);
    const { world } = sweep;
    world.machine.cutPowerAt(at, POLICIES[at % POLICIES.length]!);
    await world.run(async () => {
      await sweep.prepare();
      await sweep.run();
    });
    world.replaceMachine();
    const checked = await world.run(() => sweep.check());
    assert.equal(checked.kind, "done", `cut at operation ${at}`);
  }
  t.diagnostic(`${last - first} operations`);
  assert.ok(last - first > 60, "there is something to cut");
});
