export { openDisk } from "./open-disk.ts";
export type { DiskKind, DiskOptions } from "./open-disk.ts";
export type { DeviceOptions } from "./device-file.ts";
export { MemoryPool, viewHandle } from "./mapped-memory.ts";
