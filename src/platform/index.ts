export { openDisk } from "./disk/open-disk.ts";
export type { DiskKind, DiskOptions } from "./disk/open-disk.ts";
export type { DeviceOptions } from "./disk/device-file.ts";
export { MemoryPool, viewHandle } from "./memory/mapped-memory.ts";
export { JsonLog } from "./json-log.ts";
export type { JsonLogOptions, LogTarget } from "./json-log.ts";
export { MAPPED_BYTES_MIN, residentNow } from "./metadata/resident-limit.ts";
export { NodeClock } from "./node-clock.ts";
export { PrometheusMetrics } from "./prometheus-metrics.ts";
export { CuttableNetwork } from "./network/cuttable-network.ts";
export { ServiceNotifier } from "./service-notifier.ts";
export { StreamNetwork } from "./network/stream-network.ts";
export type { StreamNetworkOptions } from "./network/stream-network.ts";
export { LmdbMetadataStore } from "./metadata/lmdb-metadata-store.ts";
export type { MetadataLogOptions } from "./metadata/logged-entries.ts";
export type { MetadataOptions } from "./metadata/lmdb-metadata-store.ts";
export { NativeDigests } from "./native-digests.ts";
export { WideBlockCipher } from "./disk/wide-block-cipher.ts";
export { EtcdDirectory } from "./etcd/etcd-directory.ts";
export type { EtcdClientOptions } from "./etcd/etcd-client.ts";
export type { EtcdTls } from "./etcd/etcd-endpoint.ts";
export { EtcdMembers } from "./etcd/etcd-members.ts";
export type { EtcdMember, EtcdMemberState } from "./etcd/etcd-members.ts";
export { EtcdServer } from "./etcd/etcd-server.ts";
export type { EtcdServerOptions, EtcdServerTls } from "./etcd/etcd-server.ts";
export { QemuHypervisor } from "./machines/qemu-hypervisor.ts";
export type { ConsoleText } from "./machines/console-log.ts";
export type { QemuOptions } from "./machines/qemu-hypervisor.ts";
export { MemfdSharedMemory } from "./memory/memfd-shared-memory.ts";
export { StartTlsNetwork } from "./network/start-tls-network.ts";
export type { ClientProofs, StartTlsOptions } from "./network/start-tls-network.ts";
export { TlsNetwork } from "./network/tls-network.ts";
export type { TlsNetworkOptions } from "./network/tls-network.ts";
export { TlsTrust } from "./network/tls-trust.ts";
export type { TlsCredentials, TlsTrustState } from "./network/tls-trust.ts";
export {
  certificatesIn,
  fingerprintOf,
  issuerOf,
  identityOf,
  addressesOf,
  CERTIFICATE_LIFETIME_MS,
  isCertifiable,
  issueCertificate,
  issueClientCertificate,
  revocationList,
  makeAuthority,
  makePrivateKey,
  publicKeyInvalid,
  publicKeyOf,
} from "./network/certificate.ts";
export type {
  CertifiedKey,
  CertificateIdentity,
  CertificateRequest,
} from "./network/certificate.ts";
export { writeWhole } from "./whole-file.ts";
