/**
 * Reads of a component: from the journal's memory what is not destaged, zeroes for holes, from the
 * block cache what is there, the rest from the disk in runs as long as possible. Every block from
 * the disk is checked against the checksum in its logical entry before anybody sees it.
 *
 * Memory that another process can change is read into all the same, since that saves a copy. What
 * is found there is believed only if it is right; if not, the other process may have changed it,
 * and the blocks are read again into memory of our own, which decides.
 *
 * A block that somebody else is reading into the cache already is waited for, and taken from there:
 * machines that start from copies of one image read each block once.
 *
 * Slots are pooled; nothing is allocated per block.
 */
import { assert, assertDefined, BLOCK_SIZE_BYTES, marks } from "../base/index.ts";
import { DISK_REQUESTS_MAX } from "../ports/index.ts";
import type { DiskFault, DiskMemory } from "../ports/index.ts";
import { PHYSICAL_DAMAGED, PHYSICAL_MAX } from "../format/index.ts";
import { BlockFills } from "./block-fills.ts";
import type { ComponentDone } from "./component.ts";
import type { ComponentInfo } from "./component-table.ts";
import type { DeviceState } from "./device-state.ts";
import { checksumOf, entryOffset, pageOf, physicalOf } from "./logical-map.ts";
import { LOCATION_DAMAGED, LOCATION_NONE } from "./pending-blocks.ts";
import { isPlacedLocation } from "./placed-blocks.ts";
import { CACHED_READ_BLOCKS_MAX, READ_BLOCKS_MAX, ReadSlot } from "./read-slot.ts";

/**
 * Requests that the disk has of reads at once; the rest is for everything else. Clients may ask for
 * far more: blocks that lie scattered take one request each.
 */
const DISK_READS_MAX = DISK_REQUESTS_MAX / 2;

export class Reader {
  readonly #state: DeviceState;
  readonly #slots: ReadSlot[] = [];
  readonly #free: ReadSlot[] = [];
  /** Finished without the disk, to be told at the end of the turn. */
  #ready: ReadSlot[] = [];
  #drainScheduled = false;
  #isDiskGone = false;
  /** Reads whose target another process has changed. The first of them is being read again. */
  readonly #secondLooks: ReadSlot[] = [];
  readonly #fills = new BlockFills();
  #own: DiskMemory | undefined;
  /** Of the disk, and reads that wait until it has fewer. */
  #requestsUnderWay = 0;
  #line: ReadSlot[] = [];

  constructor(state: DeviceState) {
    this.#state = state;
  }

  get active(): number {
    return this.#slots.length - this.#free.length;
  }

  read(
    info: ComponentInfo,
    request: { target: DiskMemory; targetAt: number; blockIndex: number; blockCount: number },
    done: ComponentDone,
    token: number,
  ): void {
    const { blockIndex, blockCount } = request;
    assert(blockCount >= 1 && blockCount <= READ_BLOCKS_MAX, "read length out of range");
    assert(blockIndex + blockCount <= info.blockCount, "read beyond the component");
    const slot = this.#free.pop() ?? this.#newSlot();
    slot.info = info;
    slot.blockIndex = blockIndex;
    slot.blockCount = blockCount;
    slot.target = request.target;
    slot.targetAt = request.targetAt;
    slot.into = request.target;
    slot.intoAt = request.targetAt;
    slot.diskBlocks = 0;
    slot.waitCount = 0;
    slot.waitsLeft = 0;
    slot.fault = undefined;
    slot.done = done;
    slot.token = token;
    this.#collect(slot);
    if (slot.diskBlocks === 0 || slot.fault !== undefined) this.#finishLater(slot);
    else {
      slot.stamp = this.#state.readStamps.begin();
      this.#shareFills(slot);
      if (slot.diskBlocks > 0) this.#startDisk(slot);
    }
  }

  /**
   * Reads what the block cache has, and holes. False: something of it is elsewhere, damaged or in
   * the journal. A short way for what virtual machines do most.
   */
  readNow(
    info: ComponentInfo,
    target: Uint8Array,
    targetAt: number,
    blockIndex: number,
    blockCount: number,
  ): boolean {
    const { pending, logical, blockCache, counters } = this.#state;
    assert(blockIndex + blockCount <= info.blockCount, "read beyond the component");
    if (blockCount > CACHED_READ_BLOCKS_MAX) return false;
    const nothingPending = pending.isEmpty;
    let page = -1;
    let pageAt = 0;
    for (let i = 0; i < blockCount; i++) {
      const block = blockIndex + i;
      if (!nothingPending && pending.locate(info.index, block) !== LOCATION_NONE) return false;
      if (pageOf(block) !== page) {
        page = pageOf(block);
        pageAt = logical.load(info.index, page);
      }
      const at = targetAt + i * BLOCK_SIZE_BYTES;
      const physical = physicalOf(logical.entries, pageAt + entryOffset(block));
      if (physical >= PHYSICAL_MAX) {
        if (physical === PHYSICAL_DAMAGED) return false;
        target.fill(0, at, at + BLOCK_SIZE_BYTES);
      } else {
        // A miss counts when the block is read.
        if (!blockCache.has(physical)) return false;
        blockCache.copyTo(physical, target, at);
        counters.blocksFromMemory++;
      }
    }
    return true;
  }

  /** Leaves to others what they are reading, and lets them wait for the rest. */
  #shareFills(slot: ReadSlot): void {
    slot.isFilling = slot.blockCount <= CACHED_READ_BLOCKS_MAX && this.#state.blockCache.isEnabled;
    if (!slot.isFilling) return;
    let kept = 0;
    for (let i = 0; i < slot.diskBlocks; i++) {
      const physical = slot.physical[i]!;
      if (this.#fills.begin(physical)) {
        slot.physical[kept] = physical;
        slot.checksum[kept] = slot.checksum[i]!;
        slot.position[kept] = slot.position[i]!;
        kept++;
        continue;
      }
      const wait = slot.waitCount++;
      slot.waitPhysical[wait] = physical;
      slot.waitChecksum[wait] = slot.checksum[i]!;
      slot.waitPosition[wait] = slot.position[i]!;
      this.#fills.wait(physical, slot.index * CACHED_READ_BLOCKS_MAX + wait);
    }
    slot.diskBlocks = kept;
    slot.waitsLeft = slot.waitCount;
  }

  /** Tells those who waited for the blocks that this read was to put into the cache. */
  #endFills(slot: ReadSlot): void {
    if (!slot.isFilling) return;
    slot.isFilling = false;
    for (let i = 0; i < slot.diskBlocks; i++) {
      const physical = slot.physical[i]!;
      for (const ticket of this.#fills.end(physical)) this.#filled(ticket, physical);
    }
  }

  #filled(ticket: number, physical: number): void {
    const slot = this.#slots[Math.floor(ticket / CACHED_READ_BLOCKS_MAX)]!;
    const wait = ticket % CACHED_READ_BLOCKS_MAX;
    const { blockCache, counters } = this.#state;
    const at = slot.targetAt + slot.waitPosition[wait]! * BLOCK_SIZE_BYTES;
    const isThere = blockCache.copyTo(physical, slot.target!.bytes, at);
    slot.waitFailed[wait] = isThere ? 0 : 1;
    if (isThere) counters.blocksFromMemory++;
    slot.waitsLeft--;
    this.#settle(slot);
  }

  /** Finishes the read, unless something of it is not there yet. */
  #settle(slot: ReadSlot): void {
    if (slot.isReading || slot.waitsLeft > 0) return;
    if (slot.fault === undefined && slot.waitCount > 0 && this.#readWhatFailed(slot)) return;
    this.#state.readStamps.end(slot.stamp, this.#state.space);
    this.#finish(slot);
  }

  /** What others could not put into the cache, or the cache has lost again. False if nothing. */
  #readWhatFailed(slot: ReadSlot): boolean {
    slot.diskBlocks = 0;
    for (let wait = 0; wait < slot.waitCount; wait++) {
      if (slot.waitFailed[wait] === 0) continue;
      slot.physical[slot.diskBlocks] = slot.waitPhysical[wait]!;
      slot.checksum[slot.diskBlocks] = slot.waitChecksum[wait]!;
      slot.position[slot.diskBlocks] = slot.waitPosition[wait]!;
      slot.diskBlocks++;
    }
    slot.waitCount = 0;
    slot.isFilling = false;
    if (slot.diskBlocks === 0) return false;
    slot.into = slot.target;
    slot.intoAt = slot.targetAt;
    this.#startDisk(slot);
    this.#state.disk.submit();
    return true;
  }

  #newSlot(): ReadSlot {
    const slot = new ReadSlot(this.#slots.length);
    this.#slots.push(slot);
    return slot;
  }

  /** Serves what is in memory and notes what the disk has to give. */
  #collect(slot: ReadSlot): void {
    const { pending, journal, logical, counters } = this.#state;
    const component = slot.info!.index;
    const target = slot.target!.bytes;
    const nothingPending = pending.isEmpty;
    let page = -1;
    let pageAt = 0;
    for (let i = 0; i < slot.blockCount; i++) {
      const blockIndex = slot.blockIndex + i;
      const at = slot.targetAt + i * BLOCK_SIZE_BYTES;
      const location = nothingPending ? LOCATION_NONE : pending.locate(component, blockIndex);
      if (isPlacedLocation(location)) {
        this.#collectPlaced(slot, i, location);
        continue;
      }
      if (location >= 0) {
        const from = location * BLOCK_SIZE_BYTES;
        target.set(journal.memory.bytes.subarray(from, from + BLOCK_SIZE_BYTES), at);
        counters.blocksFromMemory++;
        continue;
      }
      if (location !== LOCATION_NONE) {
        if (location === LOCATION_DAMAGED) slot.fault = "read-error";
        target.fill(0, at, at + BLOCK_SIZE_BYTES);
        continue;
      }
      if (pageOf(blockIndex) !== page) {
        page = pageOf(blockIndex);
        pageAt = logical.load(component, page);
      }
      const entry = pageAt + entryOffset(blockIndex);
      const physical = physicalOf(logical.entries, entry);
      if (physical >= PHYSICAL_MAX) {
        if (physical === PHYSICAL_DAMAGED) slot.fault = "read-error";
        target.fill(0, at, at + BLOCK_SIZE_BYTES);
        continue;
      }
      this.#collectStored(slot, i, physical, checksumOf(logical.entries, entry));
    }
  }

  #collectStored(slot: ReadSlot, position: number, physical: number, checksum: number): void {
    const { blockCache, counters } = this.#state;
    const at = slot.targetAt + position * BLOCK_SIZE_BYTES;
    if (blockCache.copyTo(physical, slot.target!.bytes, at)) {
      counters.blocksFromMemory++;
      return;
    }
    slot.physical[slot.diskBlocks] = physical;
    slot.checksum[slot.diskBlocks] = checksum;
    slot.position[slot.diskBlocks] = position;
    slot.diskBlocks++;
  }

  /** A block of a large write: in staging memory at first, then where it will stay. */
  #collectPlaced(slot: ReadSlot, position: number, location: number): void {
    const { journal, counters } = this.#state;
    const { placed } = journal;
    const at = slot.targetAt + position * BLOCK_SIZE_BYTES;
    if (placed.copyTo(location, slot.target!.bytes, at)) {
      counters.blocksFromMemory++;
      return;
    }
    this.#collectStored(slot, position, placed.placeOf(location), placed.checksumOf(location));
  }

  #startDisk(slot: ReadSlot): void {
    slot.isReading = true;
    if (this.#line.length === 0 && this.#hasRoom(slot)) return this.#readRuns(slot);
    marks.hit("a read waited for its turn at the disk");
    this.#line.push(slot);
  }

  #hasRoom(slot: ReadSlot): boolean {
    return this.#requestsUnderWay + slot.diskBlocks <= DISK_READS_MAX;
  }

  #startWaiting(): void {
    let started = 0;
    while (started < this.#line.length && this.#hasRoom(this.#line[started]!))
      this.#readRuns(this.#line[started++]!);
    if (started === 0) return;
    this.#line.splice(0, started);
    this.#state.disk.submit();
  }

  /** Reads runs of blocks that are neighbours both on the disk and in the target. */
  #readRuns(slot: ReadSlot): void {
    const { disk, superblock, counters } = this.#state;
    counters.blocksRead += slot.diskBlocks;
    slot.runsLeft = 0;
    let start = 0;
    for (let i = 1; i <= slot.diskBlocks; i++) {
      const isNeighbour =
        i < slot.diskBlocks &&
        slot.physical[i] === slot.physical[i - 1]! + 1 &&
        slot.position[i] === slot.position[i - 1]! + 1;
      if (isNeighbour) continue;
      slot.runsLeft++;
      disk.read(
        slot.into!,
        slot.intoAt + slot.position[start]! * BLOCK_SIZE_BYTES,
        (i - start) * BLOCK_SIZE_BYTES,
        superblock.blocksOffset + slot.physical[start]! * BLOCK_SIZE_BYTES,
        this.#diskDone,
        slot.index,
      );
      start = i;
    }
    this.#requestsUnderWay += slot.runsLeft;
  }

  readonly #diskDone = (token: number, fault: DiskFault | undefined): void => {
    const slot = this.#slots[token]!;
    this.#requestsUnderWay--;
    if (this.#line.length > 0) this.#startWaiting();
    if (fault !== undefined) slot.fault = "read-error";
    if (fault === "gone") this.#diskGone();
    slot.runsLeft--;
    if (slot.runsLeft > 0) return;
    if (slot.fault !== undefined) this.#reportUnreadable(slot);
    else if (slot.into!.isShared !== true) this.#verify(slot);
    else if (!this.#isRightInShared(slot)) {
      this.#lookAgain(slot);
      return;
    }
    const isSecondLook = slot.into !== slot.target;
    if (isSecondLook) this.#copyToTarget(slot);
    this.#endFills(slot);
    slot.isReading = false;
    this.#settle(slot);
    if (isSecondLook) this.#nextSecondLook();
  };

  /**
   * Reads the blocks again, into memory of our own. The read's stamp stays: they are not reused.
   */
  #lookAgain(slot: ReadSlot): void {
    this.#secondLooks.push(slot);
    if (this.#secondLooks.length === 1) this.#startSecondLook(slot);
  }

  #startSecondLook(slot: ReadSlot): void {
    this.#own ??= this.#state.disk.allocate(READ_BLOCKS_MAX * BLOCK_SIZE_BYTES);
    slot.into = this.#own;
    slot.intoAt = 0;
    this.#startDisk(slot);
    this.#state.disk.submit();
  }

  #nextSecondLook(): void {
    this.#secondLooks.shift();
    const [next] = this.#secondLooks;
    if (next !== undefined) this.#startSecondLook(next);
  }

  #copyToTarget(slot: ReadSlot): void {
    if (slot.fault !== undefined) return;
    const { bytes } = assertDefined(this.#own, "a second look has memory");
    const target = slot.target!.bytes;
    for (let i = 0; i < slot.diskBlocks; i++) {
      const from = slot.position[i]! * BLOCK_SIZE_BYTES;
      target.set(bytes.subarray(from, from + BLOCK_SIZE_BYTES), slot.targetAt + from);
    }
  }

  /** What enters the cache is looked at there, where nobody else can change it. */
  #isRightInShared(slot: ReadSlot): boolean {
    const { digests, blockCache } = this.#state;
    const { bytes } = slot.target!;
    const mayCache = this.#mayCache(slot);
    for (let i = 0; i < slot.diskBlocks; i++) {
      const at = slot.targetAt + slot.position[i]! * BLOCK_SIZE_BYTES;
      const cachedAt = mayCache ? blockCache.put(slot.physical[i]!, bytes, at) : -1;
      const looked = cachedAt < 0 ? bytes : blockCache.bytes;
      const from = cachedAt < 0 ? at : cachedAt;
      if (digests.crc32c(looked, from, from + BLOCK_SIZE_BYTES) === slot.checksum[i]) continue;
      if (cachedAt >= 0) blockCache.remove(slot.physical[i]!);
      return false;
    }
    return true;
  }

  /**
   * What was published meanwhile may have freed a block: its number may not enter the cache then.
   */
  #mayCache(slot: ReadSlot): boolean {
    const { readStamps } = this.#state;
    return slot.blockCount <= CACHED_READ_BLOCKS_MAX && readStamps.isCurrent(slot.stamp);
  }

  #verify(slot: ReadSlot): void {
    const { digests, blockCache } = this.#state;
    const { bytes } = slot.into!;
    const mayCache = this.#mayCache(slot);
    for (let i = 0; i < slot.diskBlocks; i++) {
      const at = slot.intoAt + slot.position[i]! * BLOCK_SIZE_BYTES;
      if (digests.crc32c(bytes, at, at + BLOCK_SIZE_BYTES) !== slot.checksum[i]) {
        slot.fault = "read-error";
        this.#state.counters.checksumErrors++;
        this.#damaged(slot, i, "its contents do not match their checksum");
      } else if (mayCache) {
        blockCache.put(slot.physical[i]!, bytes, at);
      }
    }
  }

  /** Whoever waits for it need not wait for a write to find out. No block of it is damaged. */
  #diskGone(): void {
    const { journal } = this.#state;
    this.#isDiskGone = true;
    if (journal.hasFailed) return;
    marks.hit("a dead disk was found by a client's read");
    journal.fail();
  }

  #reportUnreadable(slot: ReadSlot): void {
    this.#state.counters.readErrors++;
    if (this.#isDiskGone) return;
    if (slot.diskBlocks === 1) return this.#damaged(slot, 0, "the device could not read it");
    this.#state.emit({
      kind: "block-damaged",
      level: "error",
      message: `the device could not read one of ${slot.diskBlocks} blocks`,
      details: {
        componentId: slot.info!.componentId,
        blockIndex: slot.blockIndex,
        blockCount: slot.blockCount,
      },
    });
  }

  #damaged(slot: ReadSlot, i: number, reason: string): void {
    this.#state.blockDamaged({
      component: slot.info!.index,
      blockIndex: slot.blockIndex + slot.position[i]!,
      physical: slot.physical[i]!,
      reason,
    });
  }

  #finishLater(slot: ReadSlot): void {
    this.#ready.push(slot);
    if (this.#drainScheduled) return;
    this.#drainScheduled = true;
    void Promise.resolve().then(this.drain);
  }

  /** Tells everybody whose read needed no disk. Called at the end of a turn. */
  readonly drain = (): void => {
    this.#drainScheduled = false;
    if (this.#ready.length === 0) return;
    const ready = this.#ready;
    this.#ready = [];
    for (const slot of ready) this.#finish(slot);
  };

  #finish(slot: ReadSlot): void {
    const { done, token, fault } = slot;
    assert(done !== undefined, "a read finished twice");
    slot.done = undefined;
    slot.target = undefined;
    slot.into = undefined;
    slot.info = undefined;
    this.#free.push(slot);
    done(token, fault);
  }
}
