/** What a guest reaches through QEMU's user networking, under a real QEMU. */
import assert from "node:assert/strict";
import { once } from "node:events";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { QemuHypervisor } from "../../src/platform/index.ts";
import { guestFiles } from "./guest.ts";
import { temporaryFolder } from "./harness.ts";

const BOOT_MS_MAX = 120_000;

test("a guest with user networking does not reach what listens on its host's loopback", async (t) => {
  const { kernel: kernelPath, initramfs: initrdPath } = await guestFiles();
  let askedCount = 0;
  const server = http.createServer((_, response) => {
    askedCount++;
    response.end("the host\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  const commandLine = `console=ttyS0 quiet panic=-1 drystone.job=network drystone.port=${port}`;
  const folder = path.join(temporaryFolder(t), "vms");
  const hypervisor = new QemuHypervisor({ folder, accelerator: "tcg" });
  try {
    hypervisor.allow(600_000);
    await hypervisor.start({
      ...{ vmId: "a", name: "a", epoch: 1, cpuCount: 1, memoryBytes: 256 << 20, disks: [] },
      ...{ hasWatchdog: false, hasAgent: false, firmwarePath: undefined },
      networks: [{ kind: "user", mac: "52:54:00:12:34:56" }],
      boot: { kind: "kernel", kernelPath, initrdPath, commandLine },
    });
    const said = (): string => hypervisor.readConsole("a", 0, 100_000).text;
    const endMs = performance.now() + BOOT_MS_MAX;
    while (!/REACHED|CUT-OFF|GUEST-FAILED/.test(said())) {
      assert.ok(performance.now() < endMs, `it says nothing: ${said()}`);
      await pause(50);
    }
    assert.match(said(), /CUT-OFF/);
    assert.equal(askedCount, 0, "nobody has asked");
  } finally {
    await hypervisor.kill("a");
    await hypervisor.close();
  }
});
