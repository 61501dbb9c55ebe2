export { FarBlocks } from "./far-blocks.ts";
export { ChangeBatchBuilder, changeBatchInvalid, dataBlocksOf } from "./change-batch.ts";
export { pickDataBlocks, pickFingerprints } from "./change-batch.ts";
export { CHANGE_BLOCKS_MAX, CHANGE_DATA, CHANGE_HOLE, CHANGE_RUNS_MAX } from "./component.ts";
export { CHANGE_ZERO } from "./component.ts";
export type {
  BlockRun,
  ChangeBatch,
  ChangesRequest,
  Component,
  ComponentDone,
  ComponentFault,
  ComponentIo,
  ComponentOpening,
  LocalComponent,
  OfferAnswer,
  Transaction,
  TransactionKind,
} from "./component.ts";
export { Device } from "./device.ts";
export type { ComponentFork } from "./component-fork.ts";
export type { DeviceAge } from "./device.ts";
export type { NewComponent } from "./device-components.ts";
export type { DeviceRules, OpenOptions } from "./device-options.ts";
export type { FormatOptions } from "./device-plan.ts";
export type { DeviceCounters, DeviceEvent, DevicePorts } from "./device-state.ts";
export type { DeviceStats } from "./device-stats.ts";
export { uniqueBlocks } from "./unique-blocks.ts";
export { heldContents } from "./held-contents.ts";
export { READ_THROUGH_BLOCKS, ReadThrough } from "./read-through.ts";
export type { DamagedPlace, ReadThroughPart } from "./read-through.ts";
export { isClean } from "./scrub-report.ts";
export type { ScrubOptions } from "./scrub.ts";
export type { ScrubReport } from "./scrub-report.ts";
export { SPACE_MAP_BYTES } from "./space-map.ts";
export type { DeviceInspection } from "./superblocks.ts";
