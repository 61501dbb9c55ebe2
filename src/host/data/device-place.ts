/**
 * Where a device's parts are. A directory holds `data`, a sparse file with the blocks, `journal`, a
 * file of its own so that flushing it waits for nothing else, and `metadata`. A block device has
 * data and journal; its metadata is in the host's state directory, by the device's id.
 */
import {
  accessSync,
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readSync,
  readdirSync,
  rmSync,
  statSync,
  statfsSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { BLOCK_SIZE_BYTES, CodedError, errorText, formatSize } from "../../base/index.ts";
import { systemErrorCode } from "../system-error.ts";

export const DEVICE_SIZE_BYTES_MIN: number = 256 * 2 ** 20;
/** Left to the file system when a device takes all that is free. */
const FILE_SYSTEM_SHARE_LEFT = 0.05;

export interface DevicePlace {
  readonly path: string;
  readonly isDirectory: boolean;
  /** The file or block device with the data. */
  readonly dataPath: string;
  /** The file with superblocks and journal, where that is another one. */
  readonly journalPath?: string;
  /** A directory without a device yet: the size that its data file gets. */
  readonly createSizeBytes?: number;
}

/**
 * Looks at what the user gave, and makes the directory if `mayMake` and its parent exists. Fails
 * with `device-missing`, `device-invalid`, `device-read-only`, `permission-denied`,
 * `device-foreign`,
 * `device-incomplete`, `device-too-small`, `no-space`.
 */
export function findDevicePlace(
  path: string,
  sizeBytes: number | undefined,
  mayMake: boolean,
): DevicePlace {
  const found = statOf(path, mayMake);
  if (found.isBlockDevice()) return { path, isDirectory: false, dataPath: path };
  if (!found.isDirectory()) {
    throw refusal(
      "device-invalid",
      path,
      `${path} is neither a directory nor a block device`,
      "Give one of these",
    );
  }
  checkWritable(path);
  const place = {
    path,
    isDirectory: true,
    dataPath: join(path, "data"),
    journalPath: join(path, "journal"),
  };
  if (existsSync(place.dataPath)) {
    checkJournal(place);
    return place;
  }
  dropUnusedJournal(place.journalPath);
  checkVacant(path);
  return { ...place, createSizeBytes: newSize(path, sizeBytes) };
}

export function metadataPathOf(place: DevicePlace, devicesPath: string, deviceId: string): string {
  const folder = place.isDirectory ? place.path : join(devicesPath, deviceId);
  return join(folder, "metadata", "data.mdb");
}

function statOf(path: string, mayMake: boolean): ReturnType<typeof statSync> & object {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found !== undefined) return found;
    // A folder there would be in memory, where a disk was meant.
    if (mayMake && !isDeviceFile(path)) {
      mkdirSync(path, { mode: 0o700 });
      return statSync(path);
    }
  } catch (error) {
    const code = systemErrorCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") throw missing(path, error);
    throw writeRefusal(path, error);
  }
  throw missing(path);
}

function isDeviceFile(path: string): boolean {
  const full = resolve(path);
  return full.startsWith("/dev/") && !full.startsWith("/dev/shm/");
}

function missing(path: string, cause?: unknown): CodedError {
  const hint = "Check the path, and that the disk is attached; or make the directory";
  return refusal("device-missing", path, `${path} does not exist`, hint, cause);
}

function checkWritable(path: string): void {
  try {
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    throw writeRefusal(path, error);
  }
}

/** A system error on the way to a device, as what it means for the user. */
export function writeRefusal(path: string, error: unknown): CodedError {
  const code = systemErrorCode(error);
  if (code === "ENOSPC" || code === "EDQUOT") {
    const hint = "Free space on its file system, or use another one";
    return refusal("no-space", path, `${path} has no space left`, hint, error);
  }
  if (code === "EROFS") {
    return refusal(
      "device-read-only",
      path,
      `${path} is on a read-only file system`,
      "Mount it read-write",
      error,
    );
  }
  if (code === "EACCES" || code === "EPERM") {
    return refusal(
      "permission-denied",
      path,
      `${path} may not be written`,
      "Check its owner and mode",
      error,
    );
  }
  return refusal(
    "device-invalid",
    path,
    `${path} cannot be used: ${errorText(error)}`,
    "See the cause",
    error,
  );
}

function checkJournal(place: { readonly path: string; readonly journalPath: string }): void {
  if (existsSync(place.journalPath)) return;
  throw refusal(
    "device-incomplete",
    place.path,
    `${place.path} has data, but its journal is missing`,
    "Restore the journal from the same moment as the data",
  );
}

/** The journal is made before the data; a crash between the two leaves one that was never used. */
function dropUnusedJournal(path: string): void {
  if (!existsSync(path)) return;
  const head = Buffer.alloc(BLOCK_SIZE_BYTES);
  const fd = openSync(path, "r");
  try {
    readSync(fd, head);
  } finally {
    closeSync(fd);
  }
  if (head.every((byte) => byte === 0)) rmSync(path);
}

/** Without our data file there must be nothing, or what is there is somebody's, or half of ours. */
function checkVacant(path: string): void {
  const names = readdirSync(path).filter(
    (name) => name !== "lost+found" && !name.endsWith(".unfinished"),
  );
  if (names.length === 0) return;
  if (names.includes("metadata") || names.includes("journal")) {
    throw refusal(
      "device-incomplete",
      path,
      `${path} has metadata or a journal but no data`,
      "Restore all from the same moment, or give an empty directory",
    );
  }
  throw refusal(
    "device-foreign",
    path,
    `${path} holds other files, such as ${names[0]!.slice(0, 80)}`,
    "Give an empty directory; one inside it will do",
  );
}

function newSize(path: string, wantedBytes: number | undefined): number {
  const { bavail, bsize } = statfsSync(path);
  const freeBytes = bavail * bsize;
  const sizeBytes = wantedBytes ?? Math.floor(freeBytes * (1 - FILE_SYSTEM_SHARE_LEFT));
  const whole = sizeBytes - (sizeBytes % 2 ** 20);
  const least = formatSize(DEVICE_SIZE_BYTES_MIN);
  if (freeBytes >= DEVICE_SIZE_BYTES_MIN && whole >= DEVICE_SIZE_BYTES_MIN) return whole;
  if (whole < DEVICE_SIZE_BYTES_MIN && wantedBytes !== undefined) {
    const message = `a device of ${formatSize(wantedBytes)} is too small, the least is ${least}`;
    throw refusal("device-too-small", path, message, "Ask for a larger size");
  }
  const message = `${path} has ${formatSize(freeBytes)} free, a device needs ${least}`;
  throw refusal("no-space", path, message, "Free space on its file system, or use another one");
}

export function refusal(
  code: string,
  path: string,
  message: string,
  hint: string,
  cause?: unknown,
): CodedError {
  return new CodedError({ code, message, hint, details: { path } }, { cause });
}
