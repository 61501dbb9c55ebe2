import { ok as assert, equal, rejects } from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, test } from "node:test";
import { Worker } from "node:worker_threads";
import { Prng } from "../../base/index.ts";
import { MetadataBatch } from "../../ports/index.ts";
import { LmdbMetadataStore } from "../index.ts";

const index = new URL("../index.js", import.meta.url).href;
const ports = new URL("../../ports/index.js", import.meta.url).href;
let folder = "";
before(() => {
  folder = mkdtempSync("/var/tmp/drystone-metadata-");
});
after(() => {
  rmSync(folder, { recursive: true });
});

function batchOf(count: number, seed: number, valueBytes = 40): MetadataBatch {
  const prng = new Prng(seed);
  const batch = new MetadataBatch();
  for (let i = 0; i < count; i++) {
    const key = new Uint8Array(32);
    prng.fill(key);
    batch.put(key, new Uint8Array(valueBytes).fill(seed));
  }
  return batch;
}

function hasStrace(): boolean {
  try {
    execFileSync("strace", ["-V"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function countEntries(store: LmdbMetadataStore): number {
  let count = 0;
  store.scan(new Uint8Array([0]), new Uint8Array(64).fill(255), () => ++count > 0);
  return count;
}

/** A file that a store has written to, and closed. */
async function written(name: string): Promise<string> {
  const path = join(folder, name);
  const store = await LmdbMetadataStore.open(path);
  await store.commit(batchOf(2000, 1));
  await store.commit(batchOf(2000, 2));
  await store.close();
  return path;
}

test("a store that must exist is not made", async () => {
  const path = join(folder, "absent");
  await rejects(LmdbMetadataStore.open(path, { mustExist: true }), { code: "metadata-missing" });
  equal(statSync(path, { throwIfNoEntry: false }), undefined);
});

test("a store that is open is refused", async () => {
  const path = join(folder, "locked");
  const store = await LmdbMetadataStore.open(path);
  await rejects(LmdbMetadataStore.open(path), { code: "device-in-use" });
  await store.close();
  await (await LmdbMetadataStore.open(path)).close();
});

const damages: readonly (readonly [string, string, (path: string) => void])[] = [
  ["cut within its headers", "metadata-damaged", (path) => truncateSync(path, 5000)],
  ["cut in the middle", "metadata-damaged", (path) => truncateSync(path, 10 * 4096)],
  ["filled with zeroes", "metadata-damaged", (path) => fill(path, 0, 1 << 20, 0)],
  ["filled with noise", "metadata-foreign", (path) => fill(path, 0, 1 << 20, 1)],
  ["of another kind", "metadata-foreign", (path) => writeFileSync(path, "[section]\n".repeat(900))],
  ["with a broken first header", "metadata-damaged", (path) => fill(path, 0, 4096, 2)],
  ["with a broken second header", "metadata-damaged", (path) => fill(path, 4096, 4096, 3)],
  ["with zeroes behind its headers", "metadata-damaged", (path) => fill(path, 8192, 1 << 20, 0)],
  ["with noise behind its headers", "metadata-damaged", (path) => fill(path, 8192, 1 << 20, 4)],
  ["of an unknown version", "metadata-foreign", (path) => fill(path, 28, 1, 5)],
];

/** Overwrites a range, up to the end of the file, with noise or, without a seed, zeroes. */
function fill(path: string, at: number, lengthBytes: number, seed: number): void {
  const bytes = readFileSync(path);
  const range = bytes.subarray(at, at + lengthBytes);
  if (seed === 0) range.fill(0);
  else new Prng(seed).fill(range);
  writeFileSync(path, bytes);
}

for (const [what, code, damage] of damages) {
  test(`a file ${what} is refused and left as it is`, async () => {
    const path = await written(`damaged-${what.replaceAll(" ", "-")}`);
    damage(path);
    const before = readFileSync(path);
    await rejects(LmdbMetadataStore.open(path), { code });
    equal(before.compare(readFileSync(path)), 0);
  });
}

test("what the disk cannot read is found before it is mapped, long values included", async (t) => {
  if (!hasStrace()) return t.skip("needs strace");
  const path = join(folder, "unreadable");
  const store = await LmdbMetadataStore.open(path);
  await store.commit(batchOf(20, 1, 60_000));
  await store.close();
  const script = `
    const { LmdbMetadataStore } = await import(${JSON.stringify(index)});
    const told = await LmdbMetadataStore.open(${JSON.stringify(path)}).catch(({ code }) => code);
    process.stdout.write(String(told));`;
  for (const when of ["1", "2", "200"]) {
    const fault = [
      "-P",
      path,
      "-e",
      "trace=pread64",
      "-e",
      `inject=pread64:error=EIO:when=${when}`,
    ];
    const run = [process.execPath, "--input-type=module", "-e", script];
    const told = execFileSync("strace", ["-f", "-o", "/dev/null", ...fault, ...run]);
    equal(told.toString(), "metadata-failed", `read ${when}`);
  }
});

test("locks that a killed process left behind are in nobody's way", async () => {
  const path = await written("stale-locks");
  writeFileSync(`${path}-lock`, "not what LMDB writes".repeat(500));
  const store = await LmdbMetadataStore.open(path);
  equal(countEntries(store), 4000);
  await store.close();
});

test("a batch that found no room is not there at all, and the store goes on", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root may mount a small file system");
  const mount = join(folder, "small");
  mkdirSync(mount);
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=1M", "tmpfs", mount]);
  try {
    const path = join(mount, "metadata");
    const store = await LmdbMetadataStore.open(path);
    await store.commit(batchOf(1000, 1));
    const outcomes = await Promise.allSettled([
      store.commit(batchOf(20_000, 2, 200)),
      store.commit(batchOf(10, 3)),
    ]);
    for (const outcome of outcomes) {
      assert(outcome.status === "rejected" && String(outcome.reason).includes("no room"));
    }
    equal(countEntries(store), 1000);
    await store.commit(batchOf(100, 4));
    await store.close();
    const again = await LmdbMetadataStore.open(path);
    equal(countEntries(again), 1100);
    await again.close();
  } finally {
    execFileSync("umount", ["--lazy", mount]);
  }
});

/** Commits one batch after the other and prints the number of each when its promise resolves. */
function writer(path: string): string {
  return `Promise.all([import(${JSON.stringify(index)}), import(${JSON.stringify(ports)})])
    .then(async ([{ LmdbMetadataStore }, { MetadataBatch }]) => {
      const store = await LmdbMetadataStore.open(${JSON.stringify(path)});
      for (let round = 0; round < 10000; round++) {
        const batch = new MetadataBatch();
        for (let i = 0; i < 20; i++) {
          batch.put(Buffer.from([round >> 8, round, i]), Buffer.from("x"));
        }
        await store.commit(batch);
        require("node:fs").writeSync(1, round + "\\n");
      }
    });`;
}

test("what was durable when a process was killed is there, and each batch is whole", async () => {
  for (const delayCount of [1, 7, 40]) {
    const path = join(folder, `killed-${delayCount}`);
    const child = spawn(process.execPath, ["-e", writer(path)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let durable = -1;
    for await (const line of createInterface(child.stdout)) {
      durable = Number(line);
      if (durable === delayCount) child.kill("SIGKILL");
    }
    assert(durable >= delayCount);
    const store = await LmdbMetadataStore.open(path);
    const count = countEntries(store);
    equal(count % 20, 0);
    assert(count >= 20 * (durable + 1), `${count} entries, ${durable} was durable`);
    await store.close();
  }
});

test("the data is on disk before the promise resolves", async (t) => {
  if (!hasStrace()) return t.skip("needs strace");
  const path = join(folder, "traced");
  const script = `${writer(path)} process.on("exit", () => {});`.replace("10000", "3");
  const trace = join(folder, "trace");
  const calls = "trace=fdatasync,msync,pwrite64,write,openat";
  execFileSync("strace", ["-f", "-o", trace, "-e", calls, process.execPath, "-e", script]);
  const lines = readFileSync(trace, "utf8").split("\n");
  let syncs = 0;
  let reported = 0;
  let headerFd: string | undefined;
  for (const line of lines) {
    headerFd ??= /O_[A-Z|]*D?SYNC.*= (\d+)/.exec(line.includes("traced") ? line : "")?.[1];
    if (/fdatasync\(.*= 0|fdatasync resumed.*= 0/.test(line)) syncs++;
    if (/ write\(1, "\d+\\n"/.test(line)) {
      reported++;
      assert(syncs >= reported, `${syncs} syncs before report ${reported}`);
    }
  }
  equal(reported, 3);
  assert(headerFd !== undefined, "the header is written through a synchronous descriptor");
});

test("a worker that leaves its store open ends, and the process goes on", async () => {
  const path = join(folder, "worker");
  const script = writer(path).replace("10000", "3");
  const worker = new Worker(script, { eval: true, stdout: true });
  const code = await new Promise((resolve) => worker.once("exit", resolve));
  equal(code, 0);
  const copy = join(folder, "worker-copy");
  copyFileSync(path, copy);
  const store = await LmdbMetadataStore.open(copy);
  equal(countEntries(store), 60);
  await store.close();
});
