/** What every `MetadataStore` promises, as tests. */
import assert from "node:assert/strict";
import { AssertionError, compareBytes, Prng, toHex } from "../../src/base/index.ts";
import { MetadataBatch } from "../../src/ports/index.ts";
import type { MetadataStore } from "../../src/ports/index.ts";
import { registerSuite, type World } from "./world.ts";

export interface MetadataWorld extends World {
  /** An empty store. */
  readonly store: MetadataStore;
  /** The same entries again, after `close` of the store before. */
  reopen(): Promise<MetadataStore>;
}

type MetadataTest = (store: MetadataStore, world: MetadataWorld) => Promise<void>;

const FIRST = new Uint8Array([0]);
const LAST = new Uint8Array(64).fill(255);

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (value: Uint8Array | undefined): string | undefined =>
  value === undefined ? undefined : new TextDecoder().decode(value);

function puts(entries: Record<string, string>): MetadataBatch {
  const batch = new MetadataBatch();
  for (const [key, value] of Object.entries(entries)) batch.put(bytes(key), bytes(value));
  return batch;
}

function scanned(store: MetadataStore, from: Uint8Array, to: Uint8Array): string[] {
  const lines: string[] = [];
  store.scan(from, to, (key, value) => {
    lines.push(`${text(key)}=${text(value)}`);
    return true;
  });
  return lines;
}

const reading: Record<string, MetadataTest> = {
  "an empty store has nothing": async (store) => {
    assert.equal(store.get(bytes("a")), undefined);
    assert.deepEqual(scanned(store, FIRST, LAST), []);
  },
  "a batch is seen before it is durable": async (store) => {
    const durable = store.commit(puts({ a: "1" }));
    assert.equal(text(store.get(bytes("a"))), "1");
    assert.deepEqual(scanned(store, FIRST, LAST), ["a=1"]);
    await durable;
    assert.equal(text(store.get(bytes("a"))), "1");
  },
  "each commit sees those before it, durable or not": async (store) => {
    const first = store.commit(puts({ a: "1", b: "1" }));
    const batch = new MetadataBatch();
    batch.delete(bytes("a"));
    batch.put(bytes("b"), bytes("2"));
    const second = store.commit(batch);
    assert.deepEqual(scanned(store, FIRST, LAST), ["b=2"]);
    await Promise.all([first, second]);
    assert.deepEqual(scanned(store, FIRST, LAST), ["b=2"]);
  },
  "within a batch the later operation on a key wins": async (store) => {
    const batch = new MetadataBatch();
    batch.put(bytes("a"), bytes("1"));
    batch.delete(bytes("a"));
    batch.put(bytes("b"), bytes("1"));
    batch.put(bytes("b"), bytes("2"));
    batch.delete(bytes("c"));
    batch.put(bytes("c"), bytes("3"));
    await store.commit(batch);
    assert.deepEqual(scanned(store, FIRST, LAST), ["b=2", "c=3"]);
  },
  "a deleted key is gone, and deleting it again is allowed": async (store) => {
    await store.commit(puts({ a: "1" }));
    for (let i = 0; i < 2; i++) {
      const batch = new MetadataBatch();
      batch.delete(bytes("a"));
      await store.commit(batch);
      assert.equal(store.get(bytes("a")), undefined);
    }
  },
  "an empty batch commits": async (store) => {
    await store.commit(new MetadataBatch());
  },
  "the batch may be used again as soon as commit has returned": async (store) => {
    const batch = puts({ a: "1" });
    const first = store.commit(batch);
    batch.operations.length = 0;
    batch.put(bytes("b"), bytes("2"));
    await Promise.all([first, store.commit(batch)]);
    assert.deepEqual(scanned(store, FIRST, LAST), ["a=1", "b=2"]);
  },
  "the memory of a batch that is durable is another batch's, and its entries stay": async (
    store,
  ) => {
    const nameOf = (index: number): Uint8Array => bytes(String(1000 + index));
    for (const first of [0, 1000, 2000]) {
      const batch = new MetadataBatch();
      for (let i = 0; i < 400; i++)
        batch.put(nameOf(first + i), new Uint8Array(2000).fill(1 + first / 1000));
      await store.commit(batch);
      batch.release();
      assert.equal(batch.size, 0);
    }
    for (const first of [0, 1000, 2000])
      for (let i = 0; i < 400; i++)
        assert.deepEqual([...new Set(store.get(nameOf(first + i)))], [1 + first / 1000]);
  },
};

const scanning: Record<string, MetadataTest> = {
  "a scan begins at its first bound and ends before its last": async (store) => {
    await store.commit(puts({ a: "1", b: "2", ba: "3", c: "4", d: "5" }));
    assert.deepEqual(scanned(store, bytes("b"), bytes("d")), ["b=2", "ba=3", "c=4"]);
    assert.deepEqual(scanned(store, bytes("aa"), bytes("b")), []);
    assert.deepEqual(scanned(store, bytes("c"), bytes("c")), []);
    assert.deepEqual(scanned(store, bytes("d"), LAST), ["d=5"]);
  },
  "keys come in the order of their bytes, above 127 too, shorter ones first": async (store) => {
    const keys = [[0], [0, 0], [1], [127], [127, 255], [128], [200, 1], [255], [255, 255]];
    const batch = new MetadataBatch();
    for (const key of keys.toReversed()) batch.put(new Uint8Array(key), new Uint8Array([1]));
    await store.commit(batch);
    const seen: number[][] = [];
    store.scan(FIRST, LAST, (key) => seen.push([...key]) > 0);
    assert.deepEqual(seen, keys);
  },
  "a scan stops when the visitor says so": async (store) => {
    await store.commit(puts({ a: "1", b: "2", c: "3" }));
    const seen: (string | undefined)[] = [];
    store.scan(FIRST, LAST, (key) => {
      seen.push(text(key));
      return seen.length < 2;
    });
    assert.deepEqual(seen, ["a", "b"]);
  },
  "an error of the visitor passes through, and the store works on": async (store) => {
    await store.commit(puts({ a: "1" }));
    const scan = (): void =>
      store.scan(FIRST, LAST, () => {
        throw new Error("visitor");
      });
    assert.throws(scan, /visitor/);
    await store.commit(puts({ b: "2" }));
    assert.deepEqual(scanned(store, FIRST, LAST), ["a=1", "b=2"]);
  },
  "key and value hold during a visit": async (store) => {
    const batch = new MetadataBatch();
    for (let i = 0; i < 500; i++) {
      batch.put(bytes(`key ${String(i).padStart(4, "0")}`), bytes(`value ${i}`.repeat(20)));
    }
    await store.commit(batch);
    let index = 0;
    store.scan(FIRST, LAST, (key, value) => {
      assert.equal(text(key), `key ${String(index).padStart(4, "0")}`);
      assert.equal(text(value), `value ${index}`.repeat(20));
      index++;
      return true;
    });
    assert.equal(index, 500);
  },
};

const limits: Record<string, MetadataTest> = {
  "the longest key and the longest value come back": async (store, world) => {
    const key = new Uint8Array(64).fill(0x6b);
    const value = new Uint8Array(65_536);
    new Prng(1).fill(value);
    const batch = new MetadataBatch();
    batch.put(key, value);
    batch.put(new Uint8Array([1]), new Uint8Array(0));
    await store.commit(batch);
    await store.close();
    const again = await world.reopen();
    assert.equal(Buffer.compare(again.get(key)!, value), 0);
    assert.equal(again.get(new Uint8Array([1]))?.length, 0);
    await again.close();
  },
  "longer keys and values, and empty keys, are refused by assertion": async (store) => {
    for (const [key, value] of [
      [0, 1],
      [65, 1],
      [1, 65_537],
    ] as const) {
      const batch = new MetadataBatch();
      batch.put(bytes("good"), bytes("1"));
      batch.put(new Uint8Array(key), new Uint8Array(value));
      await assert.rejects(async () => await store.commit(batch), AssertionError);
      assert.equal(store.get(bytes("good")), undefined);
    }
  },
  "a closed store refuses by assertion": async (store) => {
    await store.close();
    assert.throws(() => store.get(bytes("a")), AssertionError);
    await assert.rejects(async () => await store.commit(puts({ a: "1" })), AssertionError);
  },
  "used bytes grow with what is put": async (store) => {
    const before = store.usedBytes();
    const batch = new MetadataBatch();
    for (let i = 0; i < 64; i++) batch.put(new Uint8Array([1, i]), new Uint8Array(16_384));
    await store.commit(batch);
    assert.ok(store.usedBytes() >= before + (1 << 20));
  },
};

const durability: Record<string, MetadataTest> = {
  "what was committed survives reopening": async (store, world) => {
    await store.commit(puts({ a: "1", b: "2" }));
    const batch = puts({ c: "3" });
    batch.delete(bytes("a"));
    await store.commit(batch);
    await store.close();
    const again = await world.reopen();
    assert.deepEqual(scanned(again, FIRST, LAST), ["b=2", "c=3"]);
    await again.close();
  },
  "close waits for commits under way": async (store, world) => {
    let settled = 0;
    for (let i = 0; i < 20; i++) {
      void store.commit(puts({ [`key ${i}`]: "1" })).then(() => settled++);
    }
    await store.close();
    await Promise.resolve();
    const again = await world.reopen();
    assert.equal(scanned(again, FIRST, LAST).length, 20);
    await again.close();
    assert.equal(settled, 20);
  },
  "commits become durable in their order": async (store) => {
    const order: number[] = [];
    const commits = Array.from({ length: 50 }, async (_, i) => {
      await store.commit(puts({ key: String(i) }));
      order.push(i);
    });
    await Promise.all(commits);
    assert.deepEqual(order, [...Array(50).keys()]);
    assert.equal(text(store.get(bytes("key"))), "49");
  },
  "random batches behave as a sorted map does, and after reopening too": async (store, world) => {
    const model = new Map<string, string>();
    await randomBatches(store, model);
    assertSame(store, model);
    await store.close();
    const again = await world.reopen();
    assertSame(again, model);
    await again.close();
  },
};

async function randomBatches(store: MetadataStore, model: Map<string, string>): Promise<void> {
  const prng = new Prng(7);
  const commits: Promise<void>[] = [];
  for (let round = 0; round < 100; round++) {
    const batch = new MetadataBatch();
    for (let i = prng.below(60); i >= 0; i--) {
      const key = new Uint8Array(1 + prng.below(3));
      for (let at = 0; at < key.length; at++) key[at] = prng.below(40) * 6;
      const value = new Uint8Array(prng.below(50));
      prng.fill(value);
      if (prng.chance(0.3)) {
        batch.delete(key);
        model.delete(toHex(key));
      } else {
        batch.put(key, value);
        model.set(toHex(key), toHex(value));
      }
    }
    commits.push(store.commit(batch));
    if (prng.chance(0.2)) await Promise.all(commits.splice(0));
    if (prng.chance(0.1)) assertSame(store, model);
  }
  await Promise.all(commits);
}

function assertSame(store: MetadataStore, model: ReadonlyMap<string, string>): void {
  const seen = new Map<string, string>();
  let last = new Uint8Array(0);
  store.scan(FIRST, LAST, (key, value) => {
    assert.ok(compareBytes(last, key) < 0 || seen.size === 0, "keys do not ascend");
    last = key.slice();
    seen.set(toHex(key), toHex(value));
    return true;
  });
  assert.deepEqual(
    [...seen],
    [...model].toSorted(([a], [b]) => compareBytes(Buffer.from(a, "hex"), Buffer.from(b, "hex"))),
  );
  for (const [key, value] of model) {
    assert.equal(toHex(store.get(Buffer.from(key, "hex")) ?? new Uint8Array(0)), value);
  }
}

/** Registers the suite under the adapter's name. Each test has a world of its own. */
export function metadataStoreConformance(name: string, open: () => Promise<MetadataWorld>): void {
  const groups = [reading, scanning, limits, durability].map((tests) =>
    Object.fromEntries(
      Object.entries(tests).map(([promise, body]) => [
        promise,
        async (world: MetadataWorld) => await body(world.store, world),
      ]),
    ),
  );
  registerSuite(name, open, groups);
}
