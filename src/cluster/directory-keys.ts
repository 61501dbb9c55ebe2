/**
 * Where each kind of record lives in the directory. Everything of a cluster is below one prefix, so
 * that several clusters may share one directory.
 */
import { assert } from "../base/index.ts";

const ID_PATTERN = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/;

/** Returns why the text cannot be an id of a cluster, host, device, object or component. */
export function idInvalid(text: string): string | undefined {
  if (ID_PATTERN.test(text)) return undefined;
  return "an id has 1 to 64 letters, digits and hyphens, and starts with a letter or a digit";
}

function prefix(clusterId: string): string {
  assert(idInvalid(clusterId) === undefined, `not a cluster id: ${clusterId}`);
  return `/drystone/${clusterId}`;
}

function keyOf(clusterId: string, kind: string, id: string): string {
  assert(idInvalid(id) === undefined, `not an id of a ${kind}: ${id}`);
  return `${prefix(clusterId)}/${kind}/${id}`;
}

export const directoryKeys = {
  cluster: (clusterId: string): string => `${prefix(clusterId)}/cluster`,
  hosts: (clusterId: string): string => `${prefix(clusterId)}/host/`,
  host: (clusterId: string, hostId: string): string => keyOf(clusterId, "host", hostId),
  alives: (clusterId: string): string => `${prefix(clusterId)}/alive/`,
  /** Exists while the host's lease is alive. */
  alive: (clusterId: string, hostId: string): string => keyOf(clusterId, "alive", hostId),
  intents: (clusterId: string): string => `${prefix(clusterId)}/component-intent/`,
  /** A component that is being made or removed, so that it and its record agree in the end. */
  intent: (clusterId: string, componentId: string): string =>
    keyOf(clusterId, "component-intent", componentId),
  joinTokens: (clusterId: string): string => `${prefix(clusterId)}/join-token/`,
  joinToken: (clusterId: string, hash: string): string => keyOf(clusterId, "join-token", hash),
  certificate: (clusterId: string, hostId: string): string =>
    keyOf(clusterId, "certificate", hostId),
  revokedHosts: (clusterId: string): string => `${prefix(clusterId)}/revoked-host/`,
  /** A host that was removed: its certificates are refused. */
  revokedHost: (clusterId: string, hostId: string): string =>
    keyOf(clusterId, "revoked-host", hostId),
  authorities: (clusterId: string): string => `${prefix(clusterId)}/authority/`,
  /** How far the replacement of the cluster's authority is. */
  rotation: (clusterId: string): string => `${prefix(clusterId)}/authority/rotation`,
  /** How far one host is with it. */
  rotationAt: (clusterId: string, hostId: string): string =>
    `${prefix(clusterId)}/authority/at/${hostId}`,
  accessTokens: (clusterId: string): string => `${prefix(clusterId)}/access-token/`,
  accessToken: (clusterId: string, id: string): string => keyOf(clusterId, "access-token", id),
  nbdClients: (clusterId: string): string => `${prefix(clusterId)}/nbd-client/`,
  nbdClient: (clusterId: string, name: string): string => keyOf(clusterId, "nbd-client", name),
  keyDomains: (clusterId: string): string => `${prefix(clusterId)}/key-domain/`,
  /** A key that volumes are encrypted with, sealed. */
  keyDomain: (clusterId: string, name: string): string => keyOf(clusterId, "key-domain", name),
  clusterKey: (clusterId: string): string => `${prefix(clusterId)}/cluster-key`,
  devices: (clusterId: string): string => `${prefix(clusterId)}/device/`,
  device: (clusterId: string, deviceId: string): string => keyOf(clusterId, "device", deviceId),
  objects: (clusterId: string): string => `${prefix(clusterId)}/object/`,
  object: (clusterId: string, objectId: string): string => keyOf(clusterId, "object", objectId),
  /** Volume name -> object id: makes names unique. Names are checked by `volumeNameInvalid`. */
  volumeName: (clusterId: string, name: string): string => `${prefix(clusterId)}/volume/${name}`,
  /** What holds for the whole cluster. */
  settings: (clusterId: string): string => `${prefix(clusterId)}/settings`,
  services: (clusterId: string): string => `${prefix(clusterId)}/service/`,
  /** A host or a device that is being taken out of service. */
  service: (clusterId: string, id: string): string => keyOf(clusterId, "service", id),
  vms: (clusterId: string): string => `${prefix(clusterId)}/vm/`,
  /** Names of virtual machines are ids of their records. */
  vm: (clusterId: string, name: string): string => keyOf(clusterId, "vm", name),
  /** The virtual machine that was made last: two that are made at the same time know it by that. */
  vmMade: (clusterId: string): string => `${prefix(clusterId)}/vm-made`,
  haSettings: (clusterId: string): string => `${prefix(clusterId)}/ha-settings`,
  vmView: (clusterId: string, hostId: string): string => `${prefix(clusterId)}/vm-view/${hostId}`,
  vmViews: (clusterId: string): string => `${prefix(clusterId)}/vm-view/`,
  vmHosts: (clusterId: string): string => `${prefix(clusterId)}/vm-host/`,
  /** Exists while the host answers for the virtual machines that run on it. */
  vmHost: (clusterId: string, hostId: string): string => keyOf(clusterId, "vm-host", hostId),
  vmsUnbound: (clusterId: string): string => `${prefix(clusterId)}/vm-unbound/`,
  /**
   * Exists while the host may run machines on without its lease, because high availability is
   * disarmed as far as it knows: it outlives the lease.
   */
  vmUnbound: (clusterId: string, hostId: string): string => keyOf(clusterId, "vm-unbound", hostId),
  /** Who decides where virtual machines run; exists while that one does. */
  vmMaster: (clusterId: string): string => `${prefix(clusterId)}/vm-master`,
} as const;
