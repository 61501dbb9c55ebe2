/**
 * A descriptor chain, copied out of the guest's memory: what the guest does to its descriptors
 * afterwards changes nothing. Kept for reuse.
 */
import { assert } from "../../base/index.ts";
import type { GuestMemory } from "./guest-memory.ts";

/** Buffers in one chain. Queues that are shorter allow as many in an indirect table. */
export const CHAIN_SEGMENTS_MAX = 1024;
const SEGMENTS_MIN = 8;

export class Chain {
  head = 0;
  /** Buffers that the device reads, and after them those that it writes. */
  segmentCount = 0;
  readableCount = 0;
  readableBytes = 0;
  writableBytes = 0;
  #addresses = new Float64Array(SEGMENTS_MIN);
  #lengths = new Float64Array(SEGMENTS_MIN);

  reset(head: number): void {
    this.head = head;
    this.segmentCount = 0;
    this.readableCount = 0;
    this.readableBytes = 0;
    this.writableBytes = 0;
  }

  add(address: number, lengthBytes: number, deviceWrites: boolean): void {
    const index = this.segmentCount++;
    if (index === this.#addresses.length) this.#grow();
    this.#addresses[index] = address;
    this.#lengths[index] = lengthBytes;
    if (deviceWrites) {
      this.writableBytes += lengthBytes;
    } else {
      assert(index === this.readableCount, "readable buffers come first");
      this.readableCount++;
      this.readableBytes += lengthBytes;
    }
  }

  addressAt(segment: number): number {
    return this.#addresses[segment]!;
  }

  lengthAt(segment: number): number {
    return this.#lengths[segment]!;
  }

  /** Copies bytes that the device may read, counted from the first of them. False: not there. */
  readInto(
    memory: GuestMemory,
    from: number,
    target: Uint8Array,
    targetAt: number,
    lengthBytes: number,
  ): boolean {
    assert(from + lengthBytes <= this.readableBytes, "a chain is read within its length");
    let skip = from;
    let done = 0;
    for (let i = 0; done < lengthBytes; i++) {
      const segmentBytes = this.#lengths[i]!;
      if (skip < segmentBytes) {
        const count = Math.min(segmentBytes - skip, lengthBytes - done);
        if (!memory.read(this.#addresses[i]! + skip, target, targetAt + done, count)) return false;
        done += count;
        skip = 0;
      } else {
        skip -= segmentBytes;
      }
    }
    return true;
  }

  /** Copies to bytes that the device may write, counted from the first of them. */
  writeFrom(
    memory: GuestMemory,
    to: number,
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
  ): boolean {
    assert(to + lengthBytes <= this.writableBytes, "a chain is written within its length");
    let skip = to;
    let done = 0;
    for (let i = this.readableCount; done < lengthBytes; i++) {
      const segmentBytes = this.#lengths[i]!;
      if (skip < segmentBytes) {
        const count = Math.min(segmentBytes - skip, lengthBytes - done);
        if (!memory.write(this.#addresses[i]! + skip, source, sourceAt + done, count)) return false;
        done += count;
        skip = 0;
      } else {
        skip -= segmentBytes;
      }
    }
    return true;
  }

  #grow(): void {
    const addresses = new Float64Array(2 * this.#addresses.length);
    const lengths = new Float64Array(2 * this.#lengths.length);
    addresses.set(this.#addresses);
    lengths.set(this.#lengths);
    this.#addresses = addresses;
    this.#lengths = lengths;
  }
}
