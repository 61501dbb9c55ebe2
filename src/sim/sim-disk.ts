/**
 * A disk in memory, with faults.
 *
 * Fault model. A power cut keeps of the writes and punches that no flush covered any subset of
 * their 512-byte sectors (`CrashPolicy` picks which), whether they had completed or not; a flush
 * covers exactly what had completed when it was requested. Where two unflushed writes overlap,
 * either may be what is left. Requests take a random time and complete in any order. On demand:
 * latent read errors (healed by writing), bit flips, a write that lands elsewhere or nowhere, a
 * failed write (each of its sectors old or new), a full, a slow, a hung or a vanished disk. NOT
 * simulated: a flush that lies, and a sector that is torn inside; no design on one disk survives
 * the first, and disks rule out the second.
 *
 * Misuse is found where it happens: memory of a request that changes before its completion, memory
 * from elsewhere, unaligned requests, and requests after `close` all assert. The target of a read
 * is filled with 0xE7 until the read completes.
 */
import { assert, CodedError, type Prng, SECTOR_SIZE_BYTES } from "../base/index.ts";
import { DISK_REQUESTS_MAX } from "../ports/index.ts";
import type { Disk, DiskDone, DiskFault, DiskMemory } from "../ports/index.ts";
import type { DiskMedium, MediumWrite } from "./disk-medium.ts";
import type { SimMachine } from "./sim-machine.ts";
import type { Latency } from "./simulation.ts";

const POISON = 0xe7;

export interface SimDiskOptions {
  readonly alignmentBytes?: number;
  readonly readLatency?: Latency;
  readonly writeLatency?: Latency;
  readonly flushLatency?: Latency;
  /** Where memory of requests comes from: zeroed bytes. Default: new ones. */
  readonly memory?: (lengthBytes: number) => Uint8Array;
}

export class SimDisk implements Disk {
  readonly kind = "simulated";
  readonly sizeBytes: number;
  readonly alignmentBytes: number;
  readonly medium: DiskMedium;
  /** May be changed while the disk runs, to make it slow. */
  readLatency: Latency;
  writeLatency: Latency;
  flushLatency: Latency;
  readonly #machine: SimMachine;
  readonly #prng: Prng;
  readonly #memory: WeakSet<DiskMemory>;
  readonly #newBytes: (lengthBytes: number) => Uint8Array;
  readonly #held: (() => void)[] = [];
  #isHung = false;
  #isGone = false;
  #isClosing = false;
  #underWay = 0;
  #whenQuiet: (() => void) | undefined;
  #nextWriteLandsAt: number | "nowhere" | undefined;
  #writesToFail = 0;
  #flushesToFail = 0;

  /** Fails with code `device-in-use` if a disk has the medium open already. */
  constructor(machine: SimMachine, medium: DiskMedium, options: SimDiskOptions = {}) {
    if (medium.isOpen) {
      throw new CodedError({
        code: "device-in-use",
        message: "the device is in use by another disk",
      });
    }
    this.#machine = machine;
    this.#memory = memoryOf(machine);
    this.#prng = machine.simulation.prng.fork();
    this.#newBytes = options.memory ?? ((lengthBytes) => new Uint8Array(lengthBytes));
    this.medium = medium;
    this.sizeBytes = medium.sizeBytes;
    this.alignmentBytes = options.alignmentBytes ?? SECTOR_SIZE_BYTES;
    this.readLatency = options.readLatency ?? { minMs: 0.05, maxMs: 0.2 };
    this.writeLatency = options.writeLatency ?? { minMs: 0.02, maxMs: 0.3 };
    this.flushLatency = options.flushLatency ?? { minMs: 0.3, maxMs: 2 };
    assert(this.alignmentBytes % SECTOR_SIZE_BYTES === 0, "alignment is in sectors");
    machine.attach(medium);
    medium.isOpen = true;
  }

  allocate(lengthBytes: number): DiskMemory {
    assert(!this.#isClosing, "the disk is closed");
    const memory = {
      bytes: this.#newBytes(lengthBytes),
      handle: { address: 0, lengthBytes },
    };
    this.#memory.add(memory);
    return memory;
  }

  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: DiskDone,
    token: number,
  ): void {
    this.#check(offset, lengthBytes);
    this.#checkMemory(target, targetAt, lengthBytes);
    const bytes = target.bytes.subarray(targetAt, targetAt + lengthBytes);
    bytes.fill(POISON);
    this.#later(this.readLatency, () => {
      const fault = this.#readFault(offset, lengthBytes);
      if (fault === undefined) this.medium.copyOut(bytes, offset);
      done(token, fault);
    });
  }

  write(
    source: DiskMemory,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: DiskDone,
    token: number,
  ): void {
    this.#check(offset, lengthBytes);
    this.#checkMemory(source, sourceAt, lengthBytes);
    const memory = source.bytes.subarray(sourceAt, sourceAt + lengthBytes);
    const fault = this.#writeFault(offset, lengthBytes);
    const landsAt = this.#landing(offset, lengthBytes);
    const write = this.#describe(landsAt ?? offset, lengthBytes, this.medium.copyIn(memory));
    const isReal = this.#isUp && fault !== "no-space" && landsAt !== undefined;
    if (isReal) this.medium.begin(write);
    this.#machine.operationRequested("write", offset, lengthBytes);
    this.#later(this.writeLatency, () => {
      assert(isSame(memory, write.bytes!), "memory of a write changed before its completion");
      if (!this.#isGone && isReal) {
        if (fault === undefined) this.medium.complete(write);
        else this.medium.fail(write, this.#prng);
      }
      done(token, this.#isGone ? "gone" : fault);
    });
  }

  flush(done: DiskDone, token: number): void {
    this.flushRange(0, this.sizeBytes, done, token);
  }

  /** Nothing outside the range becomes durable by it. */
  flushRange(offset: number, lengthBytes: number, done: DiskDone, token: number): void {
    this.#check(offset, lengthBytes);
    const covered = this.medium.completions;
    this.#machine.operationRequested("flush", offset, lengthBytes);
    const fault = this.#flushesToFail > 0 ? "write-error" : undefined;
    if (fault !== undefined) this.#flushesToFail--;
    this.#later(this.flushLatency, () => {
      const isDone = !this.#isGone && fault === undefined;
      if (isDone) this.medium.flush(covered, offset, offset + lengthBytes);
      done(token, this.#isGone ? "gone" : fault);
    });
  }

  punch(offset: number, lengthBytes: number, done: DiskDone, token: number): void {
    this.#check(offset, lengthBytes);
    const punch = this.#describe(offset, lengthBytes, undefined);
    if (this.#isUp) this.medium.begin(punch);
    this.#machine.operationRequested("punch", offset, lengthBytes);
    this.#later(this.writeLatency, () => {
      if (!this.#isGone) this.medium.complete(punch);
      done(token, this.#isGone ? "gone" : undefined);
    });
  }

  /** Requests start by themselves. */
  submit(): void {}

  allocatedBytes(): number {
    return this.medium.allocatedBytes;
  }

  availableBytes(): number {
    return this.medium.availableBytes;
  }

  async close(): Promise<void> {
    assert(!this.#isClosing, "the disk is closed");
    this.#isClosing = true;
    if (this.#underWay > 0) await new Promise<void>((resolve) => (this.#whenQuiet = resolve));
    if (this.#machine.isOn) this.medium.isOpen = false;
  }

  /**
   * Fault: the next write lands at another offset, or "nowhere", and reports success. Undefined:
   * it does not, after all.
   */
  misdirectNextWrite(offset: number | "nowhere" | undefined): void {
    this.#nextWriteLandsAt = offset;
  }

  /** Fault: so many of the next writes fail with `write-error`. */
  failNextWrites(count: number): void {
    this.#writesToFail = count;
  }

  /** Fault: so many of the next flushes fail with `write-error`. */
  failNextFlushes(count: number): void {
    this.#flushesToFail = count;
  }

  /** Fault: nothing completes until `unhang`. */
  hang(): void {
    this.#isHung = true;
  }

  unhang(): void {
    this.#isHung = false;
    for (const finish of this.#held.splice(0)) this.#machine.schedule(0, finish);
  }

  /** Fault: from now on every request fails with `gone`. */
  vanish(): void {
    this.#isGone = true;
  }

  get #isUp(): boolean {
    return this.#machine.isOn && !this.#isGone;
  }

  #describe(offset: number, lengthBytes: number, bytes: Uint8Array | undefined): MediumWrite {
    return { operation: this.#machine.nextOperation, offset, lengthBytes, bytes, completion: 0 };
  }

  #readFault(offset: number, lengthBytes: number): DiskFault | undefined {
    if (this.#isGone) return "gone";
    return this.medium.hasLatentError(offset, lengthBytes) ? "read-error" : undefined;
  }

  #writeFault(offset: number, lengthBytes: number): DiskFault | undefined {
    if (!this.#isUp) return "gone";
    if (!this.medium.reserve(offset, lengthBytes)) return "no-space";
    if (this.#writesToFail === 0) return undefined;
    this.#writesToFail--;
    return "write-error";
  }

  #landing(offset: number, lengthBytes: number): number | undefined {
    const landsAt = this.#nextWriteLandsAt ?? offset;
    this.#nextWriteLandsAt = undefined;
    if (landsAt === "nowhere") return undefined;
    assert(landsAt + lengthBytes <= this.sizeBytes, "a misdirected write leaves the disk");
    return landsAt;
  }

  #check(offset: number, lengthBytes: number): void {
    assert(!this.#isClosing, "the disk is closed");
    assert(offset >= 0 && lengthBytes > 0, "an offset below zero or a length of zero");
    assert(offset % this.alignmentBytes === 0, "the offset is not aligned");
    assert(lengthBytes % this.alignmentBytes === 0, "the length is not aligned");
    assert(offset + lengthBytes <= this.sizeBytes, "the range leaves the disk");
  }

  #checkMemory(memory: DiskMemory, at: number, lengthBytes: number): void {
    assert(this.#memory.has(memory), "the memory is not from allocate of a disk of this machine");
    assert(at >= 0 && at % this.alignmentBytes === 0, "the place in memory is not aligned");
    assert(at + lengthBytes <= memory.bytes.length, "the range leaves the memory");
  }

  #later(latency: Latency, finish: () => void): void {
    assert(this.#underWay < DISK_REQUESTS_MAX, "more requests than a disk takes");
    this.#underWay++;
    const delayMs = this.#machine.simulation.drawLatencyMs("disk", latency, this.#prng);
    const complete = (): void => {
      if (this.#isHung) {
        this.#held.push(complete);
        return;
      }
      finish();
      this.#underWay--;
      if (this.#underWay === 0) this.#whenQuiet?.();
    };
    this.#machine.schedule(delayMs, complete);
  }
}

const MEMORY = new WeakMap<SimMachine, WeakSet<DiskMemory>>();

/** What the disks of a machine have allocated: any of them can read into it. */
function memoryOf(machine: SimMachine): WeakSet<DiskMemory> {
  const known = MEMORY.get(machine) ?? new WeakSet<DiskMemory>();
  MEMORY.set(machine, known);
  return known;
}

/**
 * Word by word: it runs for every write. Lengths are whole sectors, and so are places in memory.
 */
function isSame(a: Uint8Array, b: Uint8Array): boolean {
  const left = new Int32Array(a.buffer, a.byteOffset, a.length / 4);
  const right = new Int32Array(b.buffer, b.byteOffset, b.length / 4);
  for (let i = 0; i < left.length; i++) if (left[i] !== right[i]) return false;
  return true;
}
