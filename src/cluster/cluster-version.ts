/**
 * Which formats and messages a cluster uses while its hosts are of several versions of Drystone.
 *
 * The cluster has a version, in the `format` of its record. Each host says in its own record which
 * one it knows. What came with a version is used only when the cluster has that version, so a newer
 * host among older ones writes and says what they understand, and an upgrade can be taken back host
 * by host. Once all hosts know a newer one it is made the cluster's (`finalizeVersion`): from then
 * on what came with it may be used, and an older Drystone refuses to start because of that
 * `format`.
 *
 *   1  the first one; records of hosts do not tell it
 *   2  encrypted volumes (their records have format 2), another authority for the cluster
 *   3  metadata of devices are committed to a log first
 */
import { assert, CodedError } from "../base/index.ts";
import type { Directory } from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { CLUSTER_VERSION_FIRST, CLUSTER_VERSION_NEWEST, readHost } from "./host-record.ts";
import type { HostRecord } from "./host-record.ts";
import { RecordFields } from "./record-fields.ts";

/** What came with which version. */
export const VERSION_OF = { encryption: 2, anotherAuthority: 2, metadataLog: 3 } as const;

const ATTEMPTS_MAX = 8;

for (const version of Object.values(VERSION_OF))
  assert(version <= CLUSTER_VERSION_NEWEST, "a feature belongs to a version that is known here");

/** What a host knows, as its record says. */
export function versionKnownBy({ clusterVersion }: Pick<HostRecord, "clusterVersion">): number {
  return clusterVersion ?? CLUSTER_VERSION_FIRST;
}

/** Of a cluster without a record, which nobody has started yet: the newest. */
export async function readClusterVersion(directory: Directory, clusterId: string): Promise<number> {
  const key = directoryKeys.cluster(clusterId);
  const found = await directory.get(key);
  return found === undefined ? CLUSTER_VERSION_NEWEST : versionIn(key, found.value);
}

/** Fails with `upgrade-not-finalized` unless the cluster has that version. */
export async function requireVersion(
  directory: Directory,
  clusterId: string,
  feature: keyof typeof VERSION_OF,
): Promise<void> {
  const version = await readClusterVersion(directory, clusterId);
  if (version >= VERSION_OF[feature]) return;
  throw new CodedError({
    code: "upgrade-not-finalized",
    message: `the cluster still has version ${version}, and this needs ${VERSION_OF[feature]}`,
    hint: "When all hosts run the new version of Drystone: drystone upgrade finalize",
  });
}

/**
 * Gives the cluster the newest version that all its hosts know. There is no way back. Fails with
 * `hosts-outdated`, and changes nothing, while a host knows only the one that the cluster has.
 */
export async function finalizeVersion(directory: Directory, clusterId: string): Promise<number> {
  const key = directoryKeys.cluster(clusterId);
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    const found = await directory.get(key);
    const { records } = await directory.list(directoryKeys.hosts(clusterId));
    const hosts = records.map((record) => ({
      condition: { key: record.key, revision: record.revision },
      host: readHost(record.key, record.value),
    }));
    const before = found === undefined ? CLUSTER_VERSION_NEWEST : versionIn(key, found.value);
    const known = hosts.map(({ host }) => versionKnownBy(host));
    const next = Math.min(CLUSTER_VERSION_NEWEST, ...known);
    if (found === undefined || before >= CLUSTER_VERSION_NEWEST) return before;
    if (next <= before) throw outdated(hosts.map(({ host }) => host));
    const value = JSON.stringify({ ...(JSON.parse(found.value) as object), format: next });
    // A host that starts at the same moment with an older version changes its record.
    const conditions = [
      { key, revision: found.revision },
      ...hosts.map(({ condition }) => condition),
    ];
    const outcome = await directory.transact(conditions, [{ kind: "put", key, value }]);
    if (outcome.succeeded) return next;
  }
  throw new CodedError({
    code: "object-contended",
    message: "hosts of the cluster start too often",
    hint: "try again when all of them run",
  });
}

function versionIn(key: string, text: string): number {
  const all = Array.from({ length: CLUSTER_VERSION_NEWEST }, (_, index) => index + 1);
  const fields = RecordFields.parse(key, text, ...all);
  return fields.integer("format", CLUSTER_VERSION_FIRST, CLUSTER_VERSION_NEWEST);
}

function outdated(hosts: readonly HostRecord[]): CodedError {
  const old = hosts.filter((host) => versionKnownBy(host) < CLUSTER_VERSION_NEWEST);
  const names = old.map(({ name }) => name).join(", ");
  return new CodedError({
    code: "hosts-outdated",
    message: `hosts run an older version of Drystone: ${names}`,
    hint: "Upgrade and start them; one that does not come back: drystone host remove NAME",
  });
}
