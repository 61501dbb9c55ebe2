/**
 * System calls for what processes share: descriptors beside the bytes of a unix socket, files in
 * memory, event counters that the other side may misuse. Layouts are those of 64-bit Linux.
 */
import { assert } from "../../base/index.ts";
import { getU32, setU32, setU64 } from "../../base/index.ts";
import { checked, lastErrno, mapAnonymous, nativeFunction, unmap, viewMemory } from "../sys.ts";
import { PAGE_BYTES, SystemCallError } from "../sys.ts";

type Integer64 = number | bigint;

const EINTR = 4;
const EAGAIN = 11;
const EOPNOTSUPP = 95;

// Mapping.

const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MREMAP_MAYMOVE_FIXED = 3;

const nativeMmap = nativeFunction<
  (
    address: number,
    lengthBytes: number,
    protection: number,
    flags: number,
    fd: number,
    offset: number,
  ) => Integer64
>("mmap", "uint64_t", ["uint64_t", "size_t", "int", "int", "int", "int64_t"]);

const nativeMremap = nativeFunction<
  (
    address: number,
    lengthBytes: number,
    newLengthBytes: number,
    flags: number,
    newAddress: number,
  ) => Integer64
>("mremap", "uint64_t", ["uint64_t", "size_t", "size_t", "int", "uint64_t"]);

/**
 * Puts pages of a file over a mapping. They are touched when somebody needs them, not before. Fails
 * with `SystemCallError`; the mapping is as it was then. That is why the pages are mapped elsewhere
 * first: before Linux 6.12 a `mmap` to a fixed place that is refused leaves a hole there.
 */
export function mapFileAt(address: number, fd: number, offset: number, lengthBytes: number): void {
  const elsewhere = checked(
    "mmap",
    nativeMmap(0, lengthBytes, PROT_READ_WRITE, MAP_SHARED, fd, offset),
  );
  try {
    const moved = nativeMremap(elsewhere, lengthBytes, lengthBytes, MREMAP_MAYMOVE_FIXED, address);
    checked("mremap", moved);
  } catch (error) {
    unmap(elsewhere, lengthBytes);
    throw error;
  }
}

// Files in memory.

const MFD_CLOEXEC_ALLOW_SEALING = 3;
const F_GETFL = 3;
const O_ACCMODE = 3;
const O_RDWR = 2;
const F_DUPFD_CLOEXEC = 1030;
const F_ADD_SEALS = 1033;
const F_GET_SEALS = 1034;
export const SEAL_SEAL = 1;
export const SEAL_SHRINK = 2;
export const SEAL_GROW = 4;
export const SEAL_WRITE = 8;
/** Mappings that exist may be written, and no new ones be made that may. */
export const SEAL_FUTURE_WRITE = 16;
const HUGETLBFS_MAGIC = 0x958458f6;
const STATFS_BYTES = 120;

const nativeMemfd = nativeFunction<(name: string, flags: number) => number>("memfd_create", "int", [
  "str",
  "unsigned int",
]);
const nativeFcntl = nativeFunction<(fd: number, command: number, argument: number) => number>(
  "fcntl",
  "int",
  ["int", "int", "int"],
);
const nativeFstatfs = nativeFunction<(fd: number, target: Uint8Array) => number>("fstatfs", "int", [
  "int",
  "void *",
]);

export function createMemoryFile(name: string): number {
  return checked("memfd_create", nativeMemfd(name, MFD_CLOEXEC_ALLOW_SEALING));
}

export function addSeals(fd: number, seals: number): void {
  checked("fcntl", nativeFcntl(fd, F_ADD_SEALS, seals));
}

/** The seals of a file in memory, or -1 if it is another kind of file. */
export function sealsOf(fd: number): number {
  return nativeFcntl(fd, F_GET_SEALS, 0);
}

/** Whether a file is made of huge pages, which may run out when they are touched. */
export function isHugePageFile(fd: number): boolean {
  const target = new Uint8Array(STATFS_BYTES);
  checked("fstatfs", nativeFstatfs(fd, target));
  return getU32(target, 0) === HUGETLBFS_MAGIC;
}

/** Whether the descriptor was opened for reading and writing. */
export function isReadWrite(fd: number): boolean {
  return (checked("fcntl", nativeFcntl(fd, F_GETFL, 0)) & O_ACCMODE) === O_RDWR;
}

export function duplicate(fd: number): number {
  return checked("fcntl", nativeFcntl(fd, F_DUPFD_CLOEXEC, 0));
}

// Event counters.

const F_SETFL = 4;
const O_NONBLOCK = 0o4000;
const RWF_NOWAIT = 8;

const nativeWrite = nativeFunction<(fd: number, source: number, lengthBytes: number) => number>(
  "write",
  "int64_t",
  ["int", "uint64_t", "size_t"],
);
const nativeRead = nativeFunction<(fd: number, target: number, lengthBytes: number) => number>(
  "read",
  "int64_t",
  ["int", "uint64_t", "size_t"],
);
const nativePreadv2 = nativeFunction<
  (fd: number, vector: number, count: number, offset: number, flags: number) => number
>("preadv2", "int64_t", ["int", "uint64_t", "int", "int64_t", "int"]);

/** The other side has the same open file, and may set it back. */
export function setNonBlocking(fd: number): void {
  const flags = checked("fcntl", nativeFcntl(fd, F_GETFL, 0));
  checked("fcntl", nativeFcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

// Unix sockets.

const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
/** Beyond the limit that the machine sets for everybody; for processes with CAP_NET_ADMIN. */
const SO_SNDBUFFORCE = 32;

const nativeSetsockopt = nativeFunction<
  (fd: number, level: number, option: number, value: Uint8Array, lengthBytes: number) => number
>("setsockopt", "int", ["int", "int", "int", "void *", "unsigned int"]);

/** How much may be on its way to the other side: `sizeBytes`, or as much as we are allowed. */
export function setSendBuffer(fd: number, sizeBytes: number): void {
  const value = new Uint8Array(4);
  setU32(value, 0, sizeBytes);
  if (nativeSetsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, value, value.length) === 0) return;
  checked("setsockopt", nativeSetsockopt(fd, SOL_SOCKET, SO_SNDBUF, value, value.length));
}

// One message at a time per thread: what the calls below point to lies in a page of its own.

const HEADER_AT = 0;
const VECTOR_AT = 64;
const COUNTER_AT = 96;
const ONE_AT = 112;
const CONTROL_AT = 128;
const HEADER_BYTES = 56;
const CONTROL_HEADER_BYTES = 16;
/** Of a message that is received: as many as the longest message of vhost-user has. */
export const DESCRIPTORS_MAX = 8;
const SENT_DESCRIPTORS_MAX = 64;
const CONTROL_BYTES = CONTROL_HEADER_BYTES + 4 * DESCRIPTORS_MAX;
const DATA_AT = PAGE_BYTES;
/** The longest piece that one call carries. */
export const MESSAGE_PIECE_BYTES_MAX: number = PAGE_BYTES;
const SCM_RIGHTS = 1;
const MSG_CTRUNC = 8;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;

const scratch: number = mapAnonymous(DATA_AT + MESSAGE_PIECE_BYTES_MAX);
const bytes = new Uint8Array(viewMemory(scratch, DATA_AT + MESSAGE_PIECE_BYTES_MAX));
setU64(bytes, ONE_AT, 1);

const nativeSendmsg = nativeFunction<(fd: number, header: number, flags: number) => number>(
  "sendmsg",
  "int64_t",
  ["int", "uint64_t", "int"],
);
const nativeRecvmsg = nativeFunction<(fd: number, header: number, flags: number) => number>(
  "recvmsg",
  "int64_t",
  ["int", "uint64_t", "int"],
);

function describe(lengthBytes: number, controlBytes: number): void {
  bytes.fill(0, HEADER_AT, HEADER_AT + HEADER_BYTES);
  setU64(bytes, HEADER_AT + 16, scratch + VECTOR_AT);
  setU64(bytes, HEADER_AT + 24, 1);
  setU64(bytes, HEADER_AT + 32, controlBytes === 0 ? 0 : scratch + CONTROL_AT);
  setU64(bytes, HEADER_AT + 40, controlBytes);
  setU64(bytes, VECTOR_AT, scratch + DATA_AT);
  setU64(bytes, VECTOR_AT + 8, lengthBytes);
}

/** Sends all of it, or throws. EAGAIN: the other end has not taken what it was sent before. */
export function sendMessage(fd: number, source: Uint8Array, fds: readonly number[]): void {
  assert(source.length > 0 && source.length <= MESSAGE_PIECE_BYTES_MAX, "a message is short");
  assert(fds.length <= SENT_DESCRIPTORS_MAX, "a message carries few descriptors");
  bytes.set(source, DATA_AT);
  const controlBytes = fds.length === 0 ? 0 : CONTROL_HEADER_BYTES + 4 * fds.length;
  // Rounded up to 8 bytes, as CMSG_SPACE does.
  const spaceBytes = Math.ceil(controlBytes / 8) * 8;
  describe(source.length, spaceBytes);
  bytes.fill(0, CONTROL_AT, CONTROL_AT + spaceBytes);
  setU64(bytes, CONTROL_AT, controlBytes);
  setU32(bytes, CONTROL_AT + 8, SOL_SOCKET);
  setU32(bytes, CONTROL_AT + 12, SCM_RIGHTS);
  for (const [i, carried] of fds.entries())
    setU32(bytes, CONTROL_AT + CONTROL_HEADER_BYTES + 4 * i, carried);
  for (;;) {
    const sent = nativeSendmsg(fd, scratch + HEADER_AT, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent === source.length) return;
    // A stream may take a part when its buffer is almost full: the rest could not be sent.
    if (sent >= 0) throw new SystemCallError("sendmsg", EAGAIN);
    const errno = lastErrno();
    if (errno !== EINTR) throw new SystemCallError("sendmsg", errno);
  }
}

/**
 * Receives at most `lengthBytes`: their number, 0 at the end, -1 if nothing is there now. Adds what
 * was carried to `fds`. More than `DESCRIPTORS_MAX` make `truncated` true.
 */
export function receiveMessage(
  fd: number,
  target: Uint8Array,
  targetAt: number,
  lengthBytes: number,
  fds: number[],
): { readonly receivedBytes: number; readonly truncated: boolean } {
  assert(lengthBytes > 0 && lengthBytes <= MESSAGE_PIECE_BYTES_MAX, "a piece is short");
  let received: number;
  do {
    describe(lengthBytes, CONTROL_BYTES);
    received = nativeRecvmsg(fd, scratch + HEADER_AT, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (received < 0 && lastErrno() === EINTR);
  if (received < 0) {
    const errno = lastErrno();
    if (errno === EAGAIN) return { receivedBytes: -1, truncated: false };
    throw new SystemCallError("recvmsg", errno);
  }
  takeDescriptors(fds);
  target.set(bytes.subarray(DATA_AT, DATA_AT + received), targetAt);
  const truncated = (getU32(bytes, HEADER_AT + 48) & MSG_CTRUNC) !== 0;
  return { receivedBytes: received, truncated };
}

function takeDescriptors(fds: number[]): void {
  const controlBytes = getU32(bytes, HEADER_AT + 40);
  if (controlBytes < CONTROL_HEADER_BYTES) return;
  const isRights =
    getU32(bytes, CONTROL_AT + 8) === SOL_SOCKET && getU32(bytes, CONTROL_AT + 12) === SCM_RIGHTS;
  if (!isRights) return;
  const end = CONTROL_AT + getU32(bytes, CONTROL_AT);
  for (let at = CONTROL_AT + CONTROL_HEADER_BYTES; at + 4 <= end; at += 4)
    fds.push(getU32(bytes, at));
}

/** Adds one to an event counter. One that is full is readable already. */
export function addToCounter(fd: number): void {
  for (;;) {
    if (nativeWrite(fd, scratch + ONE_AT, 8) === 8) return;
    const errno = lastErrno();
    if (errno === EAGAIN) return;
    if (errno !== EINTR) throw new SystemCallError("write", errno);
  }
}

/** Sets an event counter to zero, and never waits for it to become something else. */
export function clearCounter(fd: number): void {
  setU64(bytes, VECTOR_AT, scratch + COUNTER_AT);
  setU64(bytes, VECTOR_AT + 8, 8);
  for (;;) {
    if (nativePreadv2(fd, scratch + VECTOR_AT, 1, -1, RWF_NOWAIT) >= 0) return;
    const errno = lastErrno();
    if (errno === EAGAIN) return;
    if (errno === EOPNOTSUPP) {
      // Before Linux 5.8.
      nativeRead(fd, scratch + COUNTER_AT, 8);
      return;
    }
    if (errno !== EINTR) throw new SystemCallError("preadv2", errno);
  }
}
