/**
 * Volumes in the directory. A volume is an object record plus an entry in the index of names; both
 * change in one transaction, so a name never points nowhere and never at two objects.
 */
import {
  assert,
  CodedError,
  formatSize,
  SECTOR_SIZE_BYTES,
  VOLUME_SIZE_BYTES_MAX,
} from "../base/index.ts";
import type {
  Clock,
  Directory,
  DirectoryCondition,
  DirectoryRecord,
  DirectoryWrite,
} from "../ports/index.ts";
import { intentDrop, removalPut } from "./component-intents.ts";
import type { StoredIntent } from "./component-intents.ts";
import { DirectoryMirror } from "./directory-mirror.ts";
import type { DirectoryPulse } from "./directory-pulse.ts";
import { FreshList } from "./fresh-list.ts";
import { directoryKeys, idInvalid } from "./directory-keys.ts";
import { domainUse } from "./key-domain-record.ts";
import type { VolumeEncryption } from "./key-domain-record.ts";
import { encodeObjectRecord, parseObjectRecord } from "./object-record.ts";
import type { ComponentState, ObjectPolicy, ObjectRecord } from "./object-record.ts";
import type { SnapshotOrigin } from "./object-record.ts";
import { treeInvalid } from "./tree-node.ts";
import type { TreeNode } from "./tree-node.ts";

/** Others may change the key domain of a volume that is being made. */
const DOMAIN_ATTEMPTS_MAX = 20;
const NAME_PATTERN = /^[a-z0-9][a-z0-9._-]{0,62}$/;

export interface NewVolume {
  readonly objectId: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly policy: ObjectPolicy;
  readonly tree: TreeNode;
  /** Where each leaf of the tree lives. */
  readonly placement: readonly {
    readonly componentId: string;
    readonly hostId: string;
    readonly deviceId: string;
    /** Active if absent. */
    readonly state?: ComponentState;
  }[];
  readonly snapshot?: SnapshotOrigin;
  readonly encryption?: VolumeEncryption;
}

/** A record and the revision that a compare-and-swap of it must name. */
export interface StoredObject {
  readonly record: ObjectRecord;
  readonly revision: number;
}

/**
 * What a user cannot name: homes of virtual machines, kept like volumes. `NAMESPACE_MARK` comes
 * before the machine's name.
 */
export const NAMESPACE_MARK = "~";

export function isNamespaceName(name: string): boolean {
  return name.startsWith(NAMESPACE_MARK);
}

/** As people read it: a machine's home is none of the volumes that they have made. */
export function shownName(name: string): string {
  return isNamespaceName(name) ? `home of ${name.slice(NAMESPACE_MARK.length)}` : name;
}

/** Between a volume's name and a snapshot's. */
export const SNAPSHOT_MARK = "@";

/** The two names of a snapshot; undefined if it is not one's. */
export function snapshotNames(
  name: string,
): { readonly volume: string; readonly snapshot: string } | undefined {
  const at = name.indexOf(SNAPSHOT_MARK);
  if (at < 0) return undefined;
  return { volume: name.slice(0, at), snapshot: name.slice(at + SNAPSHOT_MARK.length) };
}

/** Throws `volume-name-invalid` unless it can be a volume's name, or a snapshot's. */
export function checkUserName(name: string): void {
  const names = snapshotNames(name);
  checkVolumeName(names?.volume ?? name);
  if (names !== undefined) checkVolumeName(names.snapshot, "snapshot");
}

function checkObjectName(name: string): void {
  checkUserName(isNamespaceName(name) ? name.slice(NAMESPACE_MARK.length) : name);
}

/** Throws `volume-name-invalid` with the rule. */
export function checkVolumeName(name: string, what: "volume" | "snapshot" = "volume"): void {
  if (NAME_PATTERN.test(name)) return;
  const shown = name.length > 80 ? `${name.slice(0, 80)}... (${name.length} characters)` : name;
  throw new CodedError({
    code: "volume-name-invalid",
    message: `${JSON.stringify(shown)} cannot be the name of a ${what}`,
    hint:
      "use 1 to 63 lower-case letters, digits, dots, underscores and hyphens, " +
      "the first one a letter or a digit",
  });
}

/** Throws `volume-size-invalid` with the limits. */
export function checkVolumeSize(sizeBytes: number): void {
  const why = sizeInvalid(sizeBytes);
  if (why === undefined) return;
  throw new CodedError({
    code: "volume-size-invalid",
    message: `a volume cannot have ${sizeBytes} bytes: ${why}`,
    hint: `give a multiple of 512 from 512 to ${formatSize(VOLUME_SIZE_BYTES_MAX)}, for example 10G`,
    details: { sizeBytes, sizeBytesMax: VOLUME_SIZE_BYTES_MAX },
  });
}

function sizeInvalid(sizeBytes: number): string | undefined {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) return "that is not a size";
  if (sizeBytes === 0) return "it would be empty";
  if (sizeBytes > VOLUME_SIZE_BYTES_MAX) return `the most is ${formatSize(VOLUME_SIZE_BYTES_MAX)}`;
  if (sizeBytes % SECTOR_SIZE_BYTES !== 0) return "that is not a multiple of 512";
  return undefined;
}

/**
 * Writes the records of a new volume, all components active and nobody's yet, and drops the intents
 * under which its components were made, all at once. Its components must exist on their devices.
 * Fails with `volume-name-invalid`, `volume-size-invalid`, `volume-exists`, `key-domain-gone`, or
 * with `creation-undone` if somebody has settled an intent meanwhile.
 */
export async function createVolumeRecord(
  directory: Directory,
  clusterId: string,
  volume: NewVolume,
  intents: readonly StoredIntent[] = [],
): Promise<ObjectRecord> {
  checkObjectName(volume.name);
  checkVolumeSize(volume.sizeBytes);
  assert(idInvalid(volume.objectId) === undefined, `not an object id: ${volume.objectId}`);
  assert(treeInvalid(volume.tree) === undefined, "the tree of a new volume is invalid");
  const record = recordOf(volume);
  const key = directoryKeys.object(clusterId, volume.objectId);
  const nameKey = directoryKeys.volumeName(clusterId, volume.name);
  for (let attempt = 1; ; attempt++) {
    const use = record.encryption && (await domainUse(directory, clusterId, record.encryption));
    const outcome = await directory.transact(
      [
        { key, revision: 0 },
        { key: nameKey, revision: 0 },
        ...intentConditions(clusterId, intents),
        ...(use === undefined ? [] : [use.condition]),
      ],
      [
        { kind: "put", key, value: encodeObjectRecord(record) },
        { kind: "put", key: nameKey, value: volume.objectId },
        ...intents.map(({ componentId }) => intentDrop(clusterId, componentId)),
        ...(use === undefined ? [] : [use.write]),
      ],
    );
    if (outcome.succeeded) return record;
    if ((await directory.get(nameKey)) !== undefined) throw nameTaken(volume.name);
    if (use !== undefined && attempt < DOMAIN_ATTEMPTS_MAX) {
      const domain = await directory.get(use.condition.key);
      if (domain?.revision !== use.condition.revision) continue;
    }
    throw new CodedError({
      code: "creation-undone",
      message: `a host restarted while ${volume.name} was being created`,
      hint: "try again",
    });
  }
}

function intentConditions(
  clusterId: string,
  intents: readonly StoredIntent[],
): readonly DirectoryCondition[] {
  return intents.map((intent) => ({
    key: directoryKeys.intent(clusterId, intent.componentId),
    revision: intent.revision,
  }));
}

function nameTaken(name: string): CodedError {
  return new CodedError({
    code: "volume-exists",
    message: `a volume named ${name} exists already`,
    hint: "choose another name, or delete that volume first",
  });
}

function recordOf(volume: NewVolume): ObjectRecord {
  const { objectId, name, sizeBytes, policy, tree, placement, snapshot, encryption } = volume;
  return {
    objectId,
    name,
    sizeBytes,
    policy,
    epoch: 0,
    owner: undefined,
    tree,
    components: placement.map((leaf) => ({ ...leaf, state: leaf.state ?? { kind: "active" } })),
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(encryption === undefined ? {} : { encryption }),
  };
}

/**
 * Puts a new object in the place of a volume that nobody owns: the name is the new one's from then
 * on, and intents are left for the components of the old one. Fails with `volume-in-use`, or
 * `creation-undone`.
 */
export async function replaceVolumeRecord(
  directory: Directory,
  clusterId: string,
  old: StoredObject,
  volume: NewVolume,
  intents: readonly StoredIntent[],
): Promise<ObjectRecord> {
  const { name, objectId, components } = old.record;
  checkUnused(old.record, "rolled back");
  assert(volume.name === name && volume.objectId !== objectId, "another object, the same name");
  const record = recordOf(volume);
  const key = directoryKeys.object(clusterId, record.objectId);
  const oldKey = directoryKeys.object(clusterId, objectId);
  const outcome = await directory.transact(
    [{ key: oldKey, revision: old.revision }, ...intentConditions(clusterId, intents)],
    [
      { kind: "delete", key: oldKey },
      { kind: "put", key, value: encodeObjectRecord(record) },
      {
        kind: "put",
        key: directoryKeys.volumeName(clusterId, name),
        value: record.objectId,
      },
      ...intents.map(({ componentId }) => intentDrop(clusterId, componentId)),
      ...components.map(({ componentId, hostId }) =>
        removalPut(clusterId, { componentId, hostId, objectId }),
      ),
    ],
  );
  if (outcome.succeeded) return record;
  throw inUse(name, "rolled back", "another host");
}

/** All volumes of the cluster, by name. */
export async function listVolumes(
  directory: Directory,
  clusterId: string,
): Promise<readonly ObjectRecord[]> {
  const { records } = await directory.list(directoryKeys.objects(clusterId));
  return records.map(({ key, value }) => parseObjectRecord(key, value)).toSorted(byName);
}

/** All objects of the cluster, for who looks again and again. */
export function freshObjects(directory: Directory, clusterId: string): FreshList<StoredObject> {
  return new FreshList(directory, directoryKeys.objects(clusterId), parseStored);
}

/** As `listVolumes` lists them, for whoever looks often. */
export function volumeMirror(
  directory: Directory,
  clusterId: string,
  clock: Clock,
  pulse: DirectoryPulse,
): DirectoryMirror<ObjectRecord> {
  const prefix = directoryKeys.objects(clusterId);
  return new DirectoryMirror({
    ...{ directory, clock, prefix, pulse, parse: parseObjectRecord },
    orderOf: ({ name }: ObjectRecord) => name,
  });
}

function byName(a: ObjectRecord, b: ObjectRecord): number {
  return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
}

/** Fails with `volume-name-invalid` or `volume-not-found`. */
export async function findVolume(
  directory: Directory,
  clusterId: string,
  name: string,
): Promise<StoredObject> {
  checkObjectName(name);
  const entry = await directory.get(directoryKeys.volumeName(clusterId, name));
  const stored = entry && (await findObject(directory, clusterId, entry.value));
  if (stored !== undefined) return stored;
  const snapshot = snapshotNames(name);
  throw new CodedError({
    code: "volume-not-found",
    message: `there is no ${snapshot === undefined ? "volume" : "snapshot"} named ${name}`,
    hint:
      snapshot === undefined
        ? "`drystone volume list` shows all volumes"
        : `\`drystone snapshot list --volume ${snapshot.volume}\` shows all of that volume`,
  });
}

export async function findObject(
  directory: Directory,
  clusterId: string,
  objectId: string,
): Promise<StoredObject | undefined> {
  const found = await directory.get(directoryKeys.object(clusterId, objectId));
  return found && parseStored(found);
}

export function parseStored(found: DirectoryRecord): StoredObject {
  return { record: parseObjectRecord(found.key, found.value), revision: found.revision };
}

/**
 * Writes `next`, and `also` with it, iff the object's record still has `stored.revision`. Returns
 * what is stored afterwards, or undefined if somebody else was faster.
 */
export async function swapObject(
  directory: Directory,
  clusterId: string,
  stored: StoredObject,
  next: ObjectRecord,
  also: readonly DirectoryWrite[] = [],
): Promise<StoredObject | undefined> {
  assert(stored.record.objectId === next.objectId, "an object's id never changes");
  assert(next.epoch >= stored.record.epoch, "an epoch never falls");
  const key = directoryKeys.object(clusterId, next.objectId);
  const outcome = await directory.transact(
    [{ key, revision: stored.revision }],
    [{ kind: "put", key, value: encodeObjectRecord(next) }, ...also],
  );
  return outcome.succeeded ? { record: next, revision: outcome.revision } : undefined;
}

/** Throws unless a volume may change from one size to the other: it may only grow. */
export function checkVolumeGrowth(record: ObjectRecord, sizeBytes: number): void {
  checkVolumeSize(sizeBytes);
  if (sizeBytes >= record.sizeBytes) return;
  throw new CodedError({
    code: "volume-shrink-unsupported",
    message:
      `${record.name} has ${formatSize(record.sizeBytes)} and cannot be cut to ` +
      formatSize(sizeBytes),
    hint: "create a smaller volume and copy what is needed",
    details: { sizeBytes: record.sizeBytes, requestedBytes: sizeBytes },
  });
}

/**
 * Grows a volume that nobody owns; an owned one is resized by its owner. Its components must have
 * grown. Fails with `volume-not-found`, `volume-size-invalid`, `volume-shrink-unsupported`,
 * `volume-in-use`.
 */
export async function growVolumeRecord(
  directory: Directory,
  clusterId: string,
  name: string,
  sizeBytes: number,
): Promise<ObjectRecord> {
  const stored = await findVolume(directory, clusterId, name);
  checkVolumeGrowth(stored.record, sizeBytes);
  checkUnused(stored.record, "resized");
  const next = await swapObject(directory, clusterId, stored, { ...stored.record, sizeBytes });
  if (next === undefined) throw inUse(name, "resized", "another host");
  return next.record;
}

/**
 * Removes a volume that nobody owns and returns what it was, so that the caller can remove its
 * components, for each of which an intent is left. Fails with `volume-not-found` or
 * `volume-in-use`.
 */
export async function deleteVolumeRecord(
  directory: Directory,
  clusterId: string,
  name: string,
): Promise<ObjectRecord> {
  const { record, revision } = await findVolume(directory, clusterId, name);
  checkUnused(record, "deleted");
  const key = directoryKeys.object(clusterId, record.objectId);
  const outcome = await directory.transact(
    [{ key, revision }],
    [
      { kind: "delete", key },
      { kind: "delete", key: directoryKeys.volumeName(clusterId, name) },
      // Whoever cannot be reached now deletes its components when it is back.
      ...record.components.map(({ componentId, hostId }) =>
        removalPut(clusterId, { componentId, hostId, objectId: record.objectId }),
      ),
    ],
  );
  if (!outcome.succeeded) throw inUse(name, "deleted", "another host");
  return record;
}

/**
 * Gives up whatever the host's previous life owned: a host that starts owns nothing. Returns how
 * many objects that were.
 */
export async function releaseOwnerships(
  directory: Directory,
  clusterId: string,
  hostId: string,
): Promise<number> {
  const { records } = await directory.list(directoryKeys.objects(clusterId));
  let released = 0;
  for (const stored of records.map(parseStored)) {
    if (stored.record.owner !== hostId) continue;
    const next = { ...stored.record, owner: undefined };
    if ((await swapObject(directory, clusterId, stored, next)) !== undefined) released++;
  }
  return released;
}

function checkUnused(record: ObjectRecord, verb: string): void {
  if (record.owner !== undefined) throw inUse(record.name, verb, record.owner);
}

function inUse(name: string, verb: string, owner: string): CodedError {
  return new CodedError({
    code: "volume-in-use",
    message: `${name} cannot be ${verb}: ${owner} is using it`,
    hint: `detach it first: \`drystone volume detach ${name}\``,
  });
}
