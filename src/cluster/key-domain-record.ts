/**
 * Key domains in the directory: each has one data key, with which its volumes are encrypted, sealed
 * with the cluster key. While the cluster key is being changed a data key is sealed with both. What
 * is sealed, and how, is none of this floor's business.
 */
import { CodedError } from "../base/index.ts";
import type {
  Directory,
  DirectoryCondition,
  DirectoryRecord,
  DirectoryWrite,
} from "../ports/index.ts";
import { directoryKeys } from "./directory-keys.ts";
import { RecordFields } from "./record-fields.ts";

const FORMAT = 1;
/** So that all of them change in one transaction, with the cluster key. */
export const KEY_DOMAINS_MAX = 100;
const HOSTS_MAX = 1000;
const SEALS_MAX = 2;
const NAME_PATTERN = /^[a-z0-9][a-z0-9-]{0,62}$/;
const HEX = /^(?:[0-9a-f]{2})+$/;

/** A key that is sealed with the cluster key `keyId`; both in hexadecimal digits. */
export interface SealedKey {
  readonly keyId: string;
  readonly nonce: string;
  readonly sealed: string;
}

export interface KeyDomain {
  readonly name: string;
  /** A domain that is made after another one of this name was destroyed has another id. */
  readonly domainId: string;
  readonly cipher: string;
  readonly createdMs: number;
  readonly seals: readonly SealedKey[];
}

/** Which cluster key data keys are sealed with. */
export interface ClusterKeyRecord {
  readonly keyId: string;
  /** Set while it is being changed: the next one, sealed with this one. */
  readonly next?: { readonly keyId: string; readonly seal: SealedKey };
  /** Hosts that have the next one. */
  readonly confirmed: readonly string[];
}

/** With what a volume is encrypted, in its record. */
export interface VolumeEncryption {
  readonly domain: string;
  readonly domainId: string;
}

export interface StoredDomain {
  readonly record: KeyDomain;
  readonly revision: number;
}

export interface StoredClusterKey {
  readonly record: ClusterKeyRecord;
  readonly revision: number;
}

/** Why a domain cannot have this name. */
export function keyDomainNameInvalid(name: string): string | undefined {
  if (NAME_PATTERN.test(name)) return undefined;
  return "is no name of a key domain: use 1 to 63 small letters, digits and -, first a letter or digit";
}

export async function findKeyDomain(
  directory: Directory,
  clusterId: string,
  name: string,
): Promise<StoredDomain | undefined> {
  const found = await directory.get(directoryKeys.keyDomain(clusterId, name));
  return found && parseDomain(found);
}

export async function listKeyDomains(
  directory: Directory,
  clusterId: string,
): Promise<readonly StoredDomain[]> {
  const { records } = await directory.list(directoryKeys.keyDomains(clusterId));
  return records.map(parseDomain);
}

export async function findClusterKey(
  directory: Directory,
  clusterId: string,
): Promise<StoredClusterKey | undefined> {
  const found = await directory.get(directoryKeys.clusterKey(clusterId));
  return found && parseClusterKey(found);
}

/**
 * Writes a new domain and what was read of the cluster key, which is made with the first domain.
 * False if somebody else was faster with either.
 */
export async function createKeyDomain(
  directory: Directory,
  clusterId: string,
  domain: KeyDomain,
  clusterKey: { readonly record: ClusterKeyRecord; readonly revision: number },
): Promise<boolean> {
  const key = directoryKeys.keyDomain(clusterId, domain.name);
  const all = await listKeyDomains(directory, clusterId);
  if (all.length >= KEY_DOMAINS_MAX)
    throw new CodedError({
      code: "too-many-key-domains",
      message: `there are ${KEY_DOMAINS_MAX} key domains already`,
      hint: "drystone key-domain list shows them; drystone key-domain destroy removes one",
    });
  const outcome = await directory.transact(
    [
      { key, revision: 0 },
      { key: directoryKeys.clusterKey(clusterId), revision: clusterKey.revision },
    ],
    [domainPut(clusterId, domain), clusterKeyPut(clusterId, clusterKey.record)],
  );
  return outcome.succeeded;
}

/** False if somebody has changed it meanwhile, or made a volume with it. */
export async function removeKeyDomain(
  directory: Directory,
  clusterId: string,
  { record, revision }: StoredDomain,
): Promise<boolean> {
  const key = directoryKeys.keyDomain(clusterId, record.name);
  const outcome = await directory.transact([{ key, revision }], [{ kind: "delete", key }]);
  return outcome.succeeded;
}

/** The cluster key and all domains at once; false if any of them has changed meanwhile. */
export async function swapClusterKey(
  directory: Directory,
  clusterId: string,
  { stored, next }: { readonly stored: StoredClusterKey; readonly next: ClusterKeyRecord },
  domains: readonly { readonly stored: StoredDomain; readonly next: KeyDomain }[],
): Promise<boolean> {
  const outcome = await directory.transact(
    [
      { key: directoryKeys.clusterKey(clusterId), revision: stored.revision },
      ...domains.map((one) => ({
        key: directoryKeys.keyDomain(clusterId, one.stored.record.name),
        revision: one.stored.revision,
      })),
    ],
    [clusterKeyPut(clusterId, next), ...domains.map((one) => domainPut(clusterId, one.next))],
  );
  return outcome.succeeded;
}

/**
 * What goes into the transaction that makes a volume of the domain: the domain must be there, and
 * whoever is about to remove it must look again. Fails with `key-domain-gone`.
 */
export async function domainUse(
  directory: Directory,
  clusterId: string,
  { domain, domainId }: VolumeEncryption,
): Promise<{ readonly condition: DirectoryCondition; readonly write: DirectoryWrite }> {
  const stored = await findKeyDomain(directory, clusterId, domain);
  if (stored?.record.domainId !== domainId) throw keyDomainGone(domain);
  const key = directoryKeys.keyDomain(clusterId, domain);
  const { revision, record } = stored;
  return { condition: { key, revision }, write: domainPut(clusterId, record) };
}

export function keyDomainGone(domain: string): CodedError {
  return new CodedError({
    code: "key-domain-gone",
    message: `the key domain ${domain} was destroyed: what was encrypted with its key is lost`,
    hint: "drystone key-domain list shows those that there are",
  });
}

function domainPut(clusterId: string, domain: KeyDomain): DirectoryWrite {
  const value = JSON.stringify({ format: FORMAT, ...domain });
  return { kind: "put", key: directoryKeys.keyDomain(clusterId, domain.name), value };
}

function clusterKeyPut(clusterId: string, record: ClusterKeyRecord): DirectoryWrite {
  const confirmed = record.confirmed.map((hostId) => ({ hostId }));
  const value = JSON.stringify({ format: FORMAT, ...record, confirmed });
  return { kind: "put", key: directoryKeys.clusterKey(clusterId), value };
}

function parseDomain({ key, value, revision }: DirectoryRecord): StoredDomain {
  const fields = RecordFields.parse(key, value, FORMAT);
  const record = {
    name: fields.text("name", 63),
    domainId: fields.text("domainId", 64),
    cipher: fields.text("cipher", 64),
    createdMs: fields.integer("createdMs", 0, Number.MAX_SAFE_INTEGER),
    seals: fields.children("seals", SEALS_MAX).map(parseSeal),
  };
  return { record, revision };
}

function parseClusterKey({ key, value, revision }: DirectoryRecord): StoredClusterKey {
  const fields = RecordFields.parse(key, value, FORMAT);
  const next = fields.has("next") ? fields.child("next") : undefined;
  const record = {
    keyId: fields.text("keyId", 64),
    ...(next && { next: { keyId: next.text("keyId", 64), seal: parseSeal(next.child("seal")) } }),
    confirmed: fields.children("confirmed", HOSTS_MAX).map((one) => one.text("hostId", 64)),
  };
  return { record, revision };
}

function parseSeal(fields: RecordFields): SealedKey {
  const hex = (name: string): string => {
    const text = fields.text(name, 256);
    if (HEX.test(text)) return text;
    throw fields.invalid(name, "must be hexadecimal digits");
  };
  return { keyId: fields.text("keyId", 64), nonce: hex("nonce"), sealed: hex("sealed") };
}
