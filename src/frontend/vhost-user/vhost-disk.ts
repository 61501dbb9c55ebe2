/**
 * A disk as one front end has set it up: features that were agreed on, the guest's memory, rings,
 * the memory for requests under way, the dirty log of a migration.
 */
import { assert } from "../../base/index.ts";
import { VirtioBit } from "../../format/index.ts";
import type { IoFault } from "../../object/index.ts";
import { SHARED_PAGE_BYTES } from "../../ports/index.ts";
import type { RemoteEvent, SharedFile, SharedMapping, SharedMemory } from "../../ports/index.ts";
import { READ_PIECE_BYTES_MAX } from "../nbd/read-memory.ts";
import type { ReadMemory } from "../nbd/read-memory.ts";
import type { SectionCache } from "../shared-memory/section-cache.ts";
import type { BlockDevice } from "./block-device.ts";
import type { QueueWorld } from "./block-queue.ts";
import { DirtyLog } from "./dirty-log.ts";
import { FeatureBits } from "./feature-bits.ts";
import { GuestMemory } from "./guest-memory.ts";
import type { RegionDescription } from "./guest-memory.ts";
import { InflightRegion } from "./inflight-region.ts";
import { QUEUE_ENTRIES_MAX } from "./split-queue.ts";
import type { ShortPoll } from "./short-poll.ts";
import { VhostRing } from "./vhost-ring.ts";
import type { RingPlace } from "./vhost-ring.ts";
import { demand, everyStep } from "./violation.ts";

export interface DiskWorld {
  readonly device: BlockDevice;
  readonly sections: SectionCache;
  readonly shared: SharedMemory;
  readonly takeMemory: () => ReadMemory;
  readonly giveMemory: (memory: ReadMemory) => void;
  readonly shortPoll: ShortPoll | undefined;
  /** Whether no other front end's rings run. */
  readonly mayRun: () => boolean;
}

export interface DiskEvents {
  /** What was thrown outside of a message: by a guest's doing, or by a fault of ours. */
  failed(error: unknown): void;
  volumeGone(fault: IoFault): void;
}

export interface InflightPlace {
  readonly sizeBytes: number;
  readonly fileOffset: number;
  readonly queueCount: number;
  readonly queueSize: number;
}

interface Inflight {
  readonly file: SharedFile;
  readonly mapping: SharedMapping;
  readonly place: InflightPlace;
}

export class VhostDisk {
  readonly guest: GuestMemory;
  readonly offered: FeatureBits;
  readonly #world: DiskWorld;
  readonly #events: DiskEvents;
  readonly #staging = new Uint8Array(READ_PIECE_BYTES_MAX);
  readonly #rings: readonly VhostRing[];
  readonly #memories: ReadMemory[] = [];
  #features: FeatureBits = FeatureBits.of([]);
  #inflight: Inflight | undefined;
  #log: DirtyLog | undefined;

  constructor(world: DiskWorld, events: DiskEvents) {
    this.#world = world;
    this.#events = events;
    this.guest = new GuestMemory(world.sections);
    this.offered = FeatureBits.of([
      ...world.device.featureBits(),
      VirtioBit.logAll,
      VirtioBit.ringIndirect,
      VirtioBit.ringEventIndex,
      VirtioBit.protocolFeatures,
      VirtioBit.version1,
    ]);
    this.#rings = Array.from({ length: world.device.queueCount }, (_, index) => {
      const memory = world.takeMemory();
      this.#memories.push(memory);
      return new VhostRing(index, (kick) => this.#queueWorld(kick, memory));
    });
  }

  get ringCount(): number {
    return this.#rings.length;
  }

  get requests(): number {
    return this.#rings.reduce((count, ring) => count + ring.requests, 0);
  }

  get runningRings(): number {
    return this.#rings.filter((ring) => ring.isRunning).length;
  }

  get isServing(): boolean {
    return this.#rings.some((ring) => ring.isServing);
  }

  ring(index: number): VhostRing {
    const ring = this.#rings[index];
    demand(ring !== undefined, `ring ${index}, which there is not`);
    return ring;
  }

  chooseFeatures(bytes: Uint8Array): void {
    this.#features = FeatureBits.chosen(bytes, this.offered);
    // Without the protocol's own features, rings are enabled from the start.
    if (!this.#features.has(VirtioBit.protocolFeatures)) this.enableAll(true);
    this.#updateLogging();
  }

  enableAll(isEnabled: boolean): void {
    for (const ring of this.#rings) ring.enable(isEnabled);
  }

  describeMemory(regions: readonly (readonly [RegionDescription, SharedFile])[]): void {
    this.guest.clear();
    for (const [index, [region, file]] of regions.entries()) {
      try {
        this.addMemory(region, file);
      } catch (error) {
        for (const [, later] of regions.slice(index + 1)) later.close();
        throw error;
      }
    }
    for (const ring of this.#rings) ring.remap();
  }

  addMemory(region: RegionDescription, file: SharedFile): void {
    try {
      this.guest.add(region, file);
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** The kick is the disk's from here on. */
  startRing(index: number, kick: RemoteEvent): void {
    const ring = this.#rings[index];
    assert(ring !== undefined, "whoever starts a ring has looked for it");
    ring.kick = kick;
    demand(this.#world.mayRun(), "another machine uses the volume");
    const inflight = this.#inflightOf(index, ring.size);
    ring.start(this.guest, {
      eventIndex: this.#features.has(VirtioBit.ringEventIndex),
      indirect: this.#features.has(VirtioBit.ringIndirect),
      ...(inflight === undefined ? {} : { inflight }),
    });
    this.#updateLogging();
  }

  placeRing(index: number, place: RingPlace): void {
    this.ring(index).place = place;
    this.#updateLogging();
  }

  /** New memory for requests under way; the file is the caller's. */
  makeInflight(queueCount: number, queueSize: number): { file: SharedFile; sizeBytes: number } {
    checkInflight(queueCount, queueSize, this.#rings.length);
    const sizeBytes = queueCount * InflightRegion.bytesFor(queueSize);
    const fileBytes = Math.ceil(sizeBytes / SHARED_PAGE_BYTES) * SHARED_PAGE_BYTES;
    return { file: this.#world.shared.createFile("drystone-inflight", fileBytes), sizeBytes };
  }

  /** Requests under way are noted there from now on. The file is the disk's. */
  useInflight(file: SharedFile, place: InflightPlace): void {
    try {
      const { queueCount, queueSize, sizeBytes, fileOffset } = place;
      checkInflight(queueCount, queueSize, this.#rings.length);
      demand(this.runningRings === 0, "the memory for requests changes while rings run");
      const neededBytes = queueCount * InflightRegion.bytesFor(queueSize);
      demand(sizeBytes >= neededBytes, `${sizeBytes} bytes for requests under way`);
      const isWithin = fileOffset + neededBytes <= file.sizeBytes;
      demand(
        isWithin && fileOffset % SHARED_PAGE_BYTES === 0,
        "requests lie outside of their file",
      );
      const mapping = file.map(fileOffset, neededBytes);
      this.#dropInflight();
      this.#inflight = { file, mapping, place };
    } catch (error) {
      file.close();
      throw error;
    }
  }

  /** Pages that are written are told there from now on. The file is the disk's. */
  useLog(file: SharedFile, fileOffset: number, sizeBytes: number): void {
    const log = new DirtyLog(file, fileOffset, sizeBytes);
    this.#log?.close();
    this.#log = log;
    this.#updateLogging();
  }

  /** Takes nothing more; `done` comes when everything under way is answered. */
  quiesce(done: () => void): void {
    let waiting = this.#rings.length;
    for (const ring of this.#rings) {
      ring.quiesce(() => {
        if (--waiting === 0) done();
      });
    }
  }

  signalError(): void {
    for (const ring of this.#rings) ring.signalError();
  }

  /** Touches the client's memory no more. `done` comes once the volume has answered. */
  close(done: () => void): void {
    let open = this.#rings.length;
    const memories = this.#memories.splice(0);
    const ringClosed = (): void => {
      if (--open > 0) return;
      for (const memory of memories) {
        if (memory.isLost) continue;
        memory.releaseAll();
        this.#world.giveMemory(memory);
      }
      done();
    };
    this.guest.onWritten = undefined;
    everyStep([
      ...this.#rings.map((ring) => () => ring.close(ringClosed)),
      () => this.guest.clear(),
      () => this.#dropLog(),
      () => this.#dropInflight(),
    ]);
  }

  #inflightOf(index: number, ringSize: number): InflightRegion | undefined {
    const inflight = this.#inflight;
    if (inflight === undefined || index >= inflight.place.queueCount) return undefined;
    const { queueSize } = inflight.place;
    demand(
      ringSize === queueSize,
      `ring ${index} has ${ringSize} entries, its requests ${queueSize}`,
    );
    const regionBytes = InflightRegion.bytesFor(queueSize);
    const { buffer, byteOffset } = inflight.mapping.memory.bytes;
    const words = new Uint16Array(buffer, byteOffset + index * regionBytes, regionBytes / 2);
    return new InflightRegion(words, queueSize);
  }

  #dropInflight(): void {
    const inflight = this.#inflight;
    this.#inflight = undefined;
    inflight?.mapping.release();
    inflight?.file.close();
  }

  #dropLog(): void {
    const log = this.#log;
    this.#log = undefined;
    log?.close();
  }

  #updateLogging(): void {
    const log = this.#features.has(VirtioBit.logAll) ? this.#log : undefined;
    this.guest.onWritten =
      log === undefined ? undefined : (address, lengthBytes) => log.mark(address, lengthBytes);
    for (const ring of this.#rings) ring.log = log;
  }

  #queueWorld(kick: RemoteEvent, memory: ReadMemory): QueueWorld {
    return {
      device: this.#world.device,
      guest: this.guest,
      memory,
      staging: this.#staging,
      kick,
      shortPoll: this.#world.shortPoll,
      failed: (error) => this.#events.failed(error),
      volumeGone: (fault) => this.#events.volumeGone(fault),
    };
  }
}

function checkInflight(queueCount: number, queueSize: number, queueCountMax: number): void {
  demand(queueCount >= 1 && queueCount <= queueCountMax, `requests of ${queueCount} queues`);
  demand(
    queueSize >= 1 && queueSize <= QUEUE_ENTRIES_MAX,
    `requests of queues with ${queueSize} entries`,
  );
}
