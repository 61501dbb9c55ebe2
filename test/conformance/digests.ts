/** What every `Digests` promises, as tests. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { AssertionError, crc32c, Prng } from "../../src/base/index.ts";
import { FINGERPRINT_BYTES } from "../../src/ports/index.ts";
import type { Digests, DiskMemory } from "../../src/ports/index.ts";
import { registerSuite, type Promises, type World } from "./world.ts";

export interface DigestsWorld extends World {
  readonly digests: Digests;
  /** Memory as disks hand it out. */
  allocate(lengthBytes: number): DiskMemory;
}

const BLOCK = 4096;

function filled(world: DigestsWorld, blocks: number): DiskMemory {
  const memory = world.allocate(blocks * BLOCK);
  new Prng(blocks).fill(memory.bytes);
  return memory;
}

function native(memory: DiskMemory, offset: number): string {
  return createHash("sha256")
    .update(memory.bytes.subarray(offset, offset + BLOCK))
    .digest("hex");
}

function nth(target: Uint8Array, index: number): string {
  const at = index * FINGERPRINT_BYTES;
  return Buffer.from(target.subarray(at, at + FINGERPRINT_BYTES)).toString("hex");
}

const promises: Promises<DigestsWorld> = {
  "the checksum is CRC32C, of the range alone": async ({ digests }) => {
    const bytes = new TextEncoder().encode("xx123456789yy");
    assert.equal(digests.crc32c(bytes, 2, 11), 0xe3069283);
    assert.equal(digests.crc32c(bytes, 5, 5), 0);
    const noise = new Uint8Array(BLOCK + 7);
    new Prng(1).fill(noise);
    for (const [start, end] of [
      [0, BLOCK],
      [1, BLOCK + 7],
      [3, 10],
    ] as const) {
      assert.equal(digests.crc32c(noise, start, end), crc32c(noise, start, end));
    }
  },
  "the fingerprint of a block is its SHA-256": async (world) => {
    const memory = filled(world, 2);
    const target = new Uint8Array(2 * FINGERPRINT_BYTES);
    await world.digests.fingerprint(memory, new Float64Array([0, BLOCK]), 2, target);
    assert.equal(nth(target, 0), native(memory, 0));
    assert.equal(nth(target, 1), native(memory, BLOCK));
  },
  "blocks may lie anywhere, in any order, and repeat": async (world) => {
    const memory = filled(world, 16);
    const offsets = new Float64Array([9, 3, 3, 15, 0].map((block) => block * BLOCK));
    const target = new Uint8Array(5 * FINGERPRINT_BYTES);
    await world.digests.fingerprint(memory, offsets, 5, target);
    for (const [i, offset] of offsets.entries())
      assert.equal(nth(target, i), native(memory, offset));
  },
  "only `count` fingerprints are written": async (world) => {
    const memory = filled(world, 2);
    const target = new Uint8Array(3 * FINGERPRINT_BYTES).fill(0x55);
    await world.digests.fingerprint(memory, new Float64Array([0, BLOCK]), 1, target);
    assert.equal(nth(target, 0), native(memory, 0));
    assert.equal(nth(target, 1), "55".repeat(32));
    await world.digests.fingerprint(memory, new Float64Array(2), 0, target);
    assert.equal(nth(target, 0), native(memory, 0));
  },
  "many calls at once each get their own": async (world) => {
    const memory = filled(world, 64);
    const calls = Array.from({ length: 32 }, async (_, i) => {
      const offsets = new Float64Array([2 * i * BLOCK, (2 * i + 1) * BLOCK]);
      const target = new Uint8Array(2 * FINGERPRINT_BYTES);
      await world.digests.fingerprint(memory, offsets, 2, target);
      assert.equal(nth(target, 0), native(memory, offsets[0]!));
      assert.equal(nth(target, 1), native(memory, offsets[1]!));
    });
    await Promise.all(calls);
  },
  "a block beyond the memory or a short target is refused by assertion": async (world) => {
    const memory = filled(world, 1);
    const beyond = new Float64Array([BLOCK]);
    const target = new Uint8Array(FINGERPRINT_BYTES);
    const { digests } = world;
    await assert.rejects(
      async () => await digests.fingerprint(memory, beyond, 1, target),
      AssertionError,
    );
    await assert.rejects(
      async () => await digests.fingerprint(memory, new Float64Array(2), 2, target),
      AssertionError,
    );
  },
};

export function digestsConformance(name: string, open: () => Promise<DigestsWorld>): void {
  registerSuite(name, open, [promises]);
}
