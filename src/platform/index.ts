export { openDisk } from "./open-disk.ts";
export type { DiskKind, DiskOptions } from "./open-disk.ts";
export type { DeviceOptions } from "./device-file.ts";
export { MemoryPool, viewHandle } from "./mapped-memory.ts";
export { JsonLog } from "./json-log.ts";
export type { JsonLogOptions, LogTarget } from "./json-log.ts";
export { MAPPED_BYTES_MIN, residentNow } from "./resident-limit.ts";
export { NodeClock } from "./node-clock.ts";
export { PrometheusMetrics } from "./prometheus-metrics.ts";
export { CuttableNetwork } from "./cuttable-network.ts";
export { ServiceNotifier } from "./service-notifier.ts";
export { StreamNetwork } from "./stream-network.ts";
export type { StreamNetworkOptions } from "./stream-network.ts";
export { LmdbMetadataStore } from "./lmdb-metadata-store.ts";
export type { MetadataLogOptions } from "./logged-entries.ts";
export type { MetadataOptions } from "./lmdb-metadata-store.ts";
export { NativeDigests } from "./native-digests.ts";
export { WideBlockCipher } from "./wide-block-cipher.ts";
export { EtcdDirectory } from "./etcd-directory.ts";
export type { EtcdClientOptions } from "./etcd-client.ts";
export type { EtcdTls } from "./etcd-endpoint.ts";
export { EtcdMembers } from "./etcd-members.ts";
export type { EtcdMember, EtcdMemberState } from "./etcd-members.ts";
export { EtcdServer } from "./etcd-server.ts";
export type { EtcdServerOptions, EtcdServerTls } from "./etcd-server.ts";
export { QemuHypervisor } from "./qemu-hypervisor.ts";
export type { ConsoleText } from "./console-log.ts";
export type { QemuOptions } from "./qemu-hypervisor.ts";
export { MemfdSharedMemory } from "./memfd-shared-memory.ts";
export { StartTlsNetwork } from "./start-tls-network.ts";
export type { ClientProofs, StartTlsOptions } from "./start-tls-network.ts";
export { TlsNetwork } from "./tls-network.ts";
export type { TlsNetworkOptions } from "./tls-network.ts";
export { TlsTrust } from "./tls-trust.ts";
export type { TlsCredentials, TlsTrustState } from "./tls-trust.ts";
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
} from "./certificate.ts";
export type { CertifiedKey, CertificateIdentity, CertificateRequest } from "./certificate.ts";
export { writeWhole } from "./whole-file.ts";
