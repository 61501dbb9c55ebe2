/** The adapters of real hosts keep what the ports promise. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DISK_CONFORMANCE_BYTES, diskConformance } from "../../test/conformance/disk.ts";
import type { DiskWorld } from "../../test/conformance/disk.ts";
import type { World } from "../../test/conformance/world.ts";
import { openDisk } from "./index.ts";
import type { DiskKind, DiskOptions } from "./index.ts";

/** A folder of its own for each test. */
function folder(): { path: string; world: World } {
  const path = mkdtempSync("/var/tmp/drystone-conformance-");
  const dispose = async (): Promise<void> => rmSync(path, { recursive: true });
  return { path, world: { run: (work) => work(), dispose } };
}

function diskWorld(path: string, world: World, options: DiskOptions): DiskWorld {
  const disk = openDisk(path, { createSizeBytes: DISK_CONFORMANCE_BYTES, ...options });
  return {
    ...world,
    disk,
    reopen: async () => openDisk(path, options),
    dispose: async () => {
      await disk.close();
      await world.dispose();
    },
  };
}

for (const kind of ["io_uring", "node-fs"] satisfies DiskKind[]) {
  for (const direct of [false, true]) {
    diskConformance(`${kind}, a file${direct ? ", direct" : ""}`, async () => {
      const { path, world } = folder();
      return diskWorld(join(path, "disk"), world, { kind, direct });
    });
  }

  if (mayUseLoopDevices()) {
    diskConformance(
      `${kind}, a block device`,
      async () => {
        const { path, world } = folder();
        const file = join(path, "backing");
        writeFileSync(file, "");
        truncateSync(file, DISK_CONFORMANCE_BYTES);
        const device = losetup("--find", "--show", file);
        const dispose = async (): Promise<void> => {
          losetup("--detach", device);
          await world.dispose();
        };
        return diskWorld(device, { ...world, dispose }, { kind });
      },
      { isThin: false },
    );
  }
}

function losetup(...parameters: string[]): string {
  return execFileSync("losetup", parameters, { encoding: "utf8" }).trim();
}

function mayUseLoopDevices(): boolean {
  if (process.getuid?.() !== 0) return false;
  try {
    losetup("--list");
    return true;
  } catch {
    return false;
  }
}
