import { ok as assert, equal, rejects } from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { Prng } from "../../base/index.ts";
import { MetadataBatch } from "../../ports/index.ts";
import { LmdbMetadataStore } from "../index.ts";

const KIB = 1024;
/** Halves of 4 MiB. */
const LOG = { bytes: 8 << 20, tableBytes: 16 << 20, mayBegin: true };
const PIECE_BYTES = 4096;
const LAST = new Uint8Array(64).fill(255);
const index = new URL("../index.js", import.meta.url).href;
const ports = new URL("../../ports/index.js", import.meta.url).href;
let folder = "";
before(() => {
  folder = fs.mkdtempSync("/var/tmp/drystone-metadata-log-");
});
after(() => {
  fs.rmSync(folder, { recursive: true });
});

/** Key `n`, of which there are 1000, with a value that says which round wrote it. */
function roundOf(round: number): { n: number; value: Uint8Array | undefined }[] {
  const prng = new Prng(round + 1);
  return Array.from({ length: 100 }, () => {
    const isDeleted = prng.pick([false, false, false, true]);
    return {
      n: prng.below(1000),
      value: isDeleted ? undefined : new Uint8Array(2 * KIB).fill(round),
    };
  });
}

const keyOf = (n: number): Uint8Array => new Uint8Array([2, n >> 8, n & 255, 7, 7]);
const ROUND_KEY = new Uint8Array([1]);

function batchOf(round: number): MetadataBatch {
  const batch = new MetadataBatch();
  for (const { n, value } of roundOf(round)) {
    if (value === undefined) batch.delete(keyOf(n));
    else batch.put(keyOf(n), value);
  }
  batch.put(ROUND_KEY, new Uint8Array([round >> 8, round & 255]));
  return batch;
}

/** Asserts that the store holds all of the rounds up to the one that it names; returns that. */
function checkRounds(store: LmdbMetadataStore): number {
  const last = store.get(ROUND_KEY);
  const round = last === undefined ? -1 : last[0]! * 256 + last[1]!;
  const model = new Map<number, number>();
  for (let i = 0; i <= round; i++) {
    for (const { n, value } of roundOf(i)) {
      if (value === undefined) model.delete(n);
      else model.set(n, i & 255);
    }
  }
  let count = 0;
  store.scan(new Uint8Array([2]), new Uint8Array([3]), (key, value) => {
    const n = key[1]! * 256 + key[2]!;
    equal(value.length, 2 * KIB);
    equal(value[0], model.get(n), `key ${n} after round ${round}`);
    equal(store.get(keyOf(n))?.[2047], model.get(n));
    count++;
    return true;
  });
  equal(count, model.size);
  return round;
}

const open = (path: string): Promise<LmdbMetadataStore> =>
  LmdbMetadataStore.open(path, { log: LOG });

/** Runs rounds in a process of its own, killed as soon as `until` is durable. */
async function killedAfter(path: string, until: number): Promise<number> {
  const script = `Promise.all([import(${JSON.stringify(index)}), import(${JSON.stringify(ports)}),
    import(${JSON.stringify(new URL("../../base/index.js", import.meta.url).href)})])
    .then(async ([{ LmdbMetadataStore }, { MetadataBatch }, { Prng }]) => {
      const KIB = 1024;
      const ROUND_KEY = new Uint8Array([1]);
      const keyOf = ${keyOf.toString()};
      const roundOf = ${roundOf.toString()};
      const batchOf = ${batchOf.toString()};
      const path = ${JSON.stringify(path)};
      const store = await LmdbMetadataStore.open(path, { log: ${JSON.stringify(LOG)} });
      const last = store.get(ROUND_KEY);
      for (let round = last === undefined ? 0 : last[0] * 256 + last[1] + 1; ; round++) {
        await store.commit(batchOf(round));
        require("node:fs").writeSync(1, round + "\\n");
      }
    });`;
  const child = spawn(process.execPath, ["-e", script], { stdio: ["ignore", "pipe", "inherit"] });
  let durable = -1;
  for await (const line of createInterface(child.stdout)) {
    durable = Number(line);
    if (durable >= until) child.kill("SIGKILL");
  }
  return durable;
}

test("what was durable when a process was killed is there, through all generations", async () => {
  const path = join(folder, "killed");
  // A half holds some 25 rounds.
  for (const until of [0, 3, 20, 60, 61, 130, 200]) {
    const durable = await killedAfter(path, until);
    assert(durable >= until);
    const copy = join(folder, "killed-copy");
    for (const end of ["", ".log"]) fs.copyFileSync(path + end, copy + end);
    const store = await open(copy);
    const round = checkRounds(store);
    assert(round >= durable, `${round} is there, ${durable} was durable`);
    await store.close();
  }
});

/** A store whose log holds two rounds that its tree does not, as a kill leaves it. */
async function killed(name: string): Promise<{ path: string; rounds: number }> {
  const path = join(folder, name);
  const durable = await killedAfter(path, 4);
  const store = await open(copyOf(path, `${path}-look`));
  const rounds = checkRounds(store);
  await store.close();
  assert(rounds >= durable);
  return { path, rounds };
}

function copyOf(path: string, to: string): string {
  for (const end of ["", ".log"]) fs.copyFileSync(path + end, to + end);
  return to;
}

/** Where chunks begin in the log. */
function chunksOf(path: string): number[] {
  const bytes = fs.readFileSync(`${path}.log`);
  const found: number[] = [];
  for (let at = PIECE_BYTES; at < bytes.length; at += PIECE_BYTES)
    if (bytes.toString("latin1", at + 4, at + 8) === "YRMC") found.push(at);
  assert(found.length > 1, "there are several chunks");
  return found;
}

function flip(path: string, at: number): void {
  const bytes = fs.readFileSync(path);
  bytes[at]! ^= 1;
  fs.writeFileSync(path, bytes);
}

test("a last batch that is torn was never there; those before it are", async () => {
  const { path, rounds } = await killed("torn");
  flip(`${path}.log`, chunksOf(path).at(-1)! + 5000);
  const store = await open(path);
  equal(checkRounds(store), rounds - 1);
  await store.commit(batchOf(rounds));
  await store.close();
  const again = await open(path);
  equal(checkRounds(again), rounds);
  await again.close();
});

const damages: readonly (readonly [string, (path: string) => void])[] = [
  ["is missing", (path) => fs.rmSync(`${path}.log`)],
  ["has a damaged header", (path) => flip(`${path}.log`, 20)],
  [
    "is damaged before its last batch",
    (path) => flip(`${path}.log`, chunksOf(path).at(-2)! + 5000),
  ],
  ["was cut", (path) => fs.truncateSync(`${path}.log`, 8 << 20)],
  ["has lost its first batch", (path) => flip(`${path}.log`, chunksOf(path)[0]! + 4)],
];

for (const [what, damage] of damages) {
  test(`a log with what the tree has not is refused if it ${what}`, async () => {
    const { path } = await killed(`damaged-${what.replaceAll(" ", "-")}`);
    damage(path);
    const tree = fs.readFileSync(path);
    await rejects(open(path), { code: "metadata-damaged" });
    equal(tree.compare(fs.readFileSync(path)), 0);
  });
}

test("a log that belongs to another tree, or to another moment of it, is refused", async () => {
  const { path } = await killed("one");
  const other = await killed("other");
  fs.copyFileSync(`${other.path}.log`, `${path}.log`);
  await rejects(open(path), { code: "metadata-damaged" });
});

test("a log of a later release is refused", async () => {
  const { path } = await killed("later");
  const bytes = fs.readFileSync(`${path}.log`);
  bytes[8] = 9;
  const { crc32c } = await import("../../base/index.ts");
  bytes.writeUInt32LE(crc32c(bytes, 4, 64), 0);
  fs.writeFileSync(`${path}.log`, bytes);
  await rejects(open(path), { code: "metadata-foreign" });
});

test("a store that is used without a log uses one that holds something", async () => {
  const { path, rounds } = await killed("without");
  const store = await LmdbMetadataStore.open(path);
  equal(checkRounds(store), rounds);
  await store.close();
});

test("a store that may not begin a log goes on without, and with the one that it has had", async () => {
  const path = join(folder, "waiting");
  const cautious = { log: { ...LOG, mayBegin: false } };
  let store = await LmdbMetadataStore.open(path, cautious);
  await store.commit(batchOf(0));
  await store.close();
  equal(fs.existsSync(`${path}.log`), false);
  store = await open(path);
  await store.commit(batchOf(1));
  await store.close();
  fs.rmSync(`${path}.log`);
  store = await LmdbMetadataStore.open(path, cautious);
  equal(fs.existsSync(`${path}.log`), true);
  equal(checkRounds(store), 1);
  await store.close();
});

test("after a clean end nothing is in the log, whatever becomes of it", async () => {
  const path = join(folder, "clean");
  let store = await open(path);
  for (let round = 0; round < 3; round++) await store.commit(batchOf(round));
  await store.close();
  for (const become of [
    () => fs.rmSync(`${path}.log`),
    () => fs.truncateSync(`${path}.log`, 100),
    () => flip(`${path}.log`, 20),
  ]) {
    become();
    store = await open(path);
    const round = checkRounds(store);
    await store.commit(batchOf(round + 1));
    await store.close();
  }
  const without = await LmdbMetadataStore.open(path);
  equal(checkRounds(without), 5);
  await without.close();
});

test("a batch that is larger than the log is there whole, in its order", async () => {
  const path = join(folder, "large");
  const store = await open(path);
  const large = new MetadataBatch();
  for (let i = 0; i < 200; i++) large.put(new Uint8Array([5, i]), new Uint8Array(50 * KIB).fill(1));
  const small = new MetadataBatch();
  small.put(new Uint8Array([5, 0]), new Uint8Array([2]));
  const commits = [store.commit(batchOf(0))];
  // The first is under way by itself; these would share one group.
  await commits[0];
  commits.push(store.commit(large));
  await commits[1];
  commits.push(store.commit(small), store.commit(batchOf(1)));
  await Promise.all(commits);
  equal(store.get(new Uint8Array([5, 0]))?.length, 1);
  equal(store.get(new Uint8Array([5, 199]))?.length, 50 * KIB);
  equal(checkRounds(store), 1);
  await store.close();
});

test("what changes while a piece of it goes to the tree is seen as it is", async () => {
  const store = await open(join(folder, "seen"));
  for (let round = 0; round < 120; round++) {
    const durable = store.commit(batchOf(round));
    if (round % 10 === 0) equal(checkRounds(store), round);
    await durable;
    if (round % 10 === 5) equal(checkRounds(store), round);
  }
  await store.close();
});

const SKIP = process.getuid?.() === 0 ? false : "only root may mount a small file system";

test(
  "without room for a log there is none, and without room for the tree a batch is refused",
  {
    skip: SKIP,
  },
  async () => {
    const mount = join(folder, "small");
    fs.mkdirSync(mount);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=24M", "tmpfs", mount]);
    try {
      const path = join(mount, "metadata");
      const filler = join(mount, "filler");
      fs.writeFileSync(filler, new Uint8Array(14 << 20));
      let store = await open(path);
      equal(fs.existsSync(`${path}.log`), false);
      await store.commit(batchOf(0));
      await store.close();
      fs.rmSync(filler);
      store = await open(path);
      equal(fs.existsSync(`${path}.log`), true);
      let round = checkRounds(store);
      // Each round new keys: the log turns over, the tree grows until there is no room.
      const put = async (n: number): Promise<void> => {
        const batch = new MetadataBatch();
        for (let i = 0; i < 100; i++) batch.put(new Uint8Array([4, n, i]), new Uint8Array(2 * KIB));
        await store.commit(batch);
      };
      let done = 0;
      await rejects(
        async () => {
          for (; done < 200; done++) await put(done);
        },
        { code: "no-space" },
      );
      let count = 0;
      store.scan(new Uint8Array([4]), new Uint8Array([5]), () => ++count > 0);
      equal(count, 100 * done);
      execFileSync("mount", ["-o", "remount,size=64M", mount]);
      await store.commit(batchOf(++round));
      await put(done++);
      await store.close();
      store = await LmdbMetadataStore.open(path);
      equal(checkRounds(store), round);
      count = 0;
      store.scan(new Uint8Array([4]), LAST, () => ++count > 0);
      equal(count, 100 * done);
      await store.close();
    } finally {
      execFileSync("umount", ["--lazy", mount]);
    }
  },
);
