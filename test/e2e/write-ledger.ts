/**
 * Knows what every sector of a volume must hold after a crash, from nothing but what was sent and
 * what was acknowledged:
 *
 * - an acknowledged write is there, whole;
 * - a write that was sent and not acknowledged is there or is not, block by block, and within one
 *   block of 4 KiB never in part;
 * - what was found once stays: a second crash may not bring the older content back.
 *
 * No two requests in flight touch the same block (`isFree`), so each block has one owner at a time.
 */
import type { Prng } from "../../src/base/index.ts";

export const SECTOR = 512;
export const BLOCK = 4096;
const SECTORS_PER_BLOCK = BLOCK / SECTOR;
/** Content 0 is zeros; contents below this repeat over blocks, so that deduplication has work. */
const SHARED_CONTENTS = 64;

export interface Change {
  readonly offset: number;
  readonly length: number;
  /** 0 for zeros. */
  readonly content: number;
}

export class WriteLedger {
  readonly sizeBytes: number;
  /** Content of each sector, as acknowledged or as found after a crash. */
  readonly #contents: Uint32Array;
  readonly #inFlight = new Set<Change>();
  readonly #busyBlocks: Uint8Array;
  readonly #block = Buffer.alloc(BLOCK);
  #nextContent: number = SHARED_CONTENTS;

  constructor(sizeBytes: number) {
    this.sizeBytes = sizeBytes;
    this.#contents = new Uint32Array(sizeBytes / SECTOR);
    this.#busyBlocks = new Uint8Array(sizeBytes / BLOCK);
  }

  /** A content no sector has yet, or now and then one that others have too. */
  newContent(prng: Prng, sharedChance = 0.2): number {
    if (prng.chance(sharedChance)) return 1 + prng.below(SHARED_CONTENTS - 1);
    return this.#nextContent++;
  }

  /** True if no request in flight touches a block of the range. */
  isFree(offset: number, length: number): boolean {
    for (const block of blocksOf(offset, length)) if (this.#busyBlocks[block] !== 0) return false;
    return true;
  }

  /** The request is about to be sent. */
  begin(change: Change): void {
    this.#inFlight.add(change);
    for (const block of blocksOf(change.offset, change.length)) this.#busyBlocks[block] = 1;
  }

  /** The server acknowledged it: from now on it must be there. */
  acknowledge(change: Change): void {
    this.#end(change);
    const end = (change.offset + change.length) / SECTOR;
    this.#contents.fill(change.content, change.offset / SECTOR, end);
  }

  /** The server refused it with an error and promised nothing changed. */
  refuse(change: Change): void {
    this.#end(change);
  }

  /** Nobody changes the range until it is released: what is read there is settled. */
  hold(offset: number, length: number): void {
    for (const block of blocksOf(offset, length)) this.#busyBlocks[block] = 1;
  }

  release(offset: number, length: number): void {
    for (const block of blocksOf(offset, length)) this.#busyBlocks[block] = 0;
  }

  /** What a snapshot holds that is taken now. No request may be in flight. */
  copy(): WriteLedger {
    if (this.#inFlight.size > 0) throw new Error("nobody knows what requests in flight will leave");
    const copy = new WriteLedger(this.sizeBytes);
    copy.#contents.set(this.#contents);
    return copy;
  }

  /** The bytes a change writes. */
  dataOf(change: Change): Buffer {
    const data = Buffer.alloc(change.length);
    for (let at = 0; at < change.length; at += SECTOR) {
      fillSector(data, at, change.content, (change.offset + at) / SECTOR);
    }
    return data;
  }

  /**
   * Compares what a restarted server holds, from `offset` on, with what it must hold. Changes that
   * were in flight are settled as found. Returns what is wrong, at most ten lines; empty means all
   * is well.
   */
  verify(offset: number, found: Uint8Array): string[] {
    const wrong: string[] = [];
    for (let at = 0; at < found.length && wrong.length < 10; at += BLOCK) {
      const block = (offset + at) / BLOCK;
      const bytes = found.subarray(at, at + BLOCK);
      if (this.#matches(block, bytes)) continue;
      const change = this.#changeOf(block);
      if (change !== undefined && this.#matches(block, bytes, change)) this.#adopt(block, change);
      else wrong.push(this.#describe(block, bytes, change));
    }
    return wrong;
  }

  /** Forgets the requests in flight: `verify` has settled each of their blocks. */
  settle(): void {
    for (const change of this.#inFlight) this.#end(change);
  }

  #end(change: Change): void {
    this.#inFlight.delete(change);
    for (const block of blocksOf(change.offset, change.length)) this.#busyBlocks[block] = 0;
  }

  #changeOf(block: number): Change | undefined {
    for (const change of this.#inFlight) {
      if (change.offset < (block + 1) * BLOCK && change.offset + change.length > block * BLOCK) {
        return change;
      }
    }
    return undefined;
  }

  #contentAt(sector: number, change?: Change): number {
    const offset = sector * SECTOR;
    const isChanged =
      change !== undefined && offset >= change.offset && offset < change.offset + change.length;
    return isChanged ? change.content : this.#contents[sector]!;
  }

  #matches(block: number, bytes: Uint8Array, change?: Change): boolean {
    for (let at = 0; at < SECTORS_PER_BLOCK; at++) {
      const sector = block * SECTORS_PER_BLOCK + at;
      fillSector(this.#block, at * SECTOR, this.#contentAt(sector, change), sector);
    }
    return this.#block.equals(bytes);
  }

  #adopt(block: number, change: Change): void {
    for (let at = 0; at < SECTORS_PER_BLOCK; at++) {
      const sector = block * SECTORS_PER_BLOCK + at;
      this.#contents[sector] = this.#contentAt(sector, change);
    }
  }

  #describe(block: number, bytes: Uint8Array, change: Change | undefined): string {
    const sectors: string[] = [];
    for (let at = 0; at < SECTORS_PER_BLOCK; at++) {
      const sector = block * SECTORS_PER_BLOCK + at;
      const part = bytes.subarray(at * SECTOR, (at + 1) * SECTOR);
      if (isSector(part, this.#contents[sector]!, sector)) sectors.push("ok");
      else if (isSector(part, this.#contentAt(sector, change), sector)) sectors.push("in-flight");
      else if (isSector(part, 0, sector)) sectors.push("ZEROS");
      else sectors.push("OTHER");
    }
    const flight = change === undefined ? "nothing in flight" : "one write in flight";
    return `block ${block} (byte ${block * BLOCK}), ${flight}: sectors ${sectors.join(" ")}`;
  }
}

function* blocksOf(offset: number, length: number): Generator<number> {
  const last = Math.ceil((offset + length) / BLOCK);
  for (let block = Math.floor(offset / BLOCK); block < last; block++) yield block;
}

const sectorScratch = Buffer.alloc(SECTOR);

function isSector(bytes: Uint8Array, content: number, sector: number): boolean {
  fillSector(sectorScratch, 0, content, sector);
  return sectorScratch.equals(bytes);
}

/** A shared content looks the same in every block, any other one belongs to its sector alone. */
function fillSector(target: Buffer, at: number, content: number, sector: number): void {
  if (content === 0) {
    target.fill(0, at, at + SECTOR);
    return;
  }
  const place = content < SHARED_CONTENTS ? sector % SECTORS_PER_BLOCK : sector;
  let state = (Math.imul(content, 0x9e3779b1) ^ Math.imul(place + 1, 0x85ebca6b)) >>> 0 || 1;
  for (let word = 0; word < SECTOR; word += 4) {
    // xorshift32 (Marsaglia, 2003)
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    target.writeInt32LE(state, at + word);
  }
}
