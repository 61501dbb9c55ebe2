export type { Extent, IoDone, IoFault, VolumeIo } from "./volume-io.ts";
