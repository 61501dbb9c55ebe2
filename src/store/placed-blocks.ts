/**
 * Payload of large writes that goes straight to the block store, so that it is written once. The
 * journal says where it lies and what its checksums are; destage then only changes maps.
 *
 * A write's blocks are reserved in one run: taken in memory, free on disk until the batch that
 * publishes them. Payload passes through staging memory, which is given back as soon as it is
 * durable and fingerprinted. What stays of each block until destage is a slot with its address,
 * checksum and fingerprint, so that a backlog costs little memory. Slots and staging are rings:
 * frames are destaged in the order in which they were written.
 *
 * A crash leaves nothing to clean up: what is replayed is reserved again, everything else is free.
 */
import { assert, BLOCK_SIZE_BYTES, crc32c, isZero } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { Digests, Disk, DiskMemory } from "../ports/index.ts";
import type { SpaceMap } from "./space-map.ts";

/** Locations from here on are slots of `PlacedBlocks`; below are blocks of journal memory. */
export const PLACED_LOCATION_FIRST: number = 2 ** 30;

const NOT_STAGED = -1;
export const ZERO_BLOCK_CHECKSUM: number = crc32c(new Uint8Array(BLOCK_SIZE_BYTES));
/** Blocks that one request for fingerprints is about. */
const FINGERPRINTED_AT_ONCE = 1024;

export function isPlacedLocation(location: number): boolean {
  return location >= PLACED_LOCATION_FIRST;
}

/** Payload of one record, on its way to the disk. */
export interface PlacedRun {
  readonly slot: number;
  readonly blockCount: number;
  /** First block of staging memory, and of the block store. */
  readonly stagedAt: number;
  readonly place: number;
}

/** A run that recovery has found whole. Damaged blocks have no fingerprint that means anything. */
export interface RecoveredRun {
  readonly place: number;
  readonly checksums: Uint32Array;
  readonly fingerprints: Uint8Array;
  readonly zeroes: Uint8Array;
}

/** A ring of numbered places, handed out in runs that do not wrap and given back in order. */
class Ring {
  readonly capacity: number;
  #head = 0;
  #used = 0;
  /** Places at the end that a run stepped over, given back with the run before them. */
  readonly #runs: number[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  get used(): number {
    return this.#used;
  }

  hasRoom(count: number): boolean {
    return this.#used + count + this.#skipped(count) <= this.capacity;
  }

  #skipped(count: number): number {
    if (this.#used === 0) this.#head = 0;
    return this.#head + count > this.capacity ? this.capacity - this.#head : 0;
  }

  take(count: number): number {
    assert(this.hasRoom(count), "the ring is full");
    const skipped = this.#skipped(count);
    const start = skipped > 0 ? 0 : this.#head;
    this.#head = (start + count) % this.capacity;
    this.#used += skipped + count;
    this.#runs.push(skipped + count);
    return start;
  }

  /** Gives the oldest run back. */
  release(): void {
    const run = this.#runs.shift();
    assert(run !== undefined, "nothing is taken");
    this.#used -= run;
  }
}

export class PlacedBlocks {
  readonly #disk: Disk;
  readonly #digests: Digests;
  readonly #space: SpaceMap;
  readonly #slots: Ring;
  readonly #stagingRing: Ring;
  readonly #slotOfPlace = new Map<number, { readonly slot: number; readonly count: number }>();
  readonly #places: Float64Array;
  readonly #checksums: Uint32Array;
  readonly #isZero: Uint8Array;
  readonly #fingerprints: Uint8Array;
  readonly #staged: Int32Array;
  readonly #offsets = new Float64Array(FINGERPRINTED_AT_ONCE);
  readonly #found = new Uint8Array(FINGERPRINTED_AT_ONCE * FINGERPRINT_BYTES);
  readonly blocksMin: number;
  /** Runs in staging memory, oldest first: how many of them are durable, how many fingerprinted. */
  readonly #runs: PlacedRun[] = [];
  #durableRuns = 0;
  #fingerprintedRuns = 0;
  #putTotal = 0;
  #fingerprintedTotal = 0;
  #fingerprinting: Promise<void> | undefined;
  #staging: DiskMemory | undefined;
  #onStagingRoom: () => void = () => {};

  /**
   * Room for a backlog of `capacity` blocks and for `stagingBlocks` on their way. Writes of at
   * least `blocksMin` blocks are placed.
   */
  constructor(
    parts: { readonly disk: Disk; readonly digests: Digests; readonly space: SpaceMap },
    sizes: {
      readonly capacity: number;
      readonly stagingBlocks: number;
      readonly blocksMin: number;
    },
  ) {
    const { capacity, stagingBlocks, blocksMin } = sizes;
    assert(capacity <= PLACED_LOCATION_FIRST, "a location is below 2^31");
    this.#disk = parts.disk;
    this.#digests = parts.digests;
    this.#space = parts.space;
    this.blocksMin = blocksMin;
    this.#slots = new Ring(capacity);
    this.#stagingRing = new Ring(stagingBlocks);
    this.#places = new Float64Array(capacity);
    this.#checksums = new Uint32Array(capacity);
    this.#isZero = new Uint8Array(capacity);
    this.#fingerprints = new Uint8Array(capacity * FINGERPRINT_BYTES);
    this.#staged = new Int32Array(capacity).fill(NOT_STAGED);
  }

  get capacity(): number {
    return this.#slots.capacity;
  }

  /** Slots in use: blocks that wait for destage. */
  get used(): number {
    return this.#slots.used;
  }

  /** Whether writes of this length go straight to the block store. */
  takes(blockCount: number): boolean {
    const { capacity } = this.#stagingRing;
    return blockCount >= this.blocksMin && blockCount * 2 <= Math.min(capacity, this.capacity);
  }

  /** Whether a backlog of so many blocks more can be held; destage makes room. */
  hasSlots(blockCount: number): boolean {
    return this.#slots.hasRoom(blockCount);
  }

  /** Whether there is staging memory; room comes when writes become durable. */
  hasStaging(blockCount: number): boolean {
    return this.#stagingRing.hasRoom(blockCount);
  }

  onStagingRoom(callback: () => void): void {
    this.#onStagingRoom = callback;
  }

  /**
   * Copies payload into staging memory and reserves blocks for it. Undefined if no run of free
   * blocks is long enough; the caller has asked for slots and staging.
   */
  put(bytes: Uint8Array, at: number, blockCount: number): PlacedRun | undefined {
    const place = this.#space.reserveRun(blockCount);
    if (place === undefined) return undefined;
    this.#staging ??= this.#disk.allocate(this.#stagingRing.capacity * BLOCK_SIZE_BYTES);
    const slot = this.#slots.take(blockCount);
    const stagedAt = this.#stagingRing.take(blockCount);
    const staging = this.#staging.bytes;
    staging.set(
      bytes.subarray(at, at + blockCount * BLOCK_SIZE_BYTES),
      stagedAt * BLOCK_SIZE_BYTES,
    );
    for (let i = 0; i < blockCount; i++) {
      const start = (stagedAt + i) * BLOCK_SIZE_BYTES;
      const end = start + BLOCK_SIZE_BYTES;
      const checksum = this.#digests.crc32c(staging, start, end);
      this.#places[slot + i] = place + i;
      this.#checksums[slot + i] = checksum;
      const looksZero = checksum === ZERO_BLOCK_CHECKSUM && isZero(staging, start, end);
      this.#isZero[slot + i] = looksZero ? 1 : 0;
      this.#staged[slot + i] = stagedAt + i;
    }
    const run = { slot, blockCount, stagedAt, place };
    this.#runs.push(run);
    this.#putTotal++;
    this.#slotOfPlace.set(place, { slot, count: blockCount });
    return run;
  }

  /** Takes over what recovery has found; its blocks are reserved. */
  adopt({ place, checksums, fingerprints, zeroes }: RecoveredRun): void {
    const count = checksums.length;
    this.#space.reserve(place, count);
    const slot = this.#slots.take(count);
    this.#slotOfPlace.set(place, { slot, count });
    for (let i = 0; i < count; i++) this.#places[slot + i] = place + i;
    this.#checksums.set(checksums, slot);
    this.#isZero.set(zeroes, slot);
    this.#fingerprints.set(fingerprints, slot * FINGERPRINT_BYTES);
  }

  /** Location of the first block of the run that begins at `place`. */
  locationAt(place: number): number {
    const known = this.#slotOfPlace.get(place);
    assert(known !== undefined, "no payload was placed there");
    return PLACED_LOCATION_FIRST + known.slot;
  }

  placeOf(location: number): number {
    return this.#places[location - PLACED_LOCATION_FIRST]!;
  }

  checksumOf(location: number): number {
    return this.#checksums[location - PLACED_LOCATION_FIRST]!;
  }

  isZeroAt(location: number): boolean {
    return this.#isZero[location - PLACED_LOCATION_FIRST] === 1;
  }

  /** Copies the block if it is in memory still. */
  copyTo(location: number, target: Uint8Array, at: number): boolean {
    const staged = this.#staged[location - PLACED_LOCATION_FIRST]!;
    if (staged === NOT_STAGED || this.#staging === undefined) return false;
    const from = staged * BLOCK_SIZE_BYTES;
    target.set(this.#staging.bytes.subarray(from, from + BLOCK_SIZE_BYTES), at);
    return true;
  }

  /** Asks the disk to write a run. */
  write(
    run: PlacedRun,
    blocksOffset: number,
    done: Parameters<Disk["write"]>[4],
    token: number,
  ): void {
    assert(this.#staging !== undefined, "what is placed is staged");
    const from = run.stagedAt * BLOCK_SIZE_BYTES;
    const bytes = run.blockCount * BLOCK_SIZE_BYTES;
    const offset = blocksOffset + run.place * BLOCK_SIZE_BYTES;
    this.#disk.write(this.#staging, from, bytes, offset, done, token);
  }

  /** The oldest `runs` that were not durable are now. */
  durable(runs: number): void {
    this.#durableRuns += runs;
    this.#giveStagingBack();
  }

  /** Has what is staged fingerprinted, on another thread. Errors show where they are asked for. */
  fingerprint(): void {
    if (this.#fingerprintedRuns === this.#runs.length) return;
    this.#fingerprinting ??= this.#fingerprintAll().finally(() => {
      this.#fingerprinting = undefined;
    });
    this.#fingerprinting.catch(() => {});
  }

  async #fingerprintAll(): Promise<void> {
    while (this.#fingerprintedRuns < this.#runs.length) {
      assert(this.#staging !== undefined, "what is placed is staged");
      const runs: PlacedRun[] = [];
      let count = 0;
      for (let i = this.#fingerprintedRuns; i < this.#runs.length; i++) {
        const run = this.#runs[i]!;
        if (count + run.blockCount > FINGERPRINTED_AT_ONCE) break;
        for (let block = 0; block < run.blockCount; block++)
          this.#offsets[count + block] = (run.stagedAt + block) * BLOCK_SIZE_BYTES;
        count += run.blockCount;
        runs.push(run);
      }
      await this.#digests.fingerprint(this.#staging, this.#offsets, count, this.#found);
      let from = 0;
      for (const { slot, blockCount } of runs) {
        const bytes = blockCount * FINGERPRINT_BYTES;
        this.#fingerprints.set(this.#found.subarray(from, from + bytes), slot * FINGERPRINT_BYTES);
        from += bytes;
      }
      this.#fingerprintedRuns += runs.length;
      this.#fingerprintedTotal += runs.length;
      this.#giveStagingBack();
    }
  }

  #giveStagingBack(): void {
    let given = 0;
    while (this.#durableRuns > 0 && this.#fingerprintedRuns > 0) {
      const { slot, blockCount } = this.#runs.shift()!;
      this.#staged.fill(NOT_STAGED, slot, slot + blockCount);
      this.#stagingRing.release();
      this.#durableRuns--;
      this.#fingerprintedRuns--;
      given++;
    }
    if (given > 0) this.#onStagingRoom();
  }

  /** Resolves when every block that was put by now has its fingerprint. */
  async whenFingerprinted(): Promise<void> {
    const wanted = this.#putTotal;
    while (this.#fingerprintedTotal < wanted) {
      this.fingerprint();
      await this.#fingerprinting;
    }
  }

  /** After `whenFingerprinted`. */
  copyFingerprint(location: number, target: Uint8Array, at: number): void {
    const from = (location - PLACED_LOCATION_FIRST) * FINGERPRINT_BYTES;
    copyFingerprint(this.#fingerprints, from, target, at);
  }

  /**
   * The oldest runs are destaged, durably. Gives their slots back, and returns their blocks that
   * the maps did not take.
   */
  release(places: readonly number[], isTaken: (location: number) => boolean): number[] {
    const unused: number[] = [];
    for (const place of places) {
      const run = this.#slotOfPlace.get(place);
      assert(run !== undefined, "payload was destaged twice");
      for (let slot = run.slot; slot < run.slot + run.count; slot++) {
        assert(this.#staged[slot] === NOT_STAGED, "destaged before it was fingerprinted");
        if (!isTaken(PLACED_LOCATION_FIRST + slot)) unused.push(this.#places[slot]!);
      }
      this.#slotOfPlace.delete(place);
      this.#slots.release();
    }
    return unused;
  }

  /** Resolves when nothing uses the staging memory any more. */
  async whenIdle(): Promise<void> {
    await this.#fingerprinting?.catch(() => undefined);
  }
}

/** A view of the source would cost more than these bytes. */
export function copyFingerprint(
  source: Uint8Array,
  from: number,
  target: Uint8Array,
  at: number,
): void {
  for (let i = 0; i < FINGERPRINT_BYTES; i++) target[at + i] = source[from + i]!;
}
