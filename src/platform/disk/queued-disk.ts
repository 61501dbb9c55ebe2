/**
 * What the real disks share: a table of requests in typed arrays, a first-in-first-out queue in
 * front of the operating system, continuation of short transfers, and the meaning of errors.
 *
 * An adapter says how many requests it runs at once and how to start one; a request that finds no
 * room waits here. The table is bounded: the floors above bound what they have under way, so a full
 * table is a bug. Nothing is allocated per request.
 */
import { assert, assertDefined } from "../../base/index.ts";
import { DISK_REQUESTS_MAX } from "../../ports/index.ts";
import type { Disk, DiskDone, DiskFault, DiskMemory } from "../../ports/index.ts";
import type { DeviceFile } from "./device-file.ts";
import { MemoryPool } from "../memory/mapped-memory.ts";
import { FALLOCATE_KEEP_SIZE, FALLOCATE_ZERO_RANGE, errorName } from "../sys.ts";

/** Linux transfers no more than this in one call. */
const TRANSFER_BYTES_MAX = 0x7ffff000;

export const READ = 1;
export const WRITE = 2;
export const FLUSH = 3;
export const PUNCH = 4;

const FULL = new Set(["ENOSPC", "EDQUOT"]);
const GONE = new Set(["ENODEV", "ENXIO", "ENOMEDIUM", "EBADF", "ESHUTDOWN"]);

/** `errno` is positive. */
function faultOf(operation: number, errno: number): DiskFault {
  const name = errorName(errno);
  if (GONE.has(name)) return "gone";
  if (operation === READ) return "read-error";
  return FULL.has(name) ? "no-space" : "write-error";
}

/**
 * What a disk is made of: one file or block device, or two files that share the offsets. The second
 * has everything below its own size: a journal there is flushed without waiting for the rest.
 */
export interface DeviceFiles {
  readonly main: DeviceFile;
  readonly head?: DeviceFile;
}

/** Of a flush: the second file's turn. */
const HEAD_FLUSHED = 1;

export abstract class QueuedDisk implements Disk {
  readonly sizeBytes: number;
  readonly alignmentBytes: number;
  abstract readonly kind: string;

  /**
   * Per slot. `progresses` counts the bytes that earlier, shorter transfers have moved; of a punch
   * it says whether it was tried before.
   */
  protected readonly operations: Uint8Array = new Uint8Array(DISK_REQUESTS_MAX);
  protected readonly memories: (DiskMemory | undefined)[] = [];
  protected readonly positions: Float64Array = new Float64Array(DISK_REQUESTS_MAX);
  protected readonly lengths: Float64Array = new Float64Array(DISK_REQUESTS_MAX);
  protected readonly offsets: Float64Array = new Float64Array(DISK_REQUESTS_MAX);
  protected readonly progresses: Float64Array = new Float64Array(DISK_REQUESTS_MAX);
  readonly #tokens = new Float64Array(DISK_REQUESTS_MAX);
  readonly #callbacks: (DiskDone | undefined)[] = [];
  readonly #freeSlots = new Uint32Array(DISK_REQUESTS_MAX);
  #freeCount = 0;
  #slotsEver = 0;

  readonly #waiting = new Uint32Array(DISK_REQUESTS_MAX);
  #waitingHead = 0;
  #waitingCount = 0;
  #runningCount = 0;

  readonly #main: DeviceFile;
  readonly #head: DeviceFile | undefined;
  readonly #headBytes: number;
  readonly #pool = new MemoryPool();
  readonly #runningCountMax: number;
  #turnScheduled = false;
  #closing = false;
  #idle: (() => void) | undefined;
  #closed: Promise<void> | undefined;

  constructor({ main, head }: DeviceFiles, runningCountMax: number) {
    this.#main = main;
    this.#head = head;
    this.#headBytes = head?.sizeBytes ?? 0;
    this.sizeBytes = main.sizeBytes;
    this.alignmentBytes = Math.max(main.alignmentBytes, head?.alignmentBytes ?? 0);
    this.#runningCountMax = runningCountMax;
  }

  /** Starts the request in `slot`; `finish` is called for it once, later. */
  protected abstract start(slot: number): void;
  /** Hands over what was started, if the adapter gathers. */
  protected abstract handOver(): void;
  /** Called when the number of unfinished requests leaves or reaches zero. */
  protected abstract keepProcessAlive(wanted: boolean): void;
  /** No request is under way any more. */
  protected abstract release(): Promise<void>;

  allocate(lengthBytes: number): DiskMemory {
    assert(!this.#closing, "the disk is closed");
    return this.#pool.allocate(lengthBytes);
  }

  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: DiskDone,
    token: number,
  ): void {
    this.#checkMemory(target, targetAt, lengthBytes);
    this.#checkRange(offset, lengthBytes);
    this.#request(this.#describe(READ, target, targetAt, lengthBytes, offset), done, token);
  }

  write(
    source: DiskMemory,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: DiskDone,
    token: number,
  ): void {
    this.#checkMemory(source, sourceAt, lengthBytes);
    this.#checkRange(offset, lengthBytes);
    this.#request(this.#describe(WRITE, source, sourceAt, lengthBytes, offset), done, token);
  }

  flush(done: DiskDone, token: number): void {
    this.flushRange(0, this.sizeBytes, done, token);
  }

  flushRange(offset: number, lengthBytes: number, done: DiskDone, token: number): void {
    assert(lengthBytes > 0 && offset + lengthBytes <= this.sizeBytes, "a flush within the disk");
    this.#request(this.#describe(FLUSH, undefined, 0, lengthBytes, offset), done, token);
  }

  punch(offset: number, lengthBytes: number, done: DiskDone, token: number): void {
    this.#checkRange(offset, lengthBytes);
    this.#request(this.#describe(PUNCH, undefined, 0, lengthBytes, offset), done, token);
  }

  submit(): void {
    while (this.#waitingCount > 0 && this.#runningCount < this.#runningCountMax) {
      const slot = this.#waiting[this.#waitingHead]!;
      this.#waitingHead = (this.#waitingHead + 1) % DISK_REQUESTS_MAX;
      this.#waitingCount--;
      this.#runningCount++;
      this.start(slot);
    }
    this.handOver();
  }

  allocatedBytes(): number {
    return this.#main.allocatedBytes() + (this.#head?.allocatedBytes() ?? 0);
  }

  availableBytes(): number {
    return this.#main.availableBytes();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  /** `result` is what the system call returned: bytes or 0, or a negative errno. */
  protected finish(slot: number, result: number): void {
    assert(this.#runningCount > 0, "a finished request was running");
    this.#runningCount--;
    const operation = this.operations[slot]!;
    if (result < 0) {
      if (this.#worthRetrying(slot, errorName(-result))) this.#enqueue(slot);
      else this.#answer(slot, faultOf(operation, -result));
    } else if (operation === READ || operation === WRITE) {
      this.#finishTransfer(slot, operation, result);
    } else if (operation === FLUSH && this.#hasMoreToFlush(slot)) {
      this.progresses[slot] = HEAD_FLUSHED;
      this.#enqueue(slot);
    } else {
      this.#answer(slot, undefined);
    }
    if (this.#waitingCount > 0) this.#scheduleTurn();
  }

  /** The file that the next step of a request concerns. */
  protected fileOf(slot: number): DeviceFile {
    const isHead =
      this.offsets[slot]! < this.#headBytes &&
      (this.operations[slot] !== FLUSH || this.progresses[slot] !== HEAD_FLUSHED);
    return isHead ? assertDefined(this.#head, "there is a second file") : this.#main;
  }

  #hasMoreToFlush(slot: number): boolean {
    if (this.progresses[slot] === HEAD_FLUSHED || this.offsets[slot]! >= this.#headBytes)
      return false;
    return this.offsets[slot]! + this.lengths[slot]! > this.#headBytes;
  }

  /** Bytes that the next transfer of this request may move. */
  protected remainingBytes(slot: number): number {
    return Math.min(this.lengths[slot]! - this.progresses[slot]!, TRANSFER_BYTES_MAX);
  }

  #worthRetrying(slot: number, errno: string): boolean {
    if (errno === "EINTR" || errno === "EAGAIN") return true;
    if (errno !== "EOPNOTSUPP" || this.operations[slot] !== PUNCH) return false;
    // Once more: a block device that cannot discard can still be told to write zeroes.
    if (!this.#main.isBlockDevice || this.progresses[slot] !== 0) return false;
    this.#main.punchMode = FALLOCATE_ZERO_RANGE | FALLOCATE_KEEP_SIZE;
    this.progresses[slot] = 1;
    return true;
  }

  #finishTransfer(slot: number, operation: number, transferredBytes: number): void {
    const progress = this.progresses[slot]! + transferredBytes;
    if (progress === this.lengths[slot]!) return this.#answer(slot, undefined);
    // Nothing moved: the file has become shorter than the device that was opened.
    if (transferredBytes === 0) return this.#answer(slot, faultOf(operation, 0));
    this.progresses[slot] = progress;
    this.#enqueue(slot);
  }

  #answer(slot: number, fault: DiskFault | undefined): void {
    const done = assertDefined(this.#callbacks[slot], "a request has a callback");
    this.#callbacks[slot] = undefined;
    this.memories[slot] = undefined;
    this.#freeSlots[this.#freeCount++] = slot;
    if (this.#freeCount === this.#slotsEver) this.#becameIdle();
    done(this.#tokens[slot]!, fault);
  }

  #becameIdle(): void {
    this.keepProcessAlive(false);
    this.#idle?.();
  }

  #describe(
    operation: number,
    memory: DiskMemory | undefined,
    position: number,
    lengthBytes: number,
    offset: number,
  ): number {
    assert(!this.#closing, "the disk is closed");
    if (this.#freeCount === this.#slotsEver) this.keepProcessAlive(true);
    const slot = this.#takeSlot();
    this.operations[slot] = operation;
    this.memories[slot] = memory;
    this.positions[slot] = position;
    this.lengths[slot] = lengthBytes;
    this.offsets[slot] = offset;
    this.progresses[slot] = 0;
    return slot;
  }

  #request(slot: number, done: DiskDone, token: number): void {
    this.#callbacks[slot] = done;
    this.#tokens[slot] = token;
    this.#enqueue(slot);
    this.#scheduleTurn();
  }

  #takeSlot(): number {
    if (this.#freeCount > 0) return this.#freeSlots[--this.#freeCount]!;
    assert(this.#slotsEver < DISK_REQUESTS_MAX, "more requests than a disk takes");
    return this.#slotsEver++;
  }

  #enqueue(slot: number): void {
    this.#waiting[(this.#waitingHead + this.#waitingCount) % DISK_REQUESTS_MAX] = slot;
    this.#waitingCount++;
  }

  #scheduleTurn(): void {
    if (this.#turnScheduled) return;
    this.#turnScheduled = true;
    setImmediate(this.#endOfTurn);
  }

  readonly #endOfTurn = (): void => {
    this.#turnScheduled = false;
    if (this.#waitingCount > 0) this.submit();
  };

  #checkMemory(memory: DiskMemory, at: number, lengthBytes: number): void {
    const { address, lengthBytes: memoryBytes } = memory.handle;
    assert(address > 0, "disk memory has an address: take it from allocate");
    assert(at >= 0 && at + lengthBytes <= memoryBytes, "a request stays within its memory");
    assert((address + at) % this.alignmentBytes === 0, "a request's memory is aligned");
  }

  #checkRange(offset: number, lengthBytes: number): void {
    assert(lengthBytes > 0 && lengthBytes % this.alignmentBytes === 0, "a length is aligned");
    assert(offset >= 0 && offset % this.alignmentBytes === 0, "an offset is aligned");
    assert(offset + lengthBytes <= this.sizeBytes, "a request stays within the disk");
    const straddles = offset < this.#headBytes && offset + lengthBytes > this.#headBytes;
    assert(!straddles, "a request stays within one file");
  }

  async #close(): Promise<void> {
    this.#closing = true;
    if (this.#freeCount !== this.#slotsEver) {
      const idle = new Promise<void>((resolve) => (this.#idle = resolve));
      this.submit();
      await idle;
    }
    await this.release();
    this.#pool.release();
    this.#main.close();
    this.#head?.close();
  }
}
