/**
 * The file or block device behind a disk: opened, checked and locked, before anything is read of
 * it.
 *
 * Promise: while it is open, no other Drystone process has the same file or device open. The lock
 * is advisory (flock), dies with the process that holds it, and does not bind other programs; a
 * block device is opened exclusively as well, so that neither a mounted one nor a part of an array
 * is taken.
 *
 * A new file is sparse and appears whole or not at all: it gets its name after its size and its
 * preallocated space are durable.
 */
import { CodedError, assert, errorText } from "../../base/index.ts";
import {
  closeSync,
  constants,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  linkSync,
  openSync,
  rmSync,
  statSync,
  statfsSync,
} from "node:fs";
import { dirname } from "node:path";
import { lockExclusively, syncFolder } from "../file-lock.ts";
import {
  FALLOCATE_KEEP_SIZE,
  FALLOCATE_PUNCH_HOLE,
  PAGE_BYTES,
  blockDeviceIsReadOnly,
  blockDeviceLogicalBytes,
  blockDeviceSizeBytes,
  fallocate,
  systemErrorCode,
} from "../sys.ts";

/** Of files, and of block devices whose logical blocks are not larger. */
const ALIGNMENT_BYTES = 4096;
const STAT_BLOCK_BYTES = 512;
const PUNCH = FALLOCATE_PUNCH_HOLE | FALLOCATE_KEEP_SIZE;

export interface DeviceOptions {
  /**
   * Make a sparse file of this size if nothing has this name. Otherwise a missing device is
   * refused.
   */
  readonly createSizeBytes?: number;
  /**
   * Set this much space aside at the start of a file, so that writing there cannot fail for lack of
   * it.
   */
  readonly preallocateBytes?: number;
  /** Refuse a smaller device. */
  readonly sizeBytesMin?: number;
  /** Bypass the page cache. Default: block devices yes, files no. */
  readonly direct?: boolean;
  /**
   * Write past the page cache and read through it, where the file system can: a flush then waits
   * for nothing but the device, and what is read often stays in the kernel's memory.
   */
  readonly directWrites?: boolean;
}

export class DeviceFile {
  readonly fd: number;
  /** The same as `fd`, or a descriptor of the same file that bypasses the page cache. */
  readonly writeFd: number;
  readonly path: string;
  readonly isBlockDevice: boolean;
  readonly isDirect: boolean;
  readonly sizeBytes: number;
  readonly alignmentBytes: number;
  /** The mode of fallocate(2) that makes a range of this file or device read as zeroes. */
  punchMode: number = PUNCH;

  /**
   * Fails with code `device-missing`, `device-read-only`, `device-in-use`, `device-too-small`,
   * `device-invalid`, `permission-denied` or `no-space`.
   */
  static open(path: string, options: DeviceOptions): DeviceFile {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) {
      if (options.createSizeBytes === undefined) throw missing(path);
      create(path, options.createSizeBytes, options.preallocateBytes ?? 0);
    }
    const isBlockDevice = found?.isBlockDevice() ?? false;
    if (found !== undefined && !isBlockDevice && !found.isFile()) throw notADevice(path);
    const isDirect = options.direct ?? isBlockDevice;
    const fd = openExclusively(path, isBlockDevice, isDirect);
    let writeFd = fd;
    try {
      lockExclusively(fd, path);
      if (options.directWrites === true && !isDirect) writeFd = openDirectly(path, fd);
      const device = new DeviceFile({ fd, writeFd }, path, isBlockDevice, isDirect);
      device.#check(options);
      return device;
    } catch (error) {
      if (writeFd !== fd) closeSync(writeFd);
      closeSync(fd);
      throw error;
    }
  }

  private constructor(
    { fd, writeFd }: { readonly fd: number; readonly writeFd: number },
    path: string,
    isBlockDevice: boolean,
    isDirect: boolean,
  ) {
    this.fd = fd;
    this.writeFd = writeFd;
    this.path = path;
    this.isBlockDevice = isBlockDevice;
    this.isDirect = isDirect;
    const logicalBytes = isBlockDevice ? blockDeviceLogicalBytes(fd) : ALIGNMENT_BYTES;
    this.alignmentBytes = Math.max(ALIGNMENT_BYTES, logicalBytes);
    const sizeBytes = isBlockDevice ? blockDeviceSizeBytes(fd) : fstatSync(fd).size;
    this.sizeBytes = sizeBytes - (sizeBytes % this.alignmentBytes);
  }

  /** What the file system has set aside; all of a block device. */
  allocatedBytes(): number {
    if (this.isBlockDevice) return this.sizeBytes;
    return fstatSync(this.fd).blocks * STAT_BLOCK_BYTES;
  }

  /** Room on the file system, as far as the file's size lets it be used; all of a block device. */
  availableBytes(): number {
    if (this.isBlockDevice) return this.sizeBytes;
    const { bavail, bsize } = statfsSync(this.path);
    return Math.max(0, Math.min(bavail * bsize, this.sizeBytes - this.allocatedBytes()));
  }

  close(): void {
    if (this.writeFd !== this.fd) closeSync(this.writeFd);
    closeSync(this.fd);
  }

  #check(options: DeviceOptions): void {
    // Not every kernel refuses to open such a device for writing; its writes would fail.
    if (this.isBlockDevice && blockDeviceIsReadOnly(this.fd)) throw readOnly(this.path);
    const sizeBytesMin = options.sizeBytesMin ?? this.alignmentBytes;
    if (this.sizeBytes < sizeBytesMin) {
      throw new CodedError({
        code: "device-too-small",
        message: `${this.path} has ${this.sizeBytes} bytes, ${sizeBytesMin} are needed`,
        hint: "Give a larger file or device",
        details: { path: this.path, sizeBytes: this.sizeBytes, sizeBytesMin },
      });
    }
    if (this.isBlockDevice) return;
    this.#checkPunching();
    const preallocateBytes = Math.min(options.preallocateBytes ?? 0, this.sizeBytes);
    if (preallocateBytes > 0) preallocate(this.fd, this.path, preallocateBytes);
  }

  /** Punches where nothing is: beyond the end. */
  #checkPunching(): void {
    try {
      fallocate(this.fd, PUNCH, this.sizeBytes + ALIGNMENT_BYTES, PAGE_BYTES);
    } catch (error) {
      if (systemErrorCode(error) !== "EOPNOTSUPP") throw error;
      throw new CodedError(
        {
          code: "device-invalid",
          message: `the file system of ${this.path} cannot give back parts of a file`,
          hint: "Use a local file system such as ext4, XFS, Btrfs or tmpfs, or a block device",
          details: { path: this.path },
        },
        { cause: error },
      );
    }
  }
}

function openExclusively(path: string, isBlockDevice: boolean, isDirect: boolean): number {
  let flags = constants.O_RDWR;
  if (isDirect) flags |= constants.O_DIRECT;
  if (isBlockDevice) flags |= constants.O_EXCL;
  try {
    return openSync(path, flags);
  } catch (error) {
    throw openingFault(path, isBlockDevice, isDirect, error);
  }
}

/** `fd` again where the file system has no direct I/O. */
function openDirectly(path: string, fd: number): number {
  try {
    return openSync(path, constants.O_RDWR | constants.O_DIRECT);
  } catch (error) {
    if (systemErrorCode(error) !== "EINVAL") throw error;
    return fd;
  }
}

function openingFault(
  path: string,
  isBlockDevice: boolean,
  isDirect: boolean,
  error: unknown,
): CodedError {
  const fault = (code: string, message: string, hint: string): CodedError =>
    new CodedError({ code, message, hint, details: { path } }, { cause: error });
  const code = systemErrorCode(error);
  if (code === "ENOENT" || code === "ENXIO" || code === "ENODEV") return missing(path, error);
  if (code === "EBUSY") {
    const hint = "Unmount it, take it out of the array that uses it, or give another device";
    return fault("device-in-use", `${path} is mounted or used by the kernel`, hint);
  }
  if (code === "EROFS" || (isBlockDevice && code !== "EPERM" && isReadOnlyDevice(path))) {
    return readOnly(path, error);
  }
  if (code === "EACCES" || code === "EPERM") {
    const hint = "Run as root, or give the user of this process read and write access";
    return fault("permission-denied", `${path} may not be opened for writing`, hint);
  }
  if (code === "EINVAL" && isDirect) {
    const hint = "Open it through the page cache, or use another file system";
    return fault("device-invalid", `the file system of ${path} has no direct I/O`, hint);
  }
  return fault("device-invalid", `${path} cannot be opened: ${errorText(error)}`, "See the cause");
}

function isReadOnlyDevice(path: string): boolean {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY);
  } catch {
    // The failure to open it for writing is the one that is reported.
    return false;
  }
  try {
    return blockDeviceIsReadOnly(fd);
  } finally {
    closeSync(fd);
  }
}

function readOnly(path: string, cause?: unknown): CodedError {
  return new CodedError(
    {
      code: "device-read-only",
      message: `${path} cannot be written to`,
      hint: "Make it writable first",
      details: { path },
    },
    { cause },
  );
}

function missing(path: string, cause?: unknown): CodedError {
  return new CodedError(
    {
      code: "device-missing",
      message: `${path} does not exist or has no device behind it`,
      hint: "Check the path, and that the disk is attached",
      details: { path },
    },
    { cause },
  );
}

function notADevice(path: string): CodedError {
  return new CodedError({
    code: "device-invalid",
    message: `${path} is neither a file nor a block device`,
    hint: "Give the path of a file or of a block device",
    details: { path },
  });
}

function create(path: string, sizeBytes: number, preallocateBytes: number): void {
  assert(Number.isSafeInteger(sizeBytes) && sizeBytes > 0, "a file needs a size");
  assert(preallocateBytes <= sizeBytes, "no more is preallocated than there is");
  const unfinished = `${path}.${process.pid}.unfinished`;
  let fd: number | undefined;
  try {
    rmSync(unfinished, { force: true });
    fd = openSync(unfinished, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    ftruncateSync(fd, sizeBytes);
    if (preallocateBytes > 0) preallocate(fd, path, preallocateBytes);
    fsyncSync(fd);
    // A link fails if the name was taken meanwhile; a rename would replace what is there.
    linkSync(unfinished, path);
  } catch (error) {
    if (systemErrorCode(error) !== "EEXIST") throw creationFault(path, sizeBytes, error);
  } finally {
    if (fd !== undefined) {
      closeSync(fd);
      rmSync(unfinished);
    }
  }
  syncFolder(dirname(path));
}

function creationFault(path: string, sizeBytes: number, error: unknown): CodedError {
  if (error instanceof CodedError) return error;
  const code = systemErrorCode(error);
  const fault = (name: string, message: string, hint: string): CodedError =>
    new CodedError({ code: name, message, hint, details: { path, sizeBytes } }, { cause: error });
  if (code === "ENOENT") {
    return fault("device-missing", `the folder of ${path} does not exist`, "Make it first");
  }
  if (code === "EROFS") {
    return fault("device-read-only", `the file system of ${path} is read-only`, "Remount it");
  }
  if (code === "ENOSPC" || code === "EDQUOT") {
    return fault("no-space", `no room to make ${path}`, "Free space on its file system");
  }
  if (code === "EFBIG" || code === "EINVAL") {
    const hint = "Choose a smaller size or another file system";
    return fault("device-invalid", `${path} cannot be a file of ${sizeBytes} bytes`, hint);
  }
  if (code === "EACCES" || code === "EPERM") {
    const hint = "Run as root, or give the user of this process access to the folder";
    return fault("permission-denied", `${path} may not be made`, hint);
  }
  return fault("device-invalid", `${path} cannot be made: ${errorText(error)}`, "See the cause");
}

function preallocate(fd: number, path: string, lengthBytes: number): void {
  try {
    fallocate(fd, FALLOCATE_KEEP_SIZE, 0, lengthBytes);
  } catch (error) {
    const code = systemErrorCode(error);
    if (code !== "ENOSPC" && code !== "EDQUOT") throw error;
    throw new CodedError(
      {
        code: "no-space",
        message: `${path} needs ${lengthBytes} bytes set aside and its file system has no room`,
        hint: "Free space on that file system, or use another one",
        details: { path, lengthBytes },
      },
      { cause: error },
    );
  }
}
