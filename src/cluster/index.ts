export {
  ACCESS_ROLES,
  createAccessToken,
  findAccessToken,
  listAccessTokens,
  removeAccessToken,
  SCOPES_MAX,
} from "./access-token.ts";
export type { AccessRole, AccessToken } from "./access-token.ts";
export {
  hasTaken,
  nextStep,
  putRotation,
  putRotationProgress,
  readRotation,
  ROTATION_STEPS,
  rotationWaitsFor,
} from "./authority-rotation.ts";
export type { AuthorityRotation, RotationState, RotationStep } from "./authority-rotation.ts";
export { listRevoked, noteCertificate, removeHost } from "./certificate-record.ts";
export type { RevokedHost } from "./certificate-record.ts";
export { dropIntent, intentDrop, listIntents, putIntent, removalPut } from "./component-intents.ts";
export type { ComponentIntent, StoredIntent } from "./component-intents.ts";
export {
  CLIENT_VOLUMES_MAX,
  createNbdClient,
  listNbdClients,
  mayUseVolume,
  nbdClientNameInvalid,
  removeNbdClient,
} from "./nbd-client-record.ts";
export type { NbdClientRecord } from "./nbd-client-record.ts";
export {
  createKeyDomain,
  findClusterKey,
  findKeyDomain,
  keyDomainGone,
  keyDomainNameInvalid,
  listKeyDomains,
  removeKeyDomain,
  swapClusterKey,
} from "./key-domain-record.ts";
export type {
  ClusterKeyRecord,
  KeyDomain,
  SealedKey,
  StoredClusterKey,
  StoredDomain,
  VolumeEncryption,
} from "./key-domain-record.ts";
export { directoryKeys, idInvalid } from "./directory-keys.ts";
export { EmbeddedDirectory } from "./embedded-directory.ts";
export { deviceMirror, listDevices, putDevice } from "./device-record.ts";
export type { DeviceRecord, StoredDevice } from "./device-record.ts";
export {
  CLUSTER_VERSION_FIRST,
  CLUSTER_VERSION_NEWEST,
  createCluster,
  findCluster,
  listHosts,
  putHost,
} from "./host-record.ts";
export {
  finalizeVersion,
  readClusterVersion,
  requireVersion,
  VERSION_OF,
  versionKnownBy,
} from "./cluster-version.ts";
export type { ClusterRecord, HostRecord } from "./host-record.ts";
export { RemoteDirectoryClient } from "./remote-directory-client.ts";
export type { RemoteDirectoryOptions } from "./remote-directory-client.ts";
export { ServedDirectory } from "./served-directory.ts";
export type { ServedDirectoryOptions } from "./served-directory.ts";
export { FAILURES_MAX, isLeaf } from "./object-record.ts";
export type {
  ComponentRecord,
  ComponentState,
  ObjectChange,
  ObjectPolicy,
  ObjectRecord,
} from "./object-record.ts";
export {
  component,
  componentsOf,
  leavesOf,
  LEGS_MAX,
  legsOf,
  mirror,
  replaceLeaf,
  stripe,
  STRIPE_UNIT_BLOCKS,
  STRIPES_MAX,
  treeInvalid,
  votesOf,
  witness,
} from "./tree-node.ts";
export type {
  ComponentNode,
  LeafNode,
  LegNode,
  MirrorNode,
  StripeNode,
  TreeNode,
  WitnessNode,
} from "./tree-node.ts";
export {
  checkVolumeGrowth,
  checkVolumeName,
  isNamespaceName,
  NAMESPACE_MARK,
  checkVolumeSize,
  createVolumeRecord,
  deleteVolumeRecord,
  findObject,
  freshObjects,
  checkUserName,
  findVolume,
  growVolumeRecord,
  listVolumes,
  replaceVolumeRecord,
  snapshotNames,
  SNAPSHOT_MARK,
  parseStored,
  releaseOwnerships,
  shownName,
  swapObject,
  volumeMirror,
} from "./volumes.ts";
export { DirectoryFollower } from "./directory-follower.ts";
export type { DirectoryMirror } from "./directory-mirror.ts";
export { DirectoryPulse } from "./directory-pulse.ts";
export type { SnapshotOrigin } from "./object-record.ts";
export type { NewVolume, StoredObject } from "./volumes.ts";
export { vmNetworks } from "./vm-network.ts";
export type { FreshList } from "./fresh-list.ts";
export { checkVm, createVm, decided, findVm, freshVms, isProtected } from "./vm-record.ts";
export { createVmBeside, listVms, vmListOf, vmOf } from "./vm-record.ts";
export { PRIORITY_DEFAULT, removeVm, swapVm } from "./vm-record.ts";
export { VM_ISOLATIONS, VM_PRIORITIES, VM_STORAGE_LOSSES } from "./vm-record.ts";
export { RecordFields } from "./record-fields.ts";
export { HA_DEFAULTS, haSettingsOf, readHaSettings, swapHaSettings } from "./ha-settings.ts";
export { TOLERATED_HOSTS_MAX } from "./ha-settings.ts";
export type { HaSettings } from "./ha-settings.ts";
export type {
  StoredVm,
  VmDecision,
  VmIsolation,
  VmMigration,
  VmRecord,
  VmStorageLoss,
  UnreadableVm,
} from "./vm-record.ts";
export { changeSettings, readSettings, SettingsMirror } from "./cluster-settings.ts";
export type { ClusterSettings } from "./cluster-settings.ts";
export {
  dropService,
  listServices,
  putService,
  SERVICE_MODES,
  serviceMirror,
} from "./service-record.ts";
export type { ServiceMode, ServiceRecord } from "./service-record.ts";
export { checkJoinToken, createJoinToken, useJoinToken } from "./join-token.ts";
