/**
 * A disk through io_uring: the requests of a turn go to the kernel in one system call, and
 * completions come back in batches on the loop of the thread that opened the disk.
 *
 * Completions that are there right after handing over (reads from the page cache mostly) are taken
 * at the end of the turn, without a trip through the event loop's poll.
 */
import { assertDefined } from "../../base/index.ts";
import { IoUring, OP_FALLOCATE, OP_FSYNC, OP_READ, OP_WRITE } from "./io-uring.ts";
import { PollWatcher } from "../memory/poll-watcher.ts";
import { FLUSH, PUNCH, QueuedDisk, READ } from "./queued-disk.ts";
import type { DeviceFiles } from "./queued-disk.ts";

/** Requests in the kernel's hands at once. */
const RING_ENTRIES = 256;

export class UringDisk extends QueuedDisk {
  readonly kind = "io_uring";
  readonly #ring: IoUring;
  readonly #watcher: PollWatcher;
  #takingScheduled = false;
  #released = false;

  /**
   * Throws `SystemCallError` where io_uring does not exist or is forbidden. Owns `files` from
   * then on.
   */
  constructor(files: DeviceFiles) {
    const ring = new IoUring(RING_ENTRIES);
    super(files, ring.entryCount);
    this.#ring = ring;
    this.#watcher = new PollWatcher(ring.eventFd, this.#onReadable, () => ring.close());
  }

  protected override start(slot: number): void {
    const operation = this.operations[slot]!;
    const file = this.fileOf(slot);
    if (operation === FLUSH) {
      this.#ring.queue(file.writeFd, OP_FSYNC, 0, 0, 0, slot);
    } else if (operation === PUNCH) {
      // This operation has its length where others have an address, and its mode where they have a
      // length.
      const length = this.lengths[slot]!;
      this.#ring.queue(file.fd, OP_FALLOCATE, length, file.punchMode, this.offsets[slot]!, slot);
    } else {
      const memory = assertDefined(this.memories[slot], "a transfer has memory");
      const progress = this.progresses[slot]!;
      const address = memory.handle.address + this.positions[slot]! + progress;
      const offset = this.offsets[slot]! + progress;
      const length = this.remainingBytes(slot);
      if (operation === READ) this.#ring.queue(file.fd, OP_READ, address, length, offset, slot);
      else this.#ring.queue(file.writeFd, OP_WRITE, address, length, offset, slot);
    }
  }

  protected override handOver(): void {
    const ring = this.#ring;
    if (ring.unsubmittedCount === 0) return;
    const complete = ring.submit();
    if (!complete || ring.needsTaking) this.#scheduleTaking();
  }

  protected override keepProcessAlive(wanted: boolean): void {
    if (!this.#released) this.#watcher.keepProcessAlive(wanted);
  }

  protected override async release(): Promise<void> {
    this.#released = true;
    await this.#watcher.close();
    this.#ring.close();
  }

  #scheduleTaking(): void {
    if (this.#takingScheduled) return;
    this.#takingScheduled = true;
    setImmediate(this.#take);
  }

  readonly #onReadable = (): void => {
    this.#ring.clearEvent();
    this.#takeNow();
  };

  readonly #take = (): void => {
    this.#takingScheduled = false;
    if (!this.#released) this.#takeNow();
  };

  #takeNow(): void {
    this.#ring.takeCompletions(this.#onCompletion);
    this.handOver();
    if (this.#ring.needsTaking) this.#scheduleTaking();
  }

  readonly #onCompletion = (slot: number, result: number): void => this.finish(slot, result);
}
