/**
 * The log of a metadata store: what is committed is written one behind the other, where a tree
 * would write a page for each key. Two halves take turns: while what one holds goes to the tree the
 * other is written. docs/formats/device.md has its format.
 *
 * One batch at a time: the next is written when this one is durable. So the first chunk that is not
 * whole belongs to the last batch, of which nobody was told; a chunk of a later one means damage.
 */
import { assert, getU32, setU32 } from "../../base/index.ts";
import * as fs from "node:fs";
import { dirname } from "node:path";
import { promisify } from "node:util";
import {
  CHUNK_HEADER_BYTES,
  decodeMetadataLogHeader,
  encodeMetadataLogHeader,
  LOGGED_DELETION,
  LOGGED_ENTRY_BYTES,
  METADATA_LOG_ALIGNMENT,
  METADATA_LOG_VERSION,
  readMetadataChunk,
  sealMetadataChunk,
} from "./metadata-log-format.ts";
import type { PendingEntry } from "./pending-entries.ts";
import { syncFolder } from "../file-lock.ts";
import { damaged, foreignVersion } from "./lmdb-file.ts";
import { fallocate } from "../sys.ts";

/** Of a log: which are not in the tree, or not known to be. */
export const GENERATIONS_MAX = 2;
/** Holds the longest entry many times over. */
const CHUNK_BYTES = 1 << 20;

const writeAt = promisify<number, Uint8Array, number, number, number, number>(
  (fd, bytes, offset, length, position, done) => {
    fs.write(fd, bytes, offset, length, position, done);
  },
);
const syncData = promisify(fs.fdatasync);

type Visit = (key: Uint8Array, value: Uint8Array | undefined) => void;

export class MetadataLog {
  readonly storeTag: number;
  readonly #path: string;
  readonly #fd: number;
  readonly #halfBytes: number;
  readonly #buffer = new Uint8Array(CHUNK_BYTES);
  /** Of the half that is written, the next chunk in it, and where that begins. */
  #generation = 0;
  #batch = 0;
  #number = 0;
  #used = 0;
  #hasFailed = false;

  /** Makes an empty log, durably, in place of any that is there. Fails with a `SystemCallError`. */
  static create(path: string, storeTag: number, halfBytes: number): MetadataLog {
    assert(halfBytes % METADATA_LOG_ALIGNMENT === 0, "halves are whole pieces");
    const fd = fs.openSync(path, "w+", 0o600);
    try {
      fallocate(fd, 0, 0, METADATA_LOG_ALIGNMENT + 2 * halfBytes);
      fs.writeSync(fd, encodeMetadataLogHeader({ halfBytes, storeTag }), 0, undefined, 0);
      fs.fsyncSync(fd);
      syncFolder(dirname(path));
      return new MetadataLog(path, fd, { storeTag, halfBytes });
    } catch (error) {
      fs.closeSync(fd);
      fs.rmSync(path, { force: true });
      throw error;
    }
  }

  /** Fails with `metadata-damaged` or `metadata-foreign`. */
  static open(path: string): MetadataLog {
    const fd = fs.openSync(path, "r+");
    try {
      const bytes = new Uint8Array(METADATA_LOG_ALIGNMENT);
      fs.readSync(fd, bytes, 0, bytes.length, 0);
      const header = decodeMetadataLogHeader(bytes);
      if (header === undefined) throw damaged(path, "its header is damaged");
      if ("unknownVersion" in header)
        throw foreignVersion(path, header.unknownVersion, METADATA_LOG_VERSION);
      const { size } = fs.fstatSync(fd);
      if (size < METADATA_LOG_ALIGNMENT + 2 * header.halfBytes)
        throw damaged(path, `it ends after ${size} bytes, within its halves`);
      return new MetadataLog(path, fd, header);
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
  }

  private constructor(
    path: string,
    fd: number,
    is: { readonly storeTag: number; readonly halfBytes: number },
  ) {
    this.#path = path;
    this.#fd = fd;
    this.storeTag = is.storeTag;
    this.#halfBytes = is.halfBytes;
  }

  get generation(): number {
    return this.#generation;
  }

  /** Whether there is room in this half for what `loggedBytesMax` says. */
  hasRoom(bytes: number): boolean {
    return !this.#hasFailed && this.#used + bytes <= this.#halfBytes;
  }

  /** Whether there is room in a half that is empty. */
  takes(bytes: number): boolean {
    return bytes <= this.#halfBytes;
  }

  /** Writes the other half from now on: what it holds is in the tree, durably. */
  begin(generation: number): void {
    assert(generation > this.#generation, "generations count up");
    this.#generation = generation;
    this.#batch = 0;
    this.#number = 0;
    this.#used = 0;
    this.#hasFailed = false;
  }

  /** Resolves when all of it is durable. After a failure there is no room in this half. */
  async append(entries: readonly PendingEntry[]): Promise<void> {
    assert(!this.#hasFailed, "the caller has looked for room");
    // Whatever of it is there: the next batch must not be taken for its continuation.
    this.#hasFailed = true;
    await this.#writeChunks(entries);
    await syncData(this.#fd);
    this.#batch++;
    this.#hasFailed = false;
  }

  async #writeChunks(entries: readonly PendingEntry[]): Promise<void> {
    let used = CHUNK_HEADER_BYTES;
    for (const { key, value } of entries) {
      const needed = LOGGED_ENTRY_BYTES + key.length + (value?.length ?? 0);
      if (used + needed > CHUNK_BYTES) {
        await this.#writeChunk(used, false);
        used = CHUNK_HEADER_BYTES;
      }
      used = this.#encode(used, key, value);
    }
    await this.#writeChunk(used, true);
  }

  #encode(at: number, key: Uint8Array, value: Uint8Array | undefined): number {
    const buffer = this.#buffer;
    buffer[at] = key.length;
    setU32(buffer, at + 1, value === undefined ? LOGGED_DELETION : value.length);
    buffer.set(key, at + LOGGED_ENTRY_BYTES);
    const valueAt = at + LOGGED_ENTRY_BYTES + key.length;
    if (value === undefined) return valueAt;
    buffer.set(value, valueAt);
    return valueAt + value.length;
  }

  async #writeChunk(usedBytes: number, isLast: boolean): Promise<void> {
    sealMetadataChunk(this.#buffer, {
      isLast,
      generation: this.#generation,
      batch: this.#batch,
      number: this.#number,
      lengthBytes: usedBytes - CHUNK_HEADER_BYTES,
    });
    assert(this.#used + usedBytes <= this.#halfBytes, "the caller has looked for room");
    const position = this.#halfAt(this.#generation) + this.#used;
    for (let written = 0; written < usedBytes;) {
      const left = usedBytes - written;
      written += await writeAt(this.#fd, this.#buffer, written, left, position + written);
    }
    this.#number++;
    this.#used += aligned(usedBytes);
  }

  #halfAt(generation: number): number {
    return METADATA_LOG_ALIGNMENT + (generation % 2) * this.#halfBytes;
  }

  /**
   * Visits what was logged after generation `merged`, in the order in which it was. Fails with
   * `metadata-damaged`.
   */
  replay(merged: number, visit: Visit): void {
    const hasFirst = this.#replayHalf(merged + 1, visit);
    const hasSecond = this.#replayHalf(merged + 2, visit);
    if (hasSecond && !hasFirst)
      throw damaged(this.#path, "a half of it is missing that was not in the tree yet");
  }

  #replayHalf(generation: number, visit: Visit): boolean {
    const chunks = this.#readHalf(generation);
    for (const chunk of chunks) visitEntries(chunk, visit);
    return chunks.length > 0;
  }

  /** The entries of the chunks that are there of this generation, whole batches only. */
  #readHalf(generation: number): Uint8Array[] {
    const half = new Uint8Array(this.#halfBytes);
    const readBytes = fs.readSync(this.#fd, half, 0, half.length, this.#halfAt(generation));
    const bytes = half.subarray(0, readBytes);
    const chunks: Uint8Array[] = [];
    let batches = 0;
    let wholeChunks = 0;
    let at = 0;
    for (;;) {
      const chunk = readMetadataChunk(bytes, at);
      if (chunk === undefined || chunk.generation !== generation) break;
      if (chunk.number !== chunks.length || chunk.batch !== batches)
        throw damaged(this.#path, "its chunks are not in the order in which they were written");
      const start = at + CHUNK_HEADER_BYTES;
      chunks.push(bytes.subarray(start, start + chunk.lengthBytes));
      if (chunk.isLast) {
        wholeChunks = chunks.length;
        batches++;
      }
      at += aligned(CHUNK_HEADER_BYTES + chunk.lengthBytes);
    }
    for (let later = at; later < bytes.length; later += METADATA_LOG_ALIGNMENT) {
      const chunk = readMetadataChunk(bytes, later);
      if (chunk?.generation === generation && chunk.batch > batches)
        throw damaged(this.#path, "what was written before its last batch cannot be read");
    }
    return chunks.slice(0, wholeChunks);
  }

  close(): void {
    fs.closeSync(this.#fd);
  }
}

function visitEntries(chunk: Uint8Array, visit: Visit): void {
  for (let at = 0; at < chunk.length;) {
    const keyAt = at + LOGGED_ENTRY_BYTES;
    const keyEnd = keyAt + chunk[at]!;
    const length = getU32(chunk, at + 1);
    const end = keyEnd + (length === LOGGED_DELETION ? 0 : length);
    assert(end <= chunk.length, "a chunk with a right checksum ends with an entry");
    const value = length === LOGGED_DELETION ? undefined : chunk.subarray(keyEnd, end);
    visit(chunk.subarray(keyAt, keyEnd), value);
    at = end;
  }
}

function aligned(lengthBytes: number): number {
  return Math.ceil(lengthBytes / METADATA_LOG_ALIGNMENT) * METADATA_LOG_ALIGNMENT;
}

/** What they take at the most: with what the last entry of each chunk leaves free. */
export function loggedBytesMax(entries: readonly PendingEntry[]): number {
  let bytes = 0;
  let longest = 0;
  for (const { key, value } of entries) {
    const needed = LOGGED_ENTRY_BYTES + key.length + (value?.length ?? 0);
    bytes += needed;
    if (needed > longest) longest = needed;
  }
  const room = CHUNK_BYTES - CHUNK_HEADER_BYTES - longest;
  const chunks = Math.ceil(bytes / room) || 1;
  return aligned(bytes + chunks * (CHUNK_HEADER_BYTES + longest)) + chunks * METADATA_LOG_ALIGNMENT;
}
