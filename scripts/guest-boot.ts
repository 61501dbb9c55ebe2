/**
 * What a disk needs before its first partition, so that a PC's BIOS boots the test guest from it:
 * GRUB's boot sector, its core with a configuration inside, and a table with the one partition. The
 * partition is an ext4 file system with the files `kernel` and `initramfs`, and the guest counts on
 * it as soon as it runs.
 */
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

const SECTOR_BYTES = 512;
/** Where the partition begins, as everywhere. */
export const BOOT_BYTES: number = 1 << 20;
/** 511 MiB; the file system in it may be smaller. */
const PARTITION_SECTORS = (512 << 20) / SECTOR_BYTES - BOOT_BYTES / SECTOR_BYTES;
const MODULES = ["biosdisk", "ext2", "linux", "part_msdos"] as const;
const WORDS = "console=ttyS0 quiet panic=-1 drystone.job=counter drystone.disk=/dev/vda1";
const CONFIGURATION = `linux (hd0,msdos1)/kernel ${WORDS} drystone.fsck=1
initrd (hd0,msdos1)/initramfs
boot
`;
/** Of a boot sector: code for floppy disks lies where disks have their partitions. */
const TABLE_AT = 446;
const TABLE_BYTES = 64;
const LINUX = 0x83;
const ACTIVE = 0x80;

/** `root` holds the unpacked packages, with those of GRUB; files are made in `work`. */
export function bootSectors(root: string, work: string): Uint8Array {
  const modules = path.join(root, "usr/lib/grub/i386-pc");
  const configuration = path.join(work, "grub.cfg");
  const core = path.join(work, "core.img");
  fs.writeFileSync(configuration, CONFIGURATION);
  const libraries = ["lib", "usr/lib"].map((name) => path.join(root, name, "x86_64-linux-gnu"));
  execFileSync(path.join(root, "lib64/ld-linux-x86-64.so.2"), [
    ...["--library-path", libraries.join(":"), path.join(root, "usr/bin/grub-mkimage")],
    ...["--directory", modules, "--format", "i386-pc", "--prefix", "/none"],
    ...["--config", configuration, "--output", core, ...MODULES],
  ]);
  const sectors = Buffer.alloc(BOOT_BYTES);
  fs.readFileSync(path.join(modules, "boot.img")).copy(sectors);
  fs.readFileSync(core).copy(sectors, SECTOR_BYTES);
  for (const file of [configuration, core]) fs.rmSync(file);
  sectors.fill(0, TABLE_AT, TABLE_AT + TABLE_BYTES);
  sectors[TABLE_AT] = ACTIVE;
  sectors[TABLE_AT + 4] = LINUX;
  sectors.writeUInt32LE(BOOT_BYTES / SECTOR_BYTES, TABLE_AT + 8);
  sectors.writeUInt32LE(PARTITION_SECTORS, TABLE_AT + 12);
  return sectors;
}
