import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { Prng } from "../../src/base/index.ts";
import { isLong } from "./harness.ts";
import { serve } from "./nbd-memory-server.ts";
import type { Served } from "./nbd-memory-server.ts";
import { runTool } from "./process.ts";

const MIB = 1 << 20;

/** A sparse file: data, a hole, data, zeroes that were written. */
function writeImage(file: string): Buffer {
  const image = Buffer.alloc(32 * MIB);
  const prng = new Prng(7);
  for (const [from, to] of [
    [0, 3 * MIB],
    [9 * MIB + 4096, 9 * MIB + 8192],
    [20 * MIB, 21 * MIB + 512],
  ] as const) {
    prng.fill(image.subarray(from, to));
  }
  fs.writeFileSync(file, image);
  return image;
}

const inFolder = ({ folder }: Served, name: string): string => path.join(folder, name);

test("nbdinfo reports what the export can do", async (t) => {
  const { uri } = await serve(t, { sizeBytes: 8 * MIB });
  const { stdout } = await runTool("nbdinfo", ["--json", uri]);
  const told: unknown = JSON.parse(stdout);
  assert(told !== null && typeof told === "object" && "exports" in told);
  assert(Array.isArray(told.exports));
  const [shown] = told.exports as Record<string, unknown>[];
  const expected = {
    "export-name": "v1",
    description: "a volume in memory",
    "export-size": 8 * MIB,
    is_read_only: false,
    can_cache: true,
    can_df: true,
    can_fast_zero: true,
    can_flush: true,
    can_fua: true,
    can_multi_conn: true,
    can_trim: true,
    can_zero: true,
    block_size_minimum: 512,
    block_size_preferred: 4096,
    block_size_maximum: 32 * MIB,
  };
  for (const [key, value] of Object.entries(expected)) assert.equal(shown?.[key], value, key);
  assert.deepEqual(shown?.["contexts"], ["base:allocation"]);
});

test("nbdinfo lists exports and is told about unknown ones", async (t) => {
  const { uri, socket } = await serve(t, { sizeBytes: MIB, readOnly: true });
  const { stdout } = await runTool("nbdinfo", ["--list", uri]);
  assert.match(stdout, /export="v1":[^]*description: a volume in memory[^]*is_read_only: true/);
  await runTool("nbdinfo", ["--is", "read-only", `nbd+unix:///?socket=${socket}`]);
  const unknown = await runTool("nbdinfo", [`nbd+unix:///nobody?socket=${socket}`], { codes: [1] });
  assert.match(unknown.stderr, /No such file or directory for export: nobody/);
});

test("nbdcopy and qemu-img copy in and out over unix sockets and TCP", async (t) => {
  for (const tcp of [false, true]) {
    const served = await serve(t, { sizeBytes: 32 * MIB, tcp });
    const source = inFolder(served, "source.raw");
    const target = inFolder(served, "target.raw");
    const image = writeImage(source);
    await runTool("nbdcopy", [source, served.uri]);
    assert(image.equals(served.volume.bytes), "nbdcopy in");
    await runTool("nbdcopy", [served.uri, target]);
    assert(image.equals(fs.readFileSync(target)), "nbdcopy out");
    served.volume.bytes.fill(0xff);
    await runTool("qemu-img", ["convert", "-n", "-f", "raw", "-O", "raw", source, served.uri]);
    assert(image.equals(served.volume.bytes), "qemu-img in");
    await runTool("qemu-img", ["convert", "-f", "raw", "-O", "raw", served.uri, target]);
    assert(image.equals(fs.readFileSync(target)), "qemu-img out");
    const compared = await runTool("qemu-img", [
      "compare",
      "-f",
      "raw",
      "-F",
      "raw",
      source,
      served.uri,
    ]);
    assert.match(compared.stdout, /identical/);
    // Synchronous, one connection, small and large requests.
    await runTool("nbdcopy", ["--synchronous", "--request-size=4096", served.uri, target]);
    await runTool("nbdcopy", ["--request-size=33554432", "--requests=2", served.uri, target]);
    assert(image.equals(fs.readFileSync(target)), "nbdcopy with other sizes");
  }
});

test("maps tell data from holes and allocated zeroes", async (t) => {
  const served = await serve(t, { sizeBytes: 4 * MIB });
  await runTool("qemu-io", [
    ...["-f", "raw", served.uri],
    ...["-c", "write -P 7 1M 64k", "-c", "write -z 2M 64k", "-c", "write -z -u 1M 4k"],
  ]);
  const { stdout } = await runTool("nbdinfo", ["--map", served.uri]);
  const rows = stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).join(" "));
  assert.deepEqual(rows, [
    "0 1052672 3 hole,zero",
    "1052672 61440 0 data",
    "1114112 983040 3 hole,zero",
    "2097152 65536 2 zero",
    "2162688 2031616 3 hole,zero",
  ]);
  const map = await runTool("qemu-img", ["map", "--output=json", "-f", "raw", served.uri]);
  assert.match(map.stdout, /"start": 1052672, "length": 61440,[^}]*"zero": false, "data": true/);
  const info = await runTool("qemu-img", ["info", "-f", "raw", served.uri]);
  assert.match(info.stdout, /virtual size: 4 MiB/);
});

test("nbddump shows what was written", async (t) => {
  const served = await serve(t, { sizeBytes: 64 * 1024 });
  await runTool("qemu-io", ["-f", "raw", "-c", "write -P 0x44 512 512", served.uri]);
  const { stdout } = await runTool("nbddump", [served.uri]);
  assert.match(stdout, /^0*200: (?:44 ){8}/m);
});

test("qemu-io patterns hold over writes, zeroes, discards and vectors", async (t) => {
  const served = await serve(t, { sizeBytes: 8 * MIB });
  const commands = [
    "write -P 0xaa 0 1M",
    "write -P 0xbb 512 512",
    "write -f -P 0xcc 1M 4k",
    "writev -P 0xdd 2M 4k 8k 512",
    "aio_write -P 0x11 3M 256k",
    "aio_write -P 0x22 4M 256k",
    "aio_flush",
    "write -z 64k 64k",
    "discard 128k 64k",
    "flush",
    "read -P 0xaa 0 512",
    "read -P 0xbb 512 512",
    "read -P 0xaa 1024 63k",
    "read -P 0 64k 64k",
    "read -P 0 128k 64k",
    "read -P 0xaa 192k 64k",
    "read -P 0xcc 1M 4k",
    "readv -P 0xdd 2M 8k 4k 512",
    "read -P 0x11 3M 256k",
    "read -P 0x22 4M 256k",
    "read -P 0 5M 3M",
  ];
  const { stdout } = await runTool("qemu-io", [
    ...["-f", "raw", served.uri],
    ...commands.flatMap((command) => ["-c", command]),
  ]);
  assert.doesNotMatch(stdout, /failed|error/i);
});

test("nbdkit in front, with a filter that checks extents, sees the same disk", async (t) => {
  const served = await serve(t, { sizeBytes: 32 * MIB });
  const source = inFolder(served, "source.raw");
  const image = writeImage(source);
  const target = inFolder(served, "target.raw");
  const front = inFolder(served, "front.sock");
  const look = `qemu-io -f raw -c "read 0 1M" $uri`;
  const copy = `nbdcopy ${source} $uri && nbdcopy $uri ${target} && ${look}`;
  await runTool("nbdkit", [
    ...["-U", front, "--filter=stats", "nbd", `uri=${served.uri}`, "statsfile=/dev/null"],
    ...["--run", copy],
  ]);
  assert(image.equals(served.volume.bytes));
  assert(image.equals(fs.readFileSync(target)));
});

test("fio's verified random writes of every size find no difference", async (t) => {
  const served = await serve(t, { sizeBytes: 64 * MIB });
  for (const [name, sizes] of [
    ["mixed", "--bsrange=512-256k"],
    ["blocks", "--bs=4k"],
  ] as const) {
    const { stdout } = await runTool("fio", [
      ...[`--name=${name}`, "--ioengine=nbd", `--uri=${served.uri}`, "--rw=randwrite"],
      ...[
        sizes,
        "--blockalign=512",
        "--iodepth=32",
        "--size=64M",
        isLong ? "--loops=20" : "--loops=1",
      ],
      ...["--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--randseed=42"],
      "--verify_state_save=0",
    ]);
    assert.match(stdout, /err= 0/);
  }
});

test("a failed read stops a copy: no tool takes it for data (CVE-2022-0485)", async (t) => {
  const served = await serve(t, { sizeBytes: 8 * MIB });
  served.volume.bytes.fill(9);
  await runTool("qemu-io", ["-f", "raw", "-c", "write -P 9 0 8M", served.uri]);
  served.volume.fault = ({ command, offset, lengthBytes }) =>
    command === "read" && offset <= 5 * MIB && offset + lengthBytes > 5 * MIB
      ? "io-error"
      : undefined;
  const target = inFolder(served, "target.raw");
  const copied = await runTool("nbdcopy", [served.uri, target], { codes: [1] });
  assert.match(copied.stderr, /Input\/output error/);
  await runTool("qemu-img", ["convert", "-f", "raw", "-O", "raw", served.uri, target], {
    codes: [1],
  });
});

test("a client killed in the middle of its work leaves the others alone", async (t) => {
  const served = await serve(t, { sizeBytes: 64 * MIB });
  const load = (seconds: number, offset: string): string[] => [
    ...[
      "--name=load",
      "--thread",
      "--ioengine=nbd",
      `--uri=${served.uri}`,
      "--rw=randrw",
      "--bs=64k",
    ],
    ...["--iodepth=32", "--size=16M", `--offset=${offset}`, "--time_based", `--runtime=${seconds}`],
  ];
  const victims = [0, 1].map(() => runTool("fio", load(30, "0"), { timeoutMs: 700 }));
  const survivor = runTool("fio", load(2, "32M"));
  for (const victim of victims) await assert.rejects(victim, /was stopped/);
  assert.match((await survivor).stdout, /err= 0/);
  await runTool("nbdinfo", ["--size", served.uri]);
});
