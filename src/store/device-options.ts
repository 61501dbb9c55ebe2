import type { DeviceEvent } from "./device-state.ts";

/**
 * What keeps data safe, one switch per rule. Production code leaves all of them on; trials take one
 * out at a time, to see that they would find out.
 */
export interface DeviceRules {
  /** A component does nothing for an owner whose epoch is lower than one that it has seen. */
  readonly fences: boolean;
  /** References to contents that are here already are taken while nothing else changes the maps. */
  readonly refersAlone: boolean;
  /** Whoever changes a page that others share gives it to them first. */
  readonly givesPages: boolean;
  /** That a component lacks something outlives every crash. */
  readonly keepsMarks: boolean;
  /** A component that was made anew shares those pages alone that are equal byte for byte. */
  readonly sharesEqualOnly: boolean;
  /** Where it has no page and the one that it comes to share with has, it gets one before. */
  readonly keepsHoles: boolean;
}

export const ALL_DEVICE_RULES: DeviceRules = {
  fences: true,
  refersAlone: true,
  givesPages: true,
  keepsMarks: true,
  sharesEqualOnly: true,
  keepsHoles: true,
};

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
  /** All of them, except in trials that see whether somebody notices. */
  readonly rules?: Partial<DeviceRules>;
  /** As `Device.onEvent`, and hears also what happens while the device is opened. */
  readonly onEvent?: (event: DeviceEvent) => void;
}
