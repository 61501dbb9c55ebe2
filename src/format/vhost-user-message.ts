/**
 * Messages of the vhost-user protocol, as QEMU's docs/interop/vhost-user.rst has them: a header, a
 * body whose layout follows from the request, and file descriptors beside the first byte. Integers
 * have the byte order of the machine, and Drystone runs on little-endian ones.
 */
import { layout, u16, u32, u64, u8, zeroes } from "./layout.ts";
import type { Layout } from "./layout.ts";

export const VhostHeaderLayout: Layout<"request" | "flags" | "bodyBytes"> = layout(
  "vhost-user-header",
  "Message header",
  12,
  {
    request: u32("what is asked, see below; an answer repeats it"),
    flags: u32("bits 0-1 the version, 1; bit 2 an answer; bit 3 an answer is wanted"),
    bodyBytes: u32("bytes that follow"),
  },
);

export const VHOST_VERSION = 1;
export const VHOST_VERSION_MASK = 3;
export const VHOST_FLAG_REPLY = 4;
export const VHOST_FLAG_NEED_REPLY = 8;

/** Requests of the front end that a back end for disks may meet. */
export const VhostRequest = {
  getFeatures: 1,
  setFeatures: 2,
  setOwner: 3,
  resetOwner: 4,
  setMemoryTable: 5,
  setLogBase: 6,
  setLogFd: 7,
  setRingSize: 8,
  setRingAddresses: 9,
  setRingBase: 10,
  getRingBase: 11,
  setRingKick: 12,
  setRingCall: 13,
  setRingError: 14,
  getProtocolFeatures: 15,
  setProtocolFeatures: 16,
  getQueueCount: 17,
  enableRing: 18,
  setBackendChannel: 21,
  getConfig: 24,
  setConfig: 25,
  getInflight: 31,
  setInflight: 32,
  resetDevice: 34,
  getMemorySlots: 36,
  addMemory: 37,
  removeMemory: 38,
} as const;

/** Requests of the back end, over the channel that the front end gave it. */
export const VhostBackendRequest = { configChanged: 2 } as const;

/** Bits of the protocol's own features. */
export const VhostProtocolBit = {
  queues: 0,
  logSharedMemory: 1,
  replyAck: 3,
  backendRequests: 5,
  config: 9,
  inflight: 12,
  resetDevice: 13,
  memorySlots: 15,
} as const;

/** A ring has no kick or call: bit 8 beside the index of the ring. */
export const VHOST_RING_NO_FD = 0x100;
export const VHOST_RING_INDEX_MASK = 0xff;

export const VhostRingStateLayout: Layout<"index" | "value"> = layout(
  "vhost-user-ring-state",
  "Size, base or state of a ring (8, 10, 11, 18)",
  8,
  { index: u32("of the ring"), value: u32("entries, next entry to look at, or 1 for enabled") },
);

export const VhostRingAddressesLayout: Layout<
  "index" | "flags" | "descriptors" | "used" | "available" | "log"
> = layout("vhost-user-ring-addresses", "Where a ring lies (9)", 40, {
  index: u32("of the ring"),
  flags: u32("bit 0: writes to the used ring are logged"),
  descriptors: u64("address in the front end's process"),
  used: u64("address in the front end's process"),
  available: u64("address in the front end's process"),
  log: u64("guest address by which writes to the used ring are logged"),
});

export const VhostMemoryTableLayout: Layout<"count" | "padding"> = layout(
  "vhost-user-memory-table",
  "Memory table (5); the regions follow, with one descriptor each",
  8,
  { count: u32("regions"), padding: u32("not looked at") },
);

export const VhostMemoryRegionLayout: Layout<
  "guestAddress" | "sizeBytes" | "userAddress" | "fileOffset"
> = layout("vhost-user-memory-region", "Region of guest memory", 32, {
  guestAddress: u64("where the guest sees it"),
  sizeBytes: u64("its length"),
  userAddress: u64("where the front end's process sees it"),
  fileOffset: u64("where it begins in the file"),
});

export const VhostMemorySlotLayout: Layout<"padding"> = layout(
  "vhost-user-memory-slot",
  "One region more or less (37, 38); the region follows",
  8,
  { padding: u64("not looked at") },
);

export const VhostLogLayout: Layout<"sizeBytes" | "fileOffset"> = layout(
  "vhost-user-log",
  "Dirty log (6)",
  16,
  { sizeBytes: u64("of the log"), fileOffset: u64("where it begins in the file") },
);

export const VhostConfigLayout: Layout<"offset" | "sizeBytes" | "flags"> = layout(
  "vhost-user-config",
  "Part of the configuration space (24, 25); its bytes follow",
  12,
  {
    offset: u32("of the part"),
    sizeBytes: u32("of the part"),
    flags: u32("0 a write of the guest, 1 of a migration"),
  },
);

export const VhostInflightLayout: Layout<
  "sizeBytes" | "fileOffset" | "queueCount" | "queueSize" | "padding"
> = layout("vhost-user-inflight", "Memory for requests under way (31, 32)", 24, {
  sizeBytes: u64("of the memory"),
  fileOffset: u64("where it begins in the file"),
  queueCount: u16("queues"),
  queueSize: u16("descriptors per queue"),
  padding: zeroes(4),
});

/** In the memory for requests under way: once per queue, followed by an entry per descriptor. */
export const InflightHeaderLayout: Layout<
  "features" | "version" | "entryCount" | "lastHead" | "usedIndex"
> = layout("vhost-user-inflight-header", "Requests of a queue under way", 16, {
  features: u64("0"),
  version: u16("1; 0 while nobody has used it"),
  entryCount: u16("descriptors of the queue"),
  lastHead: u16("answered last: the begin of a list"),
  usedIndex: u16("index of the used ring after the last batch of answers"),
});

export const InflightEntryLayout: Layout<"underWay" | "padding" | "next" | "counter"> = layout(
  "vhost-user-inflight-entry",
  "State of a descriptor",
  16,
  {
    underWay: u8("1 if it is the head of a request that the device has"),
    padding: zeroes(5),
    next: u16("answered before it"),
    counter: u64("order in which requests were taken"),
  },
);
