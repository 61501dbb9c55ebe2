export type { SharedBuffer } from "./shared-arena.ts";
export { VolumeClient } from "./volume-client.ts";
export type { OpenOptions, RequestDone } from "./volume-client.ts";
