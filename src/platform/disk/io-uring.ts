/**
 * One io_uring for one file, owned by the thread that makes it.
 *
 * The rings are the kernel's memory, mapped: entries are filled in place, heads and tails move with
 * Atomics, and one system call hands over a whole batch and collects what has completed meanwhile.
 * An eventfd announces completions; it keeps quiet about those that the handing over itself brings
 * about, which the caller sees at once. (Watching the ring's own file descriptor instead would save
 * the eventfd, but with deferred task work Linux 6.18 loses wake-ups that way under load.)
 *
 * Layouts and numbers: linux/io_uring.h, kernel 5.4 and later. What newer kernels offer (no
 * interrupts for completions, one submitting thread) is asked for first and done without where it
 * is refused.
 */
import { assert } from "../../base/index.ts";
import {
  PAGE_BYTES,
  SystemCallError,
  clearEventFd,
  closeDescriptor,
  discardMapping,
  ioUringEnter,
  ioUringRegisterEventFd,
  ioUringSetup,
  mapAnonymous,
  mapFile,
  openEventFd,
  unmap,
  viewMemory,
} from "../sys.ts";

export const OP_READ = 22;
export const OP_WRITE = 23;
export const OP_FSYNC = 3;
export const OP_FALLOCATE = 17;
/** fdatasync, not fsync. */
const FSYNC_DATASYNC = 1;

const SETUP_CLAMP = 1 << 4;
const SETUP_SUBMIT_ALL = 1 << 7;
const SETUP_TASKRUN_FLAG = 1 << 9;
const SETUP_SINGLE_ISSUER = 1 << 12;
const SETUP_DEFER_TASKRUN = 1 << 13;
const SETUP_COOP_TASKRUN = 1 << 8;
/** From the newest kernel to the oldest: 6.1, 5.19, 5.6. */
const SETUP_FLAGS = [
  SETUP_CLAMP | SETUP_SUBMIT_ALL | SETUP_TASKRUN_FLAG | SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN,
  SETUP_CLAMP | SETUP_SUBMIT_ALL | SETUP_TASKRUN_FLAG | SETUP_COOP_TASKRUN,
  SETUP_CLAMP,
] as const;

const FEATURE_SINGLE_MMAP = 1 << 0;
const FEATURE_NODROP = 1 << 1;
const ENTER_GETEVENTS = 1;
/** The kernel holds completions back until it is entered: task work pending, or an overflow. */
const SQ_WANTS_ENTERING = (1 << 2) | (1 << 1);
const CQ_EVENTFD_DISABLED = 1;

const OFFSET_SQES = 0x10000000;
const SQE_BYTES = 64;
const SQE_WORDS = SQE_BYTES / 4;
const CQE_BYTES = 16;
const CQE_WORDS = CQE_BYTES / 4;
const TWO_32 = 2 ** 32;

const EAGAIN = 11;
const EINTR = 4;
const EBUSY = 16;
const EINVAL = 22;

/** Word offsets within io_uring_params. */
const PARAMS_BYTES = 120;
const PARAM_SQ_ENTRIES = 0;
const PARAM_CQ_ENTRIES = 1;
const PARAM_FLAGS = 2;
const PARAM_FEATURES = 5;
const PARAM_SQ_OFFSETS = 10;
const PARAM_CQ_OFFSETS = 20;

/** `result` is what the system call of the same name would return, or a negative errno. */
export type RingDone = (userData: number, result: number) => void;

function setUp(entries: number): { fd: number; params: Uint32Array } {
  const scratch = mapAnonymous(PAGE_BYTES);
  try {
    const params = new Uint32Array(viewMemory(scratch, PAGE_BYTES), 0, PARAMS_BYTES / 4);
    for (const flags of SETUP_FLAGS) {
      params.fill(0);
      params[PARAM_FLAGS] = flags;
      const fd = ioUringSetup(entries, scratch);
      if (fd >= 0) return { fd, params: params.slice() };
      if (fd !== -EINVAL) throw new SystemCallError("io_uring_setup", -fd);
    }
    throw new SystemCallError("io_uring_setup", EINVAL);
  } finally {
    // A tombstone, not an unmapping: the view above still exists.
    discardMapping(scratch, PAGE_BYTES);
  }
}

export class IoUring {
  /** Readable when something may have completed that `submit` did not bring about. */
  readonly eventFd: number;
  /** Requests that the kernel takes before completions have to be taken. */
  readonly entryCount: number;

  readonly #fd: number;
  readonly #ringAddress: number;
  readonly #ringBytes: number;
  readonly #entriesAddress: number;
  readonly #words: Int32Array;
  readonly #entries: Int32Array;
  readonly #sqTailWord: number;
  readonly #sqFlagsWord: number;
  readonly #sqMask: number;
  readonly #cqHeadWord: number;
  readonly #cqTailWord: number;
  readonly #cqMask: number;
  readonly #cqFlagsWord: number;
  readonly #cqesWord: number;
  readonly #scratch: number;
  /** Ours alone: the kernel never moves the submission tail nor the completion head. */
  #sqTail = 0;
  #cqHead = 0;
  #unsubmittedCount = 0;
  #closed = false;

  /** Throws `SystemCallError`: ENOSYS or EPERM where io_uring does not exist or is forbidden. */
  constructor(entryCountWanted: number) {
    const { fd, params } = setUp(entryCountWanted);
    this.#fd = fd;
    this.entryCount = params[PARAM_SQ_ENTRIES]!;
    const features = params[PARAM_FEATURES]!;
    const needed = FEATURE_SINGLE_MMAP | FEATURE_NODROP;
    if ((features & needed) !== needed) {
      closeDescriptor(fd);
      throw new SystemCallError("io_uring_setup", EINVAL);
    }
    const sq = params.subarray(PARAM_SQ_OFFSETS);
    const cq = params.subarray(PARAM_CQ_OFFSETS);
    const cqEntryCount = params[PARAM_CQ_ENTRIES]!;
    this.#ringBytes = Math.max(sq[6]! + this.entryCount * 4, cq[5]! + cqEntryCount * CQE_BYTES);
    this.#ringAddress = mapFile(fd, 0, this.#ringBytes);
    this.#entriesAddress = mapFile(fd, OFFSET_SQES, this.entryCount * SQE_BYTES);
    this.#words = new Int32Array(viewMemory(this.#ringAddress, this.#ringBytes & ~3));
    this.#entries = new Int32Array(viewMemory(this.#entriesAddress, this.entryCount * SQE_BYTES));
    this.#sqTailWord = sq[1]! / 4;
    this.#sqFlagsWord = sq[4]! / 4;
    this.#sqMask = this.entryCount - 1;
    this.#cqHeadWord = cq[0]! / 4;
    this.#cqTailWord = cq[1]! / 4;
    this.#cqMask = cqEntryCount - 1;
    this.#cqesWord = cq[5]! / 4;
    this.#cqFlagsWord = cq[6]! / 4;
    const indexWord = sq[6]! / 4;
    for (let i = 0; i < this.entryCount; i++) this.#words[indexWord + i] = i;
    this.#scratch = mapAnonymous(PAGE_BYTES);
    this.eventFd = openEventFd();
    ioUringRegisterEventFd(fd, this.eventFd);
  }

  /**
   * Queues one request. The caller keeps no more than `entryCount` requests between here and their
   * completion, which is what makes both rings large enough. `address` and `offset` mean what the
   * operation says; `userData` is an integer in [0, 2^31).
   */
  queue(
    targetFd: number,
    operation: number,
    address: number,
    lengthBytes: number,
    offset: number,
    userData: number,
  ): void {
    assert(this.#unsubmittedCount < this.entryCount, "the submission ring has room");
    const at = (this.#sqTail & this.#sqMask) * SQE_WORDS;
    const entry = this.#entries;
    entry[at] = operation;
    entry[at + 1] = targetFd;
    entry[at + 2] = offset % TWO_32;
    entry[at + 3] = offset / TWO_32;
    entry[at + 4] = address % TWO_32;
    entry[at + 5] = address / TWO_32;
    entry[at + 6] = lengthBytes;
    entry[at + 7] = operation === OP_FSYNC ? FSYNC_DATASYNC : 0;
    entry[at + 8] = userData;
    for (let word = 9; word < SQE_WORDS; word++) entry[at + word] = 0;
    this.#sqTail = (this.#sqTail + 1) | 0;
    this.#unsubmittedCount++;
  }

  /**
   * Hands over what is queued and lets the kernel post completions. Returns false if the kernel is
   * short of memory for now and wants to be asked again after completions were taken. Look at
   * `needsTaking` afterwards: nothing else will tell.
   */
  submit(): boolean {
    const words = this.#words;
    Atomics.store(words, this.#cqFlagsWord, CQ_EVENTFD_DISABLED);
    Atomics.store(words, this.#sqTailWord, this.#sqTail);
    const complete = this.#enter();
    Atomics.store(words, this.#cqFlagsWord, 0);
    return complete;
  }

  #enter(): boolean {
    for (;;) {
      const taken = ioUringEnter(this.#fd, this.#unsubmittedCount, ENTER_GETEVENTS);
      if (taken >= 0) {
        this.#unsubmittedCount -= taken;
        if (this.#unsubmittedCount === 0) return true;
        if (taken === 0) return false;
      } else if (taken === -EAGAIN || taken === -EBUSY) {
        return false;
      } else if (taken !== -EINTR) {
        throw new SystemCallError("io_uring_enter", -taken);
      }
    }
  }

  get unsubmittedCount(): number {
    return this.#unsubmittedCount;
  }

  /** Whether `takeCompletions` has anything to do. */
  get needsTaking(): boolean {
    const words = this.#words;
    if (Atomics.load(words, this.#cqTailWord) !== this.#cqHead) return true;
    return (Atomics.load(words, this.#sqFlagsWord) & SQ_WANTS_ENTERING) !== 0;
  }

  /** To be called before `takeCompletions` when `eventFd` was readable. */
  clearEvent(): void {
    clearEventFd(this.eventFd, this.#scratch);
  }

  /** Reports what has completed by now; `done` may queue and submit. */
  takeCompletions(done: RingDone): void {
    const words = this.#words;
    if ((Atomics.load(words, this.#sqFlagsWord) & SQ_WANTS_ENTERING) !== 0) this.submit();
    const tail = Atomics.load(words, this.#cqTailWord);
    while (this.#cqHead !== tail && !this.#closed) {
      const at = this.#cqesWord + (this.#cqHead & this.#cqMask) * CQE_WORDS;
      const userData = words[at]!;
      const result = words[at + 2]!;
      this.#cqHead = (this.#cqHead + 1) | 0;
      Atomics.store(words, this.#cqHeadWord, this.#cqHead);
      done(userData, result);
    }
  }

  /** All requests have completed. */
  close(): void {
    assert(!this.#closed, "a ring is closed once");
    this.#closed = true;
    closeDescriptor(this.#fd);
    closeDescriptor(this.eventFd);
    unmap(this.#scratch, PAGE_BYTES);
    // Views of the rings may outlive this object by a garbage collection: leave zero pages, reclaim
    // later.
    for (const [view, address, lengthBytes] of [
      [this.#words, this.#ringAddress, pageAligned(this.#ringBytes)],
      [this.#entries, this.#entriesAddress, pageAligned(this.entryCount * SQE_BYTES)],
    ] as const) {
      discardMapping(address, lengthBytes);
      closedRings.register(view.buffer, { address, lengthBytes });
    }
  }
}

const closedRings = new FinalizationRegistry<{ address: number; lengthBytes: number }>(
  (mapping) => {
    unmap(mapping.address, mapping.lengthBytes);
  },
);

function pageAligned(lengthBytes: number): number {
  return Math.ceil(lengthBytes / PAGE_BYTES) * PAGE_BYTES;
}
