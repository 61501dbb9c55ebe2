/**
 * Which blocks of the block store are in use. A bit per block; groups of bits are persisted by the
 * destage that changes them, in the same metadata batch as the maps that explain the change.
 *
 * Of every group its counts are in memory, and the bits of those alone that are in use: a group is
 * read from the metadata when it is looked at, and its memory is another's once what is stored says
 * the same. So memory does not grow with the device, but for the counts.
 *
 * A block that a published change freed is not handed out again before every read that may still
 * use its old meaning has ended (quarantine), and not before the change is durable (the destager
 * calls only then).
 */
import { assert, getU32 } from "../base/index.ts";
import { SPACE_GROUP_BLOCKS } from "../format/index.ts";
import {
  bitCount,
  GROUP_BYTES,
  GROUP_WORDS,
  HIDDEN,
  SpaceGroup,
  TAKEN,
  UNPUNCHED,
  WORD_BITS,
} from "./space-group.ts";

/** How far to look for a long run of free blocks: 2 GiB of them. */
const RUN_SEARCH_WORDS_MAX = 16_384;
/** Groups in memory, unless more differ from what is stored: those of 128 GiB. */
const GROUPS_KEPT = 4096;
/** Of the groups in memory, how many are looked at for one that is not needed. */
const LOOKED_AT_MAX = 64;
/** For each group, whatever is in it: 128 KiB for each TiB of the device. */
export const SPACE_COUNT_BYTES = 4;
/** What the counts of a device may have: of 32 TiB. */
const COUNTS_BYTES = 4 << 20;
/** What the map of a device may have in memory. */
export const SPACE_MAP_BYTES: number = GROUPS_KEPT * GROUP_BYTES + COUNTS_BYTES;

/** A stored group, valid until the next call; undefined if it cannot be believed. */
export type ReadGroup = (group: number) => Uint8Array | undefined;

/** Not by a shift: a device of more than 16 TiB has more than 2^32 blocks. */
function groupOf(block: number): number {
  return Math.floor(block / SPACE_GROUP_BLOCKS);
}

export class SpaceMap {
  readonly blockCount: number;
  readonly groupCount: number;
  readonly #read: ReadGroup;
  readonly #groupsKept: number;
  /** By group: blocks that are not taken. */
  readonly #free: Uint16Array;
  /** By group: of the free ones, those not given back. All or none if it is not in memory. */
  readonly #unpunched: Uint16Array;
  /** In memory, the one that was not wanted for longest more or less first. */
  readonly #groups = new Map<number, SpaceGroup>();
  #recent = new SpaceGroup();
  readonly #dirtyGroups = new Set<number>();
  /** Durable view differs from taken by blocks in quarantine: they are free on disk already. */
  readonly #quarantine: { readonly readStamp: number; readonly blocks: number[] }[] = [];
  #onDamage: (group: number) => void = () => assert(false, "a stored group is damaged");
  #freeBlocks: number;
  #quarantinedBlocks = 0;
  #reservedBlocks = 0;
  #punchingBlocks = 0;
  #rotor = 0;
  #unpunchedBlocks = 0;

  /** `read` is asked for what was stored, of groups of which it is not known otherwise. */
  constructor(blockCount: number, read: ReadGroup, groupsKept: number = GROUPS_KEPT) {
    this.blockCount = blockCount;
    this.groupCount = Math.ceil(blockCount / SPACE_GROUP_BLOCKS);
    this.#read = read;
    this.#groupsKept = groupsKept;
    this.#free = new Uint16Array(this.groupCount).fill(SPACE_GROUP_BLOCKS);
    this.#free[this.groupCount - 1] = this.#sizeOf(this.groupCount - 1);
    this.#unpunched = new Uint16Array(this.groupCount);
    this.#freeBlocks = blockCount;
  }

  /**
   * Calls back for a stored group that cannot be believed: all its blocks count as in use from then
   * on, so that none is handed out. Without, that is an error.
   */
  listen(onDamage: (group: number) => void): void {
    this.#onDamage = onDamage;
  }

  /** Bytes of memory that it has. */
  get memoryBytes(): number {
    return this.#groups.size * GROUP_BYTES + this.groupCount * SPACE_COUNT_BYTES;
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

  isTaken(block: number): boolean {
    return this.#groupWith(block).has(TAKEN, block);
  }

  /** Whether the durable space map calls the block used. */
  isUsedOnDisk(block: number): boolean {
    const group = this.#groupWith(block);
    return group.has(TAKEN, block) && !group.has(HIDDEN, block);
  }

  /** Counts a persisted group at start, before anything is taken of it. */
  countGroup(group: number, stored: Uint8Array): void {
    const size = this.#sizeOf(group);
    let used = 0;
    // A large device has hundreds of millions of bits: a word of them at a time.
    for (let word = 0; word < GROUP_WORDS; word++) {
      const bits = getU32(stored, word * 4);
      if (bits === 0) continue;
      const last = word * WORD_BITS + (WORD_BITS - 1 - Math.clz32(bits));
      assert(last < size, "space map names a block beyond the device");
      used += bitCount(bits);
    }
    assert(this.#free[group] === size && !this.#groups.has(group), "group is in use already");
    this.#free[group] -= used;
    this.#freeBlocks -= used;
  }

  /** Writes the durable meaning of a group: blocks in quarantine count as free. */
  storeGroup(group: number, into: Uint8Array): void {
    this.#group(group).encode(into, this.#sizeOf(group));
  }

  #sizeOf(group: number): number {
    return Math.min(SPACE_GROUP_BLOCKS, this.blockCount - group * SPACE_GROUP_BLOCKS);
  }

  /** Good until another group is asked for: its memory may be that one's then. */
  #groupWith(block: number): SpaceGroup {
    return this.#group(groupOf(block));
  }

  #group(index: number): SpaceGroup {
    if (this.#recent.index === index) return this.#recent;
    const known = this.#groups.get(index);
    if (known !== undefined) known.isWanted = true;
    this.#recent = known ?? this.#load(index);
    return this.#recent;
  }

  #load(index: number): SpaceGroup {
    const size = this.#sizeOf(index);
    const free = this.#free[index]!;
    // First, since it may fail. What is all free may never have been stored.
    const isMixed = free > 0 && free < size;
    const stored = isMixed ? this.#read(index) : undefined;
    const group = this.#giveMemory() ?? new SpaceGroup();
    group.begin(index);
    this.#groups.set(index, group);
    if (free === 0) group.takeAll();
    else if (isMixed && (stored === undefined || group.decode(stored) !== size - free))
      this.#takeDamaged(group);
    group.endAt(size);
    if (this.#unpunched[index]! > 0) group.allFreeUnpunched();
    return group;
  }

  #takeDamaged(group: SpaceGroup): void {
    const { index } = group;
    group.takeAll();
    this.#freeBlocks -= this.#free[index]!;
    this.#unpunchedBlocks -= this.#unpunched[index]!;
    this.#free[index] = 0;
    this.#unpunched[index] = 0;
    this.#onDamage(index);
  }

  /** The memory of a group that can be read again, once there are enough in memory. */
  #giveMemory(): SpaceGroup | undefined {
    let given: SpaceGroup | undefined;
    let lookedAt = 0;
    for (const [index, group] of this.#groups) {
      if (this.#groups.size < this.#groupsKept || lookedAt++ === LOOKED_AT_MAX) break;
      this.#groups.delete(index);
      if (group.isPinned || group.isWanted) {
        group.isWanted = false;
        this.#groups.set(index, group);
      } else {
        this.#forgetPunched(index);
        given = group;
      }
    }
    return given;
  }

  /** Where something was not given back, nothing was: punching twice does no harm. */
  #forgetPunched(index: number): void {
    const unpunched = this.#unpunched[index]!;
    if (unpunched === 0) return;
    this.#unpunchedBlocks += this.#free[index]! - unpunched;
    this.#unpunched[index] = this.#free[index]!;
  }

  #hide(block: number): void {
    const group = this.#groupWith(block);
    assert(!group.has(HIDDEN, block), "block is hidden already");
    group.set(HIDDEN, block);
    group.hiddenCount++;
  }

  #unhide(block: number): void {
    const group = this.#groupWith(block);
    assert(group.has(HIDDEN, block), "block is not hidden");
    group.unset(HIDDEN, block);
    group.hiddenCount--;
  }

  #isHidden(block: number): boolean {
    return this.#groupWith(block).has(HIDDEN, block);
  }

  #take(block: number): void {
    const group = this.#groupWith(block);
    assert(!group.has(TAKEN, block), "block is taken already");
    group.set(TAKEN, block);
    this.#free[group.index]!--;
    this.#freeBlocks--;
    if (group.has(UNPUNCHED, block)) this.#punched(group, block);
  }

  #punched(group: SpaceGroup, block: number): void {
    group.unset(UNPUNCHED, block);
    this.#unpunched[group.index]!--;
    this.#unpunchedBlocks--;
  }

  /** A free block, next to the previous one where possible; undefined if there is none. */
  allocate(): number | undefined {
    const block = this.#nextFree(this.#rotor) ?? this.#nextFree(0);
    assert(block !== undefined || this.#freeBlocks === 0, "free count and free bits disagree");
    if (block === undefined) return undefined;
    this.#take(block);
    this.#rotor = block + 1 < this.blockCount ? block + 1 : 0;
    this.#markDirty(block);
    return block;
  }

  #nextFree(from: number): number | undefined {
    let at = from;
    for (let index = groupOf(from); index < this.groupCount; index++) {
      const first = index * SPACE_GROUP_BLOCKS;
      const found = this.#free[index] === 0 ? -1 : this.#group(index).nextFree(at);
      if (found >= 0) return first + found;
      at = first + SPACE_GROUP_BLOCKS;
    }
    return undefined;
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
      this.#hide(block);
    }
  }

  #findRun(count: number): number | undefined {
    const words = Math.ceil(this.blockCount / WORD_BITS);
    const wordsMax = Math.min(RUN_SEARCH_WORDS_MAX, words + 2);
    let block = this.#rotor;
    let run = 0;
    for (let looked = 0; looked < wordsMax;) {
      if (block >= this.blockCount) {
        block = 0;
        run = 0;
      }
      const { length, isFree } = this.#alike(block);
      if (block % WORD_BITS === 0) looked += Math.ceil(length / WORD_BITS);
      run = isFree ? run + length : 0;
      block += length;
      if (run >= count) return block - run;
    }
    return undefined;
  }

  /** How many blocks from here on are surely like this one: a group's, a word's, or one. */
  #alike(block: number): { length: number; isFree: boolean } {
    const index = groupOf(block);
    const size = this.#sizeOf(index);
    const free = this.#free[index]!;
    if (block % SPACE_GROUP_BLOCKS === 0 && (free === 0 || free === size))
      return { length: size, isFree: free > 0 };
    const group = this.#group(index);
    const length = block % WORD_BITS === 0 && group.isWordAlike(block) ? WORD_BITS : 1;
    return { length, isFree: !group.has(TAKEN, block) };
  }

  /** A batch being prepared makes a reserved block one in use. */
  adopt(block: number): void {
    assert(this.isTaken(block) && this.#isHidden(block), "adopting a block that is not reserved");
    this.#unhide(block);
    this.#reservedBlocks--;
    this.#markDirty(block);
  }

  /** The batch was not committed: the block is reserved as before. */
  unadopt(block: number): void {
    assert(this.isTaken(block) && !this.#isHidden(block), "the block was not adopted");
    this.#hide(block);
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
    const group = this.#groupWith(block);
    assert(group.has(TAKEN, block), "block is free already");
    group.unset(TAKEN, block);
    this.#free[group.index]!++;
    this.#freeBlocks++;
    group.set(UNPUNCHED, block);
    this.#unpunched[group.index]!++;
    this.#unpunchedBlocks++;
  }

  /** Blocks that a batch being prepared will free: free on disk with that batch, not yet here. */
  beginFree(blocks: readonly number[]): void {
    for (const block of blocks) {
      assert(this.isTaken(block) && !this.#isHidden(block), "freeing a free block");
      this.#hide(block);
      this.#quarantinedBlocks++;
      this.#markDirty(block);
    }
  }

  /** The batch was not committed. */
  undoFree(blocks: readonly number[]): void {
    for (const block of blocks) {
      this.#unhide(block);
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
        this.#unhide(block);
        this.#quarantinedBlocks--;
        this.#giveBack(block);
      }
    }
  }

  #markDirty(block: number): void {
    this.#groupChanged(this.#groupWith(block));
  }

  #groupChanged(group: SpaceGroup): void {
    if (group.isDirty) return;
    group.isDirty = true;
    this.#dirtyGroups.add(group.index);
  }

  /**
   * Groups changed since the last call, to be stored. Goes with `groupsStored` or
   * `markGroupsDirty`.
   */
  takeDirtyGroups(): number[] {
    const groups = [...this.#dirtyGroups].sort((a, b) => a - b);
    this.#dirtyGroups.clear();
    for (const index of groups) {
      const group = this.#group(index);
      group.isDirty = false;
      assert(!group.isStoring, "two batches store a group at once");
      group.isStoring = true;
    }
    return groups;
  }

  /** The batch was committed. */
  groupsStored(groups: readonly number[]): void {
    for (const index of groups) this.#group(index).isStoring = false;
  }

  /** Puts groups back whose batch was not committed. */
  markGroupsDirty(groups: readonly number[]): void {
    for (const index of groups) {
      const group = this.#group(index);
      group.isStoring = false;
      this.#groupChanged(group);
    }
  }

  /** Everything free counts as not given back: what a crash may have left is unknown. */
  assumeUnpunched(): void {
    this.#unpunched.set(this.#free);
    this.#unpunchedBlocks = this.#freeBlocks;
    for (const group of this.#groups.values()) group.allFreeUnpunched();
  }

  /**
   * Finds a run of free blocks not given back, from `from` on, and takes it out of allocation until
   * `finishPunch`. Undefined when there is none.
   */
  beginPunch(from: number, blocksMax: number): { start: number; count: number } | undefined {
    const start = this.#nextUnpunched(from);
    if (start === undefined) return undefined;
    let count = 0;
    while (count < blocksMax && this.#isUnpunched(start + count)) {
      this.#take(start + count);
      this.#hide(start + count);
      count++;
    }
    this.#punchingBlocks += count;
    return { start, count };
  }

  finishPunch(start: number, count: number, punched: boolean): void {
    this.#punchingBlocks -= count;
    for (let block = start; block < start + count; block++) {
      this.#unhide(block);
      this.#giveBack(block);
      if (punched) {
        this.#punched(this.#groupWith(block), block);
      }
    }
  }

  #isUnpunched(block: number): boolean {
    const index = groupOf(block);
    // Also where the device ends.
    if ((this.#unpunched[index] ?? 0) === 0) return false;
    return this.#group(index).has(UNPUNCHED, block);
  }

  #nextUnpunched(from: number): number | undefined {
    let at = from;
    for (let index = groupOf(from); index < this.groupCount; index++) {
      const first = index * SPACE_GROUP_BLOCKS;
      const found = this.#unpunched[index] === 0 ? -1 : this.#group(index).nextUnpunched(at);
      if (found >= 0) return first + found;
      at = first + SPACE_GROUP_BLOCKS;
    }
    return undefined;
  }
}
