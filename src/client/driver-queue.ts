/**
 * The driver's side of a split virtqueue for a disk: a request is one descriptor, which refers to a
 * table of its own with head, data and status. Tables are written once and changed where requests
 * differ. Nothing is allocated per request.
 *
 * The device is trusted no more than it needs to be: what it reports as used must be under way.
 */
import { assert, CodedError } from "../base/index.ts";
import {
  VIRTQ_DEVICE_WRITES,
  VIRTQ_INDIRECT,
  VIRTQ_NEXT,
  VirtioBlkRequestLayout,
  VirtqDescriptorLayout,
} from "../format/index.ts";

const PAGE_BYTES = 4096;
const DESCRIPTOR_BYTES = VirtqDescriptorLayout.sizeBytes;
const HEAD_BYTES = VirtioBlkRequestLayout.sizeBytes;
const TABLE_BYTES = 3 * DESCRIPTOR_BYTES;
/** Table, head and status of a request, in lines of the processor's cache of their own. */
const SLOT_BYTES = 128;
const STATUS_AT = TABLE_BYTES + HEAD_BYTES;
const STATUS_NONE = 0xff;
const TWO_32 = 2 ** 32;

assert(STATUS_AT < SLOT_BYTES, "a request fits into its slot");

export interface QueuePlaces {
  /** Offsets in the memory. */
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
  /** Where the memory for data begins, at a page. */
  readonly data: number;
}

export function queuePlaces(entryCount: number): QueuePlaces {
  const available = entryCount * DESCRIPTOR_BYTES;
  const used = ceilPage(available + 6 + 2 * entryCount);
  const slots = ceilPage(used + 6 + 8 * entryCount);
  return { descriptors: 0, available, used, data: ceilPage(slots + entryCount * SLOT_BYTES) };
}

function ceilPage(at: number): number {
  return Math.ceil(at / PAGE_BYTES) * PAGE_BYTES;
}

export class DriverQueue {
  readonly entryCount: number;
  readonly #guestAddress: number;
  readonly #slotsAt: number;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #available: Uint16Array;
  readonly #usedHalves: Uint16Array;
  readonly #usedWords: Uint32Array;
  readonly #mask: number;
  readonly #free: Uint16Array;
  #freeCount: number;
  readonly #isUnderWay: Uint8Array;
  #availableIndex = 0;
  /** The index that the device was told last. */
  #toldIndex = 0;
  #usedIndex = 0;

  /** `guestAddress` is what the device calls the first byte of the memory. */
  constructor(memory: Uint8Array, entryCount: number, guestAddress: number) {
    const places = queuePlaces(entryCount);
    const { buffer, byteOffset } = memory;
    this.entryCount = entryCount;
    this.#guestAddress = guestAddress;
    this.#bytes = memory;
    this.#words = new Uint32Array(buffer, byteOffset, places.data / 4);
    this.#slotsAt = ceilPage(places.used + 6 + 8 * entryCount);
    this.#available = new Uint16Array(buffer, byteOffset + places.available, 3 + entryCount);
    this.#usedHalves = new Uint16Array(buffer, byteOffset + places.used, 3 + 4 * entryCount);
    this.#usedWords = new Uint32Array(buffer, byteOffset + places.used, 1 + 2 * entryCount);
    this.#mask = entryCount - 1;
    this.#free = Uint16Array.from({ length: entryCount }, (_, i) => entryCount - 1 - i);
    this.#freeCount = entryCount;
    this.#isUnderWay = new Uint8Array(entryCount);
    for (let slot = 0; slot < entryCount; slot++) this.#prepare(slot);
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  get underWayCount(): number {
    return this.entryCount - this.#freeCount;
  }

  /** What the device has answered so far, modulo 2^16. */
  get usedIndex(): number {
    return this.#usedIndex;
  }

  /**
   * Makes a request available and returns its slot; the device sees it after `tell`. Without data
   * `dataBytes` is 0. There must be a free slot.
   */
  add(
    type: number,
    sector: number,
    dataAt: number,
    dataBytes: number,
    deviceWrites: boolean,
  ): number {
    assert(this.#freeCount > 0, "the queue has room");
    const slot = this.#free[--this.#freeCount]!;
    const at = this.#slotsAt + slot * SLOT_BYTES;
    const word = at / 4;
    const words = this.#words;
    const headWord = (at + TABLE_BYTES) / 4;
    words[headWord] = type;
    words[headWord + 2] = sector % TWO_32;
    words[headWord + 3] = sector / TWO_32;
    this.#bytes[at + STATUS_AT] = STATUS_NONE;
    const hasData = dataBytes > 0;
    if (hasData) {
      this.#describe(word + 4, this.#guestAddress + dataAt, dataBytes);
      words[word + 7] = (deviceWrites ? VIRTQ_DEVICE_WRITES : 0) | VIRTQ_NEXT | (2 << 16);
    } else {
      this.#describe(word + 4, this.#guestAddress + at + STATUS_AT, 1);
      words[word + 7] = VIRTQ_DEVICE_WRITES;
    }
    words[(slot * DESCRIPTOR_BYTES) / 4 + 2] = hasData ? TABLE_BYTES : 2 * DESCRIPTOR_BYTES;
    this.#available[2 + (this.#availableIndex & this.#mask)] = slot;
    this.#availableIndex = (this.#availableIndex + 1) & 0xffff;
    this.#isUnderWay[slot] = 1;
    return slot;
  }

  /** Shows the device what was added. True if it wants to be kicked. */
  tell(): boolean {
    const before = this.#toldIndex;
    if (this.#availableIndex === before) return false;
    Atomics.store(this.#available, 1, this.#availableIndex);
    this.#toldIndex = this.#availableIndex;
    const event = Atomics.load(this.#usedHalves, 2 + 4 * this.entryCount);
    return (
      ((this.#availableIndex - event - 1) & 0xffff) < ((this.#availableIndex - before) & 0xffff)
    );
  }

  /** Reports what the device has answered, and asks for a call at the next answer. */
  collect(done: (slot: number, status: number) => void): void {
    for (;;) {
      const end = Atomics.load(this.#usedHalves, 1);
      while (this.#usedIndex !== end) this.#collectOne(done);
      Atomics.store(this.#available, 2 + this.entryCount, this.#usedIndex);
      if (Atomics.load(this.#usedHalves, 1) === this.#usedIndex) return;
    }
  }

  #collectOne(done: (slot: number, status: number) => void): void {
    const slot = this.#usedWords[1 + 2 * (this.#usedIndex & this.#mask)]!;
    this.#usedIndex = (this.#usedIndex + 1) & 0xffff;
    if (this.#isUnderWay[slot] !== 1) {
      const message = `the host has answered request ${slot}, which is not under way`;
      throw new CodedError({ code: "connection-broken", message });
    }
    this.#isUnderWay[slot] = 0;
    const status = this.#bytes[this.#slotsAt + slot * SLOT_BYTES + STATUS_AT]!;
    this.#free[this.#freeCount++] = slot;
    done(slot, status);
  }

  /** What is the same in every request of a slot. */
  #prepare(slot: number): void {
    const at = this.#slotsAt + slot * SLOT_BYTES;
    const table = at / 4;
    const words = this.#words;
    const descriptor = (slot * DESCRIPTOR_BYTES) / 4;
    this.#describe(descriptor, this.#guestAddress + at, TABLE_BYTES);
    words[descriptor + 3] = VIRTQ_INDIRECT;
    this.#describe(table, this.#guestAddress + at + TABLE_BYTES, HEAD_BYTES);
    words[table + 3] = VIRTQ_NEXT | (1 << 16);
    this.#describe(table + 8, this.#guestAddress + at + STATUS_AT, 1);
    words[table + 11] = VIRTQ_DEVICE_WRITES;
  }

  #describe(word: number, address: number, lengthBytes: number): void {
    this.#words[word] = address % TWO_32;
    this.#words[word + 1] = address / TWO_32;
    this.#words[word + 2] = lengthBytes;
  }
}
