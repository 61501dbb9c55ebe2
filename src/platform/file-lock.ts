/**
 * Keeps a second daemon away from a file: an advisory lock (flock) that dies with the open file
 * description that holds it, and so with the process.
 */
import { CodedError } from "../base/index.ts";
import { closeSync, constants, fstatSync, fsyncSync, openSync, readFileSync } from "node:fs";
import type { Stats } from "node:fs";
import { identityOfProcess } from "./process-identity.ts";
import { tryLockExclusive } from "./sys.ts";

/**
 * How long the kernel may take to close the files of a process that has ended: as long as the disk
 * takes for what was under way, a flush behind gigabytes of others' writes included.
 */
const CLOSING_MS_MAX = 60_000;
const CLOSING_LOOK_MS = 20;

/**
 * Fails with code `device-in-use`, naming the process that has the lock. One that has ended is
 * waited for, with the thread: the kernel closes what an io_uring had open some time after the
 * process is gone, and whoever is started again after a kill comes sooner than that.
 */
export function lockExclusively(
  fd: number,
  path: string,
  closingMsMax: number = CLOSING_MS_MAX,
): void {
  const wait = new Int32Array(new SharedArrayBuffer(4));
  for (let waitedMs = 0; !tryLockExclusive(fd); waitedMs += CLOSING_LOOK_MS) {
    const pid = lockHolder(fstatSync(fd));
    const hasEnded = pid !== undefined && identityOfProcess(pid).startTicks === "";
    if (hasEnded && waitedMs < closingMsMax) Atomics.wait(wait, 0, 0, CLOSING_LOOK_MS);
    else if (tryLockExclusive(fd)) return;
    else throw hasEnded ? stillClosing(path, pid) : inUse(path, pid);
  }
}

function stillClosing(path: string, pid: number): CodedError {
  return new CodedError({
    code: "device-in-use",
    message: `${path} is still in use by requests of process ${pid}, which has ended`,
    hint: "Its disk is slow, or hangs: look at the kernel's log, then start again",
    details: { path, pid },
  });
}

function inUse(path: string, pid: number | undefined): CodedError {
  const holder = pid === undefined ? "another process" : `process ${pid}`;
  return new CodedError({
    code: "device-in-use",
    message: `${path} is in use by ${holder}`,
    hint: "Stop that process, or give another device",
    details: pid === undefined ? { path } : { path, pid },
  });
}

/** The process that holds a lock on this file, as far as the kernel tells. */
function lockHolder(file: Stats): number | undefined {
  const hex = (value: number): string => value.toString(16).padStart(2, "0");
  // As new_encode_dev in the kernel has it: 12 bits major, 20 bits minor in two parts.
  const major = (file.dev >> 8) & 0xfff;
  const minor = (file.dev & 0xff) | ((file.dev >> 12) & 0xfff00);
  const key = `${hex(major)}:${hex(minor)}:${file.ino}`;
  let locks: string;
  try {
    locks = readFileSync("/proc/locks", "utf8");
  } catch {
    // Without /proc the message says "another process".
    return undefined;
  }
  // 1: FLOCK  ADVISORY  WRITE 4242 fe:00:131 0 EOF
  for (const line of locks.split("\n")) {
    const fields = line.trim().split(/\s+/);
    if (fields[1] === "FLOCK" && fields[5] === key && Number(fields[4]) > 0) {
      return Number(fields[4]);
    }
  }
  return undefined;
}

/** Makes a new name in the folder durable. */
export function syncFolder(path: string): void {
  const fd = openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
