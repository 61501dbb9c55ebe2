/**
 * What a host process may have resident, and for what: one sum, from which every budget is taken
 * and with which `stats` compares what there is. What is not here has no budget, and nobody would
 * notice how large it becomes.
 *
 * `memory` of the configuration is for caches and blocks on their way to disk. What a host has
 * beside it does not depend on how large that is.
 */
import { CHUNKS_KEPT_BYTES_MAX } from "../../link/index.ts";
import { TRANSFER_BYTES_MAX } from "../../object/index.ts";
import { MAPPED_BYTES_MIN, residentNow } from "../../platform/index.ts";
import { FAR_BYTES_MAX, SERVED_BYTES_MAX } from "../../plane/index.ts";
import { SPACE_MAP_BYTES } from "../../store/index.ts";
import type { HostConfig } from "../host-config.ts";

const MIB = 2 ** 20;
/** Blocks of other hosts: from what the cache of the host's own would have alone. */
const FAR_SHARE = 0.125;
const BLOCK_CACHE_SHARE = 0.65;
const JOURNAL_SHARE = 0.2;
const PAGE_CACHE_SHARE = 0.05;
/** What one device can use: its cache of blocks is one array, of 4 GiB at most. */
const SHARE_BYTES_MAX = 6 * 1024 * MIB;
/** Of each of the two tables of a device's metadata that are not in their tree yet. */
const METADATA_TABLE_SHARE = 1 / 16;
const METADATA_TABLE_BYTES_MAX = 12 * MIB;
/** Main thread, data worker and the one that fingerprints. */
const HEAP_BYTES = 52 * MIB;
/**
 * What heaps have beside that for moments while copies are made, compared and moved under load, and
 * what malloc keeps between what it has given out. In soaks of clusters heaps had up to 130 MB of
 * memory, 42 of which were in use, and malloc 25 to 61 that were not, a part of them resident.
 */
const CLUSTER_HEAP_BYTES = 76 * MIB;
/**
 * Tables of fixed size, what a round of destage gathers, pages that LMDB changes, memory for
 * replies, what native code has, and what its allocator keeps between two uses: what was left of
 * the memory of hosts when all else was taken off.
 */
const NATIVE_BYTES = 44 * MIB;
/**
 * Mapped metadata give way from here on: what caches have not filled yet is not theirs for ever,
 * and a host with little in its caches is no larger than it has to be.
 */
const MAPPED_FROM_BESIDE_BYTES = 92 * MIB;

export interface DeviceMemory {
  readonly blockCacheBytes: number;
  readonly journalBytes: number;
  readonly pageCacheBytes: number;
  readonly metadataTableBytes: number;
}

export interface MemoryPlan {
  /** What caches and blocks on their way to disk get: as configured, or what devices can use. */
  readonly usedBytes: number;
  /** Of each device. */
  readonly device: DeviceMemory;
  /** Blocks that were read from other hosts. */
  readonly farBytes: number;
  /** Of the process alone: what is mapped from files left out. */
  readonly privateBytes: number;
  /** Of the process as a whole. */
  readonly residentBytes: number;
  /** Mapped metadata leave memory once there is so much. */
  readonly mappedFromBytes: number;
}

export function memoryPlanOf(
  { memoryBytes: wantedBytes, cluster }: Pick<HostConfig, "memoryBytes" | "cluster">,
  deviceCount: number,
): MemoryPlan {
  const devices = Math.max(1, deviceCount);
  const memoryBytes = Math.min(wantedBytes, devices * SHARE_BYTES_MAX);
  const share = Math.floor(memoryBytes / devices);
  const isInCluster = cluster !== undefined;
  const farBytes = isInCluster ? Math.min(FAR_BYTES_MAX, Math.floor(memoryBytes * FAR_SHARE)) : 0;
  const metadataTableBytes = Math.min(
    METADATA_TABLE_BYTES_MAX,
    Math.floor(share * METADATA_TABLE_SHARE),
  );
  const forOthers =
    CHUNKS_KEPT_BYTES_MAX + SERVED_BYTES_MAX + TRANSFER_BYTES_MAX + CLUSTER_HEAP_BYTES;
  const privateBytes =
    memoryBytes +
    devices * (2 * metadataTableBytes + SPACE_MAP_BYTES) +
    HEAP_BYTES +
    NATIVE_BYTES +
    (isInCluster ? forOthers : 0);
  return {
    device: {
      blockCacheBytes: Math.floor(share * BLOCK_CACHE_SHARE - farBytes / devices),
      journalBytes: Math.floor(share * JOURNAL_SHARE),
      pageCacheBytes: Math.floor(share * PAGE_CACHE_SHARE),
      metadataTableBytes,
    },
    usedBytes: memoryBytes,
    farBytes,
    privateBytes,
    residentBytes: privateBytes + MAPPED_BYTES_MIN,
    mappedFromBytes: memoryBytes + MAPPED_FROM_BESIDE_BYTES,
  };
}

/** For `stats`, of the process that this thread is of. */
export function memoryNow(plan: MemoryPlan): Readonly<Record<string, number>> {
  const { totalBytes, mappedBytes } = residentNow();
  return {
    planBytes: plan.residentBytes,
    residentBytes: totalBytes,
    planPrivateBytes: plan.privateBytes,
    privateBytes: totalBytes - mappedBytes,
  };
}
