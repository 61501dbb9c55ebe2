/**
 * Memory for the replies to reads of one connection: a buddy allocator over one piece of a volume's
 * memory. Each block starts with a page whose end takes the reply's header, so that header and data
 * leave as one piece while the data stays aligned to a page for direct I/O.
 *
 * A connection has memory of its own: a client that takes no replies starves nobody else. Pages
 * that are never handed out are never touched, and freed blocks are handed out again last-in
 * first-out, so a quiet connection costs little and a busy one stays in the processor's cache.
 */
import { assert } from "../../base/index.ts";
import type { VolumeIo } from "../../object/index.ts";
import type { DiskMemory } from "../../ports/index.ts";

export const PAGE_BYTES = 4096;
const TOP_ORDER = 9;
const TOP_BLOCKS = 4;
const PAGES = TOP_BLOCKS << TOP_ORDER;
export const READ_MEMORY_BYTES: number = PAGES * PAGE_BYTES;
/** The longest read that one block holds. Longer ones are answered piece by piece. */
export const READ_PIECE_BYTES_MAX: number = 1 << 20;
/** Smallest blocks kept apart from merging, because the next 4 KiB read wants one. */
const QUICK_BLOCKS_MAX = 64;
const NONE = -1;

assert(READ_PIECE_BYTES_MAX + PAGE_BYTES <= PAGE_BYTES << TOP_ORDER, "a piece fits into a block");

export class ReadMemory {
  readonly memory: DiskMemory;
  /** The same bytes as 32-bit words, to look for zeroes quickly. */
  readonly words: Int32Array;
  readonly #next = new Int16Array(PAGES).fill(NONE);
  readonly #previous = new Int16Array(PAGES).fill(NONE);
  /** Order of the free block that starts at this page, else -1. */
  readonly #freeOrder = new Int8Array(PAGES).fill(NONE);
  /** Order of the block in use that starts at this page, else -1. */
  readonly #usedOrder = new Int8Array(PAGES).fill(NONE);
  readonly #heads = new Int16Array(TOP_ORDER + 1).fill(NONE);
  readonly #quick = new Int16Array(QUICK_BLOCKS_MAX);
  #quickCount = 0;
  readonly #views: (Uint8Array | undefined)[] = Array.from({ length: PAGES }, () => undefined);
  #usedBlocks = 0;
  /** Somebody may write to it at any time, for ever: nobody else gets it. */
  isLost = false;

  constructor(memory: DiskMemory) {
    const { buffer, byteOffset, byteLength } = memory.bytes;
    assert(byteLength === READ_MEMORY_BYTES, "read memory has an unexpected size");
    assert(byteOffset % 4 === 0, "read memory is not aligned");
    this.memory = memory;
    this.words = new Int32Array(buffer, byteOffset, byteLength / 4);
    this.releaseAll();
  }

  /** Every block is free again. Only when nobody writes to or sends from this memory any more. */
  releaseAll(): void {
    this.#usedBlocks = 0;
    this.#quickCount = 0;
    this.#freeOrder.fill(NONE);
    this.#usedOrder.fill(NONE);
    this.#heads.fill(NONE);
    for (let block = TOP_BLOCKS - 1; block >= 0; block--) this.#link(block << TOP_ORDER, TOP_ORDER);
  }

  get usedBlocks(): number {
    return this.#usedBlocks;
  }

  /** A block for `lengthBytes` of data, or -1 if there is none now. */
  take(lengthBytes: number): number {
    assert(lengthBytes > 0 && lengthBytes <= READ_PIECE_BYTES_MAX, "read piece has a bad length");
    let order = 1;
    while (PAGE_BYTES << order < lengthBytes + PAGE_BYTES) order++;
    if (order === 1 && this.#quickCount > 0) return this.#use(this.#quick[--this.#quickCount]!, 1);
    let page = this.#split(order);
    if (page === NONE && this.#quickCount > 0) {
      while (this.#quickCount > 0) this.#merge(this.#quick[--this.#quickCount]!, 1);
      page = this.#split(order);
    }
    return page === NONE ? NONE : this.#use(page, order);
  }

  release(page: number): void {
    const order = this.#usedOrder[page]!;
    assert(order > 0, "released a block that is not in use");
    this.#usedOrder[page] = NONE;
    this.#usedBlocks--;
    if (order === 1 && this.#quickCount < QUICK_BLOCKS_MAX) this.#quick[this.#quickCount++] = page;
    else this.#merge(page, order);
  }

  /** Where the data of a block starts in `memory.bytes`. */
  dataAt(page: number): number {
    return (page + 1) * PAGE_BYTES;
  }

  /**
   * A part of `memory.bytes` in a block; kept, because the next reply is likely to be alike.
   */
  view(page: number, start: number, end: number): Uint8Array {
    const kept = this.#views[page];
    const from = this.memory.bytes.byteOffset + start;
    if (kept !== undefined && kept.byteOffset === from && kept.byteLength === end - start) {
      return kept;
    }
    const view = this.memory.bytes.subarray(start, end);
    this.#views[page] = view;
    return view;
  }

  #use(page: number, order: number): number {
    this.#usedOrder[page] = order;
    this.#usedBlocks++;
    return page;
  }

  #split(order: number): number {
    let from = order;
    while (from <= TOP_ORDER && this.#heads[from] === NONE) from++;
    if (from > TOP_ORDER) return NONE;
    const page = this.#heads[from]!;
    this.#unlink(page, from);
    while (from > order) {
      from--;
      this.#link(page + (1 << from), from);
    }
    return page;
  }

  #merge(freed: number, freedOrder: number): void {
    let page = freed;
    let order = freedOrder;
    while (order < TOP_ORDER) {
      const buddy = page ^ (1 << order);
      if (this.#freeOrder[buddy] !== order) break;
      this.#unlink(buddy, order);
      page &= ~(1 << order);
      order++;
    }
    this.#link(page, order);
  }

  #link(page: number, order: number): void {
    const head = this.#heads[order]!;
    this.#next[page] = head;
    this.#previous[page] = NONE;
    if (head !== NONE) this.#previous[head] = page;
    this.#heads[order] = page;
    this.#freeOrder[page] = order;
  }

  #unlink(page: number, order: number): void {
    const next = this.#next[page]!;
    const previous = this.#previous[page]!;
    if (previous === NONE) this.#heads[order] = next;
    else this.#next[previous] = next;
    if (next !== NONE) this.#previous[next] = previous;
    this.#freeOrder[page] = NONE;
  }
}

/**
 * Read memory outlives connections and volumes: what is allocated is never given back to whom it
 * came from, so whatever is served next uses it again. All volumes served with one pool must be
 * able to read into each other's memory.
 */
export class ReadMemoryPool {
  readonly #idle: ReadMemory[] = [];

  take(volume: VolumeIo): ReadMemory {
    return this.#idle.pop() ?? new ReadMemory(volume.allocate(READ_MEMORY_BYTES));
  }

  giveBack(memory: ReadMemory): void {
    assert(memory.usedBlocks === 0, "read memory is still in use");
    this.#idle.push(memory);
  }
}
