import type { DiskMemory } from "../ports/index.ts";

/**
 * A volume as its front ends see it: bytes at offsets, nothing about hosts, mirrors or journals.
 * Lengths and offsets are multiples of 512 bytes; a front end checks them against `sizeBytes` and
 * its client's rights before it calls. Requests run concurrently; overlapping ones take effect in
 * the order of the calls. Everything acknowledged is durable, so a flush or FUA has nothing left to
 * do but wait for what was called before it.
 */
export interface VolumeIo {
  readonly name: string;
  /** May grow while attached. */
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /**
   * Memory for the targets of `read`, for as long as the volume is attached. Pool it: it is never
   * given back.
   */
  allocate(lengthBytes: number): DiskMemory;
  /**
   * `target` comes from `allocate`; `targetAt` is a multiple of 4096, the data follow without gaps.
   */
  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void;
  /**
   * Reads whole blocks at once, if all of them are in this host's memory and no change of them is
   * under way. False: nothing was answered, though the target may have changed: ask with `read`.
   */
  readNow(target: DiskMemory, targetAt: number, lengthBytes: number, offset: number): boolean;
  /** `source[sourceAt..)` is copied before the call returns. */
  write(
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void;
  /** The range reads as zeroes afterwards and its space may be given back. */
  discard(offset: number, lengthBytes: number, done: IoDone, token: number): void;
  /** The range reads as zeroes afterwards; with `keepAllocated` it is reported as allocated. */
  writeZeroes(
    offset: number,
    lengthBytes: number,
    keepAllocated: boolean,
    done: IoDone,
    token: number,
  ): void;
  /** Completes when every write, discard and zeroing called before has been answered. */
  flush(done: IoDone, token: number): void;
  /**
   * Extents of the range, in order, merged, without gaps, from its beginning on: at least one and
   * at most `extentsMax`, which may cover a part of the range only. Fails with the code of an
   * IoFault.
   */
  extents(offset: number, lengthBytes: number, extentsMax: number): Promise<readonly Extent[]>;
  /**
   * False while the volume holds more copies of waiting writes than it wants to: a front end stops
   * reading from its clients until `onRoom`. What is called all the same is still taken.
   */
  hasRoom(): boolean;
  /** Called once, when there is room again. Never from inside this call. */
  onRoom(callback: () => void): void;
  /**
   * Hands what was called in this turn to devices and links as one batch. Call it at the end of a
   * turn.
   */
  submit(): void;
}

export interface Extent {
  readonly kind: "data" | "hole" | "allocated-zero";
  readonly offset: number;
  readonly lengthBytes: number;
}

export type IoFault =
  | "io-error" // A copy could not be read or written, and no other one could stand in.
  | "no-space" // Nothing was written, of a request of up to 1 MiB; a prefix of a longer one may be.
  | "not-owner" // Another host owns the volume by now.
  | "unreachable" // Too few copies can be reached; whether it was done is unknown.
  | "shutting-down";

/** Called once per request, never from inside the call that made it. */
export type IoDone = (token: number, fault: IoFault | undefined) => void;
