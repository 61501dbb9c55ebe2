/** A real Linux guest on a volume over vhost-user. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { test } from "node:test";
import type { TestContext } from "node:test";
import { setTimeout as pause } from "node:timers/promises";
import { assertWhole, TestGuest } from "./guest.ts";
import type { VhostDrive } from "./guest.ts";
import { isLong, startHost } from "./harness.ts";
import type { DevHost } from "./harness.ts";
import { destagedStats } from "./stats.ts";

const VOLUME_BYTES = 4 * 2 ** 30;
const TEST_MS_MAX = 280_000;
/**
 * QEMU's emulated processors lose a write now and then while the machine is sent as it runs
 * (kvm-unit-tests has a program that shows it), and this machine is, to see what we write meanwhile
 * arrive: that would be missing each time.
 */
const MIGRATIONS_MAX = 3;
const KERNEL_CRASHED = /Kernel panic/;

async function attach(host: DevHost, name: string): Promise<VhostDrive> {
  const vhostSocket = path.join(host.folder, `${name}.vhost`);
  await host.cli(["volume", "create", name, "--size", String(VOLUME_BYTES)]);
  await host.cli(["volume", "attach", name, "--vhost-user", vhostSocket]);
  return { vhostSocket };
}

test(
  "a guest on vhost-user makes a file system, and finds it whole after its power failed",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const drive = await attach(host, "guest");
    const guest = await TestGuest.start({ ...drive, job: "counter" });
    t.after(() => guest.kill());
    await guest.waitForLine(/^MOUNTED created$/);
    await guest.waitForCounter(20);
    await guest.kill();
    await assertWhole(drive, guest.lastCounter);
  },
);

test(
  "a running guest counts on when its host is killed and comes back",
  { timeout: TEST_MS_MAX },
  async (t) => {
    const host = await startHost(t);
    const drive = await attach(host, "guest");
    const guest = await TestGuest.start({ ...drive, job: "counter" });
    t.after(() => guest.kill());
    await guest.waitForCounter(10);
    for (let round = 0; round < 3; round++) {
      const before = await guest.waitForCounter(guest.lastCounter + 10);
      await host.kill();
      await host.start();
      await guest.waitForCounter(before + 10);
    }
    await guest.kill();
    await assertWhole(drive, guest.lastCounter);
  },
);

test("space that a guest gives back is free again", { timeout: TEST_MS_MAX }, async (t) => {
  const host = await startHost(t);
  const drive = await attach(host, "guest");
  const guest = await TestGuest.start({ ...drive, job: "trim" });
  t.after(() => guest.kill());
  const [, trimmed] = await guest.waitForLine(/^TRIMMED (\d+)$/);
  assert.ok(Number(trimmed) > 64 << 20, `${trimmed} bytes were trimmed`);
  await guest.waitForLine(/^DISCARDED ok$/);
  await guest.waitForLine(/^DONE$/);
  const { logicalBytes } = await destagedStats(host);
  assert.equal(logicalBytes, 0);
});

/** Says one line to QEMU's monitor, and waits until it has been carried out. */
async function tellMonitor(monitor: string, line: string): Promise<void> {
  const socket = net.connect(monitor);
  await new Promise((resolve) => socket.once("connect", resolve));
  let heard = "";
  socket.on("data", (bytes) => {
    heard += bytes.toString();
  });
  const prompts = async (count: number): Promise<void> => {
    while (heard.split("(qemu) ").length <= count) await pause(50);
  };
  await prompts(1);
  socket.write(`${line}\n`);
  await prompts(2);
  socket.destroy();
}

async function migrate(t: TestContext): Promise<void> {
  const host = await startHost(t);
  const drive = await attach(host, "guest");
  const monitor = path.join(host.folder, "monitor");
  const incoming = path.join(host.folder, "incoming");
  const source = await TestGuest.start({ ...drive, monitor, job: "counter" });
  t.after(() => source.kill());
  await source.waitForCounter(10);
  const target = await TestGuest.start({ ...drive, incoming, job: "counter" });
  t.after(() => target.kill());
  while (!fs.existsSync(incoming)) await pause(100);
  await tellMonitor(monitor, `migrate unix:${incoming}`);
  const counted = await target.waitForCounter(source.lastCounter + 20);
  assert.ok(counted > source.lastCounter);
  await source.kill();
  const more = await target.waitForCounter(counted + 10);
  await target.kill();
  await assertWhole(drive, more);
}

test(
  "a guest is migrated to another QEMU at the same socket, and counts on there",
  { timeout: TEST_MS_MAX, skip: !isLong },
  async (t) => {
    for (let left = MIGRATIONS_MAX; ; left--) {
      try {
        return await migrate(t);
      } catch (error) {
        if (left === 1 || !KERNEL_CRASHED.test(String(error))) throw error;
        t.diagnostic("once more: the guest did not come along whole");
      }
    }
  },
);
