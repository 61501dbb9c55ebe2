/** A disk with one queue, its guest's memory and driver, in one process. */
import { SectionCache } from "../../src/frontend/shared-memory/section-cache.ts";
import { BlockDevice } from "../../src/frontend/vhost-user/block-device.ts";
import { BlockQueue } from "../../src/frontend/vhost-user/block-queue.ts";
import { GuestMemory } from "../../src/frontend/vhost-user/guest-memory.ts";
import { SplitQueue } from "../../src/frontend/vhost-user/split-queue.ts";
import type { ShortPoll } from "../../src/frontend/vhost-user/short-poll.ts";
import { READ_MEMORY_BYTES, ReadMemory } from "../../src/frontend/nbd/read-memory.ts";
import type { VolumeIo } from "../../src/object/index.ts";
import { MemoryVolume } from "../nbd/memory-volume.ts";
import type { MemoryVolumeOptions } from "../nbd/memory-volume.ts";
import { MemoryEvent, MemoryFile } from "./memory-file.ts";
import { ModelDriver } from "./model-driver.ts";

const PAGE_BYTES = 4096;
export const GUEST_ADDRESS = 0x4000_0000;
const USER_ADDRESS = 0x7f00_0000_0000;
/** Bytes of the file before and after what the guest has: nobody may touch them. */
export const GUARD_BYTES: number = 16 * PAGE_BYTES;
const GUARD = 0xa5;
const STAGING_BYTES = 1 << 20;

export interface WorldOptions {
  readonly memoryBytes?: number;
  readonly entryCount?: number;
  readonly eventIndex?: boolean;
  readonly sectionBytes?: number;
  readonly sectionsMax?: number;
  readonly base?: number;
  readonly shortPoll?: ShortPoll;
  readonly volume?: Partial<MemoryVolumeOptions>;
  /** What the disk uses in the volume's place. */
  readonly over?: (volume: MemoryVolume) => VolumeIo;
}

export class QueueWorld {
  readonly volume: MemoryVolume;
  readonly file: MemoryFile;
  /** The guest's own memory; offset 0 is at `GUEST_ADDRESS`. */
  readonly bytes: Uint8Array;
  readonly sections: SectionCache;
  readonly guest: GuestMemory;
  readonly driver: ModelDriver;
  readonly queue: SplitQueue;
  readonly disk: BlockQueue;
  readonly kick: MemoryEvent = new MemoryEvent();
  readonly call: MemoryEvent = new MemoryEvent();
  violation: Error | undefined;
  isDrained = false;

  constructor(options: WorldOptions = {}) {
    const memoryBytes = options.memoryBytes ?? 64 * PAGE_BYTES;
    const eventIndex = options.eventIndex ?? false;
    const entryCount = options.entryCount ?? 16;
    this.volume = new MemoryVolume({
      sizeBytes: 1 << 20,
      completions: "after-submit",
      ...options.volume,
    });
    this.file = new MemoryFile(memoryBytes + 2 * GUARD_BYTES);
    this.file.bytes.fill(GUARD);
    this.bytes = this.file.bytes.subarray(GUARD_BYTES, GUARD_BYTES + memoryBytes);
    this.bytes.fill(0);
    this.sections = new SectionCache({
      sectionBytes: options.sectionBytes ?? 4 * PAGE_BYTES,
      sectionsMax: options.sectionsMax ?? 64,
    });
    this.guest = new GuestMemory(this.sections);
    const region = {
      guestAddress: GUEST_ADDRESS,
      sizeBytes: memoryBytes,
      userAddress: USER_ADDRESS,
      fileOffset: GUARD_BYTES,
    };
    this.guest.add(region, this.file);
    const place = { bytes: this.bytes, guestAddress: GUEST_ADDRESS, ringsAt: 0 };
    this.driver = new ModelDriver({ ...place, entryCount, eventIndex });
    const addresses = {
      descriptors: USER_ADDRESS + this.driver.descriptorsAt,
      available: USER_ADDRESS + this.driver.availableAt,
      used: USER_ADDRESS + this.driver.usedAt,
    };
    const { base = 0 } = options;
    const queueOptions = { entryCount, base, eventIndex, indirect: true };
    this.queue = new SplitQueue(this.guest, addresses, queueOptions);
    const used = options.over?.(this.volume) ?? this.volume;
    const device = new BlockDevice(used, { queueCount: 1, serial: "serial-1" });
    this.disk = new BlockQueue(this.queue, {
      device,
      guest: this.guest,
      memory: new ReadMemory(this.volume.allocate(READ_MEMORY_BYTES)),
      staging: new Uint8Array(STAGING_BYTES),
      kick: this.kick,
      shortPoll: options.shortPoll,
      failed: (error) => this.#end(error),
      volumeGone: () => this.#end(undefined),
    });
    this.kick.watch(() => this.disk.process());
    this.disk.call = this.call;
    this.call.signals = 0;
    this.disk.enable(true);
  }

  /** First free byte of the guest's memory behind the rings, at a page. */
  get dataAt(): number {
    return Math.ceil(this.driver.endAt / PAGE_BYTES) * PAGE_BYTES;
  }

  /** Kicks, and lets everything come to rest that does not wait for the test. */
  async run(): Promise<void> {
    this.kick.signal();
    await this.settle();
  }

  async settle(): Promise<void> {
    do await new Promise(setImmediate);
    while (this.kick.deliver());
  }

  /** Whether the bytes around the guest's memory are as they were. */
  get guardIsWhole(): boolean {
    const { bytes } = this.file;
    const end = bytes.length - GUARD_BYTES;
    return bytes.subarray(0, GUARD_BYTES).every(isGuard) && bytes.subarray(end).every(isGuard);
  }

  #end(error: unknown): void {
    if (error instanceof Error) this.violation ??= error;
    this.disk.close(() => {
      this.isDrained = true;
    });
  }
}

function isGuard(byte: number): boolean {
  return byte === GUARD;
}
