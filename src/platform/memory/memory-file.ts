/** Files in memory that processes share: ours, and those that were received. */
import { fstatSync, ftruncateSync } from "node:fs";
import { assert, CodedError, errorText } from "../../base/index.ts";
import type { DiskMemory, SharedFile, SharedMapping } from "../../ports/index.ts";
import { mapShared, retireShared, unmapShared } from "./shared-mappings.ts";
import {
  addSeals,
  createMemoryFile,
  isHugePageFile,
  isReadWrite,
  SEAL_FUTURE_WRITE,
  SEAL_GROW,
  SEAL_SEAL,
  SEAL_SHRINK,
  SEAL_WRITE,
  sealsOf,
} from "./shared-sys.ts";
import { closeDescriptor, PAGE_BYTES } from "../sys.ts";

export class MemoryFile implements SharedFile {
  readonly fd: number;
  readonly sizeBytes: number;
  /** What another process gave may be mapped as far as all clients together are allowed to. */
  readonly #isReceived: boolean;
  #isClosed = false;

  /** The descriptor is the new object's. */
  private constructor(fd: number, sizeBytes: number, isReceived: boolean) {
    this.fd = fd;
    this.sizeBytes = sizeBytes;
    this.#isReceived = isReceived;
  }

  static create(name: string, sizeBytes: number): MemoryFile {
    assert(sizeBytes > 0 && sizeBytes % PAGE_BYTES === 0, "a file in memory is whole pages");
    const fd = createMemoryFile(name);
    try {
      ftruncateSync(fd, sizeBytes);
      addSeals(fd, SEAL_SHRINK | SEAL_GROW | SEAL_SEAL);
    } catch (error) {
      closeDescriptor(fd);
      throw error;
    }
    return new MemoryFile(fd, sizeBytes, false);
  }

  /** Fails with `memory-not-mappable`; the descriptor is closed then. */
  static receive(fd: number): MemoryFile {
    try {
      const reason = notMappable(fd);
      if (reason !== undefined) throw refusal(reason);
      return new MemoryFile(fd, fstatSync(fd).size, true);
    } catch (error) {
      closeDescriptor(fd);
      throw error;
    }
  }

  map(offset: number, lengthBytes: number): SharedMapping {
    assert(!this.#isClosed, "a closed file is not mapped");
    assert(offset >= 0 && lengthBytes > 0, "a mapping has a place and a length");
    assert(offset % PAGE_BYTES === 0, "a mapping begins at a page");
    // The size is sealed against shrinking, so what lies within it stays there.
    assert(offset + lengthBytes <= this.sizeBytes, "a mapping lies within its file");
    const wholeBytes = Math.ceil(lengthBytes / PAGE_BYTES) * PAGE_BYTES;
    try {
      const place = mapShared(this.fd, offset, wholeBytes, this.#isReceived);
      return new MemoryMapping(place, lengthBytes);
    } catch (error) {
      throw refusal(errorText(error));
    }
  }

  close(): void {
    assert(!this.#isClosed, "a file is closed once");
    this.#isClosed = true;
    closeDescriptor(this.fd);
  }
}

class MemoryMapping implements SharedMapping {
  readonly memory: DiskMemory;
  readonly #place: DiskMemory;
  #isReleased = false;

  constructor(place: DiskMemory, lengthBytes: number) {
    this.#place = place;
    const { address } = place.handle;
    const isWhole = place.bytes.length === lengthBytes;
    const bytes = isWhole ? place.bytes : place.bytes.subarray(0, lengthBytes);
    this.memory = { bytes, handle: { address, lengthBytes }, isShared: true };
  }

  release(): void {
    this.#finish();
    unmapShared(this.#place);
  }

  retire(): void {
    this.#finish();
    retireShared(this.#place);
  }

  #finish(): void {
    assert(!this.#isReleased, "a mapping is released once");
    this.#isReleased = true;
  }
}

/**
 * Why the process could die of touching pages of this file, or could not map them. Seals exist for
 * files in memory alone, so the check keeps away files whose pages come from a program or a device,
 * too. A seal against writing may still be added later, and `map` fails then.
 */
function notMappable(fd: number): string | undefined {
  const seals = sealsOf(fd);
  if (seals < 0) return "it is no file in memory: use memory-backend-memfd with share=on";
  if ((seals & SEAL_SHRINK) === 0)
    return "it is not sealed against shrinking: use memory-backend-memfd with share=on and seal=on";
  if ((seals & (SEAL_WRITE | SEAL_FUTURE_WRITE)) !== 0) return "it is sealed against writing";
  if (!isReadWrite(fd)) return "its descriptor may not be written to";
  if (isHugePageFile(fd)) return "it is made of huge pages, which may run out: leave hugetlb off";
  if (fstatSync(fd).size === 0) return "it is empty";
  return undefined;
}

function refusal(reason: string): CodedError {
  return new CodedError({
    code: "memory-not-mappable",
    message: `a client's memory cannot be mapped: ${reason}`,
    hint: "Give the machine memory of the kind memory-backend-memfd with share=on",
  });
}
