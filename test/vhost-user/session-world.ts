/** A back end and a front end in one process, over memory alone. */
import assert from "node:assert/strict";
import type {
  DescriptorListener,
  DescriptorStream,
  RemoteEvent,
  SharedFile,
  SharedMemory,
} from "../../src/ports/index.ts";
import { SectionCache } from "../../src/frontend/shared-memory/section-cache.ts";
import { BlockDevice } from "../../src/frontend/vhost-user/block-device.ts";
import { VhostSession } from "../../src/frontend/vhost-user/vhost-session.ts";
import { READ_MEMORY_BYTES, ReadMemory } from "../../src/frontend/nbd/read-memory.ts";
import { MemoryVolume } from "../nbd/memory-volume.ts";
import type { MemoryVolumeOptions } from "../nbd/memory-volume.ts";
import { Ask, FrontEnd, regionBytes, u32s, u64s } from "./front-end.ts";
import { MemoryEvent, MemoryFile } from "./memory-file.ts";
import { MemoryStream } from "./memory-stream.ts";
import { ModelDriver } from "./model-driver.ts";

const PAGE_BYTES = 4096;
export const GUEST_ADDRESS = 0x4000_0000;
export const USER_ADDRESS = 0x7f00_0000_0000;
const ENTRIES = 16;
/** Bytes of the file before and after what the guest has: nobody may touch them. */
const GUARD_BYTES = 16 * PAGE_BYTES;
const GUARD = 0xa5;
const MEMORY_BYTES = 64 * PAGE_BYTES;
/** VERSION_1, PROTOCOL_FEATURES, INDIRECT_DESC and the disk's own. */
const QUEUE_FEATURES = (1n << 32n) | (1n << 30n) | (1n << 28n);
/** MQ, REPLY_ACK, BACKEND_REQ, CONFIG, INFLIGHT_SHMFD, CONFIGURE_MEM_SLOTS. */
const PROTOCOL_FEATURES =
  (1n << 0n) | (1n << 3n) | (1n << 5n) | (1n << 9n) | (1n << 12n) | (1n << 15n);

const guard = Buffer.alloc(GUARD_BYTES, GUARD);
/** Of worlds that are gone: memory of this size takes longer to make than a test. */
const idleMemories: ReadMemory[] = [];

/** The part of the port that a back end uses. */
class LocalMemory implements SharedMemory {
  readonly files: MemoryFile[] = [];

  createFile(_name: string, sizeBytes: number): SharedFile {
    const file = new MemoryFile(sizeBytes);
    this.files.push(file);
    return file;
  }

  createEvent(): RemoteEvent {
    return new MemoryEvent();
  }

  listen(): Promise<DescriptorListener> {
    throw new Error("nothing listens here");
  }

  connect(): Promise<DescriptorStream> {
    throw new Error("nothing connects here");
  }
}

export class SessionWorld {
  readonly shared: LocalMemory = new LocalMemory();
  readonly volume: MemoryVolume;
  readonly session: VhostSession;
  stream: MemoryStream;
  front: FrontEnd;
  readonly file: MemoryFile;
  /** The guest's own memory; offset 0 is at `GUEST_ADDRESS`. */
  readonly bytes: Uint8Array;
  readonly kick: MemoryEvent = new MemoryEvent();
  readonly call: MemoryEvent = new MemoryEvent();
  driver: ModelDriver;
  mayRun = true;
  memories = 0;
  hasEnded = false;
  isDrained = false;
  reason: string | undefined;
  /** What of ours has failed, if it was that which ended the connection. */
  fault: unknown;

  /** `guest`: whose machine this back end serves from now on, if not a new one. */
  constructor(volume: Partial<MemoryVolumeOptions> = {}, guest?: SessionWorld) {
    this.file = guest?.file ?? guardedFile();
    this.bytes = this.file.bytes.subarray(GUARD_BYTES, GUARD_BYTES + MEMORY_BYTES);
    this.volume = new MemoryVolume({ sizeBytes: 1 << 20, completions: "after-submit", ...volume });
    const [ours, theirs] = MemoryStream.pair();
    this.stream = ours;
    this.session = new VhostSession(ours, {
      device: new BlockDevice(this.volume, { queueCount: 2, serial: "v1" }),
      sections: new SectionCache({ sectionBytes: 4 * PAGE_BYTES, sectionsMax: 64 }),
      shared: this.shared,
      shortPoll: undefined,
      mayRun: () => this.mayRun,
      takeMemory: () => {
        this.memories++;
        return idleMemories.pop() ?? new ReadMemory(this.volume.allocate(READ_MEMORY_BYTES));
      },
      giveMemory: (memory) => {
        this.memories--;
        idleMemories.push(memory);
      },
      ended: (_, reason, fault) => {
        this.hasEnded = true;
        this.reason = reason;
        this.fault = fault;
      },
      drained: () => {
        this.isDrained = true;
      },
    });
    this.session.start();
    this.front = new FrontEnd(theirs, () => this.settle());
    this.driver = guest?.driver ?? this.makeDriver();
  }

  /** The machine speaks to whoever has the other end of a connection from now on. */
  connectTo(serve: (stream: DescriptorStream) => void): void {
    const [ours, theirs] = MemoryStream.pair();
    this.stream = ours;
    this.front = new FrontEnd(theirs, () => this.settle());
    serve(ours);
  }

  makeDriver(): ModelDriver {
    return new ModelDriver({
      bytes: this.bytes,
      guestAddress: GUEST_ADDRESS,
      ringsAt: 0,
      entryCount: ENTRIES,
      eventIndex: false,
    });
  }

  async settle(): Promise<void> {
    do await new Promise(setImmediate);
    while (this.stream.deliver() || this.kick.deliver());
  }

  async negotiate(): Promise<void> {
    const { front } = this;
    const offered = await front.askNumber(Ask.getFeatures);
    front.tell(Ask.setProtocolFeatures, u64s(PROTOCOL_FEATURES));
    front.tell(Ask.setOwner);
    front.tell(Ask.setFeatures, u64s(QUEUE_FEATURES & offered));
    await this.settle();
  }

  get region(): Uint8Array {
    return regionBytes({
      guestAddress: GUEST_ADDRESS,
      sizeBytes: MEMORY_BYTES,
      userAddress: USER_ADDRESS,
      fileOffset: GUARD_BYTES,
    });
  }

  /** Whether the bytes around the guest's memory are as they were. */
  get guardIsWhole(): boolean {
    const { bytes } = this.file;
    const after = bytes.subarray(GUARD_BYTES + MEMORY_BYTES);
    return [bytes.subarray(0, GUARD_BYTES), after].every((part) => guard.compare(part) === 0);
  }

  tellMemory(): void {
    const table = Buffer.concat([u32s(1, 0), this.region]);
    this.front.tell(Ask.setMemoryTable, table, [this.file]);
  }

  /** Starts ring 0. */
  async startRing(base = 0, index = 0): Promise<void> {
    const { front, driver } = this;
    front.tell(Ask.setRingSize, u32s(index, ENTRIES));
    front.tell(Ask.setRingBase, u32s(index, base));
    front.tell(Ask.setRingAddresses, this.ringAddresses(driver, index));
    front.tell(Ask.setRingCall, u64s(index), [this.call]);
    front.tell(Ask.setRingKick, u64s(index), [this.kick]);
    front.tell(Ask.enableRing, u32s(index, 1));
    await this.settle();
  }

  ringAddresses(driver: ModelDriver, index = 0): Uint8Array {
    const { descriptorsAt, usedAt, availableAt } = driver;
    const places = [descriptorsAt, usedAt, availableAt].map((at) => USER_ADDRESS + at);
    return Buffer.concat([u32s(index, 0), u64s(...places, 0)]);
  }

  /** Reads the first sector through the ring; the status, or 0xff. */
  async readSector(): Promise<number> {
    const at = Math.ceil(this.driver.endAt / PAGE_BYTES) * PAGE_BYTES;
    this.bytes.fill(0, at, at + 16);
    this.bytes[at + 16] = 0xff;
    const head = this.driver.describe([
      { address: GUEST_ADDRESS + at, lengthBytes: 16, deviceWrites: false },
      { address: GUEST_ADDRESS + at + PAGE_BYTES, lengthBytes: 512, deviceWrites: true },
      { address: GUEST_ADDRESS + at + 16, lengthBytes: 1, deviceWrites: true },
    ]);
    this.driver.offer(head);
    this.kick.signal();
    await this.settle();
    this.driver.collect();
    return this.bytes[at + 16]!;
  }
}

/** Nothing that a front end gave is held any more. */
export function assertAllGivenBack(world: SessionWorld): void {
  assert.ok(world.hasEnded && world.isDrained);
  assert.ok(world.guardIsWhole);
  assert.equal(world.memories, 0);
  assert.equal(world.file.mappedCount, 0);
  assert.equal(world.file.openCount, 0);
  assert.equal(world.kick.openCount, 0);
  assert.equal(world.call.openCount, 0);
  assert.equal(world.stream.openDescriptors.size, 0);
  assert.ok(world.stream.isClosed);
}

function guardedFile(): MemoryFile {
  const file = new MemoryFile(MEMORY_BYTES + 2 * GUARD_BYTES);
  file.bytes.fill(GUARD);
  file.bytes.fill(0, GUARD_BYTES, GUARD_BYTES + MEMORY_BYTES);
  return file;
}
