/** Why a disk request failed. `undefined` in a completion means that it succeeded. */
export type DiskFault = "read-error" | "write-error" | "no-space" | "gone";

/**
 * Called once per request, never from inside the call that made it. `token` is the caller's. One
 * function serves all requests of a caller: nothing is allocated per request.
 */
export type DiskDone = (token: number, fault: DiskFault | undefined) => void;

/**
 * Requests that a disk takes at once; more are a bug and assert. Whoever passes on what clients ask
 * for has to see to that.
 */
export const DISK_REQUESTS_MAX = 16_384;

/**
 * A device's bytes. Requests may complete in any order. A write is durable once a `flush` that was
 * requested after the write's completion has completed; until then a crash may keep any subset of
 * its 512-byte sectors. Nothing is ordered by the order of requests alone.
 *
 * Offsets and lengths are multiples of `alignmentBytes`; memory handed in comes from `allocate`
 * (anything else is a bug and asserts, because direct I/O needs aligned memory at a fixed address).
 * The memory of a request belongs to the disk until its completion.
 */
export interface Disk {
  readonly sizeBytes: number;
  readonly alignmentBytes: number;
  /** The kind of adapter, for `status`: "io_uring", "node-fs", "simulated". */
  readonly kind: string;
  /** Zeroed memory that requests may use, until the disk is closed. */
  allocate(lengthBytes: number): DiskMemory;
  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: DiskDone,
    token: number,
  ): void;
  write(
    source: DiskMemory,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: DiskDone,
    token: number,
  ): void;
  flush(done: DiskDone, token: number): void;
  /**
   * As `flush`, for the writes that lie within the range. What lies elsewhere may or may not become
   * durable: a disk made of several files need not wait for all of them.
   */
  flushRange(offset: number, lengthBytes: number, done: DiskDone, token: number): void;
  /** Gives space back; the range reads as zeroes afterwards. */
  punch(offset: number, lengthBytes: number, done: DiskDone, token: number): void;
  /**
   * Hands everything requested so far to the operating system as one batch. Adapters also do so by
   * themselves at the end of the current turn, so forgetting it costs latency only.
   */
  submit(): void;
  /** Bytes that the file system or device has set aside for this disk now. */
  allocatedBytes(): number;
  /** Bytes that could still be written to ranges that were punched or never written. */
  availableBytes(): number;
  /** Waits for requests under way, then releases file, lock and memory. */
  close(): Promise<void>;
}

/** Memory at a fixed address. `handle` lets another thread of the process map the same bytes. */
export interface DiskMemory {
  readonly bytes: Uint8Array;
  readonly handle: MemoryHandle;
  /**
   * Another process may change the bytes at any moment: what is found there later is not what was
   * put there.
   */
  readonly isShared?: boolean;
}

/**
 * What `postMessage` may carry. `address` is 0 where memory has no address (simulator, browser).
 */
export interface MemoryHandle {
  readonly address: number;
  readonly lengthBytes: number;
}
