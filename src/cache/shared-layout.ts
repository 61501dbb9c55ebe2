/**
 * Where everything of a shared cache is in its memory, and whether a piece of memory is one.
 *
 *   header | workers | heads of buckets | locks of buckets | ghosts | slots | times of slots |
 *   cold ring | free ring | pages
 *
 * All but the pages are 32-bit words, except the counters of each worker (64-bit floats, written by
 * that worker alone). The geometry is in the header, so that whoever joins needs the memory alone;
 * it is checked against the memory's size before anything is believed.
 *
 * The memory is a SharedArrayBuffer, or bytes that several threads or processes have mapped.
 */
import { CodedError } from "../base/index.ts";
import { capacityTooLarge, checkCapacity } from "./cache-checks.ts";
import { COUNTER_COUNT } from "./cache-stats.ts";
import { GHOST_SET_WORDS, ghostSetCount } from "./ghost-sets.ts";
import { bucketCountOf, hashShift } from "./key-hash.ts";

export interface SharedCacheGeometry {
  /** Number of slots. */
  readonly capacity: number;
  /** Bytes of each page in the memory; a multiple of 8; 0 if pages are elsewhere. */
  readonly pageBytes: number;
  /** Workers that may have joined at once; default 16, at most 250. */
  readonly workersMax?: number;
  /** Slots that one worker may have pinned at once; default 60. */
  readonly pinsMax?: number;
}

export type SharedCacheMemory = SharedArrayBuffer | Uint8Array;

export const SHARED_CACHE_VERSION = 2;
const MAGIC = 0x43505344;
/** Written last: without it, a formatting was cut short. */
const READY = 0x59444552;

const MAGIC_AT = 0;
const VERSION_AT = 1;
const CAPACITY_AT = 2;
const PAGE_BYTES_AT = 3;
const WORKERS_MAX_AT = 4;
const PINS_MAX_AT = 5;
const READY_AT = 6;
/** How many of the slots may be in use. */
export const SLOTS_MAX = 7;
/** Places below this one may have workers. */
export const PLACES_TOP = 8;
// What inserts write: a line each, apart from what is only read.
export const TICKS = 16;
export const COLD_HEAD = 32;
export const COLD_TAIL = 48;
export const COLD_SIZE = 64;
export const HAND = 80;
export const FREE_HEAD = 96;
export const FREE_TAIL = 112;
export const UNTOUCHED = 128;
const HEADER_WORDS = 144;

/**
 * Words of a worker: who it is and whether it is there (`shared-pins.ts`), that it lives, how many
 * pins may be set, what it looks at.
 */
export const LIFE = 0;
export const BEAT = 1;
export const PINS_TOP = 2;
export const CURRENT = 3;
export const PINS = 4;

/** Words of a slot: all that a hit needs, within one cache line. */
export const STATE = 0;
export const KEY_LOW = 1;
export const KEY_HIGH = 2;
export const NEXT = 3;
export const SLOT_WORDS = 4;

export const FREE_RING_SIZE = 1024;

const LINE_WORDS = 16;
const BUCKETS_PER_SLOT_MIN = 0.75;
const GHOSTS_PER_SLOT = 1;
const PAGES_ALIGNMENT = 4096;
const WORDS_MAX = 2 ** 30;
const WORKERS_MAX = 250;
const PINS_LIMIT = 4096;

export class SharedLayout {
  readonly capacity: number;
  readonly pageBytes: number;
  readonly workersMax: number;
  readonly pinsMax: number;
  readonly workersAt: number = HEADER_WORDS;
  readonly workerWords: number;
  /** Of a worker's counters, behind the start of its words. */
  readonly countersAt: number;
  readonly bucketsAt: number;
  readonly locksAt: number;
  /** A power of two; `bucketShift` is for hashes. */
  readonly bucketCount: number;
  readonly bucketShift: number;
  readonly ghostsAt: number;
  readonly ghostSets: number;
  /** Entries are numbered from 1, so the first slot's words are those of entry 1. */
  readonly slotsAt: number;
  /** When each slot was admitted, promoted or armed. */
  readonly timesAt: number;
  readonly coldRingAt: number;
  /** A power of two. */
  readonly coldRingSize: number;
  readonly freeRingAt: number;
  readonly pagesAtBytes: number;
  readonly sizeBytes: number;

  /** Fails with `cache-capacity-invalid`, `cache-capacity-too-large`, `cache-geometry-invalid`. */
  constructor(geometry: SharedCacheGeometry) {
    const { capacity, pageBytes, workersMax = 16, pinsMax = 60 } = geometry;
    checkCapacity(capacity);
    checkCount("bytes in a page", pageBytes, { min: 0, max: 2 ** 30, multipleOf: 8 });
    checkCount("workers", workersMax, { min: 1, max: WORKERS_MAX, multipleOf: 1 });
    checkCount("pins of a worker", pinsMax, { min: 1, max: PINS_LIMIT, multipleOf: 1 });
    this.capacity = capacity;
    this.pageBytes = pageBytes;
    this.workersMax = workersMax;
    this.pinsMax = pinsMax;
    this.countersAt = roundUp(PINS + pinsMax, LINE_WORDS);
    this.workerWords = this.countersAt + roundUp(2 * COUNTER_COUNT, LINE_WORDS);
    this.bucketsAt = this.workersAt + workersMax * this.workerWords;
    this.bucketShift = hashShift(Math.ceil(capacity * BUCKETS_PER_SLOT_MIN));
    this.bucketCount = bucketCountOf(this.bucketShift);
    // Apart, so that look-ups, which read heads alone, touch fewer lines.
    this.locksAt = this.bucketsAt + this.bucketCount;
    this.ghostsAt = roundUp(this.locksAt + this.bucketCount, LINE_WORDS);
    this.ghostSets = ghostSetCount(capacity * GHOSTS_PER_SLOT);
    this.slotsAt = this.ghostsAt + this.ghostSets * GHOST_SET_WORDS;
    this.timesAt = this.slotsAt + (capacity + 1) * SLOT_WORDS;
    this.coldRingAt = this.timesAt + capacity + 1;
    // The cold queue aims at less than three quarters of the slots.
    this.coldRingSize = 2 ** Math.ceil(Math.log2(Math.max(16, capacity * 0.75)));
    this.freeRingAt = this.coldRingAt + this.coldRingSize;
    const words = this.freeRingAt + FREE_RING_SIZE;
    if (words > WORDS_MAX) throw tooLarge(capacity);
    this.pagesAtBytes = roundUp(words * 4, pageBytes === 0 ? 8 : PAGES_ALIGNMENT);
    this.sizeBytes = this.pagesAtBytes + capacity * pageBytes;
  }

  /** Fails with `cache-capacity-invalid` or `cache-capacity-too-large`. */
  checkSlotsMax(slotsMax: number): void {
    checkCapacity(slotsMax);
    if (slotsMax > this.capacity) throw capacityTooLarge(slotsMax, undefined);
  }

  /** Bytes of memory that are not pages. */
  get overheadBytes(): number {
    return this.sizeBytes - this.capacity * this.pageBytes;
  }
}

/** Bytes that a shared cache of this geometry needs. Fails as its formatting would. */
export function sharedCacheBytes(geometry: SharedCacheGeometry): number {
  return new SharedLayout(geometry).sizeBytes;
}

/**
 * Makes an empty cache of memory that nobody uses, whatever it held. Fails as the geometry's checks
 * do, and with `cache-memory-too-small` or `cache-memory-misaligned`.
 */
export function formatSharedCache(memory: SharedCacheMemory, geometry: SharedCacheGeometry): void {
  const layout = new SharedLayout(geometry);
  const bytes = bytesOf(memory);
  if (bytes.length < layout.sizeBytes) throw tooSmall(bytes.length, layout.sizeBytes);
  const words = wordsOf(bytes);
  words.fill(0, 0, layout.pagesAtBytes / 4);
  words[MAGIC_AT] = MAGIC;
  words[VERSION_AT] = SHARED_CACHE_VERSION;
  words[CAPACITY_AT] = layout.capacity;
  words[PAGE_BYTES_AT] = layout.pageBytes;
  words[WORKERS_MAX_AT] = layout.workersMax;
  words[PINS_MAX_AT] = layout.pinsMax;
  words[SLOTS_MAX] = layout.capacity;
  Atomics.store(words, READY_AT, READY);
}

/**
 * The layout of memory that was formatted. Fails with `cache-memory-unknown`,
 * `cache-memory-version-unknown`, `cache-memory-damaged` or `cache-memory-misaligned`.
 */
export function readLayout(memory: SharedCacheMemory): SharedLayout {
  const bytes = bytesOf(memory);
  if (bytes.length < HEADER_WORDS * 4) throw unknownMemory();
  const words = wordsOf(bytes);
  if (Atomics.load(words, READY_AT) !== READY || words[MAGIC_AT] !== MAGIC) throw unknownMemory();
  const version = words[VERSION_AT]!;
  if (version !== SHARED_CACHE_VERSION) throw unknownVersion(version);
  const geometry = {
    capacity: words[CAPACITY_AT]!,
    pageBytes: words[PAGE_BYTES_AT]!,
    workersMax: words[WORKERS_MAX_AT]!,
    pinsMax: words[PINS_MAX_AT]!,
  };
  let layout: SharedLayout;
  try {
    layout = new SharedLayout(geometry);
  } catch (cause) {
    throw damaged("its geometry is impossible", cause);
  }
  if (bytes.length < layout.sizeBytes) {
    throw damaged(`it needs ${layout.sizeBytes} bytes and ${bytes.length} are here`, undefined);
  }
  return layout;
}

export function bytesOf(memory: SharedCacheMemory): Uint8Array {
  return memory instanceof Uint8Array ? memory : new Uint8Array(memory);
}

/** Fails with `cache-memory-misaligned`. */
export function wordsOf(bytes: Uint8Array): Int32Array {
  if (bytes.byteOffset % 8 === 0) {
    return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
  }
  throw new CodedError({
    code: "cache-memory-misaligned",
    message: "The memory of a shared cache does not begin at a multiple of 8 bytes",
    hint: "Give a view that begins at one; mapped memory does, and so does a SharedArrayBuffer.",
  });
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit;
}

interface Bounds {
  readonly min: number;
  readonly max: number;
  readonly multipleOf: number;
}

function checkCount(what: string, count: number, { min, max, multipleOf }: Bounds): void {
  if (Number.isSafeInteger(count) && count >= min && count <= max && count % multipleOf === 0) {
    return;
  }
  const unit = multipleOf === 1 ? "a whole number" : `a multiple of ${multipleOf}`;
  throw new CodedError({
    code: "cache-geometry-invalid",
    message: `A shared cache cannot have ${String(count)} ${what}`,
    hint: `Give ${unit} from ${min} to ${max}.`,
  });
}

function tooLarge(capacity: number): CodedError {
  return new CodedError({
    code: "cache-capacity-too-large",
    message: `The tables of a shared cache of ${capacity} slots would exceed 4 GiB`,
    hint: "Use fewer slots, or several caches.",
  });
}

function tooSmall(given: number, needed: number): CodedError {
  return new CodedError({
    code: "cache-memory-too-small",
    message: `The shared cache needs ${needed} bytes and was given ${given}`,
    hint: "Ask sharedCacheBytes for the size before allocating.",
    details: { given, needed },
  });
}

function unknownMemory(): CodedError {
  return new CodedError({
    code: "cache-memory-unknown",
    message: "This memory holds no shared cache, or its formatting was cut short",
    hint: "Format it with formatSharedCache before anyone joins.",
  });
}

function unknownVersion(version: number): CodedError {
  return new CodedError({
    code: "cache-memory-version-unknown",
    message: `The shared cache has layout version ${version}, this program knows ${SHARED_CACHE_VERSION}`,
    hint: "Run the same version of the program everywhere, and format the memory anew with it.",
    details: { version, known: SHARED_CACHE_VERSION },
  });
}

function damaged(reason: string, cause: unknown): CodedError {
  return new CodedError(
    {
      code: "cache-memory-damaged",
      message: `The memory of the shared cache does not fit its header: ${reason}`,
      hint: "Map all of it; if that was done, it was overwritten: format it anew.",
    },
    { cause },
  );
}
