/**
 * A volume in memory for tests of front ends. Reads and writes take effect when they are called;
 * their completions wait until somebody delivers them, in an order of the test's choice. Faults are
 * injected by a function that sees each request.
 */
import assert from "node:assert/strict";
import type { Extent, IoDone, IoFault, VolumeIo } from "../../src/object/index.ts";
import type { DiskMemory } from "../../src/ports/index.ts";

const BLOCK_BYTES = 4096;
const KINDS = ["hole", "data", "allocated-zero"] as const;

export interface VolumeCall {
  readonly command: "read" | "write" | "discard" | "writeZeroes" | "flush";
  readonly offset: number;
  readonly lengthBytes: number;
  readonly keepAllocated?: boolean;
}

interface Completion {
  readonly done: IoDone;
  readonly token: number;
  readonly fault: IoFault | undefined;
}

export interface MemoryVolumeOptions {
  readonly name?: string;
  readonly sizeBytes: number;
  readonly readOnly?: boolean;
  /** Remembers every call in `calls`. */
  readonly record?: boolean;
  /**
   * When completions are delivered: by the test, or at the end of the turn in which they were
   * submitted.
   */
  readonly completions: "by-test" | "after-submit";
}

export class MemoryVolume implements VolumeIo {
  readonly name: string;
  sizeBytes: number;
  readonly readOnly: boolean;
  readonly bytes: Uint8Array;
  readonly calls: VolumeCall[] = [];
  allocatedBytes = 0;
  submits = 0;
  fault: (call: VolumeCall) => IoFault | undefined = () => undefined;
  /** Which whole blocks can be read at once. */
  isCached: (offset: number, lengthBytes: number) => boolean = () => false;
  readonly #record: boolean;
  readonly #immediate: boolean;
  readonly #kinds: Uint8Array;
  #waiting: Completion[] = [];
  #deliveryDue = false;
  #hasRoom = true;
  readonly #onRoom: (() => void)[] = [];

  constructor(options: MemoryVolumeOptions) {
    this.name = options.name ?? "v1";
    this.sizeBytes = options.sizeBytes;
    this.readOnly = options.readOnly ?? false;
    this.#record = options.record ?? false;
    this.#immediate = options.completions === "after-submit";
    this.bytes = Buffer.alloc(options.sizeBytes);
    this.#kinds = new Uint8Array(Math.ceil(options.sizeBytes / BLOCK_BYTES));
  }

  /** Completions not delivered yet. */
  get waitingCount(): number {
    return this.#waiting.length;
  }

  allocate(lengthBytes: number): DiskMemory {
    this.allocatedBytes += lengthBytes;
    return { bytes: Buffer.alloc(lengthBytes), handle: { address: 0, lengthBytes } };
  }

  // oxlint-disable-next-line max-params -- the contract of VolumeIo
  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    this.#check(lengthBytes, offset);
    assert(targetAt % BLOCK_BYTES === 0, "targets are aligned for direct I/O");
    const fault = this.#note("read", offset, lengthBytes);
    if (fault === undefined) {
      copy(this.bytes, offset, offset + lengthBytes, target.bytes, targetAt);
    } else target.bytes.fill(0xee, targetAt, targetAt + lengthBytes);
    this.#finish(done, token, fault);
  }

  readNow(target: DiskMemory, targetAt: number, lengthBytes: number, offset: number): boolean {
    this.#check(lengthBytes, offset);
    if (!this.isCached(offset, lengthBytes)) return false;
    copy(this.bytes, offset, offset + lengthBytes, target.bytes, targetAt);
    return true;
  }

  // oxlint-disable-next-line max-params -- the contract of VolumeIo
  write(
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    this.#check(lengthBytes, offset);
    const fault = this.#note("write", offset, lengthBytes);
    if (fault === undefined) {
      copy(source, sourceAt, sourceAt + lengthBytes, this.bytes, offset);
      this.#mark(offset, lengthBytes, 1);
    }
    this.#finish(done, token, fault);
  }

  discard(offset: number, lengthBytes: number, done: IoDone, token: number): void {
    this.#check(lengthBytes, offset);
    const fault = this.#note("discard", offset, lengthBytes);
    if (fault === undefined) this.#zero(offset, lengthBytes, 0);
    this.#finish(done, token, fault);
  }

  // oxlint-disable-next-line max-params -- the contract of VolumeIo
  writeZeroes(
    offset: number,
    lengthBytes: number,
    keepAllocated: boolean,
    done: IoDone,
    token: number,
  ): void {
    this.#check(lengthBytes, offset);
    const fault = this.#note("writeZeroes", offset, lengthBytes, keepAllocated);
    if (fault === undefined) this.#zero(offset, lengthBytes, keepAllocated ? 2 : 0);
    this.#finish(done, token, fault);
  }

  flush(done: IoDone, token: number): void {
    this.#finish(done, token, this.#note("flush", 0, 0));
  }

  async extents(
    offset: number,
    lengthBytes: number,
    extentsMax: number,
  ): Promise<readonly Extent[]> {
    const found: Extent[] = [];
    this.#check(lengthBytes, offset);
    const end = offset + lengthBytes;
    let from = offset;
    while (from < end) {
      const kind = this.#kinds[Math.floor(from / BLOCK_BYTES)]!;
      let block = Math.floor(from / BLOCK_BYTES) + 1;
      while (block * BLOCK_BYTES < end && this.#kinds[block] === kind) block++;
      const to = Math.min(end, block * BLOCK_BYTES);
      if (found.length === extentsMax) break;
      found.push({ kind: KINDS[kind]!, offset: from, lengthBytes: to - from });
      from = to;
    }
    return found;
  }

  hasRoom(): boolean {
    return this.#hasRoom;
  }

  onRoom(callback: () => void): void {
    assert(!this.#hasRoom, "there is room already");
    this.#onRoom.push(callback);
  }

  /** The volume has had enough writes, until `makeRoom`. */
  fillUp(): void {
    this.#hasRoom = false;
  }

  makeRoom(): void {
    this.#hasRoom = true;
    const waiting = this.#onRoom.splice(0);
    for (const callback of waiting) callback();
  }

  submit(): void {
    this.submits++;
    if (!this.#immediate || this.#deliveryDue || this.#waiting.length === 0) return;
    this.#deliveryDue = true;
    process.nextTick(this.#deliverAll);
  }

  /** Delivers one completion, chosen by `pick` among those that wait. */
  deliver(pick: (count: number) => number): void {
    const index = pick(this.#waiting.length);
    const [completion] = this.#waiting.splice(index, 1);
    assert(completion !== undefined, "nothing waits for delivery");
    completion.done(completion.token, completion.fault);
  }

  readonly #deliverAll = (): void => {
    this.#deliveryDue = false;
    const batch = this.#waiting;
    this.#waiting = [];
    for (const { done, token, fault } of batch) done(token, fault);
  };

  #finish(done: IoDone, token: number, fault: IoFault | undefined): void {
    this.#waiting.push({ done, token, fault });
  }

  #note(
    command: VolumeCall["command"],
    offset: number,
    lengthBytes: number,
    keepAllocated?: boolean,
  ): IoFault | undefined {
    const call = {
      command,
      offset,
      lengthBytes,
      ...(keepAllocated !== undefined && { keepAllocated }),
    };
    if (this.#record) this.calls.push(call);
    return this.fault(call);
  }

  #check(lengthBytes: number, offset: number): void {
    assert(lengthBytes > 0 && lengthBytes % 512 === 0, "length is a multiple of 512");
    assert(offset >= 0 && offset % 512 === 0, "offset is a multiple of 512");
    assert(offset + lengthBytes <= this.sizeBytes, "range lies within the volume");
  }

  #mark(offset: number, lengthBytes: number, kind: number): void {
    const end = Math.ceil((offset + lengthBytes) / BLOCK_BYTES);
    this.#kinds.fill(kind, Math.floor(offset / BLOCK_BYTES), end);
  }

  #zero(offset: number, lengthBytes: number, kind: number): void {
    this.bytes.fill(0, offset, offset + lengthBytes);
    const first = Math.ceil(offset / BLOCK_BYTES);
    const end = Math.floor((offset + lengthBytes) / BLOCK_BYTES);
    if (first < end) this.#kinds.fill(kind, first, end);
  }
}

/** `Buffer.copy` makes no view. */
// oxlint-disable-next-line max-params -- a range, a target and a place
function copy(
  source: Uint8Array,
  from: number,
  to: number,
  target: Uint8Array,
  targetAt: number,
): void {
  if (Buffer.isBuffer(source)) source.copy(target, targetAt, from, to);
  else target.set(source.subarray(from, to), targetAt);
}
