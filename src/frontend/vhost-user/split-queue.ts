/**
 * The device's side of a split virtqueue (virtio 1.x, 2.7): takes chains that the driver has made
 * available, gives them back as used, and says who wants to be notified.
 *
 * The driver is not trusted. A field of the rings is looked at once, checked, and used from where
 * it was copied to; every index, length, address and loop is bounded. What breaks a rule throws
 * `VhostViolation`.
 */
import { getU16, getU32 } from "../../base/index.ts";
import {
  VIRTQ_DEVICE_WRITES,
  VIRTQ_INDIRECT,
  VIRTQ_NEXT,
  VIRTQ_NO_NOTIFICATION,
  VirtqDescriptorLayout,
} from "../../format/index.ts";
import { CHAIN_SEGMENTS_MAX } from "./chain.ts";
import type { Chain } from "./chain.ts";
import type { GuestMemory, MappedPiece } from "./guest-memory.ts";
import type { InflightRegion } from "./inflight-region.ts";
import { demand, wireU64 } from "./violation.ts";

export const QUEUE_ENTRIES_MAX = 1024;
export const DESCRIPTOR_BYTES: number = VirtqDescriptorLayout.sizeBytes;
const USED_ELEMENT_BYTES = 8;
const CHAIN_BYTES_MAX = 2 ** 32 - 1;
const { at } = VirtqDescriptorLayout;

export interface QueueAddresses {
  /** As the front end's own process sees them. */
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
}

export interface QueueOptions {
  /** A power of two. */
  readonly entryCount: number;
  /** The next available entry to take, modulo 2^16. */
  readonly base: number;
  readonly eventIndex: boolean;
  readonly indirect: boolean;
  /** Where requests under way are noted for whoever comes after us. */
  readonly inflight?: InflightRegion;
}

export class SplitQueue {
  readonly entryCount: number;
  readonly #memory: GuestMemory;
  readonly #addresses: QueueAddresses;
  #pieces: readonly MappedPiece[] = [];
  readonly #eventIndex: boolean;
  readonly #indirect: boolean;
  #descriptors: Uint8Array = new Uint8Array();
  #descriptorsAt = 0;
  #available: Uint16Array = new Uint16Array();
  #usedWords: Uint32Array = new Uint32Array();
  #usedHalves: Uint16Array = new Uint16Array();
  readonly #mask: number;
  /** Heads that were taken and not given back. */
  readonly #isTaken: Uint8Array;
  readonly #table: Uint8Array = new Uint8Array(CHAIN_SEGMENTS_MAX * DESCRIPTOR_BYTES);
  readonly #inflight: InflightRegion | undefined;
  /** Heads that an earlier server of the queue has taken, to be taken again first. */
  readonly #resumed: number[] = [];
  /** Told after the used ring was written to, while it is set. */
  onUsedWritten: (() => void) | undefined = undefined;
  #base: number;
  #used: number;
  /** The used index that the driver was told last. */
  #published: number;

  /** Maps the rings. */
  constructor(memory: GuestMemory, addresses: QueueAddresses, options: QueueOptions) {
    const { entryCount, base } = options;
    const isPower = entryCount > 0 && (entryCount & (entryCount - 1)) === 0;
    demand(isPower && entryCount <= QUEUE_ENTRIES_MAX, `a queue of ${entryCount} entries`);
    demand(base <= 0xffff, "the next entry of a queue is beyond 2^16");
    this.entryCount = entryCount;
    this.#memory = memory;
    this.#eventIndex = options.eventIndex;
    this.#indirect = options.indirect;
    this.#mask = entryCount - 1;
    this.#isTaken = new Uint8Array(entryCount);
    this.#addresses = addresses;
    this.remap();
    this.#base = base;
    this.#used = Atomics.load(this.#usedHalves, 1);
    this.#published = this.#used;
    this.#inflight = options.inflight;
    const resumed = this.#inflight?.settle(this.#used);
    if (resumed === undefined) return;
    this.#resumed.push(...resumed);
    // Whatever was taken is answered or under way.
    this.#base = (this.#used + resumed.length) & 0xffff;
  }

  /** The guest's memory was described anew: the rings are the same, elsewhere. */
  remap(): void {
    const { entryCount } = this;
    const { descriptors, available, used } = mapRings(this.#memory, this.#addresses, entryCount);
    this.close();
    this.#pieces = [descriptors, available, used];
    this.#descriptors = descriptors.bytes;
    this.#descriptorsAt = descriptors.at;
    this.#available = halvesOf(available, 3 + entryCount);
    this.#usedHalves = halvesOf(used, 3 + 4 * entryCount);
    this.#usedWords = wordsOf(used, 1 + 2 * entryCount);
  }

  /** The next available entry that will be taken. */
  get base(): number {
    return this.#base;
  }

  get usedIndex(): number {
    return this.#used;
  }

  /** Whether there is a chain to take. */
  get hasMore(): boolean {
    return this.#resumed.length > 0 || Atomics.load(this.#available, 1) !== this.#base;
  }

  /** Fills the chain, or returns false if none is available. */
  take(chain: Chain): boolean {
    const resumed = this.#resumed.shift();
    if (resumed !== undefined) {
      this.#takeHead(resumed, chain);
      return true;
    }
    const waiting = (Atomics.load(this.#available, 1) - this.#base) & 0xffff;
    if (waiting === 0) return false;
    demand(waiting <= this.entryCount, "more entries are available than the queue has");
    const head = this.#available[2 + (this.#base & this.#mask)]!;
    demand(head < this.entryCount, "a chain begins outside of its queue");
    this.#takeHead(head, chain);
    this.#inflight?.taken(head);
    this.#base = (this.#base + 1) & 0xffff;
    return true;
  }

  #takeHead(head: number, chain: Chain): void {
    demand(this.#isTaken[head] === 0, "a chain is made available while the device has it");
    chain.reset(head);
    this.#walk(head, chain);
    this.#isTaken[head] = 1;
  }

  /** Puts the chain into the used ring; the driver sees it after `publish`. */
  give(head: number, writtenBytes: number): void {
    this.#isTaken[head] = 0;
    this.#inflight?.given(head);
    const word = 1 + 2 * (this.#used & this.#mask);
    this.#usedWords[word] = head;
    this.#usedWords[word + 1] = writtenBytes;
    this.#used = (this.#used + 1) & 0xffff;
  }

  /** Shows the driver everything given since. True if it wants to be notified. */
  publish(): boolean {
    const previous = this.#published;
    if (this.#used === previous) return false;
    // Sequentially consistent: what the driver wants is read after it could see this.
    Atomics.store(this.#usedHalves, 1, this.#used);
    this.#published = this.#used;
    this.#inflight?.published(this.#used);
    this.onUsedWritten?.();
    if (!this.#eventIndex) return (Atomics.load(this.#available, 0) & VIRTQ_NO_NOTIFICATION) === 0;
    const event = Atomics.load(this.#available, 2 + this.entryCount);
    return ((this.#used - event - 1) & 0xffff) < ((this.#used - previous) & 0xffff);
  }

  /** The driver need not kick while the device looks by itself. */
  refuseKicks(): void {
    if (this.#eventIndex) return;
    Atomics.store(this.#usedHalves, 0, VIRTQ_NO_NOTIFICATION);
    this.onUsedWritten?.();
  }

  /** The driver kicks for the next chain. True if one came before it could know. */
  askForKicks(): boolean {
    if (this.#eventIndex) Atomics.store(this.#usedHalves, 2 + 4 * this.entryCount, this.#base);
    else Atomics.store(this.#usedHalves, 0, 0);
    this.onUsedWritten?.();
    return this.hasMore;
  }

  /** Unmaps the rings. */
  close(): void {
    for (const { mapping } of this.#pieces) mapping.release();
    this.#pieces = [];
  }

  #walk(head: number, chain: Chain): void {
    let table = this.#descriptors;
    let tableAt = this.#descriptorsAt;
    let limit = this.entryCount;
    let isIndirect = false;
    let index = head;
    // A chain visits a descriptor once: more steps than descriptors are a loop.
    let stepsLeft = limit;
    for (;;) {
      demand(stepsLeft-- > 0, "a descriptor chain has a loop");
      const from = tableAt + index * DESCRIPTOR_BYTES;
      const address = wireU64(table, from + at.address);
      const lengthBytes = getU32(table, from + at.lengthBytes);
      const flags = getU16(table, from + at.flags);
      const next = getU16(table, from + at.next);
      if ((flags & VIRTQ_INDIRECT) !== 0) {
        demand(this.#indirect, "an indirect descriptor was not agreed on");
        demand(!isIndirect, "an indirect table refers to another one");
        demand((flags & VIRTQ_NEXT) === 0, "a descriptor is indirect and has a next one");
        limit = this.#loadTable(address, lengthBytes);
        table = this.#table;
        tableAt = 0;
        isIndirect = true;
        index = 0;
        stepsLeft = limit;
        continue;
      }
      this.#addSegment(chain, address, lengthBytes, (flags & VIRTQ_DEVICE_WRITES) !== 0);
      if ((flags & VIRTQ_NEXT) === 0) return;
      demand(next < limit, "a descriptor's next one is outside of its table");
      index = next;
    }
  }

  /** Copies an indirect table; the number of its descriptors. */
  #loadTable(address: number, lengthBytes: number): number {
    const count = lengthBytes / DESCRIPTOR_BYTES;
    demand(Number.isInteger(count) && count > 0, `an indirect table of ${lengthBytes} bytes`);
    demand(count <= CHAIN_SEGMENTS_MAX, `an indirect table of ${count} descriptors`);
    const isThere = this.#memory.read(address, this.#table, 0, lengthBytes);
    demand(isThere, "an indirect table lies outside of the memory");
    return count;
  }

  #addSegment(chain: Chain, address: number, lengthBytes: number, deviceWrites: boolean): void {
    demand(lengthBytes > 0, "a buffer of no bytes");
    demand(chain.segmentCount < CHAIN_SEGMENTS_MAX, "a chain of too many buffers");
    demand(
      deviceWrites || chain.readableCount === chain.segmentCount,
      "a readable buffer follows a writable one",
    );
    const totalBytes = chain.readableBytes + chain.writableBytes + lengthBytes;
    demand(totalBytes <= CHAIN_BYTES_MAX, "a chain of more than 4 GiB");
    demand(this.#memory.contains(address, lengthBytes), "a buffer lies outside of the memory");
    chain.add(address, lengthBytes, deviceWrites);
  }
}

/** Flags, index, elements and the field of event indexes. */
export function usedRingBytes(entryCount: number): number {
  return 6 + USED_ELEMENT_BYTES * entryCount;
}

function mapRings(
  memory: GuestMemory,
  addresses: QueueAddresses,
  entryCount: number,
): { descriptors: MappedPiece; available: MappedPiece; used: MappedPiece } {
  const mapped: MappedPiece[] = [];
  const map = (address: number, lengthBytes: number, alignment: number): MappedPiece => {
    const piece = memory.mapUser(address, lengthBytes);
    mapped.push(piece);
    demand(piece.at % alignment === 0, `a ring is not aligned to ${alignment} bytes`);
    return piece;
  };
  try {
    return {
      descriptors: map(addresses.descriptors, entryCount * DESCRIPTOR_BYTES, 16),
      available: map(addresses.available, 6 + 2 * entryCount, 2),
      used: map(addresses.used, usedRingBytes(entryCount), 4),
    };
  } catch (error) {
    for (const { mapping } of mapped) mapping.release();
    throw error;
  }
}

function halvesOf({ bytes, at: start }: MappedPiece, count: number): Uint16Array {
  return new Uint16Array(bytes.buffer, bytes.byteOffset + start, count);
}

function wordsOf({ bytes, at: start }: MappedPiece, count: number): Uint32Array {
  return new Uint32Array(bytes.buffer, bytes.byteOffset + start, count);
}
