/**
 * Memory outside the garbage-collected heap, at an address that never moves: what the kernel may
 * write into while JavaScript runs on, and what other threads of the process can map by its
 * address.
 *
 * Promise: a view of this memory never faults. Released memory goes back to the system at once, yet
 * its address range stays mapped, reading as zeroes, until the garbage collector has seen the last
 * view of the thread that made it go. Memory that nobody releases stays for the life of the
 * process.
 */
import { assert } from "../../base/index.ts";
import type { DiskMemory, MemoryHandle } from "../../ports/index.ts";
import { PAGE_BYTES, discardMapping, mapAnonymous, unmap, viewMemory } from "../sys.ts";

/**
 * Pieces up to this size share a mapping: a mapping costs the kernel a record and V8 an array
 * buffer.
 */
const SHARED_PIECE_BYTES_MAX = 256 * 1024;
const SHARED_MAPPING_BYTES = 1024 * 1024;

const releasedMappings = new FinalizationRegistry<MemoryHandle>((handle) => {
  unmap(handle.address, handle.lengthBytes);
});

export class MappedMemory implements DiskMemory {
  readonly bytes: Uint8Array;
  readonly handle: MemoryHandle;
  #released = false;

  /** Zeroed; the length is rounded up to whole pages. */
  constructor(lengthBytes: number) {
    assert(Number.isSafeInteger(lengthBytes) && lengthBytes > 0, "memory needs a length");
    const mappedBytes = Math.ceil(lengthBytes / PAGE_BYTES) * PAGE_BYTES;
    const address = mapAnonymous(mappedBytes);
    this.bytes = new Uint8Array(viewMemory(address, mappedBytes));
    this.handle = { address, lengthBytes: mappedBytes };
  }

  /**
   * Nothing may be reading from or writing to this memory any more, in any thread or in the kernel.
   */
  release(): void {
    assert(!this.#released, "memory is released once");
    this.#released = true;
    discardMapping(this.handle.address, this.handle.lengthBytes);
    releasedMappings.register(this.bytes.buffer, this.handle);
  }
}

/** Hands out page-aligned memory and releases all of it together. */
export class MemoryPool {
  readonly #mappings: MappedMemory[] = [];
  #shared: MappedMemory | undefined;
  #sharedUsedBytes = 0;

  allocate(lengthBytes: number): DiskMemory {
    assert(Number.isSafeInteger(lengthBytes) && lengthBytes > 0, "memory needs a length");
    const pieceBytes = Math.ceil(lengthBytes / PAGE_BYTES) * PAGE_BYTES;
    if (pieceBytes > SHARED_PIECE_BYTES_MAX) {
      return piece(this.#map(pieceBytes), 0, lengthBytes);
    }
    if (this.#shared === undefined || this.#sharedUsedBytes + pieceBytes > SHARED_MAPPING_BYTES) {
      this.#shared = this.#map(SHARED_MAPPING_BYTES);
      this.#sharedUsedBytes = 0;
    }
    const memory = piece(this.#shared, this.#sharedUsedBytes, lengthBytes);
    this.#sharedUsedBytes += pieceBytes;
    return memory;
  }

  release(): void {
    for (const mapping of this.#mappings) mapping.release();
    this.#mappings.length = 0;
    this.#shared = undefined;
  }

  #map(lengthBytes: number): MappedMemory {
    const mapping = new MappedMemory(lengthBytes);
    this.#mappings.push(mapping);
    return mapping;
  }
}

function piece(mapping: MappedMemory, at: number, lengthBytes: number): DiskMemory {
  return {
    bytes: mapping.bytes.subarray(at, at + lengthBytes),
    handle: { address: mapping.handle.address + at, lengthBytes },
  };
}

/**
 * The same bytes in another thread of the process. Valid for as long as the memory's owner keeps
 * it.
 */
export function viewHandle(handle: MemoryHandle): Uint8Array {
  return new Uint8Array(viewMemory(handle.address, handle.lengthBytes));
}
