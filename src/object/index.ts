export { LegLayout, ObjectLayout, sizesOf } from "./object-layout.ts";
export type { ObjectMoment } from "./object-moment.ts";
export { releaseLeftover } from "./object-ownership.ts";
export { ObjectOwner } from "./object-owner.ts";
export type { ComponentOwnerState, OwnerState } from "./object-owner.ts";
export type { ResyncPace } from "./change-exchange.ts";
export { noTraffic } from "./resync-progress.ts";
export type { ResyncState, ResyncTraffic } from "./resync-progress.ts";
export type { CopyComparison } from "./copy-compare.ts";
export { DiskPieces } from "./disk-pieces.ts";
export { ScratchBlocks } from "./scratch-blocks.ts";
export { TRANSFER_BYTES_MAX, TransferMemory } from "./transfer-memory.ts";
export { ALL_RULES } from "./owner-world.ts";
export type {
  NewPlace,
  OwnedObject,
  OwnerEvent,
  Placing,
  OwnerRules,
  OwnerWorld,
} from "./owner-world.ts";
export { decideUnused } from "./unused-object.ts";
export type { Extent, IoDone, IoFault, VolumeIo } from "./volume-io.ts";
