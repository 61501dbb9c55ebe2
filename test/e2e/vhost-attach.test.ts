/** What an attachment over vhost-user promises to those who use it: its command, owner and data. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { VolumeClient } from "../../src/client/index.ts";
import { CLI, startHost } from "./harness.ts";
import type { DevHost } from "./harness.ts";
import { runTool } from "./process.ts";
import { destagedStats } from "./stats.ts";

const TEST_MS_MAX = 200_000;
const VOLUME_BYTES = 16 << 20;
const BLOCK_BYTES = 4096;

interface VolumeDetail {
  readonly attachment: { readonly vhostUser: { readonly connected: boolean } };
}

/** What the command prints for a user, to be pasted into a shell. */
async function printedCommand(host: DevHost, args: readonly string[]): Promise<string> {
  const line = [CLI, "volume", "attach", ...args, "--api", host.api];
  const { stdout } = await runTool(process.execPath, line);
  const command = stdout.split("\n").find((text) => text.includes("qemu-system-x86_64"));
  assert.ok(command !== undefined, stdout);
  return command;
}

/** Starts the machine without running it, until it has connected; its devices are there then. */
async function runPaused(t: TestContext, host: DevHost, command: string): Promise<void> {
  const pidFile = path.join(host.folder, "pid");
  const more = `-accel tcg -nodefaults -S -display none -daemonize -pidfile ${pidFile}`;
  await runTool("sh", ["-c", `${command} ${more}`]);
  const pid = Number(fs.readFileSync(pidFile, "utf8"));
  t.after(() => process.kill(pid, "SIGKILL"));
}

const NAMES = [
  ["a volume", `0${"9.x_-a".repeat(10)}zz`, ""],
  ["a snapshot", "base", "base@s"],
  ["a snapshot with long names", "9".repeat(63), `${"9".repeat(63)}@${"s".repeat(63)}`],
] as const;

for (const [what, name, snapshot] of NAMES) {
  test(
    `the QEMU command that is printed for ${what} works as it is printed`,
    { timeout: TEST_MS_MAX },
    async (t) => {
      const host = await startHost(t);
      const folder = fs.mkdtempSync("/tmp/it's a, folder-");
      t.after(() => fs.rmSync(folder, { recursive: true }));
      await host.cli(["volume", "create", name, "--size", String(VOLUME_BYTES)]);
      if (snapshot !== "") await host.cli(["snapshot", "create", snapshot]);
      const attached = snapshot === "" ? name : snapshot;
      const access = snapshot === "" ? [] : ["--read-only"];
      const [nbd, vhost] = ["nbd", "vhost"].map((file) => path.join(folder, file));
      const args = [attached, ...access, "--nbd", nbd!, "--vhost-user", vhost!];
      await runPaused(t, host, await printedCommand(host, args));
      const { attachment } = await host.cli<VolumeDetail>(["volume", "show", attached]);
      assert.equal(attachment.vhostUser.connected, true);
    },
  );
}

test(
  "the socket belongs to the owner that was asked for, and is nobody else's",
  {
    timeout: TEST_MS_MAX,
    skip: process.getuid?.() === 0 ? false : "only root may give files away",
  },
  async (t) => {
    const host = await startHost(t);
    const [given, own] = ["given", "own"].map((name) => path.join(host.folder, name));
    for (const [name, socket, owner] of [
      ["v1", given!, ["--vhost-owner", "12345:54321"]],
      ["v2", own!, []],
    ] as const) {
      await host.cli(["volume", "create", name, "--size", String(VOLUME_BYTES)]);
      await host.cli(["volume", "attach", name, "--vhost-user", socket, ...owner]);
    }
    const rights = (socket: string): unknown => {
      const { uid, gid, mode } = fs.statSync(socket);
      return { uid, gid, mode: mode & 0o7777 };
    };
    assert.deepEqual(rights(given!), { uid: 12345, gid: 54321, mode: 0o660 });
    assert.deepEqual(rights(own!), { uid: 0, gid: process.getgid?.(), mode: 0o660 });
    await host.kill();
    await host.start();
    while (!fs.existsSync(given!)) await pause(50);
    assert.deepEqual(rights(given!), { uid: 12345, gid: 54321, mode: 0o660 }, "after a restart");
  },
);

test(
  "a block that a machine has read is read anew once somebody has written it over NBD",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const socket = path.join(host.folder, "v.sock");
    await host.cli(["volume", "create", "v", "--size", String(VOLUME_BYTES)]);
    const attach = ["volume", "attach", "v", "--vhost-user", socket];
    const { uri } = await host.cli<{ uri: string }>(attach);
    const client = await VolumeClient.open(socket);
    t.after(() => client.close());
    const buffer = client.allocate(2 * BLOCK_BYTES);
    buffer.bytes.fill(1);
    await client.write(buffer, 0);
    const readTwice = async (): Promise<number[]> => {
      const seen = new Set<number>();
      for (let i = 0; i < 2; i++) {
        buffer.bytes.fill(0xee);
        await client.read(buffer, 0);
        for (const byte of buffer.bytes) seen.add(byte);
      }
      return [...seen];
    };
    for (let value = 2; value < 6; value++) {
      // From the block store into the cache.
      await destagedStats(host);
      assert.deepEqual(await readTwice(), [value - 1]);
      await runTool("qemu-io", ["-f", "raw", "-c", `write -P ${value} 0 8k`, uri]);
      assert.deepEqual(await readTwice(), [value], "what is in the journal");
    }
  },
);
