/**
 * Replies as bytes. Short ones gather in a ring until the end of the turn; data is sent from the
 * memory it was read into, with its chunk headers written into the bytes around it, so nothing is
 * copied.
 */
import { assert } from "../../base/index.ts";
import type { Extent } from "../../object/index.ts";
import type { ByteStream } from "../../ports/index.ts";
import { setU16, setU32, setU64 } from "./big-endian.ts";
import type { ReadMemory } from "./read-memory.ts";
import { ReplyRing } from "./reply-ring.ts";
import { REQUESTS_IN_FLIGHT_MAX } from "./request-slots.ts";
import type { RequestSlots } from "./request-slots.ts";
import {
  ALLOCATION_CONTEXT_ID,
  AllocationFlag,
  CHUNK_HEADER_BYTES,
  ChunkFlag,
  ChunkType,
  DATA_CHUNK_OVERHEAD_BYTES,
  Errno,
  ERROR_CHUNK_BYTES,
  EXTENT_DESCRIPTOR_BYTES,
  HOLE_CHUNK_BYTES,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
  STRUCTURED_REPLY_MAGIC,
} from "./wire.ts";
import { ZeroRuns } from "./zero-runs.ts";

/** Bytes of a block of read memory that a block status reply may take. */
export const EXTENTS_DATA_BYTES = 4096;
export const EXTENTS_MAX: number = EXTENTS_DATA_BYTES / EXTENT_DESCRIPTOR_BYTES;
const NOT_REPORTED = -1;
const EXTENT_FLAGS = {
  data: 0,
  hole: AllocationFlag.hole | AllocationFlag.zero,
  "allocated-zero": AllocationFlag.zero,
} as const;

export class ReplyWriter {
  readonly structured: boolean;
  readonly ring: ReplyRing = new ReplyRing(REQUESTS_IN_FLIGHT_MAX);
  readonly #stream: ByteStream;
  readonly #slots: RequestSlots;
  readonly #memory: ReadMemory;
  readonly #runs = new ZeroRuns();

  constructor(stream: ByteStream, slots: RequestSlots, memory: ReadMemory, structured: boolean) {
    this.#stream = stream;
    this.#slots = slots;
    this.#memory = memory;
    this.structured = structured;
  }

  flush(): void {
    this.ring.flush(this.#stream);
  }

  /** The reply of every command without payload in its answer. */
  status(slot: number, errno: number): void {
    const at = this.ring.append(this.#stream, SIMPLE_REPLY_BYTES);
    this.#simpleHeader(this.ring.bytes, at, slot, errno);
  }

  /** The failure of a command whose answer would have had a payload. */
  failure(slot: number, errno: number): void {
    if (!this.structured) {
      this.status(slot, errno);
      return;
    }
    const at = this.ring.append(this.#stream, ERROR_CHUNK_BYTES);
    const { bytes } = this.ring;
    const payloadBytes = ERROR_CHUNK_BYTES - CHUNK_HEADER_BYTES;
    this.#chunkHeader(at, slot, bytes, ChunkFlag.done, ChunkType.error, payloadBytes);
    setU32(bytes, at + CHUNK_HEADER_BYTES, errno);
    setU16(bytes, at + CHUNK_HEADER_BYTES + 4, 0);
  }

  /** A read of no bytes succeeded. */
  emptyRead(slot: number): void {
    if (!this.structured) {
      this.status(slot, Errno.none);
      return;
    }
    const at = this.ring.append(this.#stream, CHUNK_HEADER_BYTES);
    this.#chunkHeader(at, slot, this.ring.bytes, ChunkFlag.done, ChunkType.none, 0);
  }

  /**
   * The data of a read whose whole length is in the slot's memory. False if the memory was not
   * needed because all of it is a hole; otherwise the stream reports the slot as written.
   */
  data(slot: number): boolean {
    if (!this.structured) {
      this.#simpleData(slot);
      return true;
    }
    return this.dataChunks(slot, this.#slots.dontFragment[slot] === 1, ChunkFlag.done);
  }

  /** As `data`, for a part of a read: the last chunk carries `lastFlags`. */
  dataChunks(slot: number, dontFragment: boolean, lastFlags: number): boolean {
    const length = this.#slots.lengthBytes[slot]!;
    const runs = this.#runs;
    if (dontFragment) runs.count = 0;
    else runs.find(this.#memory.words, this.#memory.dataAt(this.#slots.page[slot]!), length);
    if (runs.count === 0) this.#wholeChunk(slot, lastFlags);
    else if (runs.start[0] === 0 && runs.end[0] === length) {
      const at = this.ring.append(this.#stream, HOLE_CHUNK_BYTES);
      this.#holeChunk(this.ring.bytes, at, slot, 0, length, lastFlags);
      return false;
    } else this.#mixedChunks(slot, lastFlags);
    return true;
  }

  /** A further part of a read without structured replies. */
  rawData(slot: number): void {
    const start = this.#memory.dataAt(this.#slots.page[slot]!);
    this.#send(slot, start, start + this.#slots.lengthBytes[slot]!, slot);
  }

  /** Extents from the slot's offset on, as many as fit. */
  blockStatus(slot: number, extents: readonly Extent[]): void {
    assert(extents.length > 0 && extents.length <= EXTENTS_MAX, "a reply has room for extents");
    const { bytes } = this.#memory.memory;
    const first = this.#memory.dataAt(this.#slots.page[slot]!);
    let at = first;
    for (const extent of extents) {
      setU32(bytes, at, extent.lengthBytes);
      setU32(bytes, at + 4, EXTENT_FLAGS[extent.kind]);
      at += EXTENT_DESCRIPTOR_BYTES;
    }
    const start = first - CHUNK_HEADER_BYTES - 4;
    const payloadBytes = 4 + at - first;
    this.#chunkHeader(start, slot, bytes, ChunkFlag.done, ChunkType.blockStatus, payloadBytes);
    setU32(bytes, first - 4, ALLOCATION_CONTEXT_ID);
    this.#send(slot, start, at, slot);
  }

  #simpleData(slot: number): void {
    const dataAt = this.#memory.dataAt(this.#slots.page[slot]!);
    const start = dataAt - SIMPLE_REPLY_BYTES;
    this.#simpleHeader(this.#memory.memory.bytes, start, slot, Errno.none);
    this.#send(slot, start, dataAt + this.#slots.lengthBytes[slot]!, slot);
  }

  #wholeChunk(slot: number, flags: number): void {
    const length = this.#slots.lengthBytes[slot]!;
    const dataAt = this.#memory.dataAt(this.#slots.page[slot]!);
    this.#dataHeader(slot, 0, length, flags);
    this.#send(slot, dataAt - DATA_CHUNK_OVERHEAD_BYTES, dataAt + length, slot);
  }

  /** Data and holes in turn. Headers take the room of the holes beside the data they belong to. */
  #mixedChunks(slot: number, lastFlags: number): void {
    const runs = this.#runs;
    const { bytes } = this.#memory.memory;
    const length = this.#slots.lengthBytes[slot]!;
    const dataAt = this.#memory.dataAt(this.#slots.page[slot]!);
    let from = 0;
    let pieceAt = dataAt - DATA_CHUNK_OVERHEAD_BYTES;
    for (let run = 0; run < runs.count; run++) {
      const start = runs.start[run]!;
      const end = runs.end[run]!;
      const flags = end === length ? lastFlags : 0;
      if (start === 0) {
        // No data before it: its chunk goes before the header of the data that follows.
        pieceAt = dataAt + end - DATA_CHUNK_OVERHEAD_BYTES - HOLE_CHUNK_BYTES;
        this.#holeChunk(bytes, pieceAt, slot, 0, end, flags);
      } else {
        this.#dataHeader(slot, from, start, 0);
        this.#holeChunk(bytes, dataAt + start, slot, start, end, flags);
        const token = end === length ? slot : NOT_REPORTED;
        this.#send(slot, pieceAt, dataAt + start + HOLE_CHUNK_BYTES, token);
        pieceAt = dataAt + end - DATA_CHUNK_OVERHEAD_BYTES;
      }
      from = end;
    }
    if (from === length) return;
    this.#dataHeader(slot, from, length, lastFlags);
    this.#send(slot, pieceAt, dataAt + length, slot);
  }

  #dataHeader(slot: number, from: number, to: number, flags: number): void {
    const { bytes } = this.#memory.memory;
    const at = this.#memory.dataAt(this.#slots.page[slot]!) + from - DATA_CHUNK_OVERHEAD_BYTES;
    this.#chunkHeader(at, slot, bytes, flags, ChunkType.offsetData, 8 + to - from);
    setU64(bytes, at + CHUNK_HEADER_BYTES, this.#slots.offset[slot]! + from);
  }

  #holeChunk(
    bytes: Uint8Array,
    at: number,
    slot: number,
    from: number,
    to: number,
    flags: number,
  ): void {
    const payloadBytes = HOLE_CHUNK_BYTES - CHUNK_HEADER_BYTES;
    this.#chunkHeader(at, slot, bytes, flags, ChunkType.offsetHole, payloadBytes);
    setU64(bytes, at + CHUNK_HEADER_BYTES, this.#slots.offset[slot]! + from);
    setU32(bytes, at + CHUNK_HEADER_BYTES + 8, to - from);
  }

  #chunkHeader(
    at: number,
    slot: number,
    bytes: Uint8Array,
    flags: number,
    type: number,
    payloadBytes: number,
  ): void {
    setU32(bytes, at, STRUCTURED_REPLY_MAGIC);
    setU16(bytes, at + 4, flags);
    setU16(bytes, at + 6, type);
    setU32(bytes, at + 8, this.#slots.cookieHigh[slot]!);
    setU32(bytes, at + 12, this.#slots.cookieLow[slot]!);
    setU32(bytes, at + 16, payloadBytes);
  }

  #simpleHeader(bytes: Uint8Array, at: number, slot: number, errno: number): void {
    setU32(bytes, at, SIMPLE_REPLY_MAGIC);
    setU32(bytes, at + 4, errno);
    setU32(bytes, at + 8, this.#slots.cookieHigh[slot]!);
    setU32(bytes, at + 12, this.#slots.cookieLow[slot]!);
  }

  #send(slot: number, start: number, end: number, token: number): void {
    this.#stream.write(this.#memory.view(this.#slots.page[slot]!, start, end), token);
  }
}
