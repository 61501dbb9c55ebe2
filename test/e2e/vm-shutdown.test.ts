/** What is known of a guest that shuts down while its host's process is away, under a real QEMU. */
import assert from "node:assert/strict";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { QemuHypervisor } from "../../src/platform/index.ts";
import type { RunningVm } from "../../src/ports/index.ts";
import { guestFiles } from "./guest.ts";
import { temporaryFolder } from "./harness.ts";

const BOOT_MS_MAX = 60_000;

test("a guest that shuts down while its host's process is away has ended for the next one", async (t) => {
  const { kernel: kernelPath, initramfs: initrdPath } = await guestFiles();
  const folder = path.join(temporaryFolder(t), "vms");
  const first = new QemuHypervisor({ folder, accelerator: "tcg" });
  // A control socket keeps no process alive.
  const awake = setInterval(() => {}, 1000);
  first.allow(600_000);
  // Without a network it finds that it cannot do its job, and powers off.
  const commandLine = "console=ttyS0 quiet panic=-1 drystone.job=network";
  await first.start({
    ...{ vmId: "a", name: "a", epoch: 7, cpuCount: 1, memoryBytes: 256 << 20, disks: [] },
    ...{ networks: [], hasWatchdog: false, hasAgent: false, firmwarePath: undefined },
    boot: { kind: "kernel", kernelPath, initrdPath, commandLine },
  });
  await first.close();
  const next = new QemuHypervisor({ folder, accelerator: "tcg" });
  const printed = (): string => first.readConsole("a", 0, 100_000).text;
  try {
    const endMs = performance.now() + BOOT_MS_MAX;
    while (!printed().includes("GUEST-FAILED")) {
      assert.ok(performance.now() < endMs, `it does not get so far: ${printed()}`);
      await pause(50);
    }
    let found: readonly RunningVm[];
    do {
      assert.ok(performance.now() < endMs, "it does not end");
      await pause(50);
      found = await next.list();
    } while (found[0]?.state === "running");
    assert.deepEqual(found, [{ vmId: "a", epoch: 7, state: "ended" }]);
    await next.resume("a");
    assert.equal((await next.list())[0]?.state, "ended");
  } finally {
    clearInterval(awake);
    await next.kill("a");
    await next.close();
    await first.close();
  }
});
