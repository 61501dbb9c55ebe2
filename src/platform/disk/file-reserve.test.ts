import { equal, throws } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "../../../test/support/test.ts";
import { FileReserve } from "./file-reserve.ts";
import { LmdbMetadataStore } from "../metadata/lmdb-metadata-store.ts";
import { MetadataBatch } from "../../ports/index.ts";

const KIB = 1024;
const SKIP = process.getuid?.() === 0 ? false : "only root may mount a small file system";

/** `work` gets a folder on a file system of so many bytes, and what fills that. */
async function onSmallDisk(
  sizeBytes: number,
  work: (folder: string, fill: () => void) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "drystone-reserve-"));
  const mount = join(folder, "small");
  mkdirSync(mount);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "tmpfs", mount]);
  const filler = openSync(join(mount, "filler"), "w");
  try {
    await work(mount, () => {
      throws(() => {
        for (;;) writeSync(filler, Buffer.alloc(4 * KIB, 1));
      }, /ENOSPC/);
    });
  } finally {
    closeSync(filler);
    execFileSync("umount", ["--lazy", mount]);
    rmSync(folder, { recursive: true });
  }
}

test(
  "a file grows into its reserve when the file system is full, and no further",
  { skip: SKIP },
  () =>
    onSmallDisk(1024 * KIB, async (folder, fill) => {
      const fd = openSync(join(folder, "grows"), "w+");
      const reserve = new FileReserve(fd, 64 * KIB);
      writeSync(fd, Buffer.alloc(48 * KIB, 1));
      reserve.keep();
      fill();
      // Set aside anew when more than half of it was used: from where the file ended then.
      for (let i = 0; i < 16; i++) equal(writeSync(fd, Buffer.alloc(4 * KIB, 2)), 4 * KIB);
      throws(() => writeSync(fd, Buffer.alloc(4 * KIB, 3)), /ENOSPC/);
      reserve.keep();
      closeSync(fd);
    }),
);

test(
  "metadata open, change and open again on a file system that others have filled",
  { skip: SKIP },
  () =>
    onSmallDisk(8192 * KIB, async (folder, fill) => {
      const path = join(folder, "metadata");
      const put = async (store: LmdbMetadataStore, key: number): Promise<void> => {
        const batch = new MetadataBatch();
        for (let i = 0; i < 100; i++) batch.put(new Uint8Array([1, key, i]), new Uint8Array(200));
        await store.commit(batch);
      };
      let store = await LmdbMetadataStore.open(path);
      await put(store, 0);
      fill();
      for (let round = 1; round <= 10; round++) {
        await put(store, round);
        await store.close();
        store = await LmdbMetadataStore.open(path, { mustExist: true });
      }
      await store.close();
    }),
);
