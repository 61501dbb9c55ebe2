/**
 * Fingerprints of blocks that the journal holds. Those in its memory are made here: while one round
 * of destage changes the maps, the blocks of the next are fingerprinted already, by another thread:
 * a round then finds them here.
 *
 * A fingerprint belongs to a place in memory and to the segment that lay there: until a segment is
 * given up its payload never changes.
 */
import { assert, BLOCK_SIZE_BYTES } from "../base/index.ts";
import { FINGERPRINT_BYTES } from "../ports/index.ts";
import type { Digests } from "../ports/index.ts";
import type { Journal } from "./journal.ts";
import { copyFingerprint, isPlacedLocation } from "./placed-blocks.ts";

const NO_GENERATION = -1;

export class BlockFingerprints {
  readonly #journal: Journal;
  readonly #digests: Digests;
  readonly #known: Uint8Array;
  /** Per block of memory: the generation of the segment that the fingerprint is of. */
  readonly #generations: Float64Array;
  readonly #offsets: Float64Array;
  readonly #found: Uint8Array;
  #ahead: Promise<void> = Promise.resolve();

  /** `blocksMax` is the most that one call is about. */
  constructor(journal: Journal, digests: Digests, blocksMax: number) {
    this.#journal = journal;
    this.#digests = digests;
    const memoryBlocks = journal.memorySegments * journal.segmentBlocks;
    this.#known = new Uint8Array(memoryBlocks * FINGERPRINT_BYTES);
    this.#generations = new Float64Array(memoryBlocks).fill(NO_GENERATION);
    this.#offsets = new Float64Array(blocksMax);
    this.#found = new Uint8Array(blocksMax * FINGERPRINT_BYTES);
  }

  /** Begins with what will be asked for next. Errors show when it is. */
  lookAhead(locations: readonly number[]): void {
    // An error leaves the blocks unknown, and whoever wants them meets it.
    this.#ahead = this.#learn(locations).catch(() => {});
  }

  /** Resolves when nothing reads the journal's memory on behalf of `lookAhead`. */
  whenIdle(): Promise<void> {
    return this.#ahead;
  }

  /** Writes the fingerprints of blocks one after the other into `target`. */
  async of(locations: readonly number[], target: Uint8Array): Promise<void> {
    await this.#ahead;
    await this.#learn(locations);
    const { placed } = this.#journal;
    await placed.whenFingerprinted();
    // By index here and below, and byte by byte: nothing is allocated per block.
    for (let i = 0; i < locations.length; i++) {
      const location = locations[i]!;
      const at = i * FINGERPRINT_BYTES;
      if (isPlacedLocation(location)) placed.copyFingerprint(location, target, at);
      else copyFingerprint(this.#known, location * FINGERPRINT_BYTES, target, at);
    }
  }

  async #learn(locations: readonly number[]): Promise<void> {
    const unknown = locations.filter(
      (location) =>
        !isPlacedLocation(location) && this.#generations[location] !== this.#generationAt(location),
    );
    if (unknown.length === 0) return;
    assert(unknown.length <= this.#offsets.length, "more blocks than there is room for");
    for (let i = 0; i < unknown.length; i++) this.#offsets[i] = unknown[i]! * BLOCK_SIZE_BYTES;
    const { memory } = this.#journal;
    await this.#digests.fingerprint(memory, this.#offsets, unknown.length, this.#found);
    for (let i = 0; i < unknown.length; i++) {
      const location = unknown[i]!;
      copyFingerprint(
        this.#found,
        i * FINGERPRINT_BYTES,
        this.#known,
        location * FINGERPRINT_BYTES,
      );
      this.#generations[location] = this.#generationAt(location);
    }
  }

  #generationAt(location: number): number {
    return this.#journal.slotGeneration[Math.floor(location / this.#journal.segmentBlocks)]!;
  }
}
