/**
 * Writes a cpio archive in the "newc" form that the Linux kernel unpacks as an initramfs
 * (Documentation/driver-api/early-userspace/buffer-format in the kernel's tree). Written here so
 * that device nodes and root ownership need no root and the result is the same byte for byte every
 * time.
 */
export interface CpioEntry {
  /** Path without a leading slash. */
  readonly path: string;
  /** File type and permissions as in `stat`. */
  readonly mode: number;
  readonly data?: Uint8Array;
  /** Major and minor number of a device node. */
  readonly device?: readonly [number, number];
}

const S_IFDIR = 0o040000;
const S_IFCHR = 0o020000;
const S_IFREG = 0o100000;
const S_IFLNK = 0o120000;
const TRAILER = "TRAILER!!!";

export function cpioFolder(path: string): CpioEntry {
  return { path, mode: S_IFDIR | 0o755 };
}

export function cpioFile(path: string, data: Uint8Array, permissions = 0o755): CpioEntry {
  return { path, mode: S_IFREG | permissions, data };
}

export function cpioLink(path: string, target: string): CpioEntry {
  return { path, mode: S_IFLNK | 0o777, data: Buffer.from(target) };
}

export function cpioCharacterDevice(path: string, major: number, minor: number): CpioEntry {
  return { path, mode: S_IFCHR | 0o600, device: [major, minor] };
}

/** The archive of `entries`; a folder must come before what it holds. */
export function cpioArchive(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  entries.forEach((entry, index) => appendEntry(parts, entry, index + 1));
  appendEntry(parts, { path: TRAILER, mode: 0 }, 0);
  return Buffer.concat(parts);
}

function appendEntry(parts: Buffer[], entry: CpioEntry, inode: number): void {
  const data = entry.data ?? new Uint8Array(0);
  const name = Buffer.from(`${entry.path}\0`);
  const [major, minor] = entry.device ?? [0, 0];
  // inode mode uid gid nlink mtime size devmajor devminor rdevmajor rdevminor namesize check
  const fields = [inode, entry.mode, 0, 0, 1, 0, data.length, 0, 0, major, minor, name.length, 0];
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}`;
  parts.push(padded(Buffer.concat([Buffer.from(header), name])), padded(Buffer.from(data)));
}

function padded(bytes: Buffer): Buffer {
  const missing = -bytes.length & 3;
  return missing === 0 ? bytes : Buffer.concat([bytes, Buffer.alloc(missing)]);
}
