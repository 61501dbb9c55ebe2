/**
 * One group of the space map in memory: three bits for each of its blocks. Blocks are named by
 * their number in the device; only its place within the group counts.
 */
import { getU32 } from "../base/index.ts";
import { SPACE_GROUP_BLOCKS } from "../format/index.ts";

export const WORD_BITS = 32;
export const GROUP_WORDS: number = SPACE_GROUP_BLOCKS / WORD_BITS;
const WORD_FULL = 0xffffffff;
/** Of each group in memory. */
export const GROUP_BYTES: number = 3 * 4 * GROUP_WORDS;

/** In use, in quarantine, or being punched. */
export const TAKEN = 0;
/** Taken here and free on disk: reserved, in quarantine, or being punched. */
export const HIDDEN: number = SPACE_GROUP_BLOCKS / WORD_BITS;
/** Free, and its space not given back to the file system yet. */
export const UNPUNCHED: number = 2 * GROUP_WORDS;

export class SpaceGroup {
  /** All groups have whole words: blocks beyond the device's end count as taken. */
  readonly words: Uint32Array = new Uint32Array(3 * GROUP_WORDS);
  index = -1;
  /** It differs from what is stored. */
  isDirty = false;
  /** A batch under way stores it: until that is over, what can be read may be undone. */
  isStoring = false;
  hiddenCount = 0;
  /** It was looked for since its memory was last wanted. */
  isWanted = false;

  /** What is stored does not say what is here. */
  get isPinned(): boolean {
    return this.isDirty || this.isStoring || this.hiddenCount > 0;
  }

  has(bits: number, block: number): boolean {
    return (this.words[bits + wordOf(block)]! & (1 << (block & 31))) !== 0;
  }

  set(bits: number, block: number): void {
    this.words[bits + wordOf(block)]! |= 1 << (block & 31);
  }

  unset(bits: number, block: number): void {
    this.words[bits + wordOf(block)]! &= ~(1 << (block & 31));
  }

  /** Whether all blocks of its word are taken, or none is. */
  isWordAlike(block: number): boolean {
    const word = this.words[TAKEN + wordOf(block)]!;
    return word === WORD_FULL || word === 0;
  }

  /** Begins as another one, of which every block is free. */
  begin(index: number): void {
    this.words.fill(0);
    this.index = index;
    this.isWanted = false;
  }

  takeAll(): void {
    this.words.fill(WORD_FULL, TAKEN, TAKEN + GROUP_WORDS);
  }

  /** Takes what is stored over; returns how many blocks are taken. */
  decode(stored: Uint8Array): number {
    let taken = 0;
    for (let word = 0; word < GROUP_WORDS; word++) {
      const bits = getU32(stored, word * 4);
      this.words[TAKEN + word] = bits;
      if (bits !== 0) taken += bitCount(bits);
    }
    return taken;
  }

  /** Nothing is there from the `size`th block on. */
  endAt(size: number): void {
    for (let block = size; block < SPACE_GROUP_BLOCKS; block++) this.set(TAKEN, block);
  }

  /** The durable meaning of its first `size` blocks. */
  encode(into: Uint8Array, size: number): void {
    for (let word = 0; word < GROUP_WORDS; word++) {
      const bits = this.words[TAKEN + word]! & ~this.words[HIDDEN + word]!;
      into[word * 4] = bits;
      into[word * 4 + 1] = bits >>> 8;
      into[word * 4 + 2] = bits >>> 16;
      into[word * 4 + 3] = bits >>> 24;
    }
    for (let block = size; block < SPACE_GROUP_BLOCKS; block++)
      into[block >>> 3]! &= ~(1 << (block & 7));
  }

  allFreeUnpunched(): void {
    for (let word = 0; word < GROUP_WORDS; word++)
      this.words[UNPUNCHED + word] = ~this.words[TAKEN + word]!;
  }

  /** The place in the group of its first free block from `block` on; -1 if there is none. */
  nextFree(block: number): number {
    // The bits below it in its word come last.
    let mask = -1 << (block & 31);
    for (let word = wordOf(block); word < GROUP_WORDS; word++) {
      const candidates = ~this.words[TAKEN + word]! & mask;
      if (candidates !== 0) return word * WORD_BITS + lowestBit(candidates);
      mask = -1;
    }
    return -1;
  }

  /** As `nextFree`, of those whose space was not given back. */
  nextUnpunched(block: number): number {
    let mask = -1 << (block & 31);
    for (let word = wordOf(block); word < GROUP_WORDS; word++) {
      const candidates = this.words[UNPUNCHED + word]! & mask;
      if (candidates !== 0) return word * WORD_BITS + lowestBit(candidates);
      mask = -1;
    }
    return -1;
  }
}

function wordOf(block: number): number {
  return (block & (SPACE_GROUP_BLOCKS - 1)) >>> 5;
}

function lowestBit(word: number): number {
  return 31 - Math.clz32(word & -word);
}

/** Bits that are set: sums of pairs, of fours, of eights, then all (Warren, Hacker's Delight). */
export function bitCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
