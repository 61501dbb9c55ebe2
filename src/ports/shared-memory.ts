/**
 * Memory of another process, and the events by which two processes wake each other: what arrives
 * as file descriptors over a unix socket.
 */
import type { DiskMemory } from "./disk.ts";

/** Offsets and lengths of mappings are multiples of this. */
export const SHARED_PAGE_BYTES = 4096;

/**
 * A file whose bytes another process sees too. Its size never shrinks: adapters refuse files of
 * which that is not certain, since a mapping of bytes that are gone kills whoever touches them.
 */
export interface SharedFile {
  readonly sizeBytes: number;
  /** `offset + lengthBytes` lies within the file. Fails with `memory-not-mappable`. */
  map(offset: number, lengthBytes: number): SharedMapping;
  /** Mappings live on. */
  close(): void;
}

export interface SharedMapping {
  /** The other process may change these bytes at any moment: look at each of them once. */
  readonly memory: DiskMemory;
  /** Nobody uses `memory` any more. */
  release(): void;
}

/** Wakes the other process, or is how it wakes this one: a counter that both can add to. */
export interface RemoteEvent {
  /** Calls back, from the event loop, after the other process has signalled. Called once. */
  watch(onSignal: () => void): void;
  /** Never waits, whatever the other process does. */
  signal(): void;
  /** No callback comes after the call. */
  close(): void;
}
