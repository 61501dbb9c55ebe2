/**
 * The same disk on the thread pool of Node, for hosts where io_uring does not exist or is
 * forbidden. Four threads by default (UV_THREADPOOL_SIZE), a system call and two thread switches
 * per request.
 */
import { assertDefined } from "../../base/index.ts";
import { fdatasync, read, write } from "node:fs";
import { FLUSH, PUNCH, QueuedDisk, READ } from "./queued-disk.ts";
import type { DeviceFiles } from "./queued-disk.ts";
import { fallocateAsync } from "../sys.ts";

/** The pool runs few at a time; more would only make other users of the pool wait. */
const RUNNING_MAX = 32;

type TransferDone = (error: NodeJS.ErrnoException | null, transferredBytes?: number) => void;

export class NodeDisk extends QueuedDisk {
  readonly kind = "node-fs";
  /** One per slot, made when the slot is first used. */
  readonly #callbacks: TransferDone[] = [];

  constructor(files: DeviceFiles) {
    super(files, RUNNING_MAX);
  }

  protected override start(slot: number): void {
    const operation = this.operations[slot]!;
    const { fd, writeFd, punchMode } = this.fileOf(slot);
    const done = (this.#callbacks[slot] ??= this.#callback(slot));
    if (operation === FLUSH) {
      fdatasync(writeFd, done);
    } else if (operation === PUNCH) {
      fallocateAsync(fd, punchMode, this.offsets[slot]!, this.lengths[slot]!, (result) => {
        this.finish(slot, result);
      });
    } else {
      const { bytes } = assertDefined(this.memories[slot], "a transfer has memory");
      const progress = this.progresses[slot]!;
      const at = this.positions[slot]! + progress;
      const offset = this.offsets[slot]! + progress;
      if (operation === READ) read(fd, bytes, at, this.remainingBytes(slot), offset, done);
      else write(writeFd, bytes, at, this.remainingBytes(slot), offset, done);
    }
  }

  /** Requests start one by one. */
  protected override handOver(): void {}

  /** The pool's requests keep the process alive by themselves. */
  protected override keepProcessAlive(): void {}

  protected override async release(): Promise<void> {}

  #callback(slot: number): TransferDone {
    return (error, transferredBytes) => {
      this.finish(slot, error === null ? (transferredBytes ?? 0) : (error.errno ?? -1));
    };
  }
}
