import { deepEqual, equal, rejects } from "node:assert/strict";
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { test } from "../../test/support/test.ts";
import { crc32c, portableCrc32c } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import { MemoryPool, NativeDigests } from "./index.ts";

const run = promisify(execFile);
const index = new URL("./index.js", import.meta.url).href;
const BLOCK = 4096;

const offsetsOf = (count: number): Float64Array =>
  Float64Array.from({ length: count }, (_, i) => i * BLOCK);

test("checksums are native on this machine", () => {
  equal(new NativeDigests().checksumKind, "native");
});

test("fingerprints made on the other thread and on this one are the same", async () => {
  const digests = new NativeDigests();
  const memory = new MemoryPool().allocate(64 * BLOCK);
  for (let i = 0; i < memory.bytes.length; i++) memory.bytes[i] = i * 31 + (i >>> 12);
  const elsewhere = new Uint8Array(64 * FINGERPRINT_BYTES);
  await digests.fingerprint(memory, offsetsOf(64), 64, elsewhere);
  const here = new Uint8Array(64 * FINGERPRINT_BYTES);
  const copy = { bytes: memory.bytes.slice(), handle: { address: 0, lengthBytes: 64 * BLOCK } };
  await digests.fingerprint(copy, offsetsOf(64), 64, here);
  deepEqual(elsewhere, here);
  await digests.close();
});

test("more blocks than the thread has room for at first", async () => {
  const digests = new NativeDigests();
  const memory = new MemoryPool().allocate(BLOCK);
  const target = new Uint8Array(3000 * FINGERPRINT_BYTES);
  await digests.fingerprint(memory, new Float64Array(3000), 3000, target);
  const first = target.subarray(0, FINGERPRINT_BYTES);
  deepEqual(target.subarray(-FINGERPRINT_BYTES), first);
  await digests.close();
});

test("fingerprints under way fail when the digests are closed, they do not hang", async () => {
  const digests = new NativeDigests();
  const memory = new MemoryPool().allocate(64 * BLOCK);
  const target = new Uint8Array(64 * FINGERPRINT_BYTES);
  const wait = rejects(digests.fingerprint(memory, offsetsOf(64), 64, target), {
    code: "digests-closed",
  });
  await digests.close();
  await wait;
});

const script = `import(${JSON.stringify(index)}).then(async ({ NativeDigests, MemoryPool }) => {
  const memory = new MemoryPool().allocate(65536);
  const target = new Uint8Array(512);
  const offsets = Float64Array.from({ length: 16 }, (_, i) => i * 4096);
  await new NativeDigests().fingerprint(memory, offsets, 16, target);
  if (target.every((byte) => byte === 0)) throw new Error("no fingerprints");
});`;

test("an idle thread does not keep the process alive", async () => {
  await run(process.execPath, ["-e", script], { timeout: 10_000 });
});

test("a worker may have a fingerprinting thread, and ends", async () => {
  const worker = new Worker(script, { eval: true });
  equal(await new Promise((resolve) => worker.once("exit", resolve)), 0);
});

test("what the native code adds to long pieces is what the portable one computes", () => {
  const bytes = Uint8Array.from({ length: 5000 }, (_, i) => (i * 31) ^ (i >> 3));
  for (const [start, end] of [
    [0, 255],
    [0, 256],
    [1, 257],
    [13, 4999],
    [0, 5000],
  ] as const)
    for (const seed of [0, 1, 0xffff_ffff])
      equal(crc32c(bytes, start, end, seed), portableCrc32c(bytes, start, end, seed));
});
