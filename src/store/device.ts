/**
 * One device: a disk with a superblock, a journal and a block store, and a metadata store beside
 * it. Builds the parts, recovers at start, decides what may enter, and answers for the whole.
 */
import { BLOCK_SIZE_BYTES, CodedError, marks } from "../base/index.ts";
import { DiskRequests } from "../ports/index.ts";
import type { DiskMemory, MetadataBatch } from "../ports/index.ts";
import { checkpointKey } from "../format/index.ts";
import type { Superblock } from "../format/index.ts";
import { ArrivingContents } from "./arriving-contents.ts";
import { KeptOffers } from "./kept-offers.ts";
import { BlockCache } from "./block-cache.ts";
import { COMPONENTS_MAX } from "./block-table.ts";
import type { Component, Transaction } from "./component.ts";
import { ComponentTable, requireThere } from "./component-table.ts";
import { SCRATCH_BLOCKS } from "./component-sync.ts";
import type { ComponentInfo } from "./component-table.ts";
import { ContentReferences } from "./content-references.ts";
import type { ComponentFork } from "./component-fork.ts";
import { Destager } from "./destager.ts";
import type { JournalCursor } from "./destage-batch.ts";
import {
  reportDamagedBlock,
  reportDamagedMetadata,
  reportDamagedSpace,
  reportMissingContent,
} from "./device-alarms.ts";
import { DeviceComponents } from "./device-components.ts";
import type { ComponentsHost, NewComponent } from "./device-components.ts";
import {
  commitCheckpoint,
  commitComponent,
  encodeCheckpoint,
  loadBadBlocks,
  loadComponents,
  openSpace,
  readCheckpoint,
} from "./device-records.ts";
import type { Checkpoint } from "./device-records.ts";
import { DeviceRoom } from "./device-room.ts";
import { ALL_DEVICE_RULES } from "./device-options.ts";
import type { OpenOptions } from "./device-options.ts";
import { backlogBlocksOf, geometryOf, planDevice } from "./device-plan.ts";
import type { FormatOptions } from "./device-plan.ts";
import { newCounters } from "./device-state.ts";
import type { DeviceEvent, DevicePorts, DeviceState } from "./device-state.ts";
import { deviceStats } from "./device-stats.ts";
import type { DeviceStats } from "./device-stats.ts";
import { GuardedMetadata } from "./guarded-metadata.ts";
import { HurtPlaces } from "./hurt-places.ts";
import { Journal } from "./journal.ts";
import type { RecoveredJournal } from "./journal-recovery.ts";
import { LogicalMap } from "./logical-map.ts";
import { JournalReplay } from "./journal-replay.ts";
import { forgetUnwritten } from "./pending-rebuild.ts";
import { placedBlocksOf } from "./placed-recovery.ts";
import { Reader } from "./reader.ts";
import { PageSharing } from "./page-sharing.ts";
import { ReadStamps } from "./read-stamps.ts";
import { Reclaimer } from "./reclaimer.ts";
import { RegionMap } from "./region-map.ts";
import { SCRUB_MEMORY_BYTES, scrubDevice } from "./scrub.ts";
import type { ScrubOptions } from "./scrub.ts";
import type { ScrubReport } from "./scrub-report.ts";
import type { SpaceMap } from "./space-map.ts";
import type { Admission, StoreComponent } from "./store-component.ts";
import {
  inspectDisk,
  requireSuperblock,
  writeBlankJournal,
  writeSuperblocks,
} from "./superblocks.ts";
import type { DeviceInspection } from "./superblocks.ts";

export interface DeviceAge {
  /** Counts the starts. */
  readonly incarnation: number;
  /** The newest durable frame of its journal. */
  readonly frame: number;
}

export class Device implements ComponentsHost {
  readonly state: DeviceState;
  readonly reader: Reader;
  readonly #destager: Destager;
  readonly #reclaimer: Reclaimer;
  readonly #room: DeviceRoom;
  readonly #components: DeviceComponents;
  readonly #sharing: PageSharing = new PageSharing(this);
  readonly #listeners = new Set<(event: DeviceEvent) => void>();
  #checkpoint: Checkpoint;
  /**
   * Of the round whose metadata are on their way. Others write the checkpoint as well meanwhile.
   */
  #checkpointNext: Partial<Checkpoint> = {};
  #scratch: DiskMemory | undefined = undefined;
  #scrubMemory: DiskMemory | undefined;
  #scratchTurn: Promise<void> = Promise.resolve();
  #closed = false;
  /** Why, once the journal has failed. */
  #failure = "the journal could not be written";

  /** What a disk holds, without changing anything. */
  static inspect(disk: DevicePorts["disk"]): Promise<DeviceInspection> {
    return inspectDisk(disk);
  }

  /** Makes an empty device. The caller has made sure that what is there may be destroyed. */
  static async format(ports: DevicePorts, options: FormatOptions): Promise<void> {
    const superblock = planDevice(ports.disk.sizeBytes, ports.clock.wallMs(), options);
    await writeBlankJournal(ports.disk, superblock);
    await commitCheckpoint(ports.metadata, {
      incarnation: 0,
      frameNumber: 0,
      generation: 0,
      deviceId: options.deviceId,
      componentNext: 1,
      usedBlocks: 0,
    });
    await writeSuperblocks(ports.disk, superblock);
  }

  /** Opens a device and replays its journal. Fails with a `CodedError` that says what is wrong. */
  static async open(given: DevicePorts, options: OpenOptions): Promise<Device> {
    const ports = { ...given, metadata: new GuardedMetadata(given.metadata) };
    const found = await inspectDisk(ports.disk);
    const superblock = requireSuperblock(found, { ...options, sizeBytes: ports.disk.sizeBytes });
    const stored = readCheckpoint(ports.metadata, superblock.deviceId);
    const checkpoint = { ...stored, incarnation: stored.incarnation + 1 };
    const components = new ComponentTable();
    loadComponents(ports.metadata, components);
    if (options.rules?.keepsMarks === false)
      for (const info of components.all()) info.catchUpFrom = undefined;
    const space = openSpace(ports.metadata, superblock.blockCount);
    // Durable before any frame of this incarnation can be written.
    await commitCheckpoint(ports.metadata, checkpoint);
    const replay = new JournalReplay(ports, superblock, components);
    const recovered = await replay.run(checkpoint, {
      journalMemoryBytes: options.journalMemoryBytes ?? 64 << 20,
      backlogBlocks: backlogBlocksOf(superblock),
    });
    const device = new Device(ports, options, {
      superblock,
      checkpoint,
      components,
      space,
      replay,
      recovered,
    });
    if (found.kind === "drystone" && found.damagedCopies > 0) {
      await writeSuperblocks(ports.disk, superblock);
      device.#emitRepair("superblock-repaired", "a damaged superblock was written again");
    }
    for (const repair of recovered.repairs) device.#emitRepair("journal-repaired", repair);
    device.#components.resumeRemovals();
    device.#sharing.start();
    return device;
  }

  private constructor(ports: OpenPorts, options: OpenOptions, parts: OpenedParts) {
    const { superblock, replay, recovered } = parts;
    if (options.onEvent !== undefined) this.#listeners.add(options.onEvent);
    this.#checkpoint = parts.checkpoint;
    const crc = (bytes: Uint8Array, start: number, end: number): number =>
      ports.digests.crc32c(bytes, start, end);
    const position = {
      generation: recovered.lastGeneration + 1,
      frameNext: recovered.lastFrame + 1,
      incarnation: parts.checkpoint.incarnation,
      memory: recovered.memory,
      memorySegments: recovered.memorySegments,
    };
    const placed = placedBlocksOf(ports, options.placedBlocksMin, parts);
    const journal = new Journal(ports.disk, crc, geometryOf(superblock), position, placed);
    replay.handOver(journal, recovered, parts.checkpoint.frameNumber);
    const regions = new RegionMap(ports.metadata, parts.components, (component, group) => {
      reportDamagedMetadata(this.state, `digests of group ${group}`, component);
    });
    const pageBytes = options.pageCacheBytes ?? 16 << 20;
    const logical = new LogicalMap(ports.metadata, regions, parts.components, {
      pagesMax: Math.max(16, Math.floor(pageBytes / 2048)),
      onDamage: ({ component, page, reason }) => {
        reportDamagedMetadata(this.state, `logical map page ${page} (${reason})`, component);
      },
    });
    const cacheBytes = options.blockCacheBytes ?? 64 << 20;
    this.state = {
      ...ports,
      rules: { ...ALL_DEVICE_RULES, ...options.rules },
      requests: new DiskRequests(ports.disk),
      superblock,
      journal,
      pending: replay.pending,
      voids: replay.voids,
      arriving: new ArrivingContents(),
      keptOffers: new KeptOffers(parts.checkpoint.incarnation),
      changeLog: replay.changeLog(journal, options.changesMax),
      space: parts.space,
      logical,
      regions,
      blockCache: new BlockCache(Math.floor(cacheBytes / BLOCK_SIZE_BYTES)),
      readStamps: new ReadStamps(),
      components: parts.components,
      contents: new ContentReferences(ports.metadata, parts.space, (id) => {
        reportMissingContent(this.state, id);
      }),
      badBlocks: loadBadBlocks(ports.metadata),
      hurt: new HurtPlaces(),
      counters: newCounters(),
      emit: (event) => this.#emit(event),
      blockDamaged: (where) => reportDamagedBlock(this.state, where),
    };
    parts.space.listen((group) => reportDamagedSpace(this.state, group));
    this.reader = new Reader(this.state);
    const cursor = { generation: parts.checkpoint.generation, blockInSegment: 0 };
    this.#destager = new Destager(this.state, cursor, {
      blocksMax: options.destageBlocksMax ?? 2048,
      checkpoint: (batch, frame, at) => this.#putCheckpoint(batch, frame, at),
      onDurable: () => (this.#checkpoint = { ...this.#checkpoint, ...this.#checkpointNext }),
      onProgress: () => this.#room.wake(),
      isWorthwhile: () => this.#room.wantsDestage,
      onIdle: () => this.#room.destageEnded(),
    });
    this.#reclaimer = new Reclaimer(this.state);
    this.#room = new DeviceRoom(this.state, this.#destager, this.#reclaimer);
    this.#components = new DeviceComponents(this.state, this);
    journal.onGroupDone(() => this.#groupDone());
    ports.metadata.listen((error) => this.#metadataFailed(error));
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  get deviceId(): string {
    return this.state.superblock.deviceId;
  }

  /** How far its life has come; of two copies of a device the later one has the higher age. */
  get age(): DeviceAge {
    return {
      incarnation: this.#checkpoint.incarnation,
      frame: this.state.journal.durableFrame,
    };
  }

  /**
   * It turned out to be an old copy of itself: durably, no component counts as complete before it
   * has caught up from the beginning. Its incarnation is above `incarnation` afterwards. What
   * nobody has decided here was decided long ago: it is dropped, since the object may be gone, and
   * nobody would ever come to decide it.
   */
  async distrust(incarnation: number): Promise<void> {
    marks.hit("an old copy of a device was recognised");
    for (const { componentId, blockCount, epoch } of this.components())
      if (blockCount > 0) await this.component(componentId)?.beginCatchUp(epoch, 0);
    const higher = Math.max(this.#checkpoint.incarnation, incarnation) + 1;
    this.#checkpoint = { ...this.#checkpoint, incarnation: higher };
    await this.#destager.exclusive(() => commitCheckpoint(this.state.metadata, this.#checkpoint));
  }

  /** Calls back for everything an operator should know; returns how to stop. */
  onEvent(listener: (event: DeviceEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #emit(event: DeviceEvent): void {
    this.state.log.write(event.level, event.message, { event: event.kind, ...event.details });
    for (const listener of this.#listeners) listener(event);
  }

  #emitRepair(kind: "journal-repaired" | "superblock-repaired", message: string): void {
    this.#emit({ kind, level: "warning", message, details: { deviceId: this.deviceId } });
  }

  // Components.

  components(): readonly ComponentInfo[] {
    return this.#components.all();
  }

  /** As `DeviceComponents.undecided`. */
  undecided(): readonly ComponentInfo[] {
    return this.#components.undecided();
  }

  component(componentId: string): StoreComponent | undefined {
    return this.#components.find(componentId);
  }

  /** As `DeviceComponents.create`. */
  async createComponent(options: NewComponent): Promise<Component> {
    return await this.#components.create(options);
  }

  /** As `DeviceComponents.fork`. */
  async forkComponent(fork: ComponentFork): Promise<void> {
    await this.#components.fork(fork);
  }

  /** Grows a component. Fails with `component-missing` or `shrink-unsupported`. */
  async resizeComponent(componentId: string, sizeBytes: number): Promise<void> {
    await this.#components.resize(componentId, sizeBytes);
  }

  /** As `DeviceComponents.remove`. */
  async deleteComponent(componentId: string): Promise<void> {
    await this.#components.remove(componentId);
  }

  get checkpoint(): Checkpoint {
    return this.#checkpoint;
  }

  takeIndex(): number {
    const index = this.#checkpoint.componentNext;
    if (index >= COMPONENTS_MAX) {
      throw new CodedError({
        code: "component-limit",
        message: `device ${this.deviceId} has made ${COMPONENTS_MAX} components, its limit`,
        hint: "Move its volumes to another device and format it anew",
      });
    }
    this.#checkpoint = { ...this.#checkpoint, componentNext: index + 1 };
    return index;
  }

  roomCame(): void {
    this.#room.wake();
  }

  async persist(info: ComponentInfo): Promise<void> {
    await this.#destager.exclusive(() => {
      // Its record would be there again after it has gone.
      requireThere(info);
      return commitComponent(this.state.metadata, info);
    });
  }

  async complete(info: ComponentInfo): Promise<void> {
    info.madeAnew ||= info.catchUpFrom === 0 && info.blockCount > 0;
    info.catchUpFrom = undefined;
    await this.persist(info);
    this.#sharing.completed(info);
  }

  /** Resolves when components that were made anew share what they can. */
  async pagesShared(): Promise<void> {
    await this.#sharing.whenIdle();
  }

  exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.#destager.exclusive(work);
  }

  async withScratch<T>(work: (memory: DiskMemory) => Promise<T>): Promise<T> {
    this.#scratch ??= this.state.disk.allocate(SCRATCH_BLOCKS * BLOCK_SIZE_BYTES);
    const memory = this.#scratch;
    const turn = this.#scratchTurn.then(() => work(memory));
    // Whoever comes next waits for the end, however it ended.
    this.#scratchTurn = turn.then(
      () => {},
      () => {},
    );
    return await turn;
  }

  /** Zeroed memory that reads of this device's components may use as their target. */
  allocate(lengthBytes: number): DiskMemory {
    return this.state.disk.allocate(lengthBytes);
  }

  admit(kind: Transaction["kind"], blockCount: number): Admission {
    return this.#room.admit(kind, blockCount);
  }

  onRoom(callback: () => void): void {
    this.#room.onRoom(callback);
  }

  decided(): void {
    this.#room.decided();
  }

  /** Nothing will ever leave the journal. */
  #metadataFailed(error: CodedError): void {
    const { journal } = this.state;
    if (journal.hasFailed) return;
    marks.hit("metadata could not be written");
    this.#failure = error.message;
    journal.fail();
  }

  #groupDone(): void {
    if (!this.state.journal.hasFailed) return;
    forgetUnwritten(this.state);
    this.#room.wake();
    this.#emit({
      kind: "device-failed",
      level: "error",
      message: `${this.#failure}; the device takes no more writes until it is opened again`,
      details: { deviceId: this.deviceId },
    });
  }

  #putCheckpoint(batch: MetadataBatch, frame: number, cursor: JournalCursor): void {
    const { generation } = cursor;
    const { usedBlocks } = this.state.space;
    this.#checkpointNext = { frameNumber: frame, generation, usedBlocks };
    batch.put(checkpointKey(), encodeCheckpoint({ ...this.#checkpoint, ...this.#checkpointNext }));
  }

  // The whole.

  async destage(): Promise<void> {
    await this.#destager.drain();
  }

  stats(): DeviceStats {
    return deviceStats(this.state);
  }

  /** Compares counts with pointers, contents with fingerprints, the space map with both. */
  async scrub(options: ScrubOptions = {}): Promise<ScrubReport> {
    const memory = (): DiskMemory =>
      // A disk never takes memory back.
      (this.#scrubMemory ??= this.state.disk.allocate(SCRUB_MEMORY_BYTES));
    return await scrubDevice(this, options, memory);
  }

  /** Gives all free space back to the file system now. */
  async reclaim(): Promise<void> {
    await this.#reclaimer.run();
  }

  /**
   * Destages what is decided, then stops. Requests under way must have been answered. Metadata and
   * disk are let go of even if that fails: what is decided stays in the journal.
   */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#components.close();
    await this.#sharing.stop();
    try {
      if (!this.state.journal.hasFailed) await this.#destager.drain();
      await this.#destager.stop();
    } finally {
      this.#room.close();
      await this.#reclaimer.stop();
      await this.state.metadata.close();
      await this.state.disk.close();
    }
  }
}

type OpenPorts = DevicePorts & { readonly metadata: GuardedMetadata };

interface OpenedParts {
  readonly superblock: Superblock;
  readonly checkpoint: Checkpoint;
  readonly components: ComponentTable;
  readonly space: SpaceMap;
  readonly replay: JournalReplay;
  readonly recovered: RecoveredJournal;
}
