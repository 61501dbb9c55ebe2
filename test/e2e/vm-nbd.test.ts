/** Machines of a QEMU that was built without vhost-user-blk: their disks are served over NBD. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { QemuHypervisor } from "../../src/platform/index.ts";
import type { VmDisk, VmStart } from "../../src/ports/index.ts";
import { countersIn, writeCountingKernel } from "./counting-kernel.ts";
import { startHost } from "./harness.ts";
import type { DevHost } from "./harness.ts";

const STEP_MS_MAX = 30_000;
const MORE_COUNTS = 5;

/** Debian's, which says of itself that it lacks it, and takes no such device. */
function writeQemuWithout(file: string): void {
  const script = `#!/bin/sh
case "$*" in
  "-device help") qemu-system-x86_64 -device help | grep -v vhost-user-blk ;;
  *vhost-user-blk*) echo "no such device" >&2; exit 1 ;;
  *) exec qemu-system-x86_64 "$@" ;;
esac
`;
  fs.writeFileSync(file, script, { mode: 0o755 });
}

async function until(condition: () => Promise<boolean> | boolean, what: string): Promise<void> {
  const endMs = performance.now() + STEP_MS_MAX;
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, `it did not come that ${what}`);
    await pause(50);
  }
}

async function isIn(host: DevHost, state: string): Promise<boolean> {
  const { vms } = await host.cli<{ vms: { state: string }[] }>(["vm", "list"]);
  return vms.every((vm) => vm.state === state);
}

test("a machine whose QEMU lacks vhost-user-blk runs over NBD, also past the death of its host process", async (t) => {
  const program = path.join(fs.mkdtempSync("/tmp/drystone-qemu-"), "qemu");
  t.after(() => fs.rmSync(path.dirname(program), { recursive: true }));
  writeQemuWithout(program);
  process.env["DRYSTONE_ACCEL"] = "tcg";
  process.env["DRYSTONE_QEMU"] = program;
  t.after(() => delete process.env["DRYSTONE_QEMU"]);
  const host = await startHost(t);
  const kernel = path.join(host.folder, "data", "boot", "counting");
  writeCountingKernel(kernel);
  await host.cli(["volume", "create", "disk", "--size", "16M"]);
  const parts = ["--volume", "disk", "--memory", "16M", "--kernel", kernel];
  await host.cli(["vm", "create", "counts", ...parts]);
  await host.cli(["vm", "start", "counts"]);
  const log = serialLogIn(host.folder);
  try {
    await until(() => countersIn(log()).length > MORE_COUNTS, "it counts");
    const { pid } = storedBeside(log());
    const line = fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    assert.ok(line.some((text) => text.startsWith('{"driver":"nbd"')));

    await host.kill();
    const told = countersIn(log()).at(-1)!;
    await host.start();
    await until(() => (countersIn(log()).at(-1) ?? 0) > told + MORE_COUNTS, "it counts on");
    assert.equal(storedBeside(log()).pid, pid, "the same process");
    const all = countersIn(log());
    assert.deepEqual(
      all,
      [...all.keys()].map((i) => all[0]! + i),
      "one by one",
    );

    await host.cli(["vm", "kill", "counts"]);
    await until(() => isIn(host, "stopped"), "it ends");
    const toldLast = countersIn(log()).at(-1)!;
    await host.cli(["vm", "start", "counts"]);
    await until(
      () => (countersIn(log()).at(-1) ?? 0) > toldLast,
      "it goes on from what it was told",
    );
  } finally {
    await host.cli(["vm", "kill", "counts"]);
    await until(() => isIn(host, "stopped"), "it ends");
  }
});

/** Where the only machine of the host prints; the folder comes with the machine. */
function serialLogIn(folder: string): () => string {
  return () => {
    const found = fs
      .readdirSync(folder, { recursive: true, encoding: "utf8" })
      .find((name) => name.endsWith("/serial.log"));
    return path.join(folder, found ?? "serial.log");
  };
}

function storedBeside(log: string): { readonly pid: number } {
  const text = fs.readFileSync(path.join(path.dirname(log), "vm.json"), "utf8");
  return JSON.parse(text) as { pid: number };
}

test("over NBD nothing starts without a socket for each disk, and nothing migrates", async (t) => {
  const host = await startHost(t);
  const program = path.join(host.folder, "qemu");
  writeQemuWithout(program);
  await host.cli(["volume", "create", "disk", "--size", "16M"]);
  const { address } = await host.cli<{ address: string }>(["volume", "attach", "disk"]);
  const vms = path.join(host.folder, "vms");
  const hypervisor = new QemuHypervisor({ folder: vms, accelerator: "tcg", program });
  // A control socket keeps no process alive.
  const awake = setInterval(() => {}, 1000);
  try {
    hypervisor.allow(600_000);
    const disk = { name: "disk", vhostSocket: "/nowhere" };
    await assert.rejects(hypervisor.start(machine(disk)), {
      code: "vm-not-started",
      message: /no vhost-user-blk, and disk disk has no NBD socket/,
    });
    await hypervisor.start(machine({ ...disk, nbdSocket: address }));
    await assert.rejects(hypervisor.send("a", "/nowhere"), {
      code: "vm-migration-failed",
      message: /served over NBD/,
    });
    assert.deepEqual(
      (await hypervisor.list()).map(({ state }) => state),
      ["running"],
    );
  } finally {
    clearInterval(awake);
    await hypervisor.kill("a");
    await hypervisor.close();
  }
});

function machine(disk: VmDisk): VmStart {
  return {
    ...{ vmId: "a", name: "a", epoch: 1, cpuCount: 1, memoryBytes: 32 << 20 },
    ...{ disks: [disk], networks: [], hasWatchdog: false, hasAgent: false },
    firmwarePath: undefined,
    boot: { kind: "disk" },
  };
}
