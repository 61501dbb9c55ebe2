/**
 * Blocks that were read from other hosts, in memory, by content: what many components hold alike is
 * kept once. A name is a component as it was opened; whoever has taken it removes what changes.
 *
 * Equal contents are found by checksum and compared byte by byte, so nothing depends on the sum.
 * Memory is taken as contents come.
 */
import { assert, BLOCK_SIZE_BYTES, crc32c } from "../base/index.ts";
import { PageCache } from "../cache/index.ts";

/** Blocks of one name: 64 TiB. */
const NAME_STRIDE = 2 ** 34;
/** Keys stay below 2^53. When all names were used, nothing is kept any more. */
const NAMES_MAX = 2 ** 19;
const NONE = -1;
/** Contents of one piece of memory: 1 MiB. */
const SLAB_BLOCKS = 256;

export interface FarCounters {
  /** Asked for and here, or not: of a read at once of which one block is missing all are. */
  blocksHit: number;
  blocksMissed: number;
  blocksKept: number;
  /** Because their owner has changed them. */
  blocksRemoved: number;
  /** Not kept, because a change was sent after they were asked for. */
  answersDropped: number;
  /** Times that everything of a component was forgotten. */
  componentsForgotten: number;
}

export class FarBlocks {
  readonly counters: FarCounters = {
    ...{ blocksHit: 0, blocksMissed: 0, blocksKept: 0, blocksRemoved: 0 },
    ...{ answersDropped: 0, componentsForgotten: 0 },
  };
  readonly #blocksMax: number;
  #namesTaken = 0;
  #kept: KeptContents | undefined;

  constructor(blocksMax: number) {
    this.#blocksMax = blocksMax;
  }

  /** A name that nobody has had, or -1. */
  takeName(): number {
    return this.#namesTaken < NAMES_MAX ? this.#namesTaken++ : NONE;
  }

  /** Contents in memory, however many blocks have them. */
  get contentCount(): number {
    return this.#kept?.contentCount ?? 0;
  }

  /** Memory that was taken for them so far. */
  get bytes(): number {
    return this.#kept?.bytes ?? 0;
  }

  /** For `stats`. */
  get view(): Readonly<Record<string, number>> {
    return { ...this.counters, bytesInMemory: this.contentCount * BLOCK_SIZE_BYTES };
  }

  /** Copies the blocks into `target` if all of them are here. */
  copyTo(
    name: number,
    firstBlock: number,
    blockCount: number,
    target: Uint8Array,
    targetAt: number,
  ): boolean {
    const kept = this.#kept;
    const key = name * NAME_STRIDE + firstBlock;
    if (kept === undefined || name === NONE || !kept.hasAll(key, blockCount)) {
      this.counters.blocksMissed += blockCount;
      return false;
    }
    this.counters.blocksHit += blockCount;
    for (let i = 0; i < blockCount; i++)
      kept.copyTo(key + i, target, targetAt + i * BLOCK_SIZE_BYTES);
    return true;
  }

  put(name: number, block: number, source: Uint8Array, at: number): void {
    if (name === NONE || this.#blocksMax === 0) return;
    assert(block < NAME_STRIDE, "a component has fewer blocks");
    this.#kept ??= new KeptContents(this.#blocksMax);
    if (this.#kept.put(name * NAME_STRIDE + block, source, at)) this.counters.blocksKept++;
  }

  remove(name: number, block: number): void {
    if (name === NONE || this.#kept === undefined) return;
    if (this.#kept.remove(name * NAME_STRIDE + block)) this.counters.blocksRemoved++;
  }
}

class KeptContents {
  readonly #cache: PageCache;
  /** Of `SLAB_BLOCKS` contents each, as far as there ever were so many. */
  readonly #slabs: Uint8Array[] = [];
  /** By slot of the cache: its content. */
  readonly #contents: Int32Array;
  /** By content. Those with equal low bits of their sums are chained. */
  readonly #uses: Int32Array;
  readonly #sums: Uint32Array;
  readonly #nexts: Int32Array;
  readonly #heads: Int32Array;
  /** Those below `#begun` that nothing uses. */
  readonly #free: number[] = [];
  #begun = 0;
  readonly #mask: number;

  constructor(blocksMax: number) {
    this.#cache = new PageCache({ capacity: blocksMax });
    this.#contents = new Int32Array(blocksMax).fill(NONE);
    this.#uses = new Int32Array(blocksMax);
    this.#sums = new Uint32Array(blocksMax);
    this.#nexts = new Int32Array(blocksMax).fill(NONE);
    const headCount = 2 ** Math.ceil(Math.log2(blocksMax));
    this.#heads = new Int32Array(headCount).fill(NONE);
    this.#mask = headCount - 1;
  }

  get contentCount(): number {
    return this.#begun - this.#free.length;
  }

  get bytes(): number {
    return this.#slabs.length * SLAB_BLOCKS * BLOCK_SIZE_BYTES;
  }

  hasAll(firstKey: number, keyCount: number): boolean {
    for (let i = 0; i < keyCount; i++) if (this.#cache.peek(firstKey + i) < 0) return false;
    return true;
  }

  /** The key is here. */
  copyTo(key: number, target: Uint8Array, at: number): void {
    const slot = this.#cache.lookup(key);
    assert(slot >= 0, "whoever copies has looked for it");
    target.set(this.#block(this.#contents[slot]!), at);
  }

  /** False if it is here already, or the cache does not want it. */
  put(key: number, source: Uint8Array, at: number): boolean {
    if (this.#cache.peek(key) >= 0) return false;
    // Nobody has looked it up: the miss counts now.
    this.#cache.lookup(key);
    const slot = this.#cache.insert(key);
    if (slot < 0) return false;
    this.#release(slot);
    const bytes = source.subarray(at, at + BLOCK_SIZE_BYTES);
    const sum = crc32c(bytes);
    const known = this.#find(bytes, sum);
    const content = known === NONE ? this.#add(bytes, sum) : known;
    this.#uses[content]!++;
    this.#contents[slot] = content;
    return true;
  }

  /** False if it is not here. */
  remove(key: number): boolean {
    const slot = this.#cache.peek(key);
    this.#cache.remove(key);
    if (slot >= 0) this.#release(slot);
    return slot >= 0;
  }

  #block(content: number): Uint8Array {
    const start = (content % SLAB_BLOCKS) * BLOCK_SIZE_BYTES;
    return this.#slabs[Math.floor(content / SLAB_BLOCKS)]!.subarray(
      start,
      start + BLOCK_SIZE_BYTES,
    );
  }

  #find(bytes: Uint8Array, sum: number): number {
    let content = this.#heads[sum & this.#mask]!;
    while (content !== NONE) {
      if (this.#sums[content] === sum && isEqual(this.#block(content), bytes)) return content;
      content = this.#nexts[content]!;
    }
    return NONE;
  }

  #add(bytes: Uint8Array, sum: number): number {
    const content = this.#free.pop() ?? this.#begin();
    this.#block(content).set(bytes);
    const head = sum & this.#mask;
    this.#sums[content] = sum;
    this.#nexts[content] = this.#heads[head]!;
    this.#heads[head] = content;
    return content;
  }

  #begin(): number {
    const content = this.#begun++;
    assert(content < this.#uses.length, "there are no more contents than slots");
    if (content % SLAB_BLOCKS === 0)
      this.#slabs.push(new Uint8Array(SLAB_BLOCKS * BLOCK_SIZE_BYTES));
    return content;
  }

  #release(slot: number): void {
    const content = this.#contents[slot]!;
    if (content === NONE) return;
    this.#contents[slot] = NONE;
    if (--this.#uses[content]! > 0) return;
    const head = this.#sums[content]! & this.#mask;
    if (this.#heads[head] === content) this.#heads[head] = this.#nexts[content]!;
    else {
      let before = this.#heads[head]!;
      while (this.#nexts[before] !== content) before = this.#nexts[before]!;
      this.#nexts[before] = this.#nexts[content]!;
    }
    this.#free.push(content);
  }
}

function isEqual(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
