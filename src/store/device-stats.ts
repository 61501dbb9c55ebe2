/** The numbers of one device, for `stats`, `status` and metrics. */
import { BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { CacheStats } from "../cache/index.ts";
import type { DeviceCounters, DeviceState } from "./device-state.ts";

export interface DeviceStats {
  readonly deviceId: string;
  readonly diskKind: string;
  /** Bytes of blocks with data, as the volumes see them. */
  readonly logicalBytes: number;
  /** Bytes of different contents stored. */
  readonly uniqueBytes: number;
  /** Bytes that the file system or device has set aside, journal included. */
  readonly physicalBytes: number;
  /** Bytes of free blocks whose space is not given back yet. */
  readonly reclaimableBytes: number;
  readonly capacityBytes: number;
  readonly freeBytes: number;
  readonly journal: {
    readonly sizeBytes: number;
    readonly memoryBytes: number;
    /** Bytes of writes that are not destaged. */
    readonly pendingBytes: number;
    readonly records: number;
    readonly frames: number;
    readonly groups: number;
    readonly bytesWritten: number;
    readonly hasFailed: boolean;
  };
  readonly pageCache: CacheStats & {
    /** Pages read from the metadata store, also past the cache. */
    readonly reads: number;
  };
  readonly blockCache: CacheStats | undefined;
  readonly counters: Readonly<DeviceCounters>;
  readonly badBlocks: number;
  /** Per component: bytes with data. */
  readonly components: readonly {
    readonly componentId: string;
    readonly objectId: string;
    readonly sizeBytes: number;
    readonly mappedBytes: number;
  }[];
}

/**
 * Bytes of the disk that blocks nobody uses still occupy. After a start the space map does not know
 * which free blocks were given back; the disk knows how much it has set aside.
 */
export function reclaimableBytes(
  state: Pick<DeviceState, "disk" | "space" | "superblock">,
): number {
  const { disk, space, superblock } = state;
  const writtenBlocks = space.usedBlocks + space.reservedBlocks;
  const inUse = superblock.blocksOffset + writtenBlocks * BLOCK_SIZE_BYTES;
  const occupied = Math.max(0, disk.allocatedBytes() - inUse);
  return Math.min(space.unpunchedBlocks * BLOCK_SIZE_BYTES, occupied);
}

export function deviceStats(state: DeviceState): DeviceStats {
  const { superblock, journal, space, logical, disk } = state;
  const components = state.components.all().filter((info) => !info.deleting);
  const mapped = components.reduce((sum, info) => sum + info.mappedBlocks, 0);
  return {
    deviceId: superblock.deviceId,
    diskKind: disk.kind,
    logicalBytes: mapped * BLOCK_SIZE_BYTES,
    uniqueBytes: space.usedBlocks * BLOCK_SIZE_BYTES,
    physicalBytes: disk.allocatedBytes(),
    reclaimableBytes: reclaimableBytes(state),
    capacityBytes: superblock.blockCount * BLOCK_SIZE_BYTES,
    freeBytes: (space.freeBlocks + space.quarantinedBlocks) * BLOCK_SIZE_BYTES,
    journal: {
      sizeBytes: superblock.segmentBytes * superblock.segmentCount,
      memoryBytes: superblock.segmentBytes * journal.memorySegments,
      pendingBytes: (journal.payloadBlocksHeld + journal.placed.used) * BLOCK_SIZE_BYTES,
      records: journal.records,
      frames: journal.frames,
      groups: journal.groups,
      bytesWritten: journal.bytesWritten,
      hasFailed: journal.hasFailed,
    },
    pageCache: { ...logical.cacheStats, reads: logical.pageReads },
    blockCache: state.blockCache.stats,
    counters: { ...state.counters },
    badBlocks: state.badBlocks.size,
    components: components.map((info) => ({
      componentId: info.componentId,
      objectId: info.objectId,
      sizeBytes: info.blockCount * BLOCK_SIZE_BYTES,
      mappedBytes: info.mappedBlocks * BLOCK_SIZE_BYTES,
    })),
  };
}
