/**
 * The keys that volumes are encrypted with, as far as this host has them. A data key is opened when
 * a volume is, and is nowhere but in the cipher then.
 *
 * The cluster key is changed without a moment in which anybody lacks one: the next key is put into
 * the directory sealed with the present one, and every data key is sealed with both; hosts take it
 * into their files and confirm; when all have, what was sealed with the old one goes, and hosts
 * forget it.
 */
import { randomBytes } from "node:crypto";
import { CodedError } from "../../base/index.ts";
import {
  createKeyDomain,
  findClusterKey,
  findKeyDomain,
  keyDomainGone,
  keyDomainNameInvalid,
  listHosts,
  listKeyDomains,
  listVolumes,
  removeKeyDomain,
  swapClusterKey,
} from "../../cluster/index.ts";
import type {
  ClusterKeyRecord,
  KeyDomain,
  SealedKey,
  StoredClusterKey,
  StoredDomain,
  VolumeEncryption,
} from "../../cluster/index.ts";
import { WideBlockCipher } from "../../platform/index.ts";
import type { BlockCipher, Clock, Directory } from "../../ports/index.ts";
import {
  keyReasonAgainst,
  newClusterKey,
  readClusterKeys,
  writeClusterKeys,
} from "./cluster-key-file.ts";
import type { ClusterKeys } from "./cluster-key-file.ts";
import { keyIdOf, openKey, sealKey } from "./sealed-key.ts";

const CIPHER = "lioness-aes256ctr-hmacsha256";
const DATA_KEY_BYTES = 32;
/** Others may be at the same records. */
const ATTEMPTS_MAX = 20;

export interface KeyKeeperWorld {
  readonly directory: Directory;
  readonly clock: Clock;
  readonly clusterId: string;
  readonly hostId: string;
  readonly keyFile: string;
  readonly newId: () => string;
}

export class KeyKeeper {
  readonly #world: KeyKeeperWorld;

  constructor(world: KeyKeeperWorld) {
    this.#world = world;
  }

  /**
   * Fails with `cluster-key-missing`, `cluster-key-invalid`, `cluster-key-wrong`,
   * `key-domain-gone`.
   */
  async cipherOf({ domain, domainId }: VolumeEncryption): Promise<BlockCipher> {
    const stored = await findKeyDomain(this.#world.directory, this.#world.clusterId, domain);
    if (stored?.record.domainId !== domainId) throw keyDomainGone(domain);
    const dataKey = this.#opened(stored.record, readClusterKeys(this.#world.keyFile));
    const cipher = new WideBlockCipher(dataKey);
    dataKey.fill(0);
    return cipher;
  }

  /**
   * Why encrypted volumes cannot be served here, as far as that can be told without the directory.
   */
  reasonAgainst(): string | undefined {
    return keyReasonAgainst(this.#world.keyFile);
  }

  /** The domain as it is, or made now. Fails as `cipherOf`, and with `too-many-key-domains`. */
  async ensureDomain(name: string): Promise<VolumeEncryption> {
    const { directory, clusterId } = this.#world;
    const why = keyDomainNameInvalid(name);
    if (why !== undefined)
      throw new CodedError({ code: "request-invalid", message: `"${name.slice(0, 80)}" ${why}` });
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const stored = await findKeyDomain(directory, clusterId, name);
      if (stored !== undefined) {
        // Whoever makes a volume here is to be able to use it.
        this.#opened(stored.record, readClusterKeys(this.#world.keyFile)).fill(0);
        return { domain: name, domainId: stored.record.domainId };
      }
      const domain = await this.#createDomain(name);
      if (domain !== undefined) return { domain: name, domainId: domain.domainId };
    }
    throw contended();
  }

  async #createDomain(name: string): Promise<KeyDomain | undefined> {
    const { directory, clusterId, clock, newId, keyFile } = this.#world;
    const keys = readClusterKeys(keyFile);
    const stored = await findClusterKey(directory, clusterId);
    const clusterKey = stored ?? { record: firstRecord(keys), revision: 0 };
    const { keyId, next } = clusterKey.record;
    const under = [keyId, ...(next === undefined ? [] : [next.keyId])];
    const dataKey = randomBytes(DATA_KEY_BYTES);
    const domainId = newId();
    const bare = { name, domainId, cipher: CIPHER, createdMs: Math.round(clock.wallMs()) };
    const seals = under.map((id) => sealKey(keyOf(keys, id), this.#purpose(bare), dataKey));
    dataKey.fill(0);
    const domain = { ...bare, seals };
    return (await createKeyDomain(directory, clusterId, domain, clusterKey)) ? domain : undefined;
  }

  /** Fails with `key-domain-unknown` or `key-domain-in-use`. */
  async destroyDomain(name: string): Promise<void> {
    const { directory, clusterId } = this.#world;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const isName = keyDomainNameInvalid(name) === undefined;
      const stored = isName ? await findKeyDomain(directory, clusterId, name) : undefined;
      if (stored === undefined)
        throw new CodedError({
          code: "key-domain-unknown",
          message: `there is no key domain named ${name.slice(0, 80)}`,
          hint: "drystone key-domain list shows all",
        });
      const volumes = await this.volumesOf(stored.record);
      if (volumes.length > 0)
        throw new CodedError({
          code: "key-domain-in-use",
          message: `${volumes.length} volumes and snapshots are encrypted with the key of ${name}, ${volumes[0]} for one`,
          hint: "Delete them first: without the key nobody could read them again",
        });
      if (await removeKeyDomain(directory, clusterId, stored)) return;
    }
    throw contended();
  }

  async volumesOf({ domainId }: KeyDomain): Promise<readonly string[]> {
    const volumes = await listVolumes(this.#world.directory, this.#world.clusterId);
    return volumes
      .filter(({ encryption }) => encryption?.domainId === domainId)
      .map(({ name }) => name);
  }

  /**
   * Begins to change the cluster key, unless that is under way. Fails with `cluster-key-unused`,
   * and as `cipherOf`.
   */
  async beginRotation(): Promise<void> {
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const stored = await this.#clusterKey();
      if (stored.record.next !== undefined || (await this.#begin(stored))) return;
    }
    throw contended();
  }

  async #begin(stored: StoredClusterKey): Promise<boolean> {
    const { directory, clusterId, hostId, keyFile } = this.#world;
    const { keyId } = stored.record;
    const keys = readClusterKeys(keyFile);
    const present = keyOf(keys, keyId);
    const nextKey = newClusterKey();
    const nextId = keyIdOf(nextKey);
    // First here: what is sealed with it can be opened from the first moment on.
    writeClusterKeys(keyFile, new Map([...keys, [nextId, nextKey]]));
    const seal = sealKey(present, this.#nextPurpose(nextId), nextKey);
    const next: ClusterKeyRecord = { keyId, next: { keyId: nextId, seal }, confirmed: [hostId] };
    const domains = await listKeyDomains(directory, clusterId);
    const sealed = domains.map((one) => {
      const dataKey = this.#opened(one.record, keys);
      const purpose = this.#purpose(one.record);
      const seals = [present, nextKey].map((key) => sealKey(key, purpose, dataKey));
      dataKey.fill(0);
      return { stored: one, next: { ...one.record, seals } };
    });
    const isBegun = await swapClusterKey(directory, clusterId, { stored, next }, sealed);
    if (!isBegun) writeClusterKeys(keyFile, keys);
    return isBegun;
  }

  /**
   * Takes the next cluster key into this host's file and says so, or forgets the one before. Does
   * nothing on a host without the present one.
   */
  async adopt(): Promise<void> {
    const { directory, clusterId, hostId, keyFile } = this.#world;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const stored = await findClusterKey(directory, clusterId);
      if (stored === undefined || this.reasonAgainst() !== undefined) return;
      const { keyId, next, confirmed } = stored.record;
      const keys = readClusterKeys(keyFile);
      const present = keys.get(keyId);
      if (next === undefined) {
        if (present !== undefined && keys.size > 1)
          writeClusterKeys(keyFile, new Map([[keyId, present]]));
        return;
      }
      if (!keys.has(next.keyId)) {
        const opened = present && openKey(present, this.#nextPurpose(next.keyId), next.seal);
        if (opened === undefined) return;
        writeClusterKeys(keyFile, new Map([...keys, [next.keyId, opened]]));
      }
      if (confirmed.includes(hostId)) return;
      const said = { ...stored.record, confirmed: [...confirmed, hostId] };
      if (await swapClusterKey(directory, clusterId, { stored, next: said }, [])) return;
    }
    throw contended();
  }

  /** Ids of hosts that have not confirmed the next cluster key; undefined if none is under way. */
  async unconfirmed(): Promise<readonly string[] | undefined> {
    const { directory, clusterId } = this.#world;
    const stored = await findClusterKey(directory, clusterId);
    if (stored?.record.next === undefined) return undefined;
    const { confirmed } = stored.record;
    const hosts = await listHosts(directory, clusterId);
    return hosts.map(({ hostId }) => hostId).filter((hostId) => !confirmed.includes(hostId));
  }

  /** From here on the next key is the only one. */
  async endRotation(): Promise<void> {
    const { directory, clusterId } = this.#world;
    for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
      const stored = await this.#clusterKey();
      const keyId = stored.record.next?.keyId;
      if (keyId === undefined) return;
      const domains = (await listKeyDomains(directory, clusterId)).map((one) => {
        const seals = one.record.seals.filter((seal) => seal.keyId === keyId);
        return { stored: one, next: { ...one.record, seals } };
      });
      const next = { keyId, confirmed: [] };
      if (await swapClusterKey(directory, clusterId, { stored, next }, domains)) return;
    }
    throw contended();
  }

  domains(): Promise<readonly StoredDomain[]> {
    return listKeyDomains(this.#world.directory, this.#world.clusterId);
  }

  async clusterKey(): Promise<ClusterKeyRecord | undefined> {
    return (await findClusterKey(this.#world.directory, this.#world.clusterId))?.record;
  }

  async #clusterKey(): Promise<StoredClusterKey> {
    const stored = await findClusterKey(this.#world.directory, this.#world.clusterId);
    if (stored !== undefined) return stored;
    throw new CodedError({
      code: "cluster-key-unused",
      message: "nothing is encrypted with the cluster key yet",
      hint: "drystone volume create NAME --size 10G --encrypted makes the first encrypted volume",
    });
  }

  #opened(domain: KeyDomain, keys: ClusterKeys): Uint8Array {
    const { name, cipher, seals } = domain;
    if (cipher !== CIPHER)
      throw new CodedError({
        code: "record-format-unknown",
        message: `the key domain ${name} uses ${cipher}, which this program does not know`,
        hint: "run a newer version of Drystone",
      });
    for (const seal of seals) {
      const key = keys.get(seal.keyId);
      const opened = key && openKey(key, this.#purpose(domain), seal);
      if (opened?.length === DATA_KEY_BYTES) return opened;
    }
    throw wrongKey(`the key domain ${name} needs ${idsOf(seals)}`, keys);
  }

  #purpose({ domainId, cipher }: { readonly domainId: string; readonly cipher: string }): string {
    return `drystone data key\n${this.#world.clusterId}\n${domainId}\n${cipher}`;
  }

  #nextPurpose(keyId: string): string {
    return `drystone next cluster key\n${this.#world.clusterId}\n${keyId}`;
  }
}

/** The cluster has no encrypted volume yet: it begins with the key that is first in the file. */
function firstRecord(keys: ClusterKeys): ClusterKeyRecord {
  const [keyId = ""] = keys.keys();
  return { keyId, confirmed: [] };
}

function keyOf(keys: ClusterKeys, keyId: string): Uint8Array {
  const key = keys.get(keyId);
  if (key !== undefined) return key;
  throw wrongKey(`the cluster has key ${keyId}`, keys);
}

function wrongKey(wanted: string, keys: ClusterKeys): CodedError {
  return new CodedError({
    code: "cluster-key-wrong",
    message: `${wanted}, and this host's key file has ${[...keys.keys()].join(" and ")}`,
    hint: "Copy the key file from a host that serves encrypted volumes: drystone key show",
  });
}

function idsOf(seals: readonly SealedKey[]): string {
  return seals.map(({ keyId }) => `key ${keyId}`).join(" or ");
}

function contended(): CodedError {
  return new CodedError({
    code: "object-contended",
    message: "other hosts change keys at the same time",
    hint: "try again",
  });
}
