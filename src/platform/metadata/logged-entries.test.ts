import { deepEqual, equal, rejects } from "node:assert/strict";
import { closeSync, copyFileSync, mkdtempSync, openSync, readFileSync } from "node:fs";
import { renameSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { Prng, toHex } from "../../base/index.ts";
import { LOG_MARK_KEY, LoggedEntries } from "./logged-entries.ts";
import type { Tree } from "./logged-entries.ts";
import type { PendingEntry } from "./pending-entries.ts";

const SIZES = { halfBytes: 128 << 10, tableBytes: 1 << 20 };
const KEYS = 6000;

let folder = "";
before(() => {
  folder = mkdtempSync("/var/tmp/drystone-logged-entries-");
});
after(() => {
  rmSync(folder, { recursive: true });
});

/** A tree in memory; what it holds is what a crash leaves of it. */
class MemoryTree implements Tree {
  readonly entries: Map<string, Uint8Array>;
  onWrite: () => void = () => {};
  fails = false;

  constructor(entries: ReadonlyMap<string, Uint8Array> = new Map()) {
    this.entries = new Map(entries);
  }

  get mark(): Uint8Array | undefined {
    return this.entries.get(toHex(LOG_MARK_KEY));
  }

  async write(entries: readonly PendingEntry[]): Promise<void> {
    this.onWrite();
    await Promise.resolve();
    if (this.fails) throw new Error("the tree has no room");
    for (const { key, value } of entries) {
      if (value === undefined) this.entries.delete(toHex(key));
      else this.entries.set(toHex(key), value.slice());
    }
    this.onWrite();
  }
}

const keyOf = (n: number): Uint8Array => new Uint8Array([1, n >> 8, n & 255]);

/** What is read through the log and the tree. */
function read(logged: LoggedEntries, tree: MemoryTree): Map<number, number> {
  const found = new Map<number, number>();
  for (let n = 0; n < KEYS; n++) {
    const key = keyOf(n);
    const value = logged.find(key) ? logged.found : tree.entries.get(toHex(key));
    if (value !== undefined) found.set(n, value[0]! + 256 * value[1]!);
  }
  return found;
}

function batchOf(round: number, prng: Prng, model: Map<number, number>): PendingEntry[] {
  // Now and then more than a half of the log holds, or what is in several transactions of the tree.
  const count = round % 17 === 16 ? 4000 : prng.pick([1, 20, 500]);
  return Array.from({ length: count }, () => {
    const n = prng.below(KEYS);
    if (prng.chance(0.2)) {
      model.delete(n);
      return { key: keyOf(n), value: undefined };
    }
    model.set(n, round);
    return { key: keyOf(n), value: new Uint8Array(40).fill(round >> 8).fill(round & 255, 0, 1) };
  });
}

test("a crash between any two steps loses nothing that was committed", async () => {
  const path = join(folder, "log");
  const copy = join(folder, "copy");
  const prng = new Prng(3);
  const tree = new MemoryTree();
  const model = new Map<number, number>();
  /** As it was before the batch under way, which may be there or not. */
  let committed = new Map<number, number>();
  const crashes: Promise<void>[] = [];
  let steps = 0;
  const crash = async (): Promise<void> => {
    const left = new MemoryTree(tree.entries);
    const [older, newer] = [new Map(committed), new Map(model)];
    const own = `${copy}-${steps++}`;
    copyFileSync(path, own);
    const again = await LoggedEntries.open(own, left, SIZES);
    const found = read(again!, left);
    const isOlder = found.size === older.size && [...older].every(([n, r]) => found.get(n) === r);
    if (!isOlder) deepEqual(found, newer);
    await again!.close();
    rmSync(own);
  };
  const logged = await LoggedEntries.open(path, tree, SIZES);
  tree.onWrite = () => void crashes.push(crash());
  for (let round = 0; round < 120; round++) {
    await logged!.commit(batchOf(round, prng, model));
    committed = new Map(model);
    deepEqual(read(logged!, tree), model);
    if (round % 4 === 0) await crash();
  }
  await logged!.close();
  await Promise.all(crashes);
  deepEqual([...tree.entries.keys()].length, model.size + 1);
  equal(steps > 60, true, `${steps} crashes`);
});

/** As a killed process leaves it: the log, and a copy of the tree. */
function left(path: string, tree: MemoryTree): MemoryTree {
  copyFileSync(path, `${path}.left`);
  renameSync(`${path}.left`, path);
  return new MemoryTree(tree.entries);
}

function overwrite(path: string, at: number, bytes: Uint8Array): void {
  const fd = openSync(path, "r+");
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}

/** Some 40 KiB each: a chunk of 1 MiB has 25 of them. */
const longEntries = (count: number, round: number): PendingEntry[] =>
  Array.from({ length: count }, (_none, n) => ({
    key: keyOf(n),
    value: new Uint8Array(40 << 10).fill(round).fill(0, 1),
  }));

const LONG_SIZES = { halfBytes: 8 << 20, tableBytes: 16 << 20 };
const HALF_AT = 4096 + LONG_SIZES.halfBytes;
const CHUNK_AT = HALF_AT + 251 * 4096;

/** A log whose first batch was not written whole: of three chunks the first is missing. */
async function torn(path: string): Promise<{ tree: MemoryTree; logged: LoggedEntries }> {
  const tree = new MemoryTree();
  const first = await LoggedEntries.open(path, tree, LONG_SIZES);
  await first!.commit(longEntries(75, 1));
  overwrite(path, HALF_AT, new Uint8Array(4096));
  const next = left(path, tree);
  const logged = await LoggedEntries.open(path, next, LONG_SIZES);
  deepEqual(read(logged!, next), new Map());
  return { tree: next, logged: logged! };
}

test("chunks of a batch that never was are not taken for damage", async () => {
  const path = join(folder, "chunks");
  const { tree, logged } = await torn(path);
  await logged.commit(longEntries(50, 2));
  const next = left(path, tree);
  const again = await LoggedEntries.open(path, next, LONG_SIZES);
  deepEqual(read(again!, next), new Map(Array.from({ length: 50 }, (_none, n) => [n, 2])));
});

test("chunks of a batch that never was do not complete another", async () => {
  const path = join(folder, "completed");
  const { tree, logged } = await torn(path);
  const before = readFileSync(path).subarray(CHUNK_AT);
  await logged.commit(longEntries(75, 2));
  // The power went when the first chunk was there and nothing else.
  overwrite(path, CHUNK_AT, before);
  const next = left(path, tree);
  const again = await LoggedEntries.open(path, next, LONG_SIZES);
  deepEqual(read(again!, next), new Map());
});

test("a mark of the log in the tree with a flipped bit is refused, and nothing is lost", async () => {
  const path = join(folder, "mark");
  const tree = new MemoryTree();
  const logged = await LoggedEntries.open(path, tree, SIZES);
  for (let round = 1; round < 4; round++) await logged!.commit(longEntries(1, round));
  const before = readFileSync(path);
  for (let bit = 0; bit < 8 * tree.mark!.length; bit++) {
    const copy = new MemoryTree(tree.entries);
    const mark = copy.mark!.slice();
    mark[bit >> 3]! ^= 1 << (bit & 7);
    copy.entries.set(toHex(LOG_MARK_KEY), mark);
    await rejects(LoggedEntries.open(path, copy, SIZES), { code: "metadata-damaged" }, `${bit}`);
    equal(before.compare(readFileSync(path)), 0);
  }
});

test("a tree that fails for a while is asked again, and what is committed stays", async () => {
  const prng = new Prng(4);
  const tree = new MemoryTree();
  const model = new Map<number, number>();
  const logged = await LoggedEntries.open(join(folder, "failing"), tree, SIZES);
  for (let round = 0; round < 200; round++) {
    if (round % 17 === 16) continue;
    tree.fails = round % 20 >= 10;
    const before = new Map(model);
    const entries = batchOf(round, prng, model);
    await logged!.commit(entries).catch(() => {
      model.clear();
      for (const [n, value] of before) model.set(n, value);
    });
    deepEqual(read(logged!, tree), model, `after round ${round}`);
  }
  tree.fails = false;
  await logged!.close();
  equal(tree.entries.size, model.size + 1);
});

test("a table that one large batch has made larger than it may be is not kept", async () => {
  const tree = new MemoryTree();
  const sizes = { halfBytes: 16 << 20, tableBytes: 4 << 20 };
  const logged = await LoggedEntries.open(join(folder, "large"), tree, sizes);
  const deletions = (count: number, first: number): PendingEntry[] =>
    Array.from({ length: count }, (_none, n) => {
      const key = new Uint8Array(17);
      new DataView(key.buffer).setUint32(1, first + n);
      return { key, value: undefined };
    });
  // Both tables have their turn.
  for (let first = 0; first < 400_000; first += 100_000)
    await logged!.commit(deletions(100_000, first));
  let writes = 0;
  tree.onWrite = () => writes++;
  for (let batch = 0; batch < 100; batch++) await logged!.commit(deletions(10, batch * 10));
  // What the large ones have left, and nothing of the small ones.
  equal(writes < 200, true, `${writes} steps of transactions for 100 small batches`);
  await logged!.close();
});
