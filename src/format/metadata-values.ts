/** Values of a device's metadata store. */
import { assert, BLOCK_SIZE_BYTES, REGION_SIZE_BYTES } from "../base/index.ts";
import { bytes, layout, u16, u32, u40, u48, u64, u8, zeroes } from "./layout.ts";
import type { Layout } from "./layout.ts";

/** Blocks that one logical-map page covers (256 KiB). */
export const PAGE_BLOCKS = 64;
/** Content id: the first bytes of the SHA-256 fingerprint. */
export const CONTENT_ID_BYTES = 16;
/** Blocks whose allocation one space-map group records (32 MiB). */
export const SPACE_GROUP_BLOCKS = 8192;
/** Regions of 1 MiB whose digests one record holds. */
export const REGIONS_PER_GROUP = 64;
export const REGION_DIGEST_BYTES = 16;
export const PAGES_PER_GROUP: number =
  (REGIONS_PER_GROUP * REGION_SIZE_BYTES) / BLOCK_SIZE_BYTES / PAGE_BLOCKS;

export const LogicalEntryLayout: Layout<"physical" | "sequence" | "checksum" | "content"> = layout(
  "logical-entry",
  "Logical map entry",
  31,
  {
    physical: u40("block in the block store, or one of the markers below"),
    sequence: u48("transaction that wrote it; holes have one too"),
    checksum: u32("CRC32C of the block"),
    content: bytes(CONTENT_ID_BYTES, "content id: pointer to the content map entry"),
  },
);

/** Markers in the field `physical`. */
export const PHYSICAL_HOLE: number = 2 ** 40 - 1;
export const PHYSICAL_ZERO: number = 2 ** 40 - 2;
export const PHYSICAL_DAMAGED: number = 2 ** 40 - 3;
/** Physical block numbers stay below this. */
export const PHYSICAL_MAX: number = 2 ** 40 - 16;

export const PageHeaderLayout: Layout<"kind" | "reserved" | "sequence"> = layout(
  "logical-page-header",
  "Logical map page header",
  8,
  {
    kind: u8("0 entries follow, 1 all 64 blocks are holes, 2 all are allocated zeroes"),
    reserved: zeroes(1),
    sequence: u48("for kinds 1 and 2: the sequence of every block"),
  },
);
export const PAGE_KIND_ENTRIES = 0;
export const PAGE_KIND_HOLE = 1;
export const PAGE_KIND_ZERO = 2;

/** Decoded size of a page without header: what the page cache holds. */
export const PAGE_ENTRIES_BYTES: number = PAGE_BLOCKS * LogicalEntryLayout.sizeBytes;

export const ContentValueLayout: Layout<
  "physical" | "references" | "fingerprintTail" | "checksum"
> = layout("content-value", "Content map entry", 29, {
  physical: u40("block in the block store"),
  references: u32("logical map entries that point to this entry"),
  fingerprintTail: bytes(16, "last 16 bytes of the SHA-256 fingerprint; the key has the first"),
  checksum: u32("CRC32C of key and value"),
});

export const CheckpointLayout: Layout<
  | "formatVersion"
  | "reserved"
  | "incarnation"
  | "frameNumber"
  | "generation"
  | "deviceId"
  | "componentNext"
  | "usedBlocks"
  | "checksum"
> = layout("checkpoint", "Checkpoint", 64, {
  formatVersion: u16("version of the metadata"),
  reserved: zeroes(6),
  incarnation: u64("counts the starts of the device"),
  frameNumber: u64("every frame up to this one is destaged"),
  generation: u64("segment in which replay begins"),
  deviceId: bytes(16, "device that this metadata describes"),
  componentNext: u32("number of the next component that is created"),
  usedBlocks: u64("blocks in use in the block store"),
  checksum: u32("CRC32C of key and value"),
});

export const ComponentValueLayout: Layout<
  | "state"
  | "baseHigh"
  | "baseLow"
  | "basePages"
  | "componentId"
  | "objectId"
  | "blockCount"
  | "epoch"
  | "committedSequence"
  | "mappedBlocks"
  | "catchUpFrom"
  | "checksum"
> = layout("component-value", "Component", 84, {
  state: u8("1 live, 2 being deleted, 3 live and catching up"),
  baseHigh: u8("bits 16 to 23 of the number of the component that it shares pages with"),
  baseLow: u16("bits 0 to 15; 0 in both: it shares none"),
  basePages: u32("logical-map pages below this are its base's where it has none of its own"),
  componentId: bytes(16, "identity of the component"),
  objectId: bytes(16, "object that it is part of"),
  blockCount: u64("size in blocks"),
  epoch: u64("highest epoch that opened it; lower ones are refused"),
  committedSequence: u64("highest committed sequence at the last destage"),
  mappedBlocks: u64("blocks with data in the logical map"),
  catchUpFrom: u64(
    "state 3: it is complete up to this sequence only; state 1: 1 if it was made anew and shares no pages yet",
  ),
  checksum: u32("CRC32C of key and value"),
});

export const RegionsValueLayout: Layout<"pagesPresent" | "digests" | "checksum"> = layout(
  "regions-value",
  "Region digests",
  REGIONS_PER_GROUP * REGION_DIGEST_BYTES + PAGES_PER_GROUP / 8 + 4,
  {
    pagesPresent: bytes(PAGES_PER_GROUP / 8, "bit set: this logical-map page exists"),
    digests: bytes(REGIONS_PER_GROUP * REGION_DIGEST_BYTES, "64 digests of 16 bytes"),
    checksum: u32("CRC32C of key and value"),
  },
);

export const SpaceValueLayout: Layout<"allocated" | "checksum"> = layout(
  "space-value",
  "Space map group",
  SPACE_GROUP_BLOCKS / 8 + 4,
  {
    allocated: bytes(SPACE_GROUP_BLOCKS / 8, "bit set: the block is in use"),
    checksum: u32("CRC32C of key and value"),
  },
);

assert(PHYSICAL_MAX < PHYSICAL_DAMAGED, "markers are no block numbers");
