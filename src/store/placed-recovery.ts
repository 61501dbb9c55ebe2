/** What recovery finds of the payload that large writes have put into the block store. */
import { assert, assertDefined, BLOCK_SIZE_BYTES, CodedError, isZero } from "../base/index.ts";
import { DiskRequests, FINGERPRINT_BYTES } from "../ports/index.ts";
import type { Digests, Disk, DiskMemory } from "../ports/index.ts";
import { FRAME_PAYLOAD_BLOCKS_MAX } from "../format/index.ts";
import type { RecordHeader, Superblock } from "../format/index.ts";
import { backlogBlocksOf } from "./device-plan.ts";
import { PlacedBlocks } from "./placed-blocks.ts";
import type { RecoveredRun } from "./placed-blocks.ts";
import type { SpaceMap } from "./space-map.ts";

/** 64 KiB: below, a record with its payload beside it costs less than a write of its own. */
const PLACED_BLOCKS_MIN = 16;
/** 4 MiB on their way to the disk. */
const STAGING_BLOCKS_MAX = 1024;
const UNREADABLE = 0xff;

export class PlacedRecovery {
  readonly #disk: Disk;
  readonly #digests: Digests;
  readonly #requests: DiskRequests;
  readonly #superblock: Superblock;
  /** Looked at, by place, until the frame is accepted. */
  readonly #looked = new Map<number, RecoveredRun>();
  #memory: DiskMemory | undefined;

  constructor(
    { disk, digests }: { readonly disk: Disk; readonly digests: Digests },
    superblock: Superblock,
  ) {
    this.#disk = disk;
    this.#digests = digests;
    this.#requests = new DiskRequests(disk);
    this.#superblock = superblock;
  }

  /** Reads a record's payload; adds to `damaged` the indices of blocks that are not right. */
  async look(
    record: RecordHeader,
    checksumOf: (index: number) => number,
    damaged: Set<number>,
  ): Promise<void> {
    const { place, blockCount, payloadIndex } = record;
    const isWithin = place + blockCount <= this.#superblock.blockCount;
    assert(isWithin && blockCount <= FRAME_PAYLOAD_BLOCKS_MAX, "payload lies in the block store");
    this.#memory ??= this.#disk.allocate(FRAME_PAYLOAD_BLOCKS_MAX * BLOCK_SIZE_BYTES);
    const { bytes } = this.#memory;
    await this.#read(0, place, blockCount);
    const checksums = new Uint32Array(blockCount);
    const zeroes = new Uint8Array(blockCount);
    const offsets = new Float64Array(blockCount);
    for (let i = 0; i < blockCount; i++) {
      const start = i * BLOCK_SIZE_BYTES;
      const end = start + BLOCK_SIZE_BYTES;
      checksums[i] = checksumOf(payloadIndex + i);
      offsets[i] = start;
      if (this.#digests.crc32c(bytes, start, end) !== checksums[i]) damaged.add(payloadIndex + i);
      else zeroes[i] = isZero(bytes, start, end) ? 1 : 0;
    }
    const fingerprints = new Uint8Array(blockCount * FINGERPRINT_BYTES);
    await this.#digests.fingerprint(this.#memory, offsets, blockCount, fingerprints);
    this.#looked.set(place, { place, checksums, fingerprints, zeroes });
  }

  /** Unreadable blocks become something that was not written, as their checksums find. */
  async #read(into: number, place: number, count: number): Promise<void> {
    const memory = assertDefined(this.#memory, "there is memory to read into");
    const at = this.#superblock.blocksOffset + place * BLOCK_SIZE_BYTES;
    const target = into * BLOCK_SIZE_BYTES;
    try {
      await this.#requests.read(memory, target, count * BLOCK_SIZE_BYTES, at);
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== "read-error") throw error;
      if (count === 1) {
        memory.bytes.fill(UNREADABLE, target, target + BLOCK_SIZE_BYTES);
        return;
      }
      for (let i = 0; i < count; i++) await this.#read(into + i, place + i, 1);
    }
  }

  /** The run that was looked at last at `place`: its frame is accepted. */
  take(place: number): RecoveredRun {
    const run = assertDefined(this.#looked.get(place), "payload is looked at first");
    this.#looked.delete(place);
    return run;
  }
}

/** The runs that recovery has found, and room for more. */
export function placedBlocksOf(
  { disk, digests }: { readonly disk: Disk; readonly digests: Digests },
  blocksMin: number | undefined,
  found: {
    readonly superblock: Superblock;
    readonly space: SpaceMap;
    readonly replay: {
      readonly placedRuns: readonly RecoveredRun[];
      readonly placedBlocks: number;
    };
  },
): PlacedBlocks {
  const { superblock, space, replay } = found;
  const capacity = Math.max(backlogBlocksOf(superblock), replay.placedBlocks);
  const sizes = {
    capacity,
    stagingBlocks: Math.min(STAGING_BLOCKS_MAX, capacity),
    blocksMin: blocksMin ?? PLACED_BLOCKS_MIN,
  };
  const placed = new PlacedBlocks({ disk, digests, space }, sizes);
  for (const run of replay.placedRuns) placed.adopt(run);
  return placed;
}
