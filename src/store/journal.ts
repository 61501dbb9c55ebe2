/**
 * The journal's writing side: group commit.
 *
 * Records gather in the open frame, in memory that mirrors a segment of the disk byte for byte.
 * While groups of frames are being written and flushed, the next gathers; when a flush is done,
 * everybody in the groups that it covers is told and the next one leaves. One write and one flush
 * therefore serve every transaction that arrived meanwhile, whatever its component.
 *
 * The memory keeps payloads until they are destaged: it is also where reads find them. When all
 * memory segments hold undestaged data `append` refuses, which is how slow devices push back.
 *
 * Invariants: a frame is durable only if all frames before it are; at most two groups are under
 * way; a segment's memory is given up only when every frame in it is destaged, durably.
 */
import { assert, BLOCK_SIZE_BYTES, isZero, marks, setU32 } from "../base/index.ts";
import type { Disk, DiskFault, DiskMemory } from "../ports/index.ts";
import {
  encodeRecord,
  FRAME_BLOCKS_MAX,
  frameFits,
  NOT_PLACED,
  payloadChecksumAt,
  recordAt,
  RECORD_DATA,
  sealFrame,
} from "../format/index.ts";
import type { RecordHeader } from "../format/index.ts";
import type { JournalGeometry, JournalPosition } from "./journal-geometry.ts";
import { JournalWaiters } from "./journal-waiters.ts";
import type { JournalTicket } from "./journal-waiters.ts";
import { isPlacedLocation, ZERO_BLOCK_CHECKSUM } from "./placed-blocks.ts";
import type { PlacedBlocks, PlacedRun } from "./placed-blocks.ts";
import { PlacedWrites } from "./placed-writes.ts";

type Crc = (bytes: Uint8Array, start: number, end: number) => number;

const NO_FRAME = -1;
/**
 * Groups that are written and flushed at once. Two: what arrives while one is on its way need not
 * wait for the end of it, and a group is still large enough to be worth a flush.
 */
const GROUPS_MAX = 2;

interface Group {
  readonly id: number;
  readonly lastFrame: number;
  readonly waiterCount: number;
  readonly placedRuns: number;
  writesLeft: number;
  flushesLeft: number;
  isFlushing: boolean;
}

export class Journal {
  readonly memory: DiskMemory;
  readonly placed: PlacedBlocks;
  readonly placedWrites: PlacedWrites;
  readonly geometry: JournalGeometry;
  readonly memorySegments: number;
  readonly segmentBlocks: number;
  /** CRC32C of each block of memory that holds payload. */
  readonly checksums: Uint32Array;
  /** Per memory segment: its generation, or -1 if it is free. */
  readonly slotGeneration: Float64Array;
  /** Per memory segment: blocks filled with closed frames. */
  readonly slotUsed: Int32Array;
  /** Per memory segment: the last frame that begins in it. */
  readonly slotLastFrame: Float64Array;

  readonly #disk: Disk;
  readonly #crc: Crc;
  readonly #incarnation: number;
  #generation: number;
  #slot: number;
  #frameNext: number;
  #durableFrame: number;
  #destagedFrame: number;
  #failed = false;

  /** The open frame: first block (in memory), records and payload so far. */
  #openAt = NO_FRAME;
  #openRecords = 0;
  #openPayload = 0;
  #openPlaced = 0;

  /** Closed frames not yet handed to the disk: runs of memory blocks. */
  readonly #sealed: { slot: number; from: number; to: number }[] = [];
  /** Payload that belongs to them, and to the open frame, and goes to the block store. */
  #placedRuns: PlacedRun[] = [];
  /** Under way, oldest first. */
  #groups: Group[] = [];
  #groupSerial = 0;

  /** The first ones belong to the groups under way. */
  readonly #waiters = new JournalWaiters();

  /** Who wants to know when everything up to a frame is durable. */
  #durableCallbacks: { readonly frame: number; readonly callback: () => void }[] = [];

  #payloadBlocksHeld = 0;
  frames = 0;
  records = 0;
  groups = 0;
  bytesWritten = 0;
  #onGroupDone: () => void = () => {};

  constructor(
    disk: Disk,
    crc: Crc,
    geometry: JournalGeometry,
    start: JournalPosition & { memory: DiskMemory; memorySegments: number },
    placed: PlacedBlocks,
  ) {
    assert(start.memorySegments < geometry.segmentCount, "journal memory exceeds the journal");
    this.#disk = disk;
    this.#crc = crc;
    this.placed = placed;
    this.placedWrites = new PlacedWrites(disk, placed, geometry.blocksOffset);
    this.geometry = geometry;
    this.memory = start.memory;
    this.memorySegments = start.memorySegments;
    this.segmentBlocks = geometry.segmentBytes / BLOCK_SIZE_BYTES;
    assert(this.segmentBlocks >= FRAME_BLOCKS_MAX, "a segment holds at least one frame");
    this.checksums = new Uint32Array(this.segmentBlocks * this.memorySegments);
    this.slotGeneration = new Float64Array(this.memorySegments).fill(-1);
    this.slotUsed = new Int32Array(this.memorySegments);
    this.slotLastFrame = new Float64Array(this.memorySegments);
    this.#incarnation = start.incarnation;
    this.#generation = start.generation;
    this.#frameNext = start.frameNext;
    this.#durableFrame = start.frameNext - 1;
    this.#destagedFrame = start.frameNext - 1;
    this.#slot = -1;
  }

  get durableFrame(): number {
    return this.#durableFrame;
  }

  get destagedFrame(): number {
    return this.#destagedFrame;
  }

  get generation(): number {
    return this.#generation;
  }

  get hasFailed(): boolean {
    return this.#failed;
  }

  /** Payload blocks whose memory is not given up yet. */
  get payloadBlocksHeld(): number {
    return this.#payloadBlocksHeld;
  }

  get usedSegments(): number {
    let used = 0;
    for (const generation of this.slotGeneration) if (generation >= 0) used++;
    return used;
  }

  onGroupDone(callback: () => void): void {
    this.#onGroupDone = callback;
  }

  /** Takes over a segment that recovery has read into memory slot `slot`. */
  adopt(
    slot: number,
    segment: { generation: number; used: number; lastFrame: number; payload: number },
  ): void {
    assert(this.slotGeneration[slot] === -1, "memory segment is in use");
    this.slotGeneration[slot] = segment.generation;
    this.slotUsed[slot] = segment.used;
    this.slotLastFrame[slot] = segment.lastFrame;
    this.#payloadBlocksHeld += segment.payload;
  }

  /** Recovery's frames are durable, and none of them counts as destaged above `frame`. */
  resumeDestageAfter(frame: number): void {
    this.#destagedFrame = frame;
  }

  /**
   * Adds a record. Returns the memory block of its payload (meaningless for records without), or -1
   * if there is no room now. The payload is copied here; its checksums are computed here.
   */
  append(
    record: RecordHeader,
    payload: { readonly bytes: Uint8Array; readonly at: number } | undefined,
    ticket: JournalTicket,
  ): number {
    const payloadBlocks = record.kind === RECORD_DATA ? record.blockCount : 0;
    if (!this.#makeRoom(payloadBlocks, 0)) return -1;
    const frameAt = this.#openAt;
    record.place = NOT_PLACED;
    this.#addRecord(record, this.#openPayload, ticket);
    const memory = this.memory.bytes;
    const first = frameAt + 1 + this.#openPayload;
    if (payload !== undefined) {
      const bytes = payloadBlocks * BLOCK_SIZE_BYTES;
      memory.set(
        payload.at === 0 && payload.bytes.length === bytes
          ? payload.bytes
          : payload.bytes.subarray(payload.at, payload.at + bytes),
        first * BLOCK_SIZE_BYTES,
      );
      this.#checksumPayload(frameAt, first, payloadBlocks);
      this.#openPayload += payloadBlocks;
      this.#payloadBlocksHeld += payloadBlocks;
    }
    return first;
  }

  #addRecord(record: RecordHeader, payloadIndex: number, ticket: JournalTicket): void {
    record.payloadIndex = payloadIndex;
    const frameAt = this.#openAt * BLOCK_SIZE_BYTES;
    encodeRecord(record, this.memory.bytes, recordAt(frameAt, this.#openRecords));
    this.#openRecords++;
    this.#waiters.push(ticket, record.sequence);
    this.records++;
  }

  /**
   * As `append`, for a record whose payload goes to the block store: returns its location. The
   * caller has made sure that `placed` has room; -1 if the journal has none, or if no run of free
   * blocks is long enough and `append` has to do.
   */
  appendPlaced(
    record: RecordHeader,
    payload: { readonly bytes: Uint8Array; readonly at: number },
    ticket: JournalTicket,
  ): number {
    const { blockCount } = record;
    if (!this.#makeRoom(0, blockCount)) return -1;
    const run = this.placed.put(payload.bytes, payload.at, blockCount);
    if (run === undefined) return -1;
    record.place = run.place;
    this.#addRecord(record, this.#openPlaced, ticket);
    const location = this.placed.locationAt(run.place);
    const frameAt = this.#openAt * BLOCK_SIZE_BYTES;
    for (let i = 0; i < blockCount; i++) {
      const at = payloadChecksumAt(frameAt, this.#openPlaced + i);
      setU32(this.memory.bytes, at, this.placed.checksumOf(location + i));
    }
    this.#openPlaced += blockCount;
    this.#placedRuns.push(run);
    return location;
  }

  /** Location of a record's first payload block, `frameAt` being the memory block of its frame. */
  locationOf(record: RecordHeader, frameAt: number): number {
    return record.place === NOT_PLACED
      ? frameAt + 1 + record.payloadIndex
      : this.placed.locationAt(record.place);
  }

  isZeroAt(location: number): boolean {
    if (isPlacedLocation(location)) return this.placed.isZeroAt(location);
    const start = location * BLOCK_SIZE_BYTES;
    return (
      this.checksums[location] === ZERO_BLOCK_CHECKSUM &&
      isZero(this.memory.bytes, start, start + BLOCK_SIZE_BYTES)
    );
  }

  checksumOf(location: number): number {
    return isPlacedLocation(location)
      ? this.placed.checksumOf(location)
      : this.checksums[location]!;
  }

  #checksumPayload(frameAt: number, first: number, blocks: number): void {
    const memory = this.memory.bytes;
    for (let i = 0; i < blocks; i++) {
      const start = (first + i) * BLOCK_SIZE_BYTES;
      const checksum = this.#crc(memory, start, start + BLOCK_SIZE_BYTES);
      this.checksums[first + i] = checksum;
      const index = this.#openPayload + i;
      setU32(memory, payloadChecksumAt(frameAt * BLOCK_SIZE_BYTES, index), checksum);
    }
  }

  /** Whether `append` of a record with this payload would succeed now. Opens a frame if needed. */
  #makeRoom(payloadBlocks: number, placedBlocks: number): boolean {
    if (this.#failed) return false;
    if (this.#openAt !== NO_FRAME) {
      const payload = this.#openPayload + payloadBlocks;
      const placed = this.#openPlaced + placedBlocks;
      const end = this.#openAt + 1 + payload + 1;
      const segmentEnd = (this.#slot + 1) * this.segmentBlocks;
      // Payload and checksums have the same index: a frame has payload of one kind only.
      const isMixed = payload > 0 && placed > 0;
      const fits = !isMixed && frameFits(this.#openRecords + 1, payload, placed);
      if (fits && end <= segmentEnd) return true;
      this.#closeFrame();
    }
    if (this.#slot < 0 || this.slotUsed[this.#slot]! + payloadBlocks + 2 > this.segmentBlocks) {
      if (!this.#nextSegment()) return false;
    }
    this.#openFrame();
    return true;
  }

  #nextSegment(): boolean {
    if (this.#slot >= 0 && this.slotLastFrame[this.#slot]! <= this.#destagedFrame) {
      this.slotGeneration[this.#slot] = -1;
    }
    const free = this.slotGeneration.indexOf(-1);
    if (free < 0) return false;
    if (this.#slot >= 0) this.#generation++;
    this.#slot = free;
    this.slotGeneration[free] = this.#generation;
    this.slotUsed[free] = 0;
    this.slotLastFrame[free] = 0;
    return true;
  }

  #openFrame(): void {
    this.#openAt = this.#slot * this.segmentBlocks + this.slotUsed[this.#slot]!;
    this.#openRecords = 0;
    this.#openPayload = 0;
    this.#openPlaced = 0;
    const start = this.#openAt * BLOCK_SIZE_BYTES;
    this.memory.bytes.fill(0, start, start + BLOCK_SIZE_BYTES);
  }

  #closeFrame(): void {
    const head = this.#openAt * BLOCK_SIZE_BYTES;
    const tailBlock = this.#openAt + 1 + this.#openPayload;
    const frameNumber = this.#frameNext++;
    sealFrame(
      this.memory.bytes,
      head,
      {
        recordCount: this.#openRecords,
        payloadBlocks: this.#openPayload,
        placedBlocks: this.#openPlaced,
        frameNumber,
        generation: this.#generation,
        durableFrame: this.#durableFrame,
        incarnation: this.#incarnation,
        deviceTag: this.geometry.deviceTag,
      },
      this.#crc,
    );
    this.memory.bytes.copyWithin(tailBlock * BLOCK_SIZE_BYTES, head, head + BLOCK_SIZE_BYTES);
    const end = tailBlock + 1;
    const last = this.#sealed.at(-1);
    if (last !== undefined && last.slot === this.#slot) last.to = end;
    else this.#sealed.push({ slot: this.#slot, from: this.#openAt, to: end });
    this.slotUsed[this.#slot] = end - this.#slot * this.segmentBlocks;
    this.slotLastFrame[this.#slot] = frameNumber;
    this.#openAt = NO_FRAME;
    this.frames++;
  }

  /** Closes the open frame: what is appended from now on lies in later frames. */
  seal(): number {
    if (this.#openAt !== NO_FRAME) this.#closeFrame();
    return this.#frameNext - 1;
  }

  /** Starts writing what has gathered, unless enough is under way: then the end of that does it. */
  submit(): void {
    if (this.#groups.length >= GROUPS_MAX || this.#failed) return;
    if (this.#openAt !== NO_FRAME) this.#closeFrame();
    if (this.#sealed.length === 0) return;
    const inGroups = this.#groups.reduce((sum, group) => sum + group.waiterCount, 0);
    const group: Group = {
      id: ++this.#groupSerial,
      lastFrame: this.#frameNext - 1,
      waiterCount: this.#waiters.count - inGroups,
      placedRuns: this.#placedRuns.length,
      writesLeft: this.#sealed.length + (this.#placedRuns.length > 0 ? 1 : 0),
      flushesLeft: 0,
      isFlushing: false,
    };
    this.#groups.push(group);
    this.groups++;
    for (const run of this.#sealed.splice(0)) {
      const generation = this.slotGeneration[run.slot]!;
      const segment = generation % this.geometry.segmentCount;
      const at = run.from - run.slot * this.segmentBlocks;
      const bytes = (run.to - run.from) * BLOCK_SIZE_BYTES;
      this.bytesWritten += bytes;
      this.#disk.write(
        this.memory,
        run.from * BLOCK_SIZE_BYTES,
        bytes,
        this.geometry.offset + segment * this.geometry.segmentBytes + at * BLOCK_SIZE_BYTES,
        this.#written,
        group.id,
      );
    }
    if (group.placedRuns > 0) this.placedWrites.write(group.id, this.#placedRuns, this.#written);
    this.#placedRuns = [];
    this.#disk.submit();
    this.placed.fingerprint();
  }

  /** Resolves when everything appended so far is durable, or never will be: see `hasFailed`. */
  whenDurable(): Promise<void> {
    const frame = this.seal();
    this.submit();
    if (this.#failed || this.#durableFrame >= frame) return Promise.resolve();
    return new Promise((callback) => void this.#durableCallbacks.push({ frame, callback }));
  }

  #tellDurable(): void {
    if (this.#durableCallbacks.length === 0) return;
    const isOver = (frame: number): boolean => this.#failed || frame <= this.#durableFrame;
    const over = this.#durableCallbacks.filter(({ frame }) => isOver(frame));
    this.#durableCallbacks = this.#durableCallbacks.filter(({ frame }) => !isOver(frame));
    for (const { callback } of over) callback();
  }

  readonly #written = (id: number, fault: DiskFault | undefined): void => {
    if (this.#failed) return;
    if (fault !== undefined) return this.fail();
    const group = this.#groups.find((one) => one.id === id);
    assert(group !== undefined, "a group ended before it was written");
    group.writesLeft--;
    this.#flushWritten();
  };

  /**
   * A flush covers the newest group that is written, if all before it are: it makes all durable.
   */
  #flushWritten(): void {
    let last: Group | undefined;
    for (const group of this.#groups) {
      if (group.writesLeft > 0) break;
      last = group;
    }
    if (last === undefined || last.isFlushing) return;
    last.isFlushing = true;
    last.flushesLeft = 1;
    const { offset, segmentBytes, segmentCount, blocksOffset, blockStoreBytes } = this.geometry;
    // It vouches for the groups before it, too, whose own flushes may not be over.
    const { id } = last;
    if (this.#groups.some((group) => group.id <= id && group.placedRuns > 0)) {
      last.flushesLeft++;
      this.#disk.flushRange(blocksOffset, blockStoreBytes, this.#flushed, id);
    }
    this.#disk.flushRange(offset, segmentBytes * segmentCount, this.#flushed, id);
    this.#disk.submit();
  }

  readonly #flushed = (id: number, fault: DiskFault | undefined): void => {
    if (this.#failed) return;
    // After a failed flush the kernel may have dropped the pages: nothing may be retried.
    if (fault !== undefined) return this.fail();
    const flushed = this.#groups.find((group) => group.id === id);
    // A later flush may have come first and have vouched for this group, too.
    if (flushed === undefined || --flushed.flushesLeft > 0) return;
    let waiterCount = 0;
    let placedRuns = 0;
    while (this.#groups.length > 0 && this.#groups[0]!.id <= id) {
      const group = this.#groups.shift()!;
      waiterCount += group.waiterCount;
      placedRuns += group.placedRuns;
      this.#durableFrame = group.lastFrame;
    }
    this.#waiters.tell(waiterCount, undefined);
    // Whoever hears of room may append and submit: not before the waiters above are counted out.
    if (placedRuns > 0) this.placed.durable(placedRuns);
    this.#tellDurable();
    this.#onGroupDone();
    this.submit();
  };

  /** What is under way will never be durable, and nothing more is taken. */
  fail(): void {
    marks.hit("a journal could not be written");
    this.#failed = true;
    this.#groups = [];
    this.#onGroupDone();
    this.#waiters.tell(this.#waiters.count, "write-error");
    this.#tellDurable();
  }

  /** Every frame up to `frame` is destaged, durably: segments that hold nothing newer are free. */
  release(frame: number): void {
    assert(frame <= this.#durableFrame, "destaged beyond what is durable");
    assert(frame >= this.#destagedFrame, "destage went backwards");
    this.#destagedFrame = frame;
    for (let slot = 0; slot < this.memorySegments; slot++) {
      if (this.slotGeneration[slot]! < 0 || slot === this.#slot) continue;
      if (this.slotLastFrame[slot]! > frame) continue;
      this.slotGeneration[slot] = -1;
    }
  }

  /** Payload that is destaged no longer counts as held. */
  releasePayload(blocks: number): void {
    this.#payloadBlocksHeld -= blocks;
    assert(this.#payloadBlocksHeld >= 0, "released more payload than was held");
  }
}
