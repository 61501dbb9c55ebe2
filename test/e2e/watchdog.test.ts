/** QEMU's watchdog, with a guest that starts it and never feeds it. */
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { test } from "node:test";
import { QemuHypervisor } from "../../src/platform/index.ts";
import type { RunningVm } from "../../src/ports/index.ts";
import { temporaryFolder } from "./harness.ts";

const LOAD_ADDRESS = 0x100000;
const HEADER_MAGIC = 0x1badb002;
/** Addresses are in the header, rather than in an ELF file's. */
const HEADER_FLAGS = 0x10000;
const HEADER_BYTES = 32;
const STEP_MS_MAX = 20_000;

/** Finds the i6300esb on the bus, gives it half a second, starts it and halts. 32-bit code. */
const HANGING: readonly number[] = [
  ...[0xb9, 0x00, 0x00, 0x00, 0x80], // mov ecx, 0x80000000
  // scan:
  ...[0x89, 0xc8], // mov eax, ecx
  ...[0x66, 0xba, 0xf8, 0x0c], // mov dx, 0xcf8
  ...[0xef], // out dx, eax
  ...[0xb2, 0xfc], // mov dl, 0xfc
  ...[0xed], // in eax, dx
  ...[0x3d, 0x86, 0x80, 0xab, 0x25], // cmp eax, 0x25ab8086
  ...[0x74, 0x08], // je found
  ...[0x81, 0xc1, 0x00, 0x08, 0x00, 0x00], // add ecx, 0x800
  ...[0xeb, 0xe7], // jmp scan
  // found:
  ...[0x8d, 0x41, 0x10, 0xb2, 0xf8, 0xef], // lea eax, [ecx+0x10]; mov dl, 0xf8; out dx, eax
  ...[0xb2, 0xfc, 0xed], // mov dl, 0xfc; in eax, dx
  ...[0x24, 0xf0, 0x89, 0xc3], // and al, 0xf0; mov ebx, eax
  ...unlocked(0x00, 0x100),
  ...unlocked(0x04, 0x100),
  ...[0x8d, 0x41, 0x68, 0xb2, 0xf8, 0xef], // lea eax, [ecx+0x68]; mov dl, 0xf8; out dx, eax
  ...[0xb2, 0xfc, 0xb0, 0x02, 0xee], // mov dl, 0xfc; mov al, 2; out dx, al
  ...[0xf4, 0xeb, 0xfd], // hlt, for ever
];

/** A time in milliseconds, which the device takes after 0x80 and 0x86. */
function unlocked(register: number, ms: number): readonly number[] {
  const time = [ms & 0xff, ms >> 8, 0x00, 0x00];
  return [
    ...[0xc7, 0x43, 0x0c, 0x80, 0x00, 0x00, 0x00], // mov dword [ebx+0xc], 0x80
    ...[0xc7, 0x43, 0x0c, 0x86, 0x00, 0x00, 0x00], // mov dword [ebx+0xc], 0x86
    ...[0xc7, 0x43, register, ...time], // mov dword [ebx+register], ms
  ];
}

/** As multiboot has it. */
function hangingKernel(): Uint8Array {
  const image = new Uint8Array(HEADER_BYTES + HANGING.length);
  const view = new DataView(image.buffer);
  const checksum = -(HEADER_MAGIC + HEADER_FLAGS) >>> 0;
  const end = LOAD_ADDRESS + image.length;
  const entry = LOAD_ADDRESS + HEADER_BYTES;
  const header = [
    HEADER_MAGIC,
    HEADER_FLAGS,
    checksum,
    LOAD_ADDRESS,
    LOAD_ADDRESS,
    end,
    end,
    entry,
  ];
  for (const [i, value] of header.entries()) view.setUint32(i * 4, value, true);
  image.set(HANGING, HEADER_BYTES);
  return image;
}

test("a guest that does not feed its watchdog stands still, until it is reset", async (t) => {
  const folder = temporaryFolder(t);
  const kernelPath = path.join(folder, "kernel");
  fs.writeFileSync(kernelPath, hangingKernel());
  const vms = path.join(folder, "vms");
  fs.mkdirSync(vms);
  const hypervisor = new QemuHypervisor({ folder: vms, accelerator: "tcg" });
  // A control socket keeps no process alive.
  const awake = setInterval(() => {}, 1000);
  try {
    await hangAndReset(hypervisor, kernelPath);
  } finally {
    clearInterval(awake);
    await hypervisor.kill("a");
    await hypervisor.close();
  }
});

async function hangAndReset(hypervisor: QemuHypervisor, kernelPath: string): Promise<void> {
  const state = async (): Promise<RunningVm | undefined> => (await hypervisor.list())[0];
  const hangs = async (): Promise<void> => {
    const endMs = performance.now() + STEP_MS_MAX;
    while ((await state())?.isHung !== true) {
      assert.ok(performance.now() < endMs, `it does not hang: ${JSON.stringify(await state())}`);
      await pause(50);
    }
  };
  hypervisor.allow(600_000);
  await hypervisor.start({
    ...{ vmId: "a", name: "a", epoch: 1, cpuCount: 1, memoryBytes: 32 << 20 },
    ...{ disks: [], networks: [], hasWatchdog: true, hasAgent: false, firmwarePath: undefined },
    boot: { kind: "kernel", kernelPath, initrdPath: undefined, commandLine: "" },
  });
  await hangs();
  await hypervisor.resume("a");
  assert.equal((await state())?.isHung, true, "it goes on although its guest hangs");
  await hypervisor.reset("a");
  assert.equal((await state())?.state, "running");
  await hangs();
}
