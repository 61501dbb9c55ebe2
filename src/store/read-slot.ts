/** One read of a component that is under way: used again for the next, with all its memory. */
import type { DiskMemory } from "../ports/index.ts";
import type { ComponentDone, ComponentFault } from "./component.ts";
import type { ComponentInfo } from "./component-table.ts";

/** Longest read of one call, in blocks (1 MiB). */
export const READ_BLOCKS_MAX = 256;
/** Longer reads pass by the block cache: they are copies and scans. */
export const CACHED_READ_BLOCKS_MAX = 32;

export class ReadSlot {
  readonly index: number;
  readonly physical: Float64Array = new Float64Array(READ_BLOCKS_MAX);
  readonly checksum: Uint32Array = new Uint32Array(READ_BLOCKS_MAX);
  /** Offset of the block within the request, in blocks. */
  readonly position: Int32Array = new Int32Array(READ_BLOCKS_MAX);
  diskBlocks = 0;
  runsLeft = 0;
  /** Blocks that others are reading. Of these: which could not be had from the cache afterwards. */
  readonly waitPhysical: Float64Array = new Float64Array(CACHED_READ_BLOCKS_MAX);
  readonly waitChecksum: Uint32Array = new Uint32Array(CACHED_READ_BLOCKS_MAX);
  readonly waitPosition: Int32Array = new Int32Array(CACHED_READ_BLOCKS_MAX);
  readonly waitFailed: Uint8Array = new Uint8Array(CACHED_READ_BLOCKS_MAX);
  waitCount = 0;
  waitsLeft = 0;
  /** The disk, or a second look, is not over. */
  isReading = false;
  /** Others may be waiting for the blocks that are being read. */
  isFilling = false;
  info: ComponentInfo | undefined = undefined;
  blockIndex = 0;
  blockCount = 0;
  target: DiskMemory | undefined = undefined;
  targetAt = 0;
  /** Where the disk puts blocks: the target, or at a second look memory of our own. */
  into: DiskMemory | undefined = undefined;
  intoAt = 0;
  fault: ComponentFault | undefined = undefined;
  done: ComponentDone | undefined = undefined;
  token = 0;
  stamp = 0;

  constructor(index: number) {
    this.index = index;
  }
}
