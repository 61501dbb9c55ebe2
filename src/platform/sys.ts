/**
 * System calls that Node lacks, and the few exports of the node binary itself that adapters need.
 *
 * The only file that loads koffi, so that another foreign-function interface can take its place.
 * Addresses are plain numbers: user space ends below 2^47, and a BigInt per call would be garbage
 * on the data path. koffi answers a 64-bit result as a number where it is a safe integer and as a
 * BigInt beyond, which is how a failed mmap (2^64 - 1) is told from an address.
 *
 * A function here either succeeds or throws `SystemCallError`; those on the data path return the
 * negative errno instead, as the kernel does.
 */
import { assert } from "../base/index.ts";
import koffi from "koffi";
import { getSystemErrorName } from "node:util";

type Integer64 = number | bigint;

/** Shaped like the errors of `node:fs`, so that one `code` check serves both. */
export class SystemCallError extends Error {
  override readonly name = "SystemCallError";
  readonly code: string;
  readonly errno: number;
  readonly syscall: string;

  constructor(syscall: string, errno: number) {
    const code = errorName(errno);
    super(`${syscall}: ${code}`);
    this.syscall = syscall;
    this.errno = errno;
    this.code = code;
  }
}

export function errorName(errno: number): string {
  return errno > 0 ? getSystemErrorName(-errno) : "no error";
}

/** The code of an error of `node:fs` or of this file, such as "ENOENT". */
export function systemErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** libc and what the node binary exports: libuv, V8, OpenSSL. */
const library = koffi.load(null);

/** For files beside this one that need more of what libc has. */
export function nativeFunction<F>(name: string, result: string, parameters: readonly string[]): F {
  return library.func(name, result, [...parameters]) as F;
}

export function lastErrno(): number {
  return koffi.errno();
}

/** The result of a system call, if it is none of failure. */
export function checked(syscall: string, result: Integer64): number {
  if (typeof result === "number" && result >= 0) return result;
  throw new SystemCallError(syscall, koffi.errno());
}

// Memory.

export const PAGE_BYTES = 4096;
/** Node 20 aborts the process for views beyond 4 GiB. */
export const VIEW_BYTES_MAX: number = 2 ** 32 - PAGE_BYTES;

const PROT_READ_WRITE = 3;
const MAP_SHARED_POPULATE = 0x8001;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MAP_FIXED_NORESERVE = 0x4010;

const nativeMmap: (
  address: number,
  lengthBytes: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => Integer64 = library.func("mmap", "uint64_t", [
  "uint64_t",
  "size_t",
  "int",
  "int",
  "int",
  "int64_t",
]);
const nativeMunmap: (address: number, lengthBytes: number) => number = library.func(
  "munmap",
  "int",
  ["uint64_t", "size_t"],
);

/** Zeroed private memory; the address of its first page. */
export function mapAnonymous(lengthBytes: number): number {
  assert(lengthBytes > 0 && lengthBytes % PAGE_BYTES === 0, "mappings are whole pages");
  return checked("mmap", nativeMmap(0, lengthBytes, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS, -1, 0));
}

export function mapFile(fd: number, offset: number, lengthBytes: number): number {
  return checked(
    "mmap",
    nativeMmap(0, lengthBytes, PROT_READ_WRITE, MAP_SHARED_POPULATE, fd, offset),
  );
}

/**
 * Puts fresh zero pages over a mapping: its real memory is free, and views that are still around
 * read zeroes instead of killing the process.
 */
export function discardMapping(address: number, lengthBytes: number): void {
  const flags = MAP_PRIVATE_ANONYMOUS | MAP_FIXED_NORESERVE;
  checked("mmap", nativeMmap(address, lengthBytes, PROT_READ_WRITE, flags, -1, 0));
}

/** Only for memory that no view refers to any more. */
export function unmap(address: number, lengthBytes: number): void {
  checked("munmap", nativeMunmap(address, lengthBytes));
}

const MADV_DONTNEED = 4;
const nativeMadvise: (address: number, lengthBytes: number, advice: number) => number =
  library.func("madvise", "int", ["uint64_t", "size_t", "int"]);
/** Only glibc has it. */
const nativeMallocTrim: ((padBytes: number) => number) | undefined = findMallocTrim();

function findMallocTrim(): ((padBytes: number) => number) | undefined {
  try {
    return library.func("malloc_trim", "int", ["size_t"]);
  } catch {
    // Another libc, which keeps its own counsel about free memory.
    return undefined;
  }
}

/** Gives memory that native code has freed back to the kernel. */
export function trimNativeHeap(): void {
  nativeMallocTrim?.(0);
}

/**
 * Takes the pages of a shared file mapping out of this process. They stay in the page cache and
 * come back when they are touched: nothing is lost, and threads that read meanwhile notice nothing.
 */
export function dropMappedPages(address: number, lengthBytes: number): void {
  checked("madvise", nativeMadvise(address, lengthBytes, MADV_DONTNEED));
}

/**
 * The bytes at an address, without a copy and without ownership. Any thread may make its own view.
 */
export function viewMemory(address: number, lengthBytes: number): ArrayBuffer {
  assert(address > 0 && lengthBytes > 0, "a view needs memory");
  assert(lengthBytes <= VIEW_BYTES_MAX, "a view must stay below 4 GiB");
  return koffi.view(BigInt(address), lengthBytes);
}

// Time.

/**
 * From linux/time.h. Unlike the clock that Node reads, it goes on while the machine is suspended.
 */
const CLOCK_BOOTTIME = 7;
const nativeClockGettime: (clock: number, into: number) => number = library.func(
  "clock_gettime",
  "int",
  ["int", "uint64_t"],
);
const timeAddress = mapAnonymous(PAGE_BYTES);
/** Seconds, whose upper half is 0 for the first 136 years after the start, and nanoseconds. */
const timeWords = new Uint32Array(viewMemory(timeAddress, PAGE_BYTES), 0, 3);

/** Milliseconds since the machine was started, the time in which it was suspended included. */
export function sinceStartMs(): number {
  checked("clock_gettime", nativeClockGettime(CLOCK_BOOTTIME, timeAddress));
  return timeWords[0]! * 1000 + timeWords[2]! / 1e6;
}

// Files.

/** From linux/falloc.h. */
export const FALLOCATE_KEEP_SIZE = 0x01;
export const FALLOCATE_PUNCH_HOLE = 0x02;
export const FALLOCATE_ZERO_RANGE = 0x10;

const LOCK_EXCLUSIVE_NONBLOCKING = 6;
/** From linux/fs.h: read-only flag, logical block size, size in bytes of a block device. */
const BLKROGET = 0x125e;
const BLKSSZGET = 0x1268;
const BLKGETSIZE64 = 0x80081272;

const nativeFallocate = library.func("fallocate", "int", ["int", "int", "int64_t", "int64_t"]);
const fallocateNow: (fd: number, mode: number, offset: number, length: number) => number =
  nativeFallocate;
const nativeFlock: (fd: number, operation: number) => number = library.func("flock", "int", [
  "int",
  "int",
]);
const nativeIoctl: (fd: number, request: number, target: Uint8Array) => number = library.func(
  "ioctl",
  "int",
  ["int", "unsigned long", "void *"],
);

export function fallocate(fd: number, mode: number, offset: number, lengthBytes: number): void {
  for (;;) {
    if (fallocateNow(fd, mode, offset, lengthBytes) === 0) return;
    const errno = koffi.errno();
    if (errno !== koffi.os.errno.EINTR) throw new SystemCallError("fallocate", errno);
  }
}

/** On a thread of libuv's pool; `done` gets 0 or a negative errno. */
export function fallocateAsync(
  fd: number,
  mode: number,
  offset: number,
  lengthBytes: number,
  done: (result: number) => void,
): void {
  nativeFallocate.async(fd, mode, offset, lengthBytes, (error: unknown, result: number) => {
    if (error instanceof Error) throw error;
    done(result === 0 ? 0 : -koffi.errno());
  });
}

/** Takes the advisory lock of an open file; false if another open file description has it. */
export function tryLockExclusive(fd: number): boolean {
  if (nativeFlock(fd, LOCK_EXCLUSIVE_NONBLOCKING) === 0) return true;
  const errno = koffi.errno();
  if (errno === koffi.os.errno.EAGAIN) return false;
  throw new SystemCallError("flock", errno);
}

function blockDeviceNumber(fd: number, request: number): Uint8Array {
  const target = new Uint8Array(8);
  checked("ioctl", nativeIoctl(fd, request, target));
  return target;
}

export function blockDeviceIsReadOnly(fd: number): boolean {
  return blockDeviceNumber(fd, BLKROGET)[0] !== 0;
}

export function blockDeviceLogicalBytes(fd: number): number {
  return new DataView(blockDeviceNumber(fd, BLKSSZGET).buffer).getUint32(0, true);
}

export function blockDeviceSizeBytes(fd: number): number {
  return Number(new DataView(blockDeviceNumber(fd, BLKGETSIZE64).buffer).getBigUint64(0, true));
}

// io_uring.

const SYS_IO_URING_SETUP = 425;
const SYS_IO_URING_ENTER = 426;
const SYS_IO_URING_REGISTER = 427;
const REGISTER_EVENTFD = 4;

const nativeSetup: (nr: number, entries: number, parameters: number) => Integer64 = library.func(
  "syscall",
  "int64_t",
  ["int64_t", "unsigned int", "uint64_t"],
);
const nativeEnter: (
  nr: number,
  fd: number,
  submitCount: number,
  completeCountMin: number,
  flags: number,
  signals: number,
) => number = library.func("syscall", "int64_t", [
  "int64_t",
  "int",
  "unsigned int",
  "unsigned int",
  "unsigned int",
  "uint64_t",
]);

const nativeRegister: (
  nr: number,
  fd: number,
  operation: number,
  target: Uint8Array,
  count: number,
) => number = library.func("syscall", "int64_t", [
  "int64_t",
  "int",
  "unsigned int",
  "void *",
  "unsigned int",
]);

/**
 * The ring's file descriptor, or a negative errno. `parameters` is the address of io_uring_params.
 */
export function ioUringSetup(entries: number, parameters: number): number {
  const fd = nativeSetup(SYS_IO_URING_SETUP, entries, parameters);
  return typeof fd === "number" && fd >= 0 ? fd : -koffi.errno();
}

/** How many entries the kernel took, or a negative errno. */
export function ioUringEnter(fd: number, submitCount: number, flags: number): number {
  const taken = nativeEnter(SYS_IO_URING_ENTER, fd, submitCount, 0, flags, 0);
  return taken >= 0 ? taken : -koffi.errno();
}

/** From now on the ring signals `eventFd` whenever there is something to take. */
export function ioUringRegisterEventFd(fd: number, eventFd: number): void {
  const target = new Uint8Array(new Int32Array([eventFd]).buffer);
  checked(
    "io_uring_register",
    nativeRegister(SYS_IO_URING_REGISTER, fd, REGISTER_EVENTFD, target, 1),
  );
}

// eventfd.

const EFD_CLOEXEC_NONBLOCK = 0o2004000;

const nativeEventfd: (initial: number, flags: number) => number = library.func("eventfd", "int", [
  "unsigned int",
  "int",
]);
const nativeRead: (fd: number, target: number, lengthBytes: number) => number = library.func(
  "read",
  "int64_t",
  ["int", "uint64_t", "size_t"],
);

const nativeClose: (fd: number) => number = library.func("close", "int", ["int"]);

/** For descriptors made here: Node warns about those that it did not open. */
export function closeDescriptor(fd: number): void {
  checked("close", nativeClose(fd));
}

/** A counter in the kernel that can be watched: readable while it is not zero. */
export function openEventFd(): number {
  return checked("eventfd", nativeEventfd(0, EFD_CLOEXEC_NONBLOCK));
}

/** Sets the counter to zero. `scratch` is the address of 8 bytes. */
export function clearEventFd(fd: number, scratch: number): void {
  nativeRead(fd, scratch, 8);
}

// libuv: watching a file descriptor on the loop of the calling thread, main or worker.

const UV_POLL_TYPE = 8;
const UV_READABLE = 1;

const PollCallback = koffi.pointer(koffi.proto("void", ["uint64_t", "int", "int"]));
const CloseCallback = koffi.pointer(koffi.proto("void", ["uint64_t"]));

const currentIsolate: () => Integer64 = library.func(
  "_ZN2v87Isolate10GetCurrentEv",
  "uint64_t",
  [],
);
const currentEventLoop: (isolate: Integer64) => Integer64 = library.func(
  "_ZN4node19GetCurrentEventLoopEPN2v87IsolateE",
  "uint64_t",
  ["uint64_t"],
);
const uvHandleSize: (type: number) => number = library.func("uv_handle_size", "size_t", ["int"]);
const uvPollInit: (loop: Integer64, handle: number, fd: number) => number = library.func(
  "uv_poll_init",
  "int",
  ["uint64_t", "uint64_t", "int"],
);
const uvPollStart: (handle: number, events: number, callback: bigint) => number = library.func(
  "uv_poll_start",
  "int",
  ["uint64_t", "int", PollCallback],
);
const uvPollStop: (handle: number) => number = library.func("uv_poll_stop", "int", ["uint64_t"]);
const uvClose: (handle: number, callback: bigint) => void = library.func("uv_close", "void", [
  "uint64_t",
  CloseCallback,
]);
const uvCloseSilently: (handle: number, none: number) => void = library.func("uv_close", "void", [
  "uint64_t",
  "uint64_t",
]);
/** Whether the loop waits for this handle before the process may end. */
export const uvRef: (handle: number) => void = library.func("uv_ref", "void", ["uint64_t"]);
export const uvUnref: (handle: number) => void = library.func("uv_unref", "void", ["uint64_t"]);

/** Room for one handle; a constant of the libuv in use. */
export const uvPollBytes: number = uvHandleSize(UV_POLL_TYPE);

/** Starts watching for readability; `onPoll` and `onClosed` get the handle's address. */
export class UvPolls {
  readonly #loop: Integer64 = currentEventLoop(currentIsolate());
  readonly #onPoll: bigint;
  readonly #onClosed: bigint;

  constructor(onPoll: (handle: number) => void, onClosed: (handle: number) => void) {
    this.#onPoll = koffi.register(onPoll, PollCallback);
    this.#onClosed = koffi.register(onClosed, CloseCallback);
  }

  start(handle: number, fd: number): void {
    const initialized = uvPollInit(this.#loop, handle, fd);
    if (initialized !== 0) throw new SystemCallError("uv_poll_init", -initialized);
    const started = uvPollStart(handle, UV_READABLE, this.#onPoll);
    assert(started === 0, "a new poll handle starts");
  }

  /** The handle's memory is in use until `onClosed`. */
  close(handle: number): void {
    uvPollStop(handle);
    uvClose(handle, this.#onClosed);
  }

  /** For the end of a thread, when no callback can run any more. */
  abandon(handle: number): void {
    uvPollStop(handle);
    uvCloseSilently(handle, 0);
  }
}

// OpenSSL.

const nativeSha256: (source: number, lengthBytes: number, target: number) => Integer64 =
  library.func("SHA256", "uint64_t", ["uint64_t", "size_t", "uint64_t"]);

/** SHA-256 of the bytes at one address into the 32 bytes at another; nothing is allocated. */
export function sha256At(source: number, lengthBytes: number, target: number): void {
  nativeSha256(source, lengthBytes, target);
}
