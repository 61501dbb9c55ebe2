/** Snapshots, clones, exports and imports of a running host, over its command line. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { VolumeClient } from "../../src/client/index.ts";
import { FrontEnd } from "../../src/client/front-end.ts";
import { MemfdSharedMemory } from "../../src/platform/index.ts";
import { startHost } from "./harness.ts";
import type { DevHost } from "./harness.ts";
import { refusedCommand } from "./host-run.ts";
import { NbdClient, NbdError } from "./nbd-client.ts";
import { runTool } from "./process.ts";

const CLI = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
const MIB = 2 ** 20;
const SIZE_BYTES = 96 * MIB;
const NBD_FLAG_READ_ONLY = 2;
const EPERM = 1;
const VIRTIO_BLK_READ_ONLY = 1 << 5;

async function sumOf(host: DevHost, name: string): Promise<string> {
  const { uri } = await host.cli<{ uri: string }>(["volume", "attach", name]);
  const url = new URL(uri);
  const socket = url.searchParams.get("socket") ?? "";
  const exportName = decodeURIComponent(url.pathname.slice(1));
  const client = await NbdClient.connect({ socket, exportName });
  const hash = createHash("sha256");
  for (let at = 0; at < client.sizeBytes; at += MIB)
    hash.update(await client.read(at, Math.min(MIB, client.sizeBytes - at)));
  await client.close();
  await host.cli(["volume", "detach", name]);
  return hash.digest("hex");
}

async function volumes(host: DevHost): Promise<readonly string[]> {
  const listed = await host.cli<{ volumes: { name: string }[] }>(["volume", "list"]);
  return listed.volumes.map(({ name }) => name);
}

test("snapshots are read, cloned, rolled back, exported and imported", async (t) => {
  const host = await startHost(t, "1G");
  const client = await NbdClient.connect(await host.volume("web1", SIZE_BYTES));
  for (const at of [0, 3, 50, 95]) await client.write(at * MIB, randomBytes(MIB));
  await host.cli(["snapshot", "create", "web1@monday"]);
  await client.write(3 * MIB + 8192, randomBytes(12_288));
  await client.trim(50 * MIB, MIB);
  await client.write(70 * MIB, randomBytes(MIB));
  await host.cli(["snapshot", "create", "web1@tuesday"]);
  await client.write(0, randomBytes(MIB));
  await client.close();
  await host.cli(["volume", "detach", "web1"]);

  const [monday, tuesday] = [await sumOf(host, "web1@monday"), await sumOf(host, "web1@tuesday")];
  assert.notEqual(monday, tuesday);
  await host.cli(["volume", "clone", "web1@monday", "web2"]);

  const whole = path.join(host.folder, "monday.dsv");
  const delta = path.join(host.folder, "delta.dsv");
  await host.cli(["volume", "export", "web1@monday", "--output", whole]);
  const since = ["--snapshot", "tuesday", "--since", "monday"];
  await host.cli(["volume", "export", "web1", ...since, "--output", delta]);
  // Four megabytes are there, one and three blocks have changed.
  assert.ok(fs.statSync(whole).size < 4.1 * MIB);
  assert.ok(fs.statSync(delta).size < 1.1 * MIB);
  await host.cli(["volume", "import", "copy", "--input", whole]);
  assert.equal(await sumOf(host, "copy"), monday);
  await host.cli(["snapshot", "create", "copy@monday"]);
  await host.cli(["volume", "import", "newer", "--input", delta, "--base", "copy@monday"]);
  assert.equal(await sumOf(host, "newer"), tuesday);

  const { api } = host;
  const wrongBase = ["volume", "import", "x", "--input", delta, "--base", "web1@tuesday"];
  assert.equal((await refusedCommand(api, wrongBase)).code, "import-base-differs");
  const noBase = ["volume", "import", "x", "--input", delta];
  assert.equal((await refusedCommand(api, noBase)).code, "import-base-missing");

  // Of what monday holds, three blocks, a trimmed and an overwritten MiB are nobody else's by now.
  const { snapshots: taken } = await host.cli<{
    snapshots: { name: string; uniqueBytes?: number }[];
  }>(["snapshot", "list", "--volume", "web1"]);
  assert.equal(taken.find(({ name }) => name === "web1@tuesday")?.uniqueBytes, 0);

  const deletion = await refusedCommand(api, ["volume", "delete", "web1"]);
  assert.equal(deletion.code, "volume-has-snapshots");
  await host.cli(["snapshot", "rollback", "web1@monday"]);
  assert.equal(await sumOf(host, "web1"), monday);
  const unrelated = ["volume", "export", "web1", "--since", "monday", "--output", `${delta}2`];
  assert.equal((await refusedCommand(api, unrelated)).code, "snapshot-unrelated");
  const two = ["volume", "export", "web1@monday", "--snapshot", "tuesday", "--output", whole];
  assert.equal((await refusedCommand(api, two, 2)).code, "usage");
  assert.ok(!fs.existsSync(`${delta}2`));
  await host.cli(["snapshot", "delete", "web1@monday"]);
  assert.equal(await sumOf(host, "web1@tuesday"), tuesday);
  await host.cli(["snapshot", "delete", "web1@tuesday"]);
  assert.equal(await sumOf(host, "web2"), monday);
  const { snapshots } = await host.cli<{ snapshots: { name: string }[] }>(["snapshot", "list"]);
  assert.deepEqual(
    snapshots.map(({ name }) => name),
    ["copy@monday"],
  );
});

/** A volume whose first two MiB differ, and a snapshot of it, of which only the second may be. */
async function withSnapshot(host: DevHost): Promise<Uint8Array> {
  const client = await NbdClient.connect(await host.volume("web1", 4 * MIB));
  const then = randomBytes(MIB);
  await client.write(0, then);
  await host.cli(["snapshot", "create", "web1@monday"]);
  await client.write(0, randomBytes(MIB));
  await client.close();
  return then;
}

test("an attached snapshot says that it is read-only, and refuses every change", async (t) => {
  const host = await startHost(t, "1G");
  const then = await withSnapshot(host);
  const socket = path.join(host.folder, "monday.sock");
  await host.cli(["volume", "attach", "web1@monday", "--nbd", socket]);
  const client = await NbdClient.connect({ socket, exportName: "web1@monday" });
  assert.ok((client.transmissionFlags & NBD_FLAG_READ_ONLY) !== 0);
  for (const change of [
    () => client.write(0, randomBytes(4096)),
    () => client.trim(0, MIB),
    () => client.writeZeroes(0, MIB),
  ])
    await assert.rejects(change, (error) => error instanceof NbdError && error.errno === EPERM);
  assert.deepEqual(await client.read(0, MIB), Buffer.from(then));
  await client.close();
});

test("a snapshot that is attached over shared memory is read-only, too", async (t) => {
  const host = await startHost(t, "1G");
  const then = await withSnapshot(host);
  const socket = path.join(host.folder, "monday.vhost");
  await host.cli(["volume", "attach", "web1@monday", "--vhost-user", socket]);
  const front = new FrontEnd(await new MemfdSharedMemory().connect(socket), () => {});
  assert.ok(((await front.features())[0]! & VIRTIO_BLK_READ_ONLY) !== 0);
  front.close();
  const client = await VolumeClient.open(socket);
  t.after(() => client.close());
  const buffer = client.allocate(MIB);
  buffer.bytes.fill(7);
  await assert.rejects(client.write(buffer, 0), { code: "io-error" });
  await client.read(buffer, 0);
  assert.deepEqual(Buffer.from(buffer.bytes), Buffer.from(then));
});

test("an export to standard output is a whole stream, in a pipe and in a file", async (t) => {
  const host = await startHost(t, "1G");
  const client = await NbdClient.connect(await host.volume("web1", SIZE_BYTES));
  for (const at of [0, 3, 50, 95]) await client.write(at * MIB, randomBytes(MIB));
  await client.trim(50 * MIB + 8192, 4096);
  await client.close();
  await host.cli(["volume", "detach", "web1"]);
  await host.cli(["snapshot", "create", "web1@one"]);
  const sum = await sumOf(host, "web1");
  const command = (...args: readonly string[]): string =>
    [process.execPath, CLI, ...args, "--api", host.api].join(" ");
  const exporting = command("volume", "export", "web1@one");
  const named = path.join(host.folder, "named.dsv");
  await host.cli(["volume", "export", "web1@one", "--output", named]);
  const file = path.join(host.folder, "one.dsv");
  await runTool("/bin/sh", ["-c", `${exporting} > ${file}`]);
  assert.ok(fs.readFileSync(file).equals(fs.readFileSync(named)), "they are the same stream");
  // The end of either command that fails is the end of the line.
  const line = `set -o pipefail; ${exporting} | ${command("volume", "import", "piped")}`;
  await runTool("/bin/bash", ["-c", line]);
  assert.equal(await sumOf(host, "piped"), sum);
  await runTool("/bin/sh", ["-c", `${command("volume", "import", "filed")} < ${file}`]);
  assert.equal(await sumOf(host, "filed"), sum);
});

test("a stream that is damaged, cut or foreign leaves nothing behind", async (t) => {
  const host = await startHost(t, "1G");
  const { api } = host;
  const client = await NbdClient.connect(await host.volume("web1", 16 * MIB));
  await client.write(MIB, randomBytes(2 * MIB));
  await client.close();
  const file = path.join(host.folder, "web1.dsv");
  await host.cli(["volume", "export", "web1", "--output", file]);
  const before = await volumes(host);
  const good = fs.readFileSync(file);
  const damaged = Buffer.from(good);
  damaged[Math.floor(damaged.length / 2)]! ^= 1;
  const cases = {
    damaged,
    cut: good.subarray(0, good.length - 36),
    "cut within a frame": good.subarray(0, good.length - 40),
    foreign: Buffer.from("QFI\xfb and what else makes an image of another program, long enough"),
    "too long": Buffer.concat([good, good]),
    empty: Buffer.alloc(0),
  };
  for (const [what, bytes] of Object.entries(cases)) {
    fs.writeFileSync(`${file}.bad`, bytes);
    const refused = await refusedCommand(api, [
      "volume",
      "import",
      "bad",
      "--input",
      `${file}.bad`,
    ]);
    assert.equal(refused.code, "stream-invalid", what);
    assert.deepEqual(await volumes(host), before, what);
  }
  const missing = await refusedCommand(api, ["volume", "import", "bad", "--input", `${file}.no`]);
  assert.equal(missing.code, "file-unreadable");
  // A disk that is full, for who writes to standard output.
  const cli = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
  const line = `${process.execPath} ${cli} volume export web1 --api ${api} > /dev/full`;
  const full = await runTool("/bin/sh", ["-c", line], { codes: [1] });
  assert.match(full.stderr, /cannot be written/);
  const { snapshots } = await host.cli<{ snapshots: unknown[] }>(["snapshot", "list"]);
  assert.equal(snapshots.length, 0);
});

test("what a killed import or export has left is removed by the next one", async (t) => {
  const host = await startHost(t, "1G");
  const client = await NbdClient.connect(await host.volume("web1", SIZE_BYTES));
  for (let at = 0; at < 8; at++) await client.write(at * MIB, randomBytes(MIB));
  await client.close();
  await host.cli(["snapshot", "create", "web1@one"]);
  const stream = path.join(host.folder, "one.dsv");
  await host.cli(["volume", "export", "web1", "--snapshot", "one", "--output", stream]);
  const left = async (): Promise<readonly string[]> => {
    const { snapshots } = await host.cli<{ snapshots: { name: string }[] }>(["snapshot", "list"]);
    const names = [...(await volumes(host)), ...snapshots.map(({ name }) => name)];
    return names.filter((name) => /importing-|@export-/.test(name));
  };
  // Both wait in the middle: for the rest of the stream, and for somebody to read it.
  const run = (...args: readonly string[]): ChildProcess =>
    spawn(process.execPath, [CLI, "volume", ...args, "--api", host.api]);
  const importing = run("import", "copy");
  // What it has not taken when it is killed cannot be written to it any more.
  importing.stdin!.on("error", () => {});
  importing.stdin!.write(fs.readFileSync(stream).subarray(0, 3 * MIB));
  const exporting = run("export", "web1");
  while ((await left()).length < 2) await setTimeout(50);
  for (const child of [importing, exporting]) {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
  assert.equal((await left()).length, 2);
  await host.cli(["volume", "import", "copy", "--input", stream]);
  assert.deepEqual(await left(), []);
});
