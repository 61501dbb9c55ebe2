import type { DeviceEvent } from "./device-state.ts";

export interface OpenOptions {
  readonly clusterId: string;
  /** Who must have formatted it; anybody, if absent. */
  readonly hostId?: string;
  /** Memory for undestaged writes; at least three journal segments. Default 64 MiB. */
  readonly journalMemoryBytes?: number;
  /** Memory for decoded logical-map pages. Default 16 MiB. */
  readonly pageCacheBytes?: number;
  /** Memory for blocks that were read. Default 64 MiB. */
  readonly blockCacheBytes?: number;
  /** Writes of at least so many blocks go straight to the block store. Default 16 (64 KiB). */
  readonly placedBlocksMin?: number;
  /** Changes that the log for returning mirrors holds. Default 131,072. */
  readonly changesMax?: number;
  /** Most blocks that one destage round takes. */
  readonly destageBlocksMax?: number;
  /** As `Device.onEvent`, and hears also what happens while the device is opened. */
  readonly onEvent?: (event: DeviceEvent) => void;
}
