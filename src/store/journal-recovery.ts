/**
 * Reading the journal at start.
 *
 * | frame that is due                | a later frame calls it durable | decision                          |
 * |----------------------------------|--------------------------------|-----------------------------------|
 * | head, tail and payload valid     | any                            | replay                            |
 * | head or tail valid, payload good | any                            | replay, report the bad copy       |
 * | head or tail valid, payload bad  | no                             | torn: the journal ends before it  |
 * | head or tail valid, payload bad  | yes                            | replay, damaged blocks read as errors |
 * | neither head nor tail valid      | no                             | the journal ends here             |
 * | neither head nor tail valid      | yes                            | refuse to start: `journal-damaged` |
 * | one before it, destaged already  | any                            | step over it, report it           |
 *
 * A frame names the highest frame that was durable when it was written, so a later frame decides
 * whether a bad one had been acknowledged. Nothing after a torn frame was.
 *
 * Each start writes into a new segment, beginning with the frame at which the journal ended for it.
 * What an earlier start has left in the segment before, from that frame on, is torn for ever:
 * it may look whole later, when its payload has been written to the same place again, or when the
 * disk can read it again.
 */
import {
  assert,
  BLOCK_SIZE_BYTES,
  CodedError,
  getU32,
  marks,
  setU16,
  setU32,
  setU64,
} from "../base/index.ts";
import type { Disk, DiskMemory } from "../ports/index.ts";
import { DiskRequests } from "../ports/index.ts";
import {
  decodeRecord,
  FRAME_BLOCKS_MAX,
  FrameHeaderLayout,
  newRecordHeader,
  NOT_PLACED,
  payloadChecksumAt,
  readFrameHeader,
  recordAt,
} from "../format/index.ts";
import type { FrameHeader, RecordHeader } from "../format/index.ts";
import type { JournalGeometry } from "./journal-geometry.ts";
import type { PlacedRecovery } from "./placed-recovery.ts";

/** Its head and its tail. */
const FRAME_BLOCKS_MIN = 2;

type Crc = (bytes: Uint8Array, start: number, end: number) => number;

/** A segment that holds frames to replay. `slot` is its place in the memory that was read into. */
export interface RecoveredSegment {
  readonly slot: number;
  readonly generation: number;
  used: number;
  lastFrame: number;
  payload: number;
}

export interface RecoveredJournal {
  readonly memory: DiskMemory;
  readonly memorySegments: number;
  readonly segments: readonly RecoveredSegment[];
  /** The last valid frame, or the checkpoint's if there is none. */
  readonly lastFrame: number;
  readonly lastGeneration: number;
  readonly repairs: readonly string[];
}

/** One record found. `damaged` says which of its payload blocks cannot be believed. */
export type RecordVisitor = (
  record: RecordHeader,
  payloadBlock: number,
  checksumOf: (index: number) => number,
  damaged: ReadonlySet<number>,
  frameNumber: number,
) => void;

interface Start {
  readonly generation: number;
  readonly frameNumber: number;
  readonly memorySegmentsWanted: number;
}

export class JournalRecovery {
  readonly #disk: Disk;
  readonly #requests: DiskRequests;
  readonly #crc: Crc;
  readonly #geometry: JournalGeometry;
  readonly #segmentBlocks: number;
  readonly #placed: PlacedRecovery;
  readonly #repairs: string[] = [];
  /** One segment, for looking ahead. */
  #scratch: DiskMemory | undefined;

  constructor(disk: Disk, crc: Crc, geometry: JournalGeometry, placed: PlacedRecovery) {
    this.#disk = disk;
    this.#placed = placed;
    this.#requests = new DiskRequests(disk);
    this.#crc = crc;
    this.#geometry = geometry;
    this.#segmentBlocks = geometry.segmentBytes / BLOCK_SIZE_BYTES;
  }

  /** Replays every frame after `start.frameNumber`, in order. */
  async replay(start: Start, visit: RecordVisitor): Promise<RecoveredJournal> {
    const chain = await this.#countGenerations(start.generation);
    const memorySegments = Math.max(
      start.memorySegmentsWanted,
      Math.min(chain + 2, this.#geometry.segmentCount - 1),
    );
    const memory = this.#disk.allocate(memorySegments * this.#geometry.segmentBytes);
    const segments: RecoveredSegment[] = [];
    let expected = start.frameNumber + 1;
    let incarnation = 0;
    let generation = start.generation;
    for (; segments.length < memorySegments; generation++) {
      const slot = segments.length;
      await this.#readSegment(memory, slot * this.#segmentBlocks, generation);
      const walk = await this.#walkSegment(
        memory,
        { slot, generation, expected, incarnation },
        visit,
      );
      // What lies wholly before the checkpoint needs no memory: a later segment may need its place.
      if (walk.segment !== undefined && walk.segment.lastFrame > start.frameNumber)
        segments.push(walk.segment);
      expected = walk.expected;
      incarnation = walk.incarnation;
      // A segment without a frame of the chain ends it; the first may lie wholly before the
      // checkpoint.
      if (walk.segment === undefined && generation > start.generation) break;
    }
    const lastGeneration = segments.at(-1)?.generation ?? start.generation;
    return {
      memory,
      memorySegments,
      segments,
      lastFrame: expected - 1,
      lastGeneration,
      // The first frame of a segment is looked at more than once.
      repairs: [...new Set(this.#repairs)],
    };
  }

  /**
   * How many successive segments begin with a frame of their generation: a bound for what to read.
   */
  async #countGenerations(first: number): Promise<number> {
    let count = 0;
    while (count < this.#geometry.segmentCount) {
      const frame = await this.#firstFrame(first + count);
      // The segment of the checkpoint may still be empty.
      if (frame === undefined && count > 0) break;
      count++;
    }
    return count;
  }

  /**
   * Where the next whole frame of the segment begins that is due, or comes before the one that is.
   */
  #headAhead(
    bytes: Uint8Array,
    base: number,
    used: number,
    { generation, expected }: { readonly generation: number; readonly expected: number },
  ): number | undefined {
    const headerAt = (block: number): FrameHeader | undefined =>
      block < this.#segmentBlocks
        ? this.#header(bytes, (base + block) * BLOCK_SIZE_BYTES)
        : undefined;
    for (let block = used + FRAME_BLOCKS_MIN; block + 2 <= this.#segmentBlocks; block++) {
      const head = headerAt(block);
      if (head?.generation !== generation || head.frameNumber > expected) continue;
      // Not the tail of one whose head is unreadable.
      const tail = headerAt(block + head.payloadBlocks + 1);
      if (tail?.frameNumber === head.frameNumber) return block;
    }
    return undefined;
  }

  /** The frame at the start of a segment, if it belongs to this generation. */
  async #firstFrame(generation: number): Promise<FrameHeader | undefined> {
    const blocks = Math.min(this.#segmentBlocks, FRAME_BLOCKS_MAX);
    const memory = this.#scratchMemory();
    await this.#readBlocks(memory, 0, generation, 0, blocks);
    return this.#frameAt(memory.bytes, 0, blocks, generation);
  }

  #scratchMemory(): DiskMemory {
    this.#scratch ??= this.#disk.allocate(this.#geometry.segmentBytes);
    return this.#scratch;
  }

  async #readSegment(memory: DiskMemory, intoBlock: number, generation: number): Promise<void> {
    await this.#readBlocks(memory, intoBlock, generation, 0, this.#segmentBlocks);
  }

  /** Unreadable blocks become zeroes, which no checksum accepts. */
  async #readBlocks(
    memory: DiskMemory,
    into: number,
    generation: number,
    from: number,
    count: number,
  ): Promise<void> {
    const { offset, segmentBytes, segmentCount } = this.#geometry;
    const at = offset + (generation % segmentCount) * segmentBytes + from * BLOCK_SIZE_BYTES;
    const target = into * BLOCK_SIZE_BYTES;
    try {
      await this.#requests.read(memory, target, count * BLOCK_SIZE_BYTES, at);
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== "read-error") throw error;
      if (count === 1) {
        memory.bytes.fill(0, target, target + BLOCK_SIZE_BYTES);
        this.#repairs.push(`journal block at byte ${at} is unreadable`);
        return;
      }
      for (let i = 0; i < count; i++)
        await this.#readBlocks(memory, into + i, generation, from + i, 1);
    }
  }

  #header(bytes: Uint8Array, at: number): FrameHeader | undefined {
    return readFrameHeader(bytes, at, this.#geometry.deviceTag, this.#crc);
  }

  async #walkSegment(
    memory: DiskMemory,
    from: { slot: number; generation: number; expected: number; incarnation: number },
    visit: RecordVisitor,
  ): Promise<{ segment: RecoveredSegment | undefined; expected: number; incarnation: number }> {
    const base = from.slot * this.#segmentBlocks;
    const behind = await this.#firstFrame(from.generation + 1);
    let { expected, incarnation } = from;
    let used = 0;
    let payload = 0;
    let lastFrame = -1;
    while (used + 2 <= this.#segmentBlocks) {
      const found = this.#frameAt(
        memory.bytes,
        base + used,
        this.#segmentBlocks - used,
        from.generation,
      );
      // Frames up to the checkpoint are destaged already: step over them.
      const isOld = found !== undefined && found.frameNumber < expected && lastFrame < 0;
      const isNext =
        found !== undefined && found.frameNumber === expected && found.incarnation >= incarnation;
      if (isNext && isSuperseded(found, behind)) {
        marks.hit("a frame that had been torn before was whole");
        break;
      }
      if (!isOld && !isNext) {
        // What is destaged already may be unreadable: the frames behind it are not for that.
        const ahead = lastFrame < 0 ? this.#headAhead(memory.bytes, base, used, from) : undefined;
        if (ahead !== undefined) {
          this.#repairs.push(`journal blocks before frame ${expected} are unreadable`);
          coverGap(memory.bytes, base + used, ahead - used);
          used = ahead;
          continue;
        }
        if (behind?.frameNumber !== expected || behind.incarnation < incarnation)
          await this.#assertTorn(memory, base + used, from.generation, expected);
        break;
      }
      assert(found !== undefined, "a frame was found");
      if (isNext) {
        const damaged = await this.#damagedPayload(memory.bytes, base + used, found);
        if (damaged.size > 0) {
          const known = await this.#isKnownDurable(
            memory,
            base + used + 1,
            from.generation,
            expected,
          );
          if (!known) break;
          this.#repairs.push(
            `${damaged.size} damaged blocks in journal frame ${found.frameNumber}`,
          );
        }
        this.#visitFrame(memory.bytes, base + used, found, damaged, visit);
        incarnation = found.incarnation;
        payload += found.payloadBlocks;
        expected = found.frameNumber + 1;
        lastFrame = found.frameNumber;
      }
      used += found.payloadBlocks + 2;
    }
    const segment =
      used === 0
        ? undefined
        : { slot: from.slot, generation: from.generation, used, lastFrame, payload };
    return { segment, expected, incarnation };
  }

  /** The frame whose head should be at this block; a bad head is restored from the tail. */
  #frameAt(
    bytes: Uint8Array,
    block: number,
    blocksLeft: number,
    generation: number,
  ): FrameHeader | undefined {
    const head = this.#header(bytes, block * BLOCK_SIZE_BYTES);
    if (head !== undefined) return head.generation === generation ? head : undefined;
    const limit = Math.min(blocksLeft, FRAME_BLOCKS_MAX);
    for (let distance = 1; distance < limit; distance++) {
      const at = (block + distance) * BLOCK_SIZE_BYTES;
      const tail = this.#header(bytes, at);
      if (tail === undefined) continue;
      if (tail.generation !== generation || tail.payloadBlocks + 1 !== distance) return undefined;
      bytes.copyWithin(block * BLOCK_SIZE_BYTES, at, at + BLOCK_SIZE_BYTES);
      this.#repairs.push(`head of journal frame ${tail.frameNumber} restored from its tail`);
      return tail;
    }
    return undefined;
  }

  async #damagedPayload(
    bytes: Uint8Array,
    block: number,
    frame: FrameHeader,
  ): Promise<Set<number>> {
    const damaged = new Set<number>();
    const at = block * BLOCK_SIZE_BYTES;
    const checksumOf = (index: number): number => getU32(bytes, payloadChecksumAt(at, index));
    for (let index = 0; frame.placedBlocks > 0 && index < frame.recordCount; index++) {
      const record = newRecordHeader();
      decodeRecord(bytes, recordAt(at, index), record);
      if (record.place !== NOT_PLACED) await this.#placed.look(record, checksumOf, damaged);
    }
    for (let index = 0; index < frame.payloadBlocks; index++) {
      const start = (block + 1 + index) * BLOCK_SIZE_BYTES;
      const isRight = this.#crc(bytes, start, start + BLOCK_SIZE_BYTES) === checksumOf(index);
      if (!isRight) damaged.add(index);
    }
    return damaged;
  }

  #visitFrame(
    bytes: Uint8Array,
    block: number,
    frame: FrameHeader,
    damaged: ReadonlySet<number>,
    visit: RecordVisitor,
  ): void {
    const record = newRecordHeader();
    const at = block * BLOCK_SIZE_BYTES;
    const checksumOf = (index: number): number => getU32(bytes, payloadChecksumAt(at, index));
    for (let index = 0; index < frame.recordCount; index++) {
      decodeRecord(bytes, recordAt(at, index), record);
      visit(record, block + 1 + record.payloadIndex, checksumOf, damaged, frame.frameNumber);
    }
  }

  /** Where the chain of frames ends: fine if nothing vouches for the frame that is missing. */
  async #assertTorn(
    memory: DiskMemory,
    block: number,
    generation: number,
    expected: number,
  ): Promise<void> {
    if (!(await this.#isKnownDurable(memory, block, generation, expected))) return;
    throw new CodedError({
      code: "journal-damaged",
      message: `journal frame ${expected} is unreadable although it was durable: acknowledged writes are damaged`,
      hint: "Keep the device untouched and restore its contents from a mirror or a backup; nothing was changed",
      details: { frame: expected, generation },
    });
  }

  /**
   * Whether any later frame, in the rest of this segment or in those after it, calls `frame`
   * durable.
   */
  async #isKnownDurable(
    memory: DiskMemory,
    from: number,
    generation: number,
    frame: number,
  ): Promise<boolean> {
    const end = (Math.floor(from / this.#segmentBlocks) + 1) * this.#segmentBlocks;
    if (this.#vouches(memory.bytes, from, end, generation, frame)) return true;
    const scratch = this.#scratchMemory();
    for (let later = 1; later < this.#geometry.segmentCount; later++) {
      await this.#readSegment(scratch, 0, generation + later);
      if (this.#vouches(scratch.bytes, 0, this.#segmentBlocks, generation + later, frame))
        return true;
      const first = this.#header(scratch.bytes, 0);
      if (first === undefined || first.generation !== generation + later) return false;
    }
    return false;
  }

  #vouches(
    bytes: Uint8Array,
    from: number,
    end: number,
    generation: number,
    frame: number,
  ): boolean {
    for (let block = from; block < end; block++) {
      const header = this.#header(bytes, block * BLOCK_SIZE_BYTES);
      if (header === undefined || header.generation !== generation) continue;
      if (header.frameNumber > frame && header.durableFrame >= frame) return true;
    }
    return false;
  }
}

/** Whether a later start has found the journal at its end before this frame. */
function isSuperseded(frame: FrameHeader, behind: FrameHeader | undefined): boolean {
  if (behind === undefined) return false;
  return behind.incarnation > frame.incarnation && behind.frameNumber <= frame.frameNumber;
}

/** In memory, one destaged frame without records: whoever walks the frames steps over it. */
function coverGap(bytes: Uint8Array, block: number, blockCount: number): void {
  const at = block * BLOCK_SIZE_BYTES;
  setU64(bytes, at + FrameHeaderLayout.at.frameNumber, 0);
  setU16(bytes, at + FrameHeaderLayout.at.recordCount, 0);
  setU32(bytes, at + FrameHeaderLayout.at.payloadBlocks, blockCount - FRAME_BLOCKS_MIN);
}
