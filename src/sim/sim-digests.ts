import { assert, BLOCK_SIZE_BYTES, crc32c, type Prng, sha256 } from "../base/index.ts";
import { FINGERPRINT_BYTES, type Digests, type DiskMemory } from "../ports/index.ts";
import { fastFingerprint } from "./fast-fingerprint.ts";
import type { SimMachine } from "./sim-machine.ts";
import type { Latency } from "./simulation.ts";

export interface SimDigestsOptions {
  /** "sha256" as on hosts, or "fast": not SHA-256, some ten times quicker, for big sweeps. */
  readonly mode?: "sha256" | "fast";
  /**
   * Blocks for which this holds all get the same first 16 bytes, to try out what a short key does.
   */
  readonly collides?: (block: Uint8Array) => boolean;
  readonly latency?: Latency;
}

const COLLIDING_PREFIX = new Uint8Array(16).fill(0xc0);

/**
 * Digests in portable code. Fingerprints are taken late, so memory that changes too early shows.
 */
export class SimDigests implements Digests {
  readonly #machine: SimMachine;
  readonly #prng: Prng;
  readonly #options: SimDigestsOptions;

  constructor(machine: SimMachine, options: SimDigestsOptions = {}) {
    this.#machine = machine;
    this.#prng = machine.simulation.prng.fork();
    this.#options = options;
  }

  crc32c(bytes: Uint8Array, start: number, end: number): number {
    return crc32c(bytes, start, end);
  }

  async fingerprint(
    memory: DiskMemory,
    offsets: Float64Array,
    count: number,
    target: Uint8Array,
  ): Promise<void> {
    assert(count <= offsets.length, "more blocks than offsets");
    assert(count * FINGERPRINT_BYTES <= target.length, "no room for the fingerprints");
    const latency = this.#options.latency ?? { minMs: 0.01, maxMs: 0.5 };
    const delayMs = this.#machine.simulation.drawLatencyMs("digest", latency, this.#prng);
    await new Promise<void>((resolve) => this.#machine.schedule(delayMs, resolve));
    for (let i = 0; i < count; i++) {
      this.#one(memory.bytes, offsets[i]!, target, i * FINGERPRINT_BYTES);
    }
  }

  #one(bytes: Uint8Array, at: number, target: Uint8Array, targetAt: number): void {
    const end = at + BLOCK_SIZE_BYTES;
    assert(at >= 0 && end <= bytes.length, "the block leaves the memory");
    if (this.#options.mode === "fast") fastFingerprint(bytes, at, end, target, targetAt);
    else sha256(bytes, at, end, target, targetAt);
    if (this.#options.collides?.(bytes.subarray(at, end)) === true) {
      target.set(COLLIDING_PREFIX, targetAt);
    }
  }
}
