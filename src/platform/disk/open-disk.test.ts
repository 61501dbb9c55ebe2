import { ok as assert, equal, deepEqual, throws } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { CodedError, Prng } from "../../base/index.ts";
import { DiskRequests } from "../../ports/index.ts";
import type { Disk, DiskFault } from "../../ports/index.ts";
import { openDisk } from "../index.ts";
import type { DiskKind, DiskOptions } from "../index.ts";

const KINDS: readonly DiskKind[] = ["io_uring", "node-fs"];
const MIB = 1 << 20;

let folder = "";
before(() => {
  folder = mkdtempSync("/var/tmp/drystone-disk-");
});
after(() => {
  rmSync(folder, { recursive: true });
});

function openNew(kind: DiskKind, name: string, options: DiskOptions = {}): Disk {
  return openDisk(join(folder, `${name}-${kind}`), { kind, createSizeBytes: 16 * MIB, ...options });
}

const coded = (code: string) => (error: unknown) =>
  error instanceof CodedError && error.code === code && error.message.length > 0;

for (const kind of KINDS) {
  test(`${kind}: says its kind, size and alignment`, async () => {
    const disk = openNew(kind, "kind");
    equal(disk.kind, kind);
    equal(disk.sizeBytes, 16 * MIB);
    equal(disk.alignmentBytes, 4096);
    await disk.close();
  });

  test(`${kind}: more requests than run at once complete once each`, async () => {
    const disk = openNew(kind, "many");
    const count = 2000;
    const memory = disk.allocate(4096 * 16);
    new Prng(1).fill(memory.bytes);
    const completions = new Uint8Array(count);
    let finished = 0;
    let inside = true;
    await new Promise<void>((resolve) => {
      const done = (token: number, fault: DiskFault | undefined): void => {
        equal(inside, false);
        equal(fault, undefined);
        completions[token]!++;
        if (++finished === count) resolve();
      };
      for (let i = 0; i < count; i++) {
        disk.write(memory, 4096 * (i % 16), 4096, 4096 * i, done, i);
      }
      disk.submit();
      inside = false;
    });
    assert(completions.every((times) => times === 1));
    const back = disk.allocate(4096 * count);
    await new DiskRequests(disk).read(back, 0, 4096 * count, 0);
    for (let i = 0; i < count; i++) {
      const at = 4096 * (i % 16);
      deepEqual(
        back.bytes.subarray(4096 * i, 4096 * (i + 1)),
        memory.bytes.subarray(at, at + 4096),
      );
    }
    await disk.close();
  });

  test(`${kind}: requests start at the end of the turn without submit`, async () => {
    const disk = openNew(kind, "turn");
    const fault = await new Promise((resolve) => {
      disk.flush((_, fault) => resolve(fault), 0);
    });
    equal(fault, undefined);
    await disk.close();
  });

  test(`${kind}: a punched range reads as zeroes and gives its space back`, async () => {
    const disk = openNew(kind, "punch");
    const requests = new DiskRequests(disk);
    const memory = disk.allocate(4 * MIB);
    memory.bytes.fill(7);
    await requests.write(memory, 0, 4 * MIB, 0);
    await requests.flush();
    const before = disk.allocatedBytes();
    await requests.punch(MIB, 2 * MIB);
    equal(before - disk.allocatedBytes(), 2 * MIB);
    await requests.read(memory, 0, 4 * MIB, 0);
    equal(memory.bytes[MIB - 1], 7);
    assert(memory.bytes.subarray(MIB, 3 * MIB).every((byte) => byte === 0));
    equal(memory.bytes[3 * MIB], 7);
    assert(disk.availableBytes() > 0);
    await disk.close();
  });

  test(`${kind}: a file that became shorter gives a read error, not zeroes`, async () => {
    const disk = openNew(kind, "short");
    const requests = new DiskRequests(disk);
    const memory = disk.allocate(2 * MIB);
    truncateSync(join(folder, `short-${kind}`), MIB);
    await assertRejects(requests.read(memory, 0, 2 * MIB, 0), "read-error");
    await assertRejects(requests.read(memory, 0, 4096, 8 * MIB), "read-error");
    await requests.read(memory, 0, MIB, 0);
    await disk.close();
  });

  test(`${kind}: close waits for requests under way and frees the lock`, async () => {
    const disk = openNew(kind, "close");
    const memory = disk.allocate(MIB);
    let completed = 0;
    for (let i = 0; i < 16; i++) {
      disk.write(memory, 0, MIB, i * MIB, () => completed++, i);
    }
    await disk.close();
    equal(completed, 16);
    equal(memory.bytes[0], 0);
    await openNew(kind, "close").close();
  });

  test(`${kind}: space is set aside in a new file and in one that exists`, async () => {
    const disk = openNew(kind, "preallocated", { preallocateBytes: 4 * MIB });
    assert(disk.allocatedBytes() >= 4 * MIB);
    await disk.close();
    const again = openNew(kind, "preallocated", { preallocateBytes: 8 * MIB });
    assert(again.allocatedBytes() >= 8 * MIB);
    await again.close();
  });

  test(`${kind}: direct I/O reads what it wrote`, async () => {
    const disk = openNew(kind, "direct", { direct: true });
    const requests = new DiskRequests(disk);
    const memory = disk.allocate(8192);
    memory.bytes.fill(3, 0, 4096);
    await requests.write(memory, 0, 4096, MIB);
    await requests.read(memory, 4096, 4096, MIB);
    assert(memory.bytes.every((byte) => byte === 3));
    await disk.close();
  });

  test(`${kind}: requests out of range or without an address are bugs`, async () => {
    const disk = openNew(kind, "bugs");
    const memory = disk.allocate(8192);
    const done = (): void => {};
    throws(() => disk.read(memory, 0, 4096, 16 * MIB, done, 0), /within the disk/);
    throws(() => disk.read(memory, 0, 512, 0, done, 0), /aligned/);
    throws(() => disk.write(memory, 4096, 8192, 0, done, 0), /within its memory/);
    throws(() => disk.write(memory, 1, 4096, 0, done, 0), /aligned/);
    const heap = { bytes: new Uint8Array(4096), handle: { address: 0, lengthBytes: 4096 } };
    throws(() => disk.write(heap, 0, 4096, 0, done, 0), /address/);
    await disk.close();
    throws(() => disk.flush(done, 0), /closed/);
  });
}

async function assertRejects(promise: Promise<void>, code: string): Promise<void> {
  await promise.then(
    () => assert(false, "the request failed"),
    (error: unknown) => assert(coded(code)(error), String(error)),
  );
}

test("a device in use is refused with the pid of its holder", async () => {
  const disk = openNew("io_uring", "locked");
  throws(
    () => openNew("io_uring", "locked"),
    (error: unknown) => coded("device-in-use")(error) && String(error).includes(`${process.pid}`),
  );
  await disk.close();
});

test("a missing device is refused and nothing is made", () => {
  throws(() => openDisk(join(folder, "absent")), coded("device-missing"));
  throws(
    () => openDisk(join(folder, "no-folder", "file"), { createSizeBytes: MIB }),
    coded("device-missing"),
  );
  equal(statSync(join(folder, "absent"), { throwIfNoEntry: false }), undefined);
});

test("a folder and a device file without block device are refused", () => {
  throws(() => openDisk(folder), coded("device-invalid"));
  throws(() => openDisk("/dev/null"), coded("device-invalid"));
});

test("a device below the wanted size is refused", () => {
  const path = join(folder, "small");
  writeFileSync(path, new Uint8Array(8192));
  throws(() => openDisk(path, { sizeBytesMin: MIB }), coded("device-too-small"));
});

test("a device that is refused leaves no file open", () => {
  const path = join(folder, "refused");
  writeFileSync(path, new Uint8Array(8192));
  const { ino } = statSync(path);
  const open = (): string[] =>
    readdirSync("/proc/self/fd").filter(
      (fd) => statSync(`/proc/self/fd/${fd}`, { throwIfNoEntry: false })?.ino === ino,
    );
  const refuse = () => openDisk(path, { sizeBytesMin: MIB, directWrites: true });
  throws(refuse, coded("device-too-small"));
  deepEqual(open(), []);
});

test("a file that cannot have its preallocated space is not made", () => {
  const path = join(folder, "huge");
  const createSizeBytes = 2 ** 43;
  throws(
    () => openDisk(path, { createSizeBytes, preallocateBytes: createSizeBytes }),
    coded("no-space"),
  );
  equal(statSync(path, { throwIfNoEntry: false }), undefined);
});

test("the environment chooses the adapter", async () => {
  process.env["DRYSTONE_DISK"] = "node-fs";
  try {
    const disk = openDisk(join(folder, "environment"), { createSizeBytes: MIB });
    equal(disk.kind, "node-fs");
    await disk.close();
    process.env["DRYSTONE_DISK"] = "floppy";
    throws(() => openDisk(join(folder, "environment")), coded("disk-kind-unknown"));
  } finally {
    delete process.env["DRYSTONE_DISK"];
  }
});

test("block devices that are read-only or mounted are refused, each with its reason", async (t) => {
  if (process.getuid?.() !== 0) return t.skip("only root may make loop devices");
  const file = join(folder, "backing");
  writeFileSync(file, new Uint8Array(4 * MIB));
  const run = (program: string, ...parameters: string[]): string =>
    execFileSync(program, parameters, { encoding: "utf8", stdio: "pipe" }).trim();
  const readOnly = run("losetup", "--find", "--show", "--read-only", file);
  const writable = run("losetup", "--find", "--show", file);
  const mount = join(folder, "mount");
  mkdirSync(mount);
  try {
    throws(() => openDisk(readOnly), coded("device-read-only"));
    const disk = openDisk(writable);
    equal(disk.sizeBytes, 4 * MIB);
    throws(() => openDisk(writable), coded("device-in-use"));
    await disk.close();
    run("mkfs.ext4", "-q", writable);
    run("mount", writable, mount);
    throws(() => openDisk(writable), coded("device-in-use"));
    run("umount", mount);
  } finally {
    run("losetup", "--detach", readOnly);
    run("losetup", "--detach", writable);
  }
});
