/**
 * Destage: moves committed blocks from the journal to the block store, with deduplication.
 *
 * One round: choose -> fingerprint -> look up or allocate -> write new blocks -> flush -> one
 * metadata batch (maps, counts, space, checkpoint) -> durable -> tell readers -> give journal
 * memory up. Until the batch is durable the journal has everything; from then on the maps have. A
 * round that fails leaves no trace and is tried again.
 */
import { assert, CodedError, errorText } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { MetadataBatch, Timer } from "../ports/index.ts";
import {
  badBlockKey,
  PAGE_BLOCKS,
  PHYSICAL_DAMAGED,
  PHYSICAL_HOLE,
  PHYSICAL_ZERO,
} from "../format/index.ts";
import { BlockFingerprints } from "./block-fingerprints.ts";
import { blockOfKey, componentOfKey } from "./block-table.ts";
import type { ComponentInfo } from "./component-table.ts";
import type { DeviceState } from "./device-state.ts";
import { DestageBatch } from "./destage-batch.ts";
import type { JournalCursor } from "./destage-batch.ts";
import { DestageWriter } from "./destage-writer.ts";
import type { BlockWrite } from "./destage-writer.ts";
import { knownPages, PAGES_FOUND_MAX, PAGES_PER_UPDATE_MAX } from "./known-pages.ts";
import { MapUpdate } from "./map-update.ts";
import { LOCATION_DAMAGED, LOCATION_HOLE, LOCATION_ZERO } from "./pending-blocks.ts";
import type { PendingRange } from "./pending-blocks.ts";
import { isPlacedLocation } from "./placed-blocks.ts";

/** Blocks that are mapped in one go: clients' requests run in between. */
const MAPPED_AT_ONCE = 128;
const RETRY_DELAY_MS = 200;
/** How long to wait for reads that keep freed blocks from being used again. */
const QUARANTINE_DELAY_MS = 2;

export interface DestageOptions {
  readonly blocksMax: number;
  /**
   * Writes the checkpoint into the batch: frames up to `frame` are destaged, replay begins at
   * `cursor`.
   */
  readonly checkpoint: (batch: MetadataBatch, frame: number, cursor: JournalCursor) => void;
  /** The checkpoint of the round is durable: only from then on may others build on it. */
  readonly onDurable: () => void;
  /** A round gave memory and perhaps space up, or it turned out that there is no space. */
  readonly onProgress: () => void;
  /** Whether another round is worth its cost now, although nobody waits for it. */
  readonly isWorthwhile: () => boolean;
  /** The last round is over: nothing is left, or what is left may wait and gather. */
  readonly onIdle: () => void;
}

export class Destager {
  readonly #state: DeviceState;
  readonly #options: DestageOptions;
  readonly #batch: DestageBatch;
  /** A look at what the round after this one will most likely take. */
  readonly #next: DestageBatch;
  readonly #writer: DestageWriter;
  readonly #blockFingerprints: BlockFingerprints;
  readonly #fingerprints: Uint8Array;
  /** Locations of placed blocks that the round under way has made contents of. */
  readonly #taken = new Set<number>();
  #running: Promise<void> | undefined;
  #stopped = false;
  #lockTail: Promise<void> = Promise.resolve();
  #outOfSpace = false;
  /** Somebody waits until the frames up to this one are destaged. */
  #drainTarget = 0;
  #retryTimer: Timer | undefined;

  constructor(state: DeviceState, start: JournalCursor, options: DestageOptions) {
    this.#state = state;
    this.#options = options;
    this.#batch = new DestageBatch(options.blocksMax, start);
    this.#next = new DestageBatch(options.blocksMax, start);
    this.#writer = new DestageWriter(state);
    const capacity = options.blocksMax + 4096;
    const { journal, digests } = state;
    this.#blockFingerprints = new BlockFingerprints(journal, digests, capacity);
    this.#fingerprints = new Uint8Array(capacity * FINGERPRINT_BYTES);
  }

  /** The last round found no space; writers are refused until one succeeds. */
  get isOutOfSpace(): boolean {
    return this.#outOfSpace;
  }

  get isRunning(): boolean {
    return this.#running !== undefined;
  }

  /** Starts rounds, until none is worth it. Errors end up in the device's events. */
  start(): void {
    if (this.#running !== undefined || this.#stopped) return;
    this.#running = this.#loop().finally(() => {
      this.#running = undefined;
      this.#options.onIdle();
    });
  }

  /**
   * Resolves when everything that was durable and decided at the call has been destaged, or cannot
   * be now for want of space.
   */
  async drain(): Promise<void> {
    // Writers may go on for ever: only what is durable by now is waited for.
    this.#drainTarget = Math.max(this.#drainTarget, this.#state.journal.durableFrame);
    await this.#running;
    this.start();
    await this.#running;
  }

  /** Ends after the round under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#retryTimer?.cancel();
    await this.#running;
    await this.#lockTail;
    await this.#blockFingerprints.whenIdle();
    await this.#state.journal.placed.whenIdle();
  }

  /** Runs `work` while no round changes the maps: for scrub, deletion, resize. */
  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#lockTail;
    let release: () => void = () => {};
    this.#lockTail = new Promise((resolve) => {
      release = resolve;
    });
    await before;
    try {
      return await work();
    } finally {
      release();
    }
  }

  async #loop(): Promise<void> {
    while (!this.#stopped) {
      const outcome = await this.exclusive(() => this.#tryRound());
      if (outcome === "nothing") return;
      if (outcome === "wait") await this.#pause(QUARANTINE_DELAY_MS);
      else this.#options.onProgress();
      if (outcome === "failed") return;
      const isWaitedFor = this.#state.journal.destagedFrame < this.#drainTarget;
      if (!isWaitedFor && !this.#options.isWorthwhile()) return;
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#state.clock.after(delayMs, resolve);
    });
  }

  async #tryRound(): Promise<"published" | "nothing" | "wait" | "failed"> {
    if (this.#state.journal.hasFailed) return "nothing";
    const before = this.#batch.cursor;
    try {
      if (!(await this.#round())) return "nothing";
      if (this.#outOfSpace) this.#spaceAvailable();
      return "published";
    } catch (error) {
      this.#batch.cursor = before;
      const code = error instanceof CodedError ? error.code : "unexpected";
      // Blocks are free already, and only reads under way keep them from being used again.
      if (code === "no-space" && this.#state.space.quarantinedBlocks > 0) return "wait";
      this.#roundFailed(error, code);
      return "failed";
    }
  }

  #spaceAvailable(): void {
    this.#outOfSpace = false;
    this.#state.emit({
      kind: "space-available",
      level: "info",
      message: "the device has space again",
      details: {},
    });
  }

  #roundFailed(error: unknown, code: string): void {
    // The device has told why.
    if (error instanceof CodedError && this.#state.journal.hasFailed) return;
    if (code === "no-space") {
      if (!this.#outOfSpace) {
        this.#state.emit({
          kind: "no-space",
          level: "error",
          message: `the device has no space for journalled writes: ${errorText(error)}`,
          details: { freeBlocks: this.#state.space.freeBlocks },
        });
      }
      this.#outOfSpace = true;
    } else if (code === "write-error" || code === "read-error" || code === "gone") {
      this.#state.emit({
        kind: "device-failed",
        level: "error",
        message: `destage failed: ${errorText(error)}`,
        details: {},
      });
    } else {
      throw error;
    }
    this.#retryTimer?.cancel();
    this.#retryTimer = this.#state.clock.after(RETRY_DELAY_MS, () => this.start());
  }

  async #round(): Promise<boolean> {
    const batch = this.#batch;
    if (!batch.choose(this.#state, this.#state.journal.destagedFrame)) return false;
    await this.#applyRanges(batch.ranges);
    const update = new MapUpdate(this.#state);
    try {
      const dataKeys = await this.#fingerprint();
      const writes = await this.#mapBlocks(update, dataKeys);
      await this.#writer.write(writes);
      const repaired = writes.filter(({ isRepair }) => isRepair);
      for (const component of batch.touched) {
        const info = this.#state.components.at(component);
        if (info !== undefined) update.touch(info);
      }
      await update.commit((metadata) => {
        for (const { physical } of repaired) metadata.delete(badBlockKey(physical));
        this.#options.checkpoint(metadata, batch.lastFrame, batch.cursor);
      });
      this.#options.onDurable();
      for (const { physical } of repaired) this.#repaired(physical);
    } catch (error) {
      update.abandon();
      throw error;
    }
    this.#publish();
    return true;
  }

  #repaired(physical: number): void {
    this.#state.badBlocks.delete(physical);
    this.#state.counters.repairedBlocks++;
    this.#state.emit({
      kind: "block-repaired",
      level: "info",
      message: "a damaged block was written again from the same content",
      details: { physical },
    });
  }

  /** Gives the pending entries and the journal memory of the batch up. */
  #publish(): void {
    const { pending, journal, counters } = this.#state;
    const batch = this.#batch;
    for (const key of batch.keys) pending.release(key, batch.sequenceOf(key));
    for (const { key, sequence } of batch.orphans) pending.release(key, sequence);
    const published = new Set(
      batch.ranges.map(({ component, sequence }) => `${component}:${sequence}`),
    );
    pending.releaseRanges(({ component, sequence }) => published.has(`${component}:${sequence}`));
    counters.supersededBlocks += batch.superseded;
    counters.destagedBlocks += batch.keys.length;
    counters.destageBatches++;
    journal.releasePayload(batch.payloadBlocks);
    journal.release(batch.lastFrame);
    this.#releasePlaced();
    this.#state.voids.release(batch.lastFrame);
  }

  #releasePlaced(): void {
    const { journal, space, blockCache, readStamps } = this.#state;
    const isTaken = (location: number): boolean => this.#taken.has(location);
    const unused = journal.placed.release(this.#batch.places, isTaken);
    for (const block of unused) blockCache.remove(block);
    space.releaseReserved(unused, readStamps.advance());
    readStamps.settle(space);
  }

  /** Fingerprints the batch's data blocks; returns their keys in the order of the fingerprints. */
  async #fingerprint(): Promise<number[]> {
    const dataKeys = dataKeysOf(this.#batch);
    const locations = locationsOf(this.#batch, dataKeys);
    await this.#blockFingerprints.of(locations, this.#fingerprints);
    if (this.#options.isWorthwhile()) this.#lookAhead();
    return dataKeys;
  }

  #lookAhead(): void {
    const next = this.#next;
    next.cursor = this.#batch.cursor;
    if (!next.choose(this.#state, this.#batch.lastFrame)) return;
    this.#blockFingerprints.lookAhead(locationsOf(next, dataKeysOf(next)));
  }

  /** Points every block of the batch at its content; returns what has to be written. */
  async #mapBlocks(update: MapUpdate, dataKeys: readonly number[]): Promise<BlockWrite[]> {
    const { journal, components, badBlocks, counters } = this.#state;
    const batch = this.#batch;
    this.#taken.clear();
    const writes: BlockWrite[] = [];
    let dataIndex = 0;
    // By index here and below: an iterator would make an object for each block.
    for (let chosen = 0; chosen < batch.keys.length; chosen++) {
      const key = batch.keys[chosen]!;
      if ((chosen + 1) % MAPPED_AT_ONCE === 0) await this.#pause(0);
      const location = batch.locationOf(key);
      const sequence = batch.sequenceOf(key);
      const isData = location >= 0;
      const fingerprintAt = isData ? dataIndex++ * FINGERPRINT_BYTES : 0;
      const info = components.at(componentOfKey(key));
      if (info === undefined || info.deleting) continue;
      const blockIndex = blockOfKey(key);
      if (!isData) {
        update.mark(info, blockIndex, sequence, markerOf(location));
        counters.zeroBlocks++;
        continue;
      }
      if (update.sequenceOf(info, blockIndex) >= sequence) continue;
      const { contents } = update;
      const isPlaced = isPlacedLocation(location);
      const content = isPlaced
        ? contents.acquire(this.#fingerprints, fingerprintAt, journal.placed.placeOf(location))
        : contents.acquire(this.#fingerprints, fingerprintAt);
      update.map(info, blockIndex, sequence, { content, checksum: journal.checksumOf(location) });
      const physical = contents.physicalOf(content);
      if (isPlaced && journal.placed.placeOf(location) === physical) this.#taken.add(location);
      const isFirst = contents.isAllocated(content) && contents.changeOf(content) === 1;
      const isRepair = badBlocks.size > 0 && badBlocks.has(physical);
      if (isFirst || isRepair) writes.push({ physical, location, isRepair });
      else if (!this.#taken.has(location)) counters.duplicateBlocks++;
    }
    assert(dataIndex === dataKeys.length, "a fingerprint belongs to each data block");
    return writes;
  }

  /**
   * Applies long discards and zeroings, page by page, in batches of their own. They may be applied
   * partly when a crash comes: the journal still has them, and applying twice changes nothing.
   */
  async #applyRanges(ranges: readonly PendingRange[]): Promise<void> {
    let update = new MapUpdate(this.#state);
    for (const range of ranges) {
      const info = this.#state.components.at(range.component);
      if (info === undefined || info.deleting) continue;
      for (const page of this.#pagesOfRange(info, range)) {
        const first = Math.max(range.start, page * PAGE_BLOCKS);
        const end = Math.min(range.end, (page + 1) * PAGE_BLOCKS);
        const marker = markerOf(range.location);
        for (let block = first; block < end; block++)
          update.mark(info, block, range.sequence, marker);
        if (update.pageCount >= PAGES_PER_UPDATE_MAX) {
          await update.commit(() => {});
          update = new MapUpdate(this.#state);
        }
      }
    }
    if (update.pageCount > 0) await update.commit(() => {});
  }

  /** Holes need only the pages that exist; allocated zeroes need all. */
  *#pagesOfRange(info: ComponentInfo, range: PendingRange): Generator<number> {
    const first = Math.floor(range.start / PAGE_BLOCKS);
    const last = Math.floor((range.end - 1) / PAGE_BLOCKS);
    if (range.location === LOCATION_ZERO) {
      for (let page = first; page <= last; page++) yield page;
      return;
    }
    let next = first;
    while (next <= last) {
      const pages = knownPages(this.#state, info.index, next, last);
      yield* pages;
      if (pages.length < PAGES_FOUND_MAX) return;
      next = pages.at(-1)! + 1;
    }
  }
}

function dataKeysOf(batch: DestageBatch): number[] {
  const keys: number[] = [];
  for (let i = 0; i < batch.keys.length; i++) {
    if (batch.locationOf(batch.keys[i]!) >= 0) keys.push(batch.keys[i]!);
  }
  return keys;
}

function locationsOf(batch: DestageBatch, keys: readonly number[]): number[] {
  return keys.map((key) => batch.locationOf(key));
}

function markerOf(location: number): number {
  if (location === LOCATION_DAMAGED) return PHYSICAL_DAMAGED;
  if (location === LOCATION_ZERO) return PHYSICAL_ZERO;
  assert(location === LOCATION_HOLE, "location is not a marker");
  return PHYSICAL_HOLE;
}
