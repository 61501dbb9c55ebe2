/** Structures in a guest's memory, as virtio 1.x has them: split rings and block requests. */
import { bytes, layout, u16, u32, u64, u8 } from "./layout.ts";
import type { Layout } from "./layout.ts";

export const VirtqDescriptorLayout: Layout<"address" | "lengthBytes" | "flags" | "next"> = layout(
  "virtq-descriptor",
  "Descriptor",
  16,
  {
    address: u64("of a buffer, as the guest sees it"),
    lengthBytes: u32("of the buffer"),
    flags: u16("bit 0 another one follows, bit 1 the device writes, bit 2 a table of descriptors"),
    next: u16("the one that follows"),
  },
);

export const VIRTQ_NEXT = 1;
export const VIRTQ_DEVICE_WRITES = 2;
export const VIRTQ_INDIRECT = 4;
/** Flags of the rings: the other side wants no notifications. */
export const VIRTQ_NO_NOTIFICATION = 1;

/** Numbers of feature bits. */
export const VirtioBit = {
  blkSegMax: 2,
  blkReadOnly: 5,
  blkBlockSize: 6,
  blkFlush: 9,
  blkTopology: 10,
  blkConfigWce: 11,
  blkQueues: 12,
  blkDiscard: 13,
  blkWriteZeroes: 14,
  logAll: 26,
  ringIndirect: 28,
  ringEventIndex: 29,
  protocolFeatures: 30,
  version1: 32,
} as const;

export const VirtioBlkRequestLayout: Layout<"type" | "reserved" | "sector"> = layout(
  "virtio-blk-request",
  "Head of a request",
  16,
  {
    type: u32("what is asked"),
    reserved: u32("a priority in old drivers"),
    sector: u64("first sector of 512 bytes"),
  },
);

export const VirtioBlkType = {
  read: 0,
  write: 1,
  flush: 4,
  getId: 8,
  discard: 11,
  writeZeroes: 13,
} as const;

export const VirtioBlkStatus = { ok: 0, ioError: 1, unsupported: 2 } as const;

/** Of the answer to `getId`: shorter ones end with a zero byte. */
export const VIRTIO_BLK_ID_BYTES = 20;

export const VirtioBlkRangeLayout: Layout<"sector" | "sectorCount" | "flags"> = layout(
  "virtio-blk-range",
  "Range of a discard or write-zeroes",
  16,
  {
    sector: u64("first sector"),
    sectorCount: u32("sectors"),
    flags: u32("bit 0: of write-zeroes, the space may be given back"),
  },
);

export const VIRTIO_BLK_UNMAP = 1;

export const VirtioBlkConfigLayout: Layout<
  | "capacity"
  | "sizeMax"
  | "segMax"
  | "geometry"
  | "blockSize"
  | "physicalBlockExponent"
  | "alignmentOffset"
  | "ioSizeMin"
  | "ioSizeBest"
  | "writeCache"
  | "unused0"
  | "queueCount"
  | "discardSectorsMax"
  | "discardRangesMax"
  | "discardAlignment"
  | "zeroSectorsMax"
  | "zeroRangesMax"
  | "zeroMayUnmap"
  | "unused1"
> = layout("virtio-blk-config", "Configuration space", 60, {
  capacity: u64("sectors of 512 bytes"),
  sizeMax: u32("bytes of a segment, not offered"),
  segMax: u32("segments of a request"),
  geometry: bytes(4, "not offered"),
  blockSize: u32("logical block in bytes"),
  physicalBlockExponent: u8("logical blocks in a physical one, as a power of two"),
  alignmentOffset: u8("logical block that is aligned first"),
  ioSizeMin: u16("suggested shortest request in logical blocks"),
  ioSizeBest: u32("suggested request in logical blocks"),
  writeCache: u8("1 write-back, 0 write-through"),
  unused0: u8(""),
  queueCount: u16("queues"),
  discardSectorsMax: u32("sectors of a discard"),
  discardRangesMax: u32("ranges of a discard"),
  discardAlignment: u32("sectors in which space is given back"),
  zeroSectorsMax: u32("sectors of a write-zeroes"),
  zeroRangesMax: u32("ranges of a write-zeroes"),
  zeroMayUnmap: u8("1: write-zeroes can give space back"),
  unused1: bytes(3, ""),
});
