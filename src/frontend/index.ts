export type { ExportCatalog, ExportInfo, NbdClient } from "./nbd/export-catalog.ts";
export { ReadMemoryPool } from "./nbd/read-memory.ts";
export { NbdServer } from "./nbd/nbd-server.ts";
export type { NbdConnectionStatus, NbdServerOptions, NbdServerPorts } from "./nbd/nbd-server.ts";
export { SingleExport } from "./nbd/single-export.ts";
export { RelayVolume } from "./nbd/relay-volume.ts";
export { EncryptedVolume } from "./volume/encrypted-volume.ts";
export { ScratchMemory } from "./volume/scratch-memory.ts";
export { HeldVolume } from "./volume/held-volume.ts";
export type { HeldState, HeldVolumeOptions, HeldVolumePorts } from "./volume/held-volume.ts";
export { SectionCache } from "./shared-memory/section-cache.ts";
export type { SectionStats } from "./shared-memory/section-cache.ts";
export { ShortPoll } from "./vhost-user/short-poll.ts";
export { VhostUserServer } from "./vhost-user/vhost-user-server.ts";
export type {
  VhostUserOptions,
  VhostUserPorts,
  VhostUserStatus,
} from "./vhost-user/vhost-user-server.ts";
