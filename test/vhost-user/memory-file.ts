/** The ports of shared memory without another process: for tests of what is built on them. */
import assert from "node:assert/strict";
import type { RemoteEvent, SharedFile, SharedMapping } from "../../src/ports/index.ts";

const PAGE_BYTES = 4096;

/** A file in memory. What is outside of mapped pages cannot be reached through it. */
export class MemoryFile implements SharedFile {
  readonly bytes: Uint8Array;
  readonly sizeBytes: number;
  mappedCount = 0;
  mapsTotal = 0;
  isClosed = false;
  /** Made by `another`, and not closed. */
  openCount = 0;
  /** What `map` fails with, if anything: as where the other process seals its file later on. */
  mapFault: () => Error | undefined = () => undefined;

  constructor(sizeBytes: number) {
    this.bytes = new Uint8Array(new ArrayBuffer(sizeBytes));
    this.sizeBytes = sizeBytes;
  }

  /** The same file by a descriptor of its own. */
  another(): SharedFile {
    this.openCount++;
    let isOpen = true;
    return {
      sizeBytes: this.sizeBytes,
      map: (offset, lengthBytes) => {
        assert(isOpen, "a closed file is not mapped");
        return this.#map(offset, lengthBytes);
      },
      close: () => {
        assert(isOpen, "a file is closed once");
        isOpen = false;
        this.openCount--;
      },
    };
  }

  map(offset: number, lengthBytes: number): SharedMapping {
    assert(!this.isClosed, "a closed file is not mapped");
    return this.#map(offset, lengthBytes);
  }

  close(): void {
    assert(!this.isClosed, "a file is closed once");
    this.isClosed = true;
  }

  #map(offset: number, lengthBytes: number): SharedMapping {
    assert(offset >= 0 && lengthBytes > 0 && offset + lengthBytes <= this.sizeBytes);
    assert(offset % PAGE_BYTES === 0, "mappings begin at a page");
    const fault = this.mapFault();
    if (fault !== undefined) throw fault;
    this.mappedCount++;
    this.mapsTotal++;
    let isReleased = false;
    const release = (): void => {
      assert(!isReleased, "a mapping is released once");
      isReleased = true;
      this.mappedCount--;
    };
    return {
      memory: {
        bytes: this.bytes.subarray(offset, offset + lengthBytes),
        handle: { address: 0, lengthBytes },
        isShared: true,
      },
      release,
      retire: release,
    };
  }
}

/**
 * Both ends of an event: `signal` of one is noticed by `watch` of the other when `deliver` runs.
 */
export class MemoryEvent implements RemoteEvent {
  signals = 0;
  /** What `signal` fails with, if anything. */
  fault: Error | undefined;
  isClosed = false;
  /** Made by `another`, and not closed. */
  openCount = 0;
  #pending = false;
  #onSignal: (() => void) | undefined;

  /** The same event by a descriptor of its own. */
  another(): RemoteEvent {
    this.openCount++;
    let isOpen = true;
    return {
      watch: (onSignal) => {
        this.#onSignal = onSignal;
      },
      signal: () => {
        assert(isOpen, "a closed event is not signalled");
        this.signal();
      },
      close: () => {
        assert(isOpen, "an event is closed once");
        isOpen = false;
        this.openCount--;
      },
    };
  }

  watch(onSignal: () => void): void {
    assert(this.#onSignal === undefined, "an event is watched once");
    this.#onSignal = onSignal;
  }

  signal(): void {
    assert(!this.isClosed, "a closed event is not signalled");
    if (this.fault !== undefined) throw this.fault;
    this.signals++;
    this.#pending = true;
  }

  /** What the event loop does. False if there was nothing to tell. */
  deliver(): boolean {
    if (!this.#pending || this.isClosed || this.#onSignal === undefined) return false;
    this.#pending = false;
    this.#onSignal();
    return true;
  }

  close(): void {
    this.isClosed = true;
  }
}
