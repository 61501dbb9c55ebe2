/** The directory's records of the cluster itself and of its hosts. */
import type { Directory } from "../ports/index.ts";
import { CodedError } from "../base/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { RecordFields } from "./record-fields.ts";

/** Versions of a cluster, see `cluster-version.ts`. */
export const CLUSTER_VERSION_FIRST = 1;
export const CLUSTER_VERSION_NEWEST = 3;

const HOST_FORMAT = 1;

export interface ClusterRecord {
  readonly clusterId: string;
  readonly name: string;
  /** Milliseconds since 1970. */
  readonly createdMs: number;
}

export interface HostRecord {
  readonly hostId: string;
  readonly name: string;
  /** `host:port` of the API. */
  readonly managementAddress: string;
  /** `host:port` where components are served; empty on a host that is alone. */
  readonly storageAddress: string;
  /** `host:port` of its links on the management network; empty where that is not a second one. */
  readonly managementLinkAddress: string;
  /** What fails together: a rack, a room. Usually the host itself. */
  readonly faultDomain: string;
  /** The newest version of a cluster that the host knows; hosts of the first one do not tell. */
  readonly clusterVersion?: number;
  /** Of its program. */
  readonly programVersion?: string;
}

/** Creates the cluster's record, with a version. Fails with code `cluster-exists`. */
export async function createCluster(
  directory: Directory,
  record: ClusterRecord,
  version: number = CLUSTER_VERSION_NEWEST,
): Promise<void> {
  const key = directoryKeys.cluster(record.clusterId);
  const value = JSON.stringify({ format: version, ...record });
  const outcome = await directory.transact([{ key, revision: 0 }], [{ kind: "put", key, value }]);
  if (outcome.succeeded) return;
  throw new CodedError({
    code: "cluster-exists",
    message: `the cluster ${record.clusterId} exists already`,
  });
}

/** Fails with `record-format-unknown` if the cluster has a newer version than `versionKnown`. */
export async function findCluster(
  directory: Directory,
  clusterId: string,
  versionKnown: number = CLUSTER_VERSION_NEWEST,
): Promise<ClusterRecord | undefined> {
  const key = directoryKeys.cluster(clusterId);
  const found = await directory.get(key);
  if (found === undefined) return undefined;
  const versions = Array.from({ length: versionKnown }, (_, index) => index + 1);
  const fields = RecordFields.parse(key, found.value, ...versions);
  return {
    clusterId: fields.text("clusterId"),
    name: fields.text("name"),
    createdMs: fields.integer("createdMs", 0, Number.MAX_SAFE_INTEGER),
  };
}

/**
 * Creates or replaces the record: a host is the only one to write its own. Fails with
 * `record-invalid`, and writes nothing, if nobody could read it.
 */
export async function putHost(
  directory: Directory,
  clusterId: string,
  record: HostRecord,
): Promise<void> {
  const key = directoryKeys.host(clusterId, record.hostId);
  const value = JSON.stringify({ format: HOST_FORMAT, ...record });
  // What readers would refuse must not get in: all of them would fail because of one host.
  readHost(key, value);
  await directory.transact([], [{ kind: "put", key, value }]);
}

export async function listHosts(
  directory: Directory,
  clusterId: string,
): Promise<readonly HostRecord[]> {
  const { records } = await directory.list(directoryKeys.hosts(clusterId));
  return records.map(({ key, value }) => readHost(key, value));
}

export function readHost(key: string, value: string): HostRecord {
  const fields = RecordFields.parse(key, value, HOST_FORMAT);
  return {
    hostId: fields.text("hostId"),
    name: fields.text("name"),
    managementAddress: fields.text("managementAddress"),
    storageAddress: fields.anyText("storageAddress"),
    // Hosts of earlier versions have no such links.
    managementLinkAddress: fields.has("managementLinkAddress")
      ? fields.anyText("managementLinkAddress")
      : "",
    faultDomain: fields.text("faultDomain"),
    ...(fields.has("clusterVersion")
      ? { clusterVersion: fields.integer("clusterVersion", 1, Number.MAX_SAFE_INTEGER) }
      : {}),
    ...(fields.has("programVersion") ? { programVersion: fields.text("programVersion") } : {}),
  };
}
