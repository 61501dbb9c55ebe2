import assert from "node:assert/strict";
import { assertDefined, BLOCK_SIZE_BYTES, CodedError } from "../base/index.ts";
import { Simulation } from "../sim/index.ts";
import {
  BLOCKS,
  Store,
  assertEqual,
  catchUp,
  overwrite,
  pair,
  pass,
  randomTags,
  send,
  tagsAt,
} from "../../test/store-pair.ts";
import { StoreWorld } from "../../test/store-world.ts";
import { test } from "../../test/support/test.ts";
import type { ChangeBatch, ComponentDone } from "./component.ts";
import { isClean } from "./scrub-report.ts";

test("what one copy missed reaches it, whatever is destaged, written or known meanwhile", async () => {
  for (let seed = 1; seed <= 12; seed++) {
    await pair(seed, async (a, b, prng) => {
      let sequence = 0;
      const both = async (stores: readonly Store[]): Promise<void> => {
        sequence += prng.between(1, 3);
        const kind = prng.pick(["data", "data", "data", "zero", "discard"] as const);
        const length = prng.between(1, kind === "data" ? 20 : 100);
        const first = prng.below(BLOCKS - length);
        const tags = randomTags(prng, length);
        for (const store of stores) await store.write(sequence, first, tags, kind);
      };
      for (let i = 0; i < 30; i++) await both([a, b]);
      for (const store of [a, b]) store.component.commit(1, sequence);
      const since = sequence;
      if (prng.chance(0.5)) for (const store of [a, b]) await store.device.destage();
      for (let i = 0; i < 40; i++) {
        await both([a]);
        a.component.commit(1, sequence);
        if (prng.chance(0.1)) await a.device.destage();
      }
      if (prng.chance(0.3)) {
        await a.device.close();
        await a.open("d1".repeat(16));
      }
      for (const store of [a, b]) await store.component.open(2);
      assert.equal(await b.component.beginCatchUp(2, since), since);
      // New writes reach both while the old ones are on their way.
      await both([a, b]);
      const traffic = await catchUp(a, b, since);
      await both([a, b]);
      for (const store of [a, b]) store.component.commit(2, sequence);
      await assertEqual(a, b);
      assert.ok(traffic.sentBlocks <= traffic.offeredBlocks);
      const again = await catchUp(a, b, since);
      assert.equal(again.sentBlocks, 0, "nothing is sent twice");
      await b.component.endCatchUp(2);
      assert.equal((await b.component.open(2)).committedSequence, sequence);
    });
  }
});

test("contents that the device holds for anything are not sent", async () => {
  await pair(3, async (a, b) => {
    await b.write(1, 500, [7, 8, 9]);
    b.component.commit(1, 1);
    await b.device.destage();
    await a.write(2, 0, [7, 8, 9, 10, 7]);
    for (const store of [a, b]) store.component.commit(1, 2);
    const framesBefore = b.device.age.frame;
    const traffic = await catchUp(a, b, 1);
    assert.deepEqual([traffic.offeredBlocks, traffic.sentBlocks], [5, 1]);
    assert.equal(b.device.age.frame, framesBefore + 1, "only what was sent was journalled");
    const bytes = await b.contents();
    for (const [block, tag] of [7, 8, 9, 10, 7].entries()) {
      const at = block * BLOCK_SIZE_BYTES;
      assert.deepEqual(bytes.slice(at, at + BLOCK_SIZE_BYTES), StoreWorld.content(tag));
    }
    await b.device.destage();
    assert.ok(isClean(await b.device.scrub()));
  });
});

test("a content that is freed while it is offered is never referred to", async () => {
  let sent = 0;
  for (let seed = 1; seed <= 20; seed++)
    await pair(seed, async (a, b, prng) => {
      const tags = Array.from({ length: 60 }, (_none, i) => 100 + i);
      await b.write(1, 500, tags);
      b.component.commit(1, 1);
      await b.device.destage();
      await a.write(2, 0, tags);
      await a.write(3, 500, randomTags(prng, 60));
      const last = (await a.contents()).slice(500 * BLOCK_SIZE_BYTES, 560 * BLOCK_SIZE_BYTES);
      for (const store of [a, b]) store.component.commit(1, 3);
      const freeing = (async (): Promise<void> => {
        await pass(a.simulation, prng.below(30) / 10);
        // Catching up may have brought it already.
        if (b.component.info.preparedSequence < 3) await overwrite(b, 3, 500, last);
        await b.device.destage();
        // What was freed is used again at once.
        await b.write(4, 200, randomTags(prng, 60));
        b.component.commit(1, 4);
        await b.device.destage();
      })();
      sent += (await catchUp(a, b, 1, prng.pick([8, 64]))).sentBlocks;
      await freeing;
      await a.write(4, 200, tagsAt(await b.contents(), 200, 60));
      a.component.commit(1, 4);
      await assertEqual(a, b);
    });
  assert.ok(sent > 0, "some were gone in time");
});

test("a content whose block cannot be read is sent, and mended with what was sent", async () => {
  await pair(4, async (a, b) => {
    await b.write(1, 500, [7, 8, 9]);
    b.component.commit(1, 1);
    await b.device.destage();
    b.medium.failReads(b.homeOf(8), 512);
    await a.write(2, 0, [7, 8, 9]);
    for (const store of [a, b]) store.component.commit(1, 2);
    assert.equal((await catchUp(a, b, 1)).sentBlocks, 1);
    await b.device.destage();
    assert.equal(b.device.stats().badBlocks, 0, "written again in place");
    const bytes = await b.contents();
    assert.deepEqual(tagsAt(bytes, 500, 3), [7, 8, 9]);
    assert.ok(isClean(await b.device.scrub()));
  });
});

test("what is awaited is offered again by the number of its offer, as long as that is known", async () => {
  await pair(7, async (a, b) => {
    await a.write(1, 0, [7, 8]);
    await a.write(2, 100, [7, 9, 8]);
    for (const store of [a, b]) store.component.commit(1, 2);
    await b.component.beginCatchUp(1, 0);
    const changes = async (fromBlock: number): Promise<ChangeBatch> => {
      const range = { epoch: 1, since: 0, fromBlock, toBlock: fromBlock + 10, blocksMax: 64 };
      return await a.component.changes({ ...range, withFingerprints: true });
    };
    const first = await b.component.offer(1, await changes(0), false);
    assert.equal(first.offer, undefined, "nothing of it is awaited");
    const offer = async (): Promise<number> => {
      const answer = await b.component.offer(1, await changes(100), false);
      assert.deepEqual([answer.missing[0], answer.awaited[0]], [0b111, 0b101]);
      return assertDefined(answer.offer, "it is kept");
    };
    const again = (epoch: number, number: number, blocks: number) =>
      b.component.offerAgain(epoch, number, blocks);
    const forgotten = await offer();
    assert.equal(await again(1, forgotten + 1, 2), undefined, "never given");
    assert.equal(await again(1, forgotten, 3), undefined, "somebody else's");
    await b.component.beginCatchUp(1, 0);
    assert.equal(await again(1, forgotten, 2), undefined, "of an exchange that is over");
    const number = await offer();
    await send(b, await changes(0), Uint8Array.of(0b11), await a.contents());
    const second = await again(1, number, 2);
    assert.deepEqual([second?.missing[0], second?.awaited[0]], [0, 0], "both are here");
    assert.equal(await again(1, number, 2), undefined, "once");
    assert.deepEqual(tagsAt(await b.contents(), 100, 3), [7, 0, 8]);
    await b.component.open(2);
    await assert.rejects(again(1, number, 2), { code: "fenced" });
  });
});

test("more is offered next the more was known and the more of the journal's memory is free", async () => {
  await pair(8, async (a, b) => {
    const tags = (first: number): number[] => Array.from({ length: 60 }, (_none, i) => first + i);
    await b.write(1, 500, tags(0));
    b.component.commit(1, 1);
    await b.device.destage();
    await a.write(2, 0, tags(0));
    await a.write(3, 100, tags(30));
    await a.write(4, 200, tags(100));
    for (const store of [a, b]) store.component.commit(1, 4);
    const nextAfter = async (fromBlock: number): Promise<number> => {
      const range = { epoch: 1, since: 1, fromBlock, toBlock: fromBlock + 60, blocksMax: 64 };
      const batch = await a.component.changes({ ...range, withFingerprints: true });
      return (await b.component.offer(1, batch, false)).blocksNext;
    };
    assert.equal(await nextAfter(200), 256, "nothing of it was known");
    const half = await nextAfter(100);
    assert.ok(half > 2200 && half <= 256 + 2048, `${half} after half was known`);
    const all = await nextAfter(0);
    assert.ok(all > 4000 && all <= 4096, `${all} after all was known`);
    let sequence = 5;
    // Small ones: long ones go past the journal.
    for (; b.device.state.journal.payloadBlocksHeld < 600; sequence++)
      await b.write(sequence, 300, tags(140).slice(0, 8));
    const crowded = await nextAfter(0);
    assert.ok(crowded > 2000 && crowded < 3000, `${crowded} with two fifths of the memory in use`);
    b.component.commit(1, sequence);
    await b.device.destage();
    assert.equal(await nextAfter(0), all, "there is room again");
  });
});

test("what is sent may be written over once it was given, also where there is no room for it", async () => {
  await pair(11, async (_a, b) => {
    const { component } = b;
    await component.beginCatchUp(1, 0);
    const [blocks, batches] = [60, 90];
    const payload = new Uint8Array(blocks * BLOCK_SIZE_BYTES);
    const given: Promise<void>[] = [];
    // More than the journal's memory holds.
    for (let sequence = 1; sequence <= batches; sequence++) {
      const batch: ChangeBatch = {
        starts: Float64Array.of((sequence % 8) * blocks),
        counts: Float64Array.of(blocks),
        sequences: Float64Array.of(sequence),
        kinds: new Uint8Array(1),
        fingerprints: new Uint8Array(0),
        nextBlock: -1,
        fromJournal: true,
      };
      payload.fill(sequence);
      given.push(component.apply(1, batch, payload));
    }
    component.commit(1, batches);
    await Promise.all(given);
    const contents = await b.contents();
    for (let sequence = batches - 7; sequence <= batches; sequence++) {
      const at = (sequence % 8) * payload.length;
      payload.fill(sequence);
      assert.deepEqual(contents.subarray(at, at + payload.length), payload, `of ${sequence}`);
    }
  });
});

test("a device that fails while it takes an offer says so, once", async () => {
  const simulation = new Simulation({ seed: 6 });
  const [from, to] = [new Store(simulation), new Store(simulation)];
  await simulation.run(async () => {
    await from.open("d1".repeat(16));
    await to.open("d2".repeat(16));
    for (const store of [from, to]) await store.component.open(1);
    await to.write(1, 500, [7]);
    to.component.commit(1, 1);
    await to.device.destage();
    await from.write(2, 10, [0], "zero");
    await from.write(3, 20, [7]);
    const request = { epoch: 1, since: 0, fromBlock: 0, toBlock: BLOCKS };
    const batch = await from.component.changes({
      ...request,
      blocksMax: 64,
      withFingerprints: true,
    });
    const disk = assertDefined(to.simDisk, "open");
    disk.failNextWrites(1);
    // What is known there is still being read when the journal has failed.
    disk.readLatency = { minMs: 50, maxMs: 50 };
    await assert.rejects(to.component.offer(1, batch, false), { code: "write-error" });
  });
});

test("beyond the log the logical map answers, and says the same", async () => {
  await pair(5, async (a, b) => {
    for (let i = 1; i <= 20; i++) await a.write(i, (i * 37) % 500, [i, i + 1]);
    a.component.commit(1, 20);
    const request = { epoch: 1, since: 12, fromBlock: 0, toBlock: BLOCKS, blocksMax: 1000 };
    const logged = await a.component.changes({ ...request, withFingerprints: false });
    assert.ok(logged.fromJournal);
    await a.device.close();
    await a.open("d1".repeat(16));
    await a.component.open(1);
    const searched = await a.component.changes({ ...request, withFingerprints: false });
    assert.ok(!searched.fromJournal);
    assert.deepEqual([...searched.starts], [...logged.starts]);
    assert.deepEqual([...searched.sequences], [...logged.sequences]);
    await b.component.open(1);
  });
});

test("a tail that nobody decided is gone for good, and older versions under it are back", async () => {
  const simulation = new Simulation({ seed: 9 });
  const store = new Store(simulation);
  await simulation.run(async () => {
    await store.open("d1".repeat(16));
    await store.component.open(1);
    await store.write(1, 0, [1, 1, 1, 1]);
    store.component.commit(1, 1);
    await store.write(2, 2, [2, 2, 2]);
    await store.write(
      3,
      100,
      Array.from({ length: 80 }, () => 0),
      "discard",
    );
    await store.component.open(2);
    assert.equal(await store.component.beginCatchUp(2, 1), 1);
  });
  const check = async (): Promise<void> => {
    const bytes = await store.contents();
    for (const [block, tag] of [1, 1, 1, 1, 0].entries()) {
      const at = block * BLOCK_SIZE_BYTES;
      const found = bytes.slice(at, at + BLOCK_SIZE_BYTES);
      assert.deepEqual(found, StoreWorld.content(tag), `block ${block}`);
    }
  };
  await simulation.run(check);
  store.crash();
  await simulation.run(async () => {
    await store.open("d1".repeat(16));
    await check();
    const opening = await store.component.open(3);
    assert.deepEqual([opening.committedSequence, opening.preparedSequence], [1, 1]);
    // A later owner's numbers are above the tail's: it must stay gone when they are decided.
    await store.write(2000, 300, [5]);
    store.component.commit(3, 2000);
    assert.equal((await store.component.open(3)).committedSequence, 1, "still catching up");
    await store.device.destage();
    await check();
    assert.ok(isClean(await store.device.scrub()));
  });
});

test("batches from elsewhere are checked, and old epochs refused", async () => {
  await pair(1, async (a) => {
    const good: ChangeBatch = {
      starts: Float64Array.of(0),
      counts: Float64Array.of(1),
      sequences: Float64Array.of(1),
      kinds: Uint8Array.of(0),
      fingerprints: new Uint8Array(0),
      nextBlock: -1,
      fromJournal: true,
    };
    const block = new Uint8Array(BLOCK_SIZE_BYTES);
    const bad: [Partial<ChangeBatch>, Uint8Array][] = [
      [{ starts: Float64Array.of(BLOCKS) }, block],
      [{ starts: Float64Array.of(-1) }, block],
      [{ starts: Float64Array.of(0.5) }, block],
      [{ counts: Float64Array.of(0) }, block],
      [{ sequences: Float64Array.of(0) }, block],
      [{ kinds: Uint8Array.of(9) }, block],
      [{ kinds: new Uint8Array(0) }, block],
      [{}, new Uint8Array(1)],
    ];
    for (const [change, payload] of bad)
      await assert.rejects(a.component.apply(1, { ...good, ...change }, payload), (error) => {
        return error instanceof CodedError && error.code === "message-invalid";
      });
    await a.component.open(5);
    await assert.rejects(a.component.apply(4, good, block), (error) => {
      return error instanceof CodedError && error.code === "fenced";
    });
  });
});

test("an old copy of a device drops what nobody will decide, so that it holds nothing else up", async () => {
  const simulation = new Simulation({ seed: 3 });
  const store = new Store(simulation);
  const deviceId = "d1".repeat(16);
  const [componentId, objectId] = ["c7".repeat(16), "07".repeat(16)];
  await simulation.run(async () => {
    await store.open(deviceId);
    await store.write(1, 0, [1, 2]);
    await store.device.createComponent({ componentId, objectId, sizeBytes: BLOCK_SIZE_BYTES });
    await store.device.close();
    await store.open(deviceId);
    assert.equal(store.device.undecided().length, 1);
    const { incarnation } = store.device.age;
    await store.device.distrust(incarnation + 3);
    assert.equal(store.device.age.incarnation, incarnation + 4);
    assert.equal(store.device.undecided().length, 0);
    assert.equal(store.component.info.catchUpFrom, 0);
    const other = assertDefined(store.device.component(componentId), "just made");
    await other.open(1);
    await new Promise<void>((resolve) => {
      const write = { epoch: 1, sequence: 1, kind: "data", blockIndex: 0, blockCount: 1 } as const;
      const source = StoreWorld.content(5);
      other.prepare({ ...write, source, sourceAt: 0 }, () => resolve(), 0);
      other.submit();
    });
    other.commit(1, 1);
    await other.digests(1, 0, 1);
    assert.ok(isClean(await store.device.scrub()));
    await store.device.close();
  });
});

test("that a component lacks something is known after a power cut, before anything else was written", async () => {
  const simulation = new Simulation({ seed: 4 });
  const store = new Store(simulation);
  const deviceId = "d1".repeat(16);
  await simulation.run(async () => {
    await store.open(deviceId);
    await store.write(1, 0, [1, 2]);
    store.component.commit(1, 1);
    await store.device.destage();
    assert.ok((await store.component.open(2)).isComplete);
    await store.component.beginCatchUp(2, 1);
    store.crash();
    await store.open(deviceId);
    assert.equal(store.component.info.catchUpFrom, 1);
    assert.ok(!(await store.component.open(3)).isComplete);
    await store.component.beginCatchUp(3, 1);
    await store.component.endCatchUp(3);
    store.crash();
    await store.open(deviceId);
    assert.ok((await store.component.open(4)).isComplete);
    await store.device.close();
  });
});

test("a component that is deleted while it is asked says that it is not there, and nothing else", async () => {
  await pair(6, async (a) => {
    const { component, device } = a;
    const isMissing = (error: unknown): boolean =>
      error instanceof CodedError && error.code === "component-missing";
    await a.write(1, 0, [1, 2, 3]);
    component.commit(1, 1);
    const request = { fromBlock: 0, toBlock: BLOCKS, blocksMax: 64, withFingerprints: true };
    const asked = [
      () => component.digests(1, 0, 1),
      () => component.changes({ epoch: 1, since: 0, ...request }),
      () => component.open(1),
      () => component.beginCatchUp(1, 0),
      () => component.endCatchUp(1),
      () => component.extents(0, BLOCKS, 8),
    ];
    let release = (): void => {};
    const held = device.exclusive(() => new Promise<void>((resolve) => (release = resolve)));
    // What reads the maps at once is asked below.
    const waiting = asked.slice(0, 5).map((ask) => assert.rejects(ask(), isMissing));
    const deleting = device.deleteComponent(component.componentId);
    await pass(a.simulation, 1);
    release();
    await Promise.all([held, deleting, ...waiting]);
    for (const ask of asked) await assert.rejects(ask(), isMissing);
    const memory = device.allocate(BLOCK_SIZE_BYTES);
    assert.ok(!component.readNow(memory, 0, 0, 1));
    const block = { blockIndex: 0, blockCount: 1, source: StoreWorld.content(9), sourceAt: 0 };
    for (const work of [
      (done: ComponentDone) => component.read(memory, 0, 0, 1, done, 0),
      (done: ComponentDone) =>
        component.prepare({ epoch: 1, sequence: 2, kind: "data", ...block }, done, 0),
    ]) {
      const fault = await new Promise((resolve) => work((_token, answer) => resolve(answer)));
      assert.equal(fault, "unreachable");
    }
    a.crash();
    await a.open("d1".repeat(16));
    assert.deepEqual(a.device.state.components.all(), [], "its record has not come back");
  });
});

test("a component that has to catch up tells of all numbers it has heard of as decided", async () => {
  await pair(7, async (a) => {
    await a.write(3, 0, [1, 2], "data");
    a.component.commit(1, 500);
    assert.equal(await a.component.beginCatchUp(1, 3), 3);
    const { isComplete, committedSequence, preparedSequence } = await a.component.open(2);
    assert.deepEqual(
      { isComplete, committedSequence },
      { isComplete: false, committedSequence: 3 },
    );
    assert.equal(preparedSequence, 500);
  });
});
