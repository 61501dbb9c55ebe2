/**
 * What the torture of the shared cache agrees on: the pages' contents, and the memory beside the
 * cache in which its workers and its director note what must be true.
 */
export interface TortureSetting {
  readonly keyCount: number;
  readonly capacity: number;
  readonly pageBytes: number;
  readonly workerCount: number;
}

/** A page: key, version, what follows from both, and a sum over all of it. */
const PAGE_KEY = 0;
const PAGE_VERSION = 1;
const PAGE_BODY = 2;

export class TortureMemory {
  readonly setting: TortureSetting;
  /** Newest version of each key that is stored: the disk. */
  readonly stored: Int32Array;
  /** Newest version of each key that some worker has been told is published. */
  readonly acknowledged: Int32Array;
  /** How often a version of each key was published. */
  readonly published: Int32Array;
  /** The worker that was given a slot to fill. */
  readonly fillers: Int32Array;
  /** Operations done by each worker, in thousands. */
  readonly thousands: Int32Array;
  /** As which worker of the cache each one has joined, 0 before that. */
  readonly joined: Int32Array;
  /** How often a call said that another worker is stuck, and was repeated. */
  readonly waits: Int32Array;
  /** Not 0: end. */
  readonly stop: Int32Array;

  constructor(setting: TortureSetting, bytes: Uint8Array) {
    const { keyCount, capacity, workerCount } = setting;
    let at = bytes.byteOffset;
    const take = (length: number): Int32Array => {
      const array = new Int32Array(bytes.buffer, at, length);
      at += length * 4;
      return array;
    };
    this.setting = setting;
    this.stored = take(keyCount);
    this.acknowledged = take(keyCount);
    this.published = take(keyCount);
    this.fillers = take(capacity);
    this.thousands = take(workerCount);
    this.joined = take(workerCount);
    this.waits = take(1);
    this.stop = take(1);
  }
}

export function tortureMemoryBytes({ keyCount, capacity, workerCount }: TortureSetting): number {
  return 4 * (3 * keyCount + capacity + 2 * workerCount + 2);
}

export function writePage(page: Int32Array, key: number, version: number): void {
  page[PAGE_KEY] = key;
  page[PAGE_VERSION] = version;
  let sum = key ^ Math.imul(version, 0x9e3779b1);
  for (let i = PAGE_BODY; i < page.length - 1; i++) {
    page[i] = Math.imul(key + i, 0x85ebca6b) ^ version;
    sum = Math.imul(sum ^ page[i]!, 0x01000193);
  }
  page[page.length - 1] = sum;
}

/** The version, or -1 if the page is not a whole page of this key. */
export function readPage(page: Int32Array, key: number): number {
  const version = page[PAGE_VERSION]!;
  let sum = page[PAGE_KEY]! ^ Math.imul(version, 0x9e3779b1);
  for (let i = PAGE_BODY; i < page.length - 1; i++) sum = Math.imul(sum ^ page[i]!, 0x01000193);
  return page[PAGE_KEY] === key && sum === page[page.length - 1] ? version : -1;
}

/** Sets an element to a value unless it is larger already. */
export function raise(array: Int32Array, at: number, value: number): void {
  for (;;) {
    const old = Atomics.load(array, at);
    if (old >= value || Atomics.compareExchange(array, at, old, value) === old) return;
  }
}
