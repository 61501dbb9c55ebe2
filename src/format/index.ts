export * from "./journal-frame.ts";
export { layout, reservedIsZero } from "./layout.ts";
export type { Field, Layout } from "./layout.ts";
export * from "./link-frame.ts";
export * from "./metadata-keys.ts";
export * from "./metadata-values.ts";
export * from "./superblock.ts";
export * from "./virtio-blk-structures.ts";
export * from "./vhost-user-message.ts";
