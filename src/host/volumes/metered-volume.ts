/**
 * An attached volume as its front ends use it, with what they ask for counted and timed: from the
 * call to the answer, so that what requests wait here, on links and on disks is all in it.
 *
 * On the way of every request: slots in growing arrays, nothing allocated once they are there.
 */
import { assert, LatencyHistogram } from "../../base/index.ts";
import type { Extent, IoDone, IoFault, VolumeIo } from "../../object/index.ts";
import type { Clock, DiskMemory } from "../../ports/index.ts";
import type { IoCountView, VolumeIoView } from "../api/views.ts";

class IoCount {
  readonly latencies = new LatencyHistogram();
  bytes = 0;
  faults = 0;

  take(lengthBytes: number, ms: number, fault: IoFault | undefined): void {
    this.latencies.add(ms);
    this.bytes += lengthBytes;
    if (fault !== undefined) this.faults++;
  }

  view(): IoCountView {
    const latencies = this.latencies.view();
    const count = latencies.buckets.reduce((sum, one) => sum + one, 0);
    return { count, bytes: this.bytes, faults: this.faults, ...latencies };
  }
}

export class MeteredVolume implements VolumeIo {
  readonly #volume: VolumeIo;
  readonly #clock: Clock;
  readonly #reads = new IoCount();
  readonly #writes = new IoCount();
  readonly #free: number[] = [];
  readonly #counts: IoCount[] = [];
  readonly #lengths: number[] = [];
  readonly #startsMs: number[] = [];
  readonly #dones: IoDone[] = [];
  readonly #tokens: number[] = [];
  readonly #answered: IoDone = (slot, fault) => this.#finish(slot, fault);

  constructor(volume: VolumeIo, clock: Clock) {
    this.#volume = volume;
    this.#clock = clock;
  }

  get name(): string {
    return this.#volume.name;
  }

  get sizeBytes(): number {
    return this.#volume.sizeBytes;
  }

  get readOnly(): boolean {
    return this.#volume.readOnly;
  }

  view(): VolumeIoView {
    return { reads: this.#reads.view(), writes: this.#writes.view() };
  }

  allocate(lengthBytes: number): DiskMemory {
    return this.#volume.allocate(lengthBytes);
  }

  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    const slot = this.#begin(this.#reads, lengthBytes, done, token);
    this.#volume.read(target, targetAt, lengthBytes, offset, this.#answered, slot);
  }

  /** Takes no time that could be told from none. */
  readNow(target: DiskMemory, targetAt: number, lengthBytes: number, offset: number): boolean {
    const isRead = this.#volume.readNow(target, targetAt, lengthBytes, offset);
    if (isRead) this.#reads.take(lengthBytes, 0, undefined);
    return isRead;
  }

  write(
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    const slot = this.#begin(this.#writes, lengthBytes, done, token);
    this.#volume.write(source, sourceAt, lengthBytes, offset, this.#answered, slot);
  }

  discard(offset: number, lengthBytes: number, done: IoDone, token: number): void {
    this.#volume.discard(offset, lengthBytes, done, token);
  }

  writeZeroes(
    offset: number,
    lengthBytes: number,
    keepAllocated: boolean,
    done: IoDone,
    token: number,
  ): void {
    this.#volume.writeZeroes(offset, lengthBytes, keepAllocated, done, token);
  }

  flush(done: IoDone, token: number): void {
    this.#volume.flush(done, token);
  }

  extents(offset: number, lengthBytes: number, extentsMax: number): Promise<readonly Extent[]> {
    return this.#volume.extents(offset, lengthBytes, extentsMax);
  }

  hasRoom(): boolean {
    return this.#volume.hasRoom();
  }

  onRoom(callback: () => void): void {
    this.#volume.onRoom(callback);
  }

  submit(): void {
    this.#volume.submit();
  }

  #begin(count: IoCount, lengthBytes: number, done: IoDone, token: number): number {
    const slot = this.#free.pop() ?? this.#dones.length;
    this.#counts[slot] = count;
    this.#lengths[slot] = lengthBytes;
    this.#startsMs[slot] = this.#clock.nowMs();
    this.#dones[slot] = done;
    this.#tokens[slot] = token;
    return slot;
  }

  #finish(slot: number, fault: IoFault | undefined): void {
    const count = this.#counts[slot];
    const done = this.#dones[slot];
    assert(count !== undefined && done !== undefined, "an answer is to a request");
    count.take(this.#lengths[slot]!, this.#clock.nowMs() - this.#startsMs[slot]!, fault);
    this.#free.push(slot);
    done(this.#tokens[slot]!, fault);
  }
}
