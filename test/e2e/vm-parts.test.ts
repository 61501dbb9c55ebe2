/** Firmware, the agent's port and the console's two ways, under a real QEMU. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { QemuHypervisor } from "../../src/platform/index.ts";
import type { VmStart } from "../../src/ports/index.ts";
import { startHost, temporaryFolder } from "./harness.ts";
import { runTool } from "./process.ts";

const CLI = fileURLToPath(new URL("../../../bin/drystone", import.meta.url));
const STEP_MS_MAX = 20_000;
const ROM_BYTES = 64 * 1024;
/** At the reset vector: prints a letter and a new line, and halts. 16-bit code. */
const PRINTS = [
  ...[0xba, 0xf8, 0x03, 0xb0, 0x46, 0xee], // mov dx, 0x3f8; mov al, 'F'; out dx, al
  ...[0xb0, 0x0a, 0xee, 0xf4, 0xeb, 0xfd], // mov al, 10; out dx, al; hlt, for ever
];

/** At the reset vector: prints what is typed. */
const ECHOES = [
  ...[0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb], // mov dx, 0x3fd; in al, dx; test al, 1; jz
  ...[0xb2, 0xf8, 0xec, 0xee, 0xeb, 0xf2], // mov dl, 0xf8; in al, dx; out dx, al; jmp
];

function writeRom(file: string, code: readonly number[]): void {
  const rom = new Uint8Array(ROM_BYTES);
  rom.set(code, ROM_BYTES - 16);
  fs.writeFileSync(file, rom);
}

function machine(firmwarePath: string): VmStart {
  return {
    ...{ vmId: "a", name: "a", epoch: 1, cpuCount: 1, memoryBytes: 32 << 20 },
    ...{ disks: [], networks: [], hasWatchdog: false, hasAgent: true, firmwarePath },
    boot: { kind: "disk" },
  };
}

test("a machine executes the firmware that it was given, and a missing one is told", async (t) => {
  const folder = temporaryFolder(t);
  const firmware = path.join(folder, "firmware");
  writeRom(firmware, PRINTS);
  const vms = path.join(folder, "vms");
  const hypervisor = new QemuHypervisor({ folder: vms, accelerator: "tcg" });
  // A control socket keeps no process alive.
  const awake = setInterval(() => {}, 1000);
  try {
    await startBoth(hypervisor, vms, path.join(folder, "OVMF.fd"), firmware);
  } finally {
    clearInterval(awake);
    await hypervisor.kill("a");
    await hypervisor.close();
  }
});

async function startBoth(
  hypervisor: QemuHypervisor,
  vms: string,
  missing: string,
  firmware: string,
): Promise<void> {
  hypervisor.allow(600_000);
  await assert.rejects(hypervisor.start(machine(missing)), {
    code: "vm-not-started",
    message: /this host has no firmware \S+OVMF\.fd/,
  });
  assert.deepEqual(await hypervisor.list(), []);
  await hypervisor.start(machine(firmware));
  const endMs = performance.now() + STEP_MS_MAX;
  while (hypervisor.readConsole("a", 0, 100).text !== "F\n") {
    assert.ok(performance.now() < endMs, "it prints nothing");
    await pause(50);
  }
  // Nobody in it answers as an agent, which says nothing.
  assert.deepEqual(await hypervisor.list(), [
    { vmId: "a", epoch: 1, state: "running", isSilent: false },
  ]);
  assert.ok(fs.existsSync(path.join(vms, "a", "agent.sock")), "there is a port for it");
}

test("a kernel or a QEMU that is missing, or one that ends at once, is told, and nothing is left of it", async (t) => {
  const folder = temporaryFolder(t);
  const kernelPath = path.join(folder, "vmlinuz");
  const plain = { ...machine(""), firmwarePath: undefined };
  const kernel = { kind: "kernel", kernelPath, initrdPath: undefined, commandLine: "" } as const;
  const cases = [
    [undefined, { ...plain, boot: kernel }, /QEMU ended with code 1.*kernel.*vmlinuz/s],
    [path.join(folder, "qemu"), plain, /ENOENT/],
    ["/bin/false", plain, /QEMU ended with code 1/],
  ] as const;
  for (const [program, start, message] of cases) {
    const vms = path.join(folder, "vms");
    const chosen = program === undefined ? {} : { program };
    const hypervisor = new QemuHypervisor({ folder: vms, accelerator: "tcg", ...chosen });
    const awake = setInterval(() => {}, 1000);
    try {
      hypervisor.allow(600_000);
      await assert.rejects(hypervisor.start(start), { code: "vm-not-started", message });
      assert.deepEqual(await hypervisor.list(), []);
    } finally {
      clearInterval(awake);
      await hypervisor.kill("a");
      await hypervisor.close();
    }
  }
});

type Cli = (...args: readonly string[]) => Promise<string>;

async function until(
  condition: () => Promise<boolean> | boolean,
  what: () => string,
): Promise<void> {
  const endMs = performance.now() + STEP_MS_MAX;
  while (!(await condition())) {
    assert.ok(performance.now() < endMs, what());
    await pause(20);
  }
}

/** As somebody at a terminal does. */
async function converse(cli: Cli, api: string): Promise<void> {
  const args = ["vm", "console", "echo", "--interactive", "--api", api];
  const client = spawn(process.execPath, [CLI, ...args], { stdio: ["pipe", "pipe", "pipe"] });
  let printed = "";
  let said = "";
  client.stdout.on("data", (bytes: Buffer) => (printed += bytes.toString("utf8")));
  client.stderr.on("data", (bytes: Buffer) => (said += bytes.toString("utf8")));
  const ended = new Promise<number | null>((resolve) => void client.once("close", resolve));
  const prints = (text: string): Promise<void> =>
    until(
      () => printed === text,
      () => `it prints ${JSON.stringify(printed)}, ${said}`,
    );
  await prints("first\r");
  client.stdin.write("second\r");
  await prints("first\rsecond\r");
  client.stdin.write("third\u001d and nothing more");
  assert.equal(await ended, 0);
  assert.match(said, /this is echo on \S+; Ctrl-\] leaves it\n[^]*left\n$/);
  assert.match(await cli("vm", "console", "echo"), /^first\rsecond\rthird$/m);
}

test("what is typed on a console gets to the guest, and what it answers comes back, until Ctrl-]", async (t) => {
  process.env["DRYSTONE_ACCEL"] = "tcg";
  const host = await startHost(t);
  const folder = path.join(host.folder, "data", "boot");
  fs.mkdirSync(folder, { recursive: true });
  const firmware = path.join(folder, "echo");
  writeRom(firmware, ECHOES);
  const cli: Cli = async (...args) =>
    (await runTool(process.execPath, [CLI, ...args, "--api", host.api])).stdout;
  await cli("volume", "create", "disk", "--size", "16M");
  const parts = ["--volume", "disk", "--memory", "16M", "--firmware", firmware];
  await cli("vm", "create", "echo", ...parts);
  await assert.rejects(cli("vm", "type", "echo", "a"), /does not run/);
  await cli("vm", "start", "echo");
  const isIn = async (state: RegExp): Promise<boolean> => state.test(await cli("vm", "list"));
  try {
    await until(
      () => isIn(/running/),
      () => "it does not start",
    );
    await cli("vm", "type", "echo", "first", "--enter");
    await converse(cli, host.api);
  } finally {
    await cli("vm", "kill", "echo");
    await until(
      () => isIn(/stopped/),
      () => "it does not end",
    );
  }
});
