/**
 * Which blocks of the block store are in use. A bit per block; groups of bits are persisted by the
 * destage that changes them, in the same metadata batch as the maps that explain the change.
 *
 * A block that a published change freed is not handed out again before every read that may still
 * use its old meaning has ended (quarantine), and not before the change is durable (the destager
 * calls only then).
 */
import { assert } from "../base/index.ts";
import { SPACE_GROUP_BLOCKS } from "../format/index.ts";

const WORD_BITS = 32;
const WORD_FULL = 0xffffffff;
/** How far to look for a long run of free blocks: 2 GiB of them. */
const RUN_SEARCH_WORDS_MAX = 16_384;

/** Not by a shift: a device of more than 16 TiB has more than 2^32 blocks. */
function wordOf(block: number): number {
  return Math.floor(block / WORD_BITS);
}

export class SpaceMap {
  readonly blockCount: number;
  /** Bit set: in use, in quarantine, or being punched. */
  readonly #taken: Uint32Array;
  /** Bit set: free, and its space not given back to the file system yet. */
  readonly #unpunched: Uint32Array;
  readonly #dirtyGroups = new Set<number>();
  /** Durable view differs from #taken by blocks in quarantine: they are free on disk already. */
  readonly #quarantine: { readonly readStamp: number; readonly blocks: number[] }[] = [];
  /** Bit set: taken here and free on disk, because it is in quarantine or being punched. */
  readonly #hidden: Uint32Array;
  #freeBlocks: number;
  #quarantinedBlocks = 0;
  #reservedBlocks = 0;
  #punchingBlocks = 0;
  #rotor = 0;
  #unpunchedBlocks = 0;

  constructor(blockCount: number) {
    this.blockCount = blockCount;
    const words = Math.ceil(blockCount / WORD_BITS);
    this.#taken = new Uint32Array(words);
    this.#unpunched = new Uint32Array(words);
    this.#hidden = new Uint32Array(words);
    this.#freeBlocks = blockCount;
    // Bits beyond the end are taken, so that searches need no bound.
    for (let block = blockCount; block < words * WORD_BITS; block++) {
      this.#taken[wordOf(block)]! |= 1 << (block & 31);
    }
  }

  /** Blocks that `allocate` could hand out now. */
  get freeBlocks(): number {
    return this.#freeBlocks;
  }

  /** Free as soon as the reads under way have ended. */
  get quarantinedBlocks(): number {
    return this.#quarantinedBlocks;
  }

  get usedBlocks(): number {
    const unused = this.#freeBlocks + this.#quarantinedBlocks + this.#punchingBlocks;
    return this.blockCount - unused - this.#reservedBlocks;
  }

  /** Written to, and not in use before they are adopted. */
  get reservedBlocks(): number {
    return this.#reservedBlocks;
  }

  get unpunchedBlocks(): number {
    return this.#unpunchedBlocks;
  }

  get groupCount(): number {
    return Math.ceil(this.blockCount / SPACE_GROUP_BLOCKS);
  }

  isTaken(block: number): boolean {
    return (this.#taken[wordOf(block)]! & (1 << (block & 31))) !== 0;
  }

  /** Whether the durable space map calls the block used. */
  isUsedOnDisk(block: number): boolean {
    return this.isTaken(block) && !this.#isHidden(block);
  }

  /** Loads a persisted group at start, before anything else is taken of it. */
  loadGroup(group: number, bits: Uint8Array): void {
    const first = group * SPACE_GROUP_BLOCKS;
    const view = new DataView(bits.buffer, bits.byteOffset, SPACE_GROUP_BLOCKS / 8);
    // A large device has hundreds of millions of bits: a word of them at a time.
    for (let word = 0; word < SPACE_GROUP_BLOCKS / WORD_BITS; word++) {
      const used = view.getUint32(word * 4, true);
      if (used === 0) continue;
      const block = first + word * WORD_BITS + (WORD_BITS - 1 - Math.clz32(used));
      assert(block < this.blockCount, "space map names a block beyond the device");
      const at = first / WORD_BITS + word;
      assert((this.#taken[at]! & used) === 0, "block is taken already");
      assert(this.#unpunched[at] === 0, "nothing is known of what was not given back");
      this.#taken[at]! |= used;
      this.#freeBlocks -= bitCount(used);
    }
  }

  /** Writes the durable meaning of a group: blocks in quarantine count as free. */
  storeGroup(group: number, into: Uint8Array): void {
    const first = group * SPACE_GROUP_BLOCKS;
    const words = SPACE_GROUP_BLOCKS / WORD_BITS;
    for (let word = 0; word < words; word++) {
      const at = first / WORD_BITS + word;
      let bits = at < this.#taken.length ? this.#taken[at]! & ~this.#hidden[at]! : 0;
      const beyond = first + (word + 1) * WORD_BITS - this.blockCount;
      if (beyond > 0) bits = beyond >= WORD_BITS ? 0 : bits & (0xffffffff >>> beyond);
      into[word * 4] = bits;
      into[word * 4 + 1] = bits >>> 8;
      into[word * 4 + 2] = bits >>> 16;
      into[word * 4 + 3] = bits >>> 24;
    }
  }

  #setHidden(block: number, hidden: boolean): void {
    const bit = 1 << (block & 31);
    if (hidden) this.#hidden[wordOf(block)]! |= bit;
    else this.#hidden[wordOf(block)]! &= ~bit;
  }

  #isHidden(block: number): boolean {
    return (this.#hidden[wordOf(block)]! & (1 << (block & 31))) !== 0;
  }

  #take(block: number): void {
    const word = wordOf(block);
    const bit = 1 << (block & 31);
    assert((this.#taken[word]! & bit) === 0, "block is taken already");
    this.#taken[word]! |= bit;
    this.#freeBlocks--;
    if ((this.#unpunched[word]! & bit) !== 0) {
      this.#unpunched[word]! &= ~bit;
      this.#unpunchedBlocks--;
    }
  }

  /** A free block, next to the previous one where possible; undefined if there is none. */
  allocate(): number | undefined {
    if (this.#freeBlocks === 0) return undefined;
    const words = this.#taken.length;
    let word = wordOf(this.#rotor);
    // The bits below the rotor in its word come last.
    let candidates = ~this.#taken[word]! & (-1 << (this.#rotor & 31));
    for (let step = 0; candidates === 0; step++) {
      assert(step <= words, "free count and free bits disagree");
      word = word + 1 === words ? 0 : word + 1;
      candidates = ~this.#taken[word]!;
    }
    const block = word * WORD_BITS + (31 - Math.clz32(candidates & -candidates));
    this.#take(block);
    this.#rotor = block + 1 < this.blockCount ? block + 1 : 0;
    this.#markDirty(block);
    return block;
  }

  /**
   * Takes `count` free blocks in a row; the first of them, or undefined if none were found. They
   * stay free on disk until `adopt`.
   */
  reserveRun(count: number): number | undefined {
    if (count > this.#freeBlocks) return undefined;
    const start = this.#findRun(count);
    if (start === undefined) return undefined;
    this.reserve(start, count);
    this.#rotor = start + count < this.blockCount ? start + count : 0;
    return start;
  }

  /** Takes these blocks, which are free; they stay free on disk until `adopt`. */
  reserve(start: number, count: number): void {
    this.#reservedBlocks += count;
    for (let block = start; block < start + count; block++) {
      this.#take(block);
      this.#setHidden(block, true);
    }
  }

  #findRun(count: number): number | undefined {
    const words = Math.min(RUN_SEARCH_WORDS_MAX, this.#taken.length + 2);
    let block = this.#rotor;
    let run = 0;
    for (let looked = 0; looked < words;) {
      if (block >= this.blockCount) {
        block = 0;
        run = 0;
      }
      let step = 1;
      if (block % WORD_BITS === 0) {
        looked++;
        const word = this.#taken[wordOf(block)]!;
        if (word === WORD_FULL || word === 0) step = WORD_BITS;
      }
      run = this.isTaken(block) ? 0 : run + step;
      block += step;
      if (run >= count) return block - run;
    }
    return undefined;
  }

  /** A batch being prepared makes a reserved block one in use. */
  adopt(block: number): void {
    assert(this.isTaken(block) && this.#isHidden(block), "adopting a block that is not reserved");
    this.#setHidden(block, false);
    this.#reservedBlocks--;
    this.#markDirty(block);
  }

  /** The batch was not committed: the block is reserved as before. */
  unadopt(block: number): void {
    assert(this.isTaken(block) && !this.#isHidden(block), "the block was not adopted");
    this.#setHidden(block, true);
    this.#reservedBlocks++;
    this.#markDirty(block);
  }

  /** Reserved blocks that nobody wants: free once reads up to `readStamp` have ended. */
  releaseReserved(blocks: number[], readStamp: number): void {
    for (const block of blocks) {
      assert(this.isTaken(block) && this.#isHidden(block), "giving back what is not reserved");
      this.#quarantinedBlocks++;
      this.#reservedBlocks--;
    }
    this.finishFree(blocks, readStamp);
  }

  /** Takes back an allocation that was never published. */
  unallocate(block: number): void {
    this.#giveBack(block);
    this.#markDirty(block);
  }

  #giveBack(block: number): void {
    const word = wordOf(block);
    const bit = 1 << (block & 31);
    assert((this.#taken[word]! & bit) !== 0, "block is free already");
    this.#taken[word]! &= ~bit;
    this.#freeBlocks++;
    this.#unpunched[word]! |= bit;
    this.#unpunchedBlocks++;
  }

  /** Blocks that a batch being prepared will free: free on disk with that batch, not yet here. */
  beginFree(blocks: readonly number[]): void {
    for (const block of blocks) {
      assert(this.isTaken(block) && !this.#isHidden(block), "freeing a free block");
      this.#setHidden(block, true);
      this.#quarantinedBlocks++;
      this.#markDirty(block);
    }
  }

  /** The batch was not committed. */
  undoFree(blocks: readonly number[]): void {
    for (const block of blocks) {
      this.#setHidden(block, false);
      this.#quarantinedBlocks--;
    }
  }

  /** The batch is durable: the blocks may be used again once reads up to `readStamp` have ended. */
  finishFree(blocks: number[], readStamp: number): void {
    if (blocks.length > 0) this.#quarantine.push({ readStamp, blocks });
  }

  /** Reads up to and including `readStamp` have ended. */
  releaseQuarantine(readStamp: number): void {
    while (this.#quarantine.length > 0 && this.#quarantine[0]!.readStamp <= readStamp) {
      for (const block of this.#quarantine.shift()!.blocks) {
        this.#setHidden(block, false);
        this.#quarantinedBlocks--;
        this.#giveBack(block);
      }
    }
  }

  #markDirty(block: number): void {
    this.#dirtyGroups.add(Math.floor(block / SPACE_GROUP_BLOCKS));
  }

  /** Groups changed since the last call. */
  takeDirtyGroups(): number[] {
    const groups = [...this.#dirtyGroups].sort((a, b) => a - b);
    this.#dirtyGroups.clear();
    return groups;
  }

  /** Puts groups back whose batch was not committed. */
  markGroupsDirty(groups: readonly number[]): void {
    for (const group of groups) this.#dirtyGroups.add(group);
  }

  /** Everything free counts as not given back: what a crash may have left is unknown. */
  assumeUnpunched(): void {
    for (let word = 0; word < this.#taken.length; word++) {
      const free = ~this.#taken[word]!;
      this.#unpunched[word] = free;
    }
    this.#unpunchedBlocks = this.#freeBlocks;
  }

  /**
   * Finds a run of free blocks not given back, from `from` on, and takes it out of allocation until
   * `finishPunch`. Undefined when there is none.
   */
  beginPunch(from: number, blocksMax: number): { start: number; count: number } | undefined {
    const is = (block: number): boolean =>
      (this.#unpunched[wordOf(block)]! & (1 << (block & 31))) !== 0;
    let start = from;
    while (start < this.blockCount && !is(start)) {
      start = this.#unpunched[wordOf(start)] === 0 ? (wordOf(start) + 1) * WORD_BITS : start + 1;
    }
    if (start >= this.blockCount) return undefined;
    let count = 0;
    while (count < blocksMax && start + count < this.blockCount && is(start + count)) {
      this.#take(start + count);
      this.#setHidden(start + count, true);
      count++;
    }
    this.#punchingBlocks += count;
    return { start, count };
  }

  finishPunch(start: number, count: number, punched: boolean): void {
    this.#punchingBlocks -= count;
    for (let block = start; block < start + count; block++) {
      this.#setHidden(block, false);
      this.#giveBack(block);
      if (punched) {
        this.#unpunched[wordOf(block)]! &= ~(1 << (block & 31));
        this.#unpunchedBlocks--;
      }
    }
  }
}

/** Bits that are set: sums of pairs, of fours, of eights, then all (Warren, Hacker's Delight). */
function bitCount(word: number): number {
  const pairs = word - ((word >>> 1) & 0x55555555);
  const fours = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((fours + (fours >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
