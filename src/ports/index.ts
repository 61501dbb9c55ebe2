export type { BlockCipher } from "./block-cipher.ts";
export type { Clock, Timer } from "./clock.ts";
export { FINGERPRINT_BYTES } from "./digests.ts";
export type { Digests } from "./digests.ts";
export {
  DIRECTORY_CONDITIONS_MAX,
  DIRECTORY_KEY_LENGTH_MAX,
  DIRECTORY_WRITES_MAX,
  LEASE_TTL_MS_MAX,
  LEASE_TTL_MS_MIN,
} from "./directory.ts";
export type {
  Directory,
  DirectoryCondition,
  DirectoryEvent,
  DirectoryOutcome,
  DirectoryRecord,
  DirectoryStamp,
  DirectoryWatch,
  DirectoryWrite,
  LeaseId,
} from "./directory.ts";
export { DISK_REQUESTS_MAX } from "./disk.ts";
export type { Disk, DiskDone, DiskFault, DiskMemory, MemoryHandle } from "./disk.ts";
export { DiskRequests } from "./disk-requests.ts";
export type { Log, LogFields, LogLevel } from "./log.ts";
export {
  METADATA_KEY_BYTES_MAX,
  METADATA_VALUE_BYTES_MAX,
  MetadataBatch,
} from "./metadata-store.ts";
export type { MetadataStore } from "./metadata-store.ts";
export type { Counter, Gauge, Histogram, MetricLabels, Metrics } from "./metrics.ts";
export type {
  ByteStream,
  ByteStreamHandler,
  Listener,
  Network,
  NetworkAddress,
  StreamPeer,
} from "./network.ts";
export { SHARED_PAGE_BYTES } from "./shared-memory.ts";
export type {
  DescriptorListener,
  DescriptorStream,
  DescriptorStreamHandler,
  ReceivedDescriptor,
  RemoteEvent,
  SharedFile,
  SharedMapping,
  SharedMemory,
  SocketOwner,
} from "./shared-memory.ts";
export type { DiskSockets, VmBoot, VmDisk, VmNetwork, VmStart } from "./hypervisor.ts";
export type { Hypervisor, RunningVm } from "./hypervisor.ts";
