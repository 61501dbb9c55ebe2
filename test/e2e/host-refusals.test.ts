/**
 * Bad input of every kind: each is refused with one line that has a cause and a next step, a code,
 * exit code 1, and nothing is changed or lost.
 */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { startHost, temporaryFolder } from "./harness.ts";
import { HostRun, refusedCommand } from "./host-run.ts";
import { runTool } from "./process.ts";

const isRoot = process.getuid?.() === 0;
const SUPERBLOCK_OFFSETS = [0, 32_768];

interface Volumes {
  readonly volumes: readonly { readonly name: string }[];
}

async function hostWithData(
  t: TestContext,
): Promise<{ host: HostRun; device: string; uri: string }> {
  const folder = temporaryFolder(t);
  const device = path.join(folder, "device");
  const host = await HostRun.configure(t, folder, [device]);
  await host.start();
  await host.cli(["volume", "create", "web1", "--size", "64M"]);
  const { uri } = await host.cli<{ uri: string }>(["volume", "attach", "web1"]);
  await runTool("qemu-io", ["-f", "raw", "-c", "write -P 7 0 1M", uri]);
  return { host, device, uri };
}

async function assertData(uri: string): Promise<void> {
  await runTool("qemu-io", ["-f", "raw", "-c", "read -P 7 0 1M", uri]);
}

function overwrite(file: string, offset: number, bytes: Buffer): Buffer {
  const handle = fs.openSync(file, "r+");
  try {
    const before = Buffer.alloc(bytes.length);
    fs.readSync(handle, before, 0, before.length, offset);
    fs.writeSync(handle, bytes, 0, bytes.length, offset);
    return before;
  } finally {
    fs.closeSync(handle);
  }
}

test("volumes with impossible names, sizes and policies are refused", async (t) => {
  const host = await startHost(t);
  const cases: readonly (readonly [string, readonly string[]])[] = [
    ["volume-name-invalid", ["a".repeat(64), "--size", "1G"]],
    ["volume-name-invalid", ["../etc", "--size", "1G"]],
    ["volume-name-invalid", ["a b", "--size", "1G"]],
    ["volume-name-invalid", ["ünï", "--size", "1G"]],
    ["request-invalid", ["", "--size", "1G"]],
    ["volume-exists", ["demo", "--size", "1G"]],
    ["volume-size-invalid", ["a", "--size", "0"]],
    ["volume-size-invalid", ["a", "--size", "1000"]],
    ["volume-size-invalid", ["a", "--size", "63T"]],
    ["policy-unsatisfiable", ["a", "--size", "1G", "--failures-to-tolerate", "1"]],
    ["request-invalid", ["a", "--size", "1G", "--stripes", "13"]],
  ];
  for (const [code, args] of cases) {
    const refusal = await refusedCommand(host.api, ["volume", "create", ...args]);
    assert.equal(refusal.code, code, args.join(" "));
  }
  const { volumes } = await host.cli<Volumes>(["volume", "list"]);
  assert.deepEqual(
    volumes.map(({ name }) => name),
    ["demo"],
  );
});

test("62 TiB are not too many", async (t) => {
  const host = await startHost(t);
  await host.cli(["volume", "create", "large", "--size", "62T"]);
  const { uri } = await host.cli<{ uri: string }>(["volume", "attach", "large"]);
  const offset = String(62 * 2 ** 40 - 4096);
  await runTool("qemu-io", [
    "-f",
    "raw",
    "-c",
    `write -P 7 ${offset} 4k`,
    "-c",
    `read -P 7 ${offset} 4k`,
    uri,
  ]);
});

test("volumes that do not exist are refused with the name that was meant", async (t) => {
  const host = await startHost(t);
  for (const words of [["show"], ["delete"], ["attach"], ["detach"], ["resize", "--size", "1G"]]) {
    const [word = "", ...rest] = words;
    const refusal = await refusedCommand(host.api, ["volume", word, "dmeo", ...rest]);
    assert.equal(refusal.code, "volume-not-found", word);
    assert.match(refusal.hint, /demo/, word);
  }
  assert.equal(
    (await refusedCommand(host.api, ["volume", "delete", "demo"])).code,
    "volume-attached",
  );
  assert.equal(
    (await refusedCommand(host.api, ["volume", "attach", "demo"])).code,
    "volume-attached",
  );
  assert.equal((await refusedCommand(host.api, ["host", "show", "h2"])).code, "host-unknown");
  assert.equal((await refusedCommand(host.api, ["device", "scrub", "zz"])).code, "device-unknown");
});

test("a socket path in use is refused, whoever uses it", async (t) => {
  const host = await startHost(t);
  const folder = temporaryFolder(t);
  await host.cli(["volume", "create", "web1", "--size", "1G"]);
  const attach = (address: string) =>
    refusedCommand(host.api, ["volume", "attach", "web1", "--nbd", address]);

  const busy = path.join(folder, "busy.sock");
  const server = net.createServer().listen(busy);
  t.after(() => server.close());
  assert.equal((await attach(busy)).code, "address-in-use");
  const { attachment } = await host.cli<{ attachment: { address: string } }>([
    "volume",
    "show",
    "demo",
  ]);
  assert.equal((await attach(attachment.address)).code, "address-in-use");

  const file = path.join(folder, "file");
  fs.writeFileSync(file, "keep me");
  assert.equal((await attach(file)).code, "address-in-use");
  assert.equal(fs.readFileSync(file, "utf8"), "keep me");

  assert.equal((await attach(path.join(folder, "missing", "a.sock"))).code, "address-invalid");
  assert.equal((await attach(path.join(folder, "x".repeat(120)))).code, "request-invalid");
  const { port } = new URL(host.api);
  assert.equal((await attach(`127.0.0.1:${port}`)).code, "address-in-use");
  await host.cli(["volume", "attach", "web1"]);
});

test("a second host on the same state directory or device is refused", async (t) => {
  const { host, device, uri } = await hostWithData(t);
  assert.equal((await host.refusal()).code, "state-in-use");
  const folder = temporaryFolder(t);
  const other = await HostRun.configure(t, folder, [device]);
  assert.equal((await other.refusal()).code, "device-in-use");
  assert.equal((await other.refusal(["--wipe", device])).code, "device-in-use");
  await assertData(uri);
});

test("an API port in use is refused before a device is touched", async (t) => {
  const folder = temporaryFolder(t);
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  const address = server.address();
  assert.ok(typeof address === "object" && address !== null);
  const device = path.join(folder, "device");
  const extra = { apiAddress: `127.0.0.1:${address.port}` };
  const host = await HostRun.configure(t, folder, [device], extra);
  assert.equal((await host.refusal()).code, "address-in-use");
  assert.ok(!fs.existsSync(device));
});

test("a device of another cluster is refused, and taken with --wipe", async (t) => {
  const { host, device, uri } = await hostWithData(t);
  assert.equal(await host.stop(), 0);
  const folder = temporaryFolder(t);
  const other = await HostRun.configure(t, folder, [device]);
  assert.equal((await other.refusal()).code, "device-other-cluster");
  await host.start();
  await assertData(uri);
  assert.equal(await host.stop(), 0);
  await other.start(["--wipe", device]);
  assert.deepEqual((await other.cli<Volumes>(["volume", "list"])).volumes, []);
});

test("--wipe never wipes a device of the host's own cluster", async (t) => {
  const { host, device, uri } = await hostWithData(t);
  await host.kill();
  await host.start(["--wipe", device]);
  await assertData(uri);
});

test("a directory with other files, or half a device, is refused and left alone", async (t) => {
  const folder = temporaryFolder(t);
  const device = path.join(folder, "photos");
  fs.mkdirSync(device);
  fs.writeFileSync(path.join(device, "holiday.jpg"), "photo");
  const host = await HostRun.configure(t, folder, [device]);
  assert.equal((await host.refusal()).code, "device-foreign");
  assert.equal((await host.refusal(["--wipe", device])).code, "device-foreign");
  assert.deepEqual(fs.readdirSync(device), ["holiday.jpg"]);

  const { host: owner, device: half, uri } = await hostWithData(t);
  assert.equal(await owner.stop(), 0);
  for (const name of ["metadata", "data", "journal"]) {
    const part = path.join(half, name);
    fs.renameSync(part, `${half}.away`);
    assert.equal((await owner.refusal()).code, "device-incomplete", part);
    fs.renameSync(`${half}.away`, part);
  }
  const journal = path.join(half, "journal");
  fs.copyFileSync(journal, `${half}.away`);
  fs.truncateSync(journal, fs.statSync(journal).size - 4096);
  assert.equal((await owner.refusal()).code, "device-shrunk");
  fs.renameSync(`${half}.away`, journal);
  await owner.start();
  await assertData(uri);
});

test("a device that is missing, no device, or too small is refused", async (t) => {
  const folder = temporaryFolder(t);
  const refusalOf = async (device: object): Promise<string> =>
    (await (await HostRun.configure(t, folder, [], { devices: [device] })).refusal()).code;
  assert.equal(
    await refusalOf({ path: path.join(folder, "no", "such", "parent") }),
    "device-missing",
  );
  assert.equal(await refusalOf({ path: "/dev/drystone-none" }), "device-missing");
  assert.ok(!fs.existsSync("/dev/drystone-none"), "no folder is made among devices");
  assert.equal(await refusalOf({ path: "/dev/null" }), "device-invalid");
  assert.equal(await refusalOf({ path: process.execPath }), "device-invalid");
  assert.equal(await refusalOf({ path: path.join(folder, "d"), size: "1M" }), "config-invalid");
});

test("a read-only and a full file system are refused", { skip: !isRoot }, async (t) => {
  const folder = temporaryFolder(t);
  const mounted = path.join(folder, "mounted");
  fs.mkdirSync(mounted);
  await runTool("mount", ["-t", "tmpfs", "-o", "size=400m", "drystone-test", mounted]);
  try {
    const device = path.join(mounted, "device");
    fs.mkdirSync(device);
    const host = await HostRun.configure(t, folder, [device], { devices: [{ path: device }] });
    fs.writeFileSync(path.join(mounted, "filler"), Buffer.alloc(350 << 20));
    assert.equal((await host.refusal()).code, "no-space");
    fs.rmSync(path.join(mounted, "filler"));
    await runTool("mount", ["-o", "remount,ro", mounted]);
    assert.equal((await host.refusal()).code, "device-read-only");
    assert.deepEqual(fs.readdirSync(device), []);
    await runTool("mount", ["-o", "remount,rw", mounted]);
    await host.start();
    assert.equal(await host.stop(), 0);
  } finally {
    await runTool("umount", [mounted]);
  }
});

test("damaged superblocks are refused; one of two is repaired and reported", async (t) => {
  const { host, device, uri } = await hostWithData(t);
  assert.equal(await host.stop(), 0);
  const file = path.join(device, "journal");
  const noise = Buffer.alloc(16, 0xa5);
  const before = SUPERBLOCK_OFFSETS.map((offset) => overwrite(file, offset + 64, noise));
  assert.equal((await host.refusal()).code, "superblock-damaged");
  overwrite(file, SUPERBLOCK_OFFSETS[0]! + 64, before[0]!);
  await host.start();
  await assertData(uri);
  const status = await host.cli<{ reasons: readonly { code: string }[] }>(["status"]);
  assert.deepEqual(
    status.reasons.map(({ code }) => code),
    ["superblock-repaired"],
  );
});

test("damaged metadata or state is refused, and works again when restored", async (t) => {
  const { host, device, uri } = await hostWithData(t);
  assert.equal(await host.stop(), 0);
  const noise = Buffer.alloc(4096, 0xa5);
  const files: readonly (readonly [string, string])[] = [
    [path.join(device, "metadata", "data.mdb"), "metadata-damaged"],
    [path.join(host.folder, "state", "metadata", "data.mdb"), "state-damaged"],
    [path.join(host.folder, "state", "host.json"), "state-damaged"],
  ];
  for (const [file, code] of files) {
    const whole = fs.readFileSync(file);
    overwrite(file, 0, noise.subarray(0, Math.min(noise.length, whole.length)));
    assert.equal((await host.refusal()).code, code, file);
    fs.writeFileSync(file, whole);
  }
  await host.start();
  await assertData(uri);
});

test("a configuration with problems is refused with all of them", async (t) => {
  const folder = temporaryFolder(t);
  const host = await HostRun.configure(t, folder, [], {
    nmae: "x",
    memory: "1K",
    apiAddress: "nowhere",
  });
  const refusal = await host.refusal();
  assert.equal(refusal.code, "config-invalid");
  for (const part of [/nmae is not known/, /memory is 1K/, /apiAddress must be/])
    assert.match(refusal.message, part);
  fs.writeFileSync(host.configFile, "{");
  assert.equal((await host.refusal()).code, "config-invalid");
  fs.rmSync(host.configFile);
  assert.equal((await host.refusal()).code, "config-missing");
});
