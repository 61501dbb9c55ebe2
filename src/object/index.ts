export { LegLayout, ObjectLayout } from "./object-layout.ts";
export { ObjectOwner } from "./object-owner.ts";
export type { ComponentOwnerState, OwnerState, OwnerWorld } from "./object-owner.ts";
export type { Extent, IoDone, IoFault, VolumeIo } from "./volume-io.ts";
