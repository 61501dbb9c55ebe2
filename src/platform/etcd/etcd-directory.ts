/**
 * The directory of a cluster with more than one host: etcd 3.4 or later, over its JSON gateway.
 * Keys of the directory are keys of etcd. See docs/internals/directory.md for what is relied upon.
 */
import { Buffer } from "node:buffer";
import { assert, CodedError } from "../../base/index.ts";
import {
  DIRECTORY_CONDITIONS_MAX,
  DIRECTORY_KEY_LENGTH_MAX,
  DIRECTORY_WRITES_MAX,
  LEASE_TTL_MS_MAX,
  LEASE_TTL_MS_MIN,
  METADATA_VALUE_BYTES_MAX,
} from "../../ports/index.ts";
import type {
  Directory,
  DirectoryCondition,
  DirectoryEvent,
  DirectoryOutcome,
  DirectoryRecord,
  DirectoryStamp,
  DirectoryWatch,
  DirectoryWrite,
  LeaseId,
} from "../../ports/index.ts";
import { EtcdClient } from "./etcd-client.ts";
import type { EtcdClientOptions } from "./etcd-client.ts";
import {
  EtcdTransactions,
  GUARD_PREFIX,
  grantLease,
  isLeaseEnded,
  keepAlive,
} from "./etcd-transactions.ts";
import type { EtcdTls } from "./etcd-endpoint.ts";
import { EtcdMembers } from "./etcd-members.ts";
import { EtcdWatch } from "./etcd-watch.ts";
import { EtcdRefusal, encodeText, prefixRange, recordOf, revisionOf } from "./etcd-wire.ts";
import type { EtcdFields } from "./etcd-wire.ts";

const PAGE_RECORDS = 500;
/** etcd takes requests of 1.5 MiB by default; this is what the values of one may have in all. */
const VALUES_BYTES_MAX = 1024 * 1024;

export class EtcdDirectory implements Directory {
  readonly members: EtcdMembers;
  readonly #client: EtcdClient;
  readonly #transactions: EtcdTransactions;
  readonly #watches = new Set<EtcdWatch>();
  readonly #underWay = new Set<Promise<unknown>>();
  #ended: CodedError | undefined;

  /** Fails with `address-invalid`. Connects when it is first used. */
  constructor(options: EtcdClientOptions) {
    this.#client = new EtcdClient(options);
    this.#transactions = new EtcdTransactions(this.#client);
    this.members = new EtcdMembers(this.#client, options.tls);
  }

  /** What connections that are made from now on show and believe. */
  setTls(tls: EtcdTls): void {
    this.#client.setTls(tls);
    this.members.setTls(tls);
  }

  /** In the order in which they are to be asked. */
  setEndpoints(urls: readonly string[]): void {
    this.#client.setEndpoints(urls);
  }

  async get(key: string): Promise<DirectoryRecord | undefined> {
    this.#check(key);
    const read = (answer: EtcdFields): DirectoryRecord | undefined => {
      const [kv] = answer.children("kvs");
      return kv && recordOf(kv);
    };
    return await this.#client.call("kv/range", { key: encodeText(key) }, read);
  }

  /** In the order of the keys' bytes. */
  async list(prefix: string): Promise<{
    readonly records: readonly DirectoryRecord[];
    readonly revision: number;
  }> {
    this.#checkOpen();
    for (;;) {
      try {
        return await this.#listAtOneRevision(prefix);
      } catch (error) {
        // So much has been written meanwhile that the revision of the first page is compacted.
        const isCompacted = error instanceof CodedError && /compacted/.test(error.message);
        if (!isCompacted) throw error;
      }
    }
  }

  async stamp(prefix: string): Promise<DirectoryStamp> {
    this.#checkOpen();
    const newest = { sort_order: "DESCEND", sort_target: "MOD", limit: "1", keys_only: true };
    return await this.#client.call("kv/range", { ...prefixRange(prefix), ...newest }, (answer) => {
      const [kv] = answer.children("kvs");
      return { count: answer.integer("count"), newestRevision: kv?.integer("mod_revision") ?? 0 };
    });
  }

  async transact(
    conditions: readonly DirectoryCondition[],
    writes: readonly DirectoryWrite[],
  ): Promise<DirectoryOutcome> {
    assert(conditions.length <= DIRECTORY_CONDITIONS_MAX, "too many conditions");
    for (const { key } of conditions) this.#check(key);
    this.#checkWrites(writes);
    const transaction = this.#transactions.run(conditions, writes);
    this.#underWay.add(transaction);
    try {
      return await transaction;
    } finally {
      this.#underWay.delete(transaction);
    }
  }

  watch(
    prefix: string,
    fromRevision: number,
    onEvent: (event: DirectoryEvent) => void,
    onLost: () => void,
  ): DirectoryWatch {
    this.#checkOpen();
    assert(Number.isSafeInteger(fromRevision) && fromRevision > 0, "revisions start at 1");
    const watch = new EtcdWatch({
      client: this.#client,
      prefix,
      fromRevision,
      isHidden,
      onEvent,
      onLost,
      onOver: () => this.#watches.delete(watch),
    });
    this.#watches.add(watch);
    return watch;
  }

  /** In whole seconds, rounded up; etcd gives at least 1.5 of its election time-outs. */
  async grantLease(ttlMs: number): Promise<LeaseId> {
    this.#checkOpen();
    if (!Number.isFinite(ttlMs) || ttlMs < LEASE_TTL_MS_MIN || ttlMs > LEASE_TTL_MS_MAX)
      throw new CodedError({
        code: "lease-ttl-invalid",
        message: `a lease cannot last ${ttlMs} ms: from ${LEASE_TTL_MS_MIN} to ${LEASE_TTL_MS_MAX}`,
      });
    return (await grantLease(this.#client, Math.ceil(ttlMs / 1000))).id;
  }

  async keepAlive(lease: LeaseId): Promise<number> {
    this.#checkOpen();
    return await keepAlive(this.#client, lease);
  }

  async revokeLease(lease: LeaseId): Promise<void> {
    this.#checkOpen();
    try {
      await this.#client.call("lease/revoke", { ID: lease }, nothing);
    } catch (error) {
      const cause = error instanceof CodedError ? error.cause : undefined;
      if (!(cause instanceof EtcdRefusal && isLeaseEnded(cause))) throw error;
    }
  }

  /** Waits for transactions under way; other calls fail with `directory-closed`. */
  async close(): Promise<void> {
    if (this.#ended !== undefined) return;
    this.#ended = new CodedError({
      code: "directory-closed",
      message: "the directory is closed",
    });
    for (const watch of this.#watches) watch.cancel();
    await Promise.allSettled(this.#underWay);
    await this.#transactions.close();
    this.members.close();
    this.#client.close();
  }

  async #listAtOneRevision(prefix: string): Promise<{
    readonly records: readonly DirectoryRecord[];
    readonly revision: number;
  }> {
    const range = prefixRange(prefix);
    const records: DirectoryRecord[] = [];
    let key = range.key;
    let revision = 0;
    for (;;) {
      const body = {
        ...range,
        key,
        limit: String(PAGE_RECORDS),
        ...(revision > 0 && { revision: String(revision) }),
      };
      const page = await this.#client.call("kv/range", body, readPage);
      if (revision === 0) revision = page.revision;
      for (const record of page.records) if (!isHidden(record.key)) records.push(record);
      const last = page.records.at(-1);
      if (!page.hasMore || last === undefined) return { records, revision };
      key = encodeText(`${last.key}\0`);
    }
  }

  #checkWrites(writes: readonly DirectoryWrite[]): void {
    assert(writes.length <= DIRECTORY_WRITES_MAX, "too many writes in one transaction");
    const seen = new Set<string>();
    let sizeBytes = 0;
    for (const write of writes) {
      this.#check(write.key);
      assert(!seen.has(write.key), `${write.key} is written twice in one transaction`);
      seen.add(write.key);
      if (write.kind === "delete") continue;
      const valueBytes = Buffer.byteLength(write.value, "utf8");
      sizeBytes += valueBytes;
      if (valueBytes > METADATA_VALUE_BYTES_MAX || sizeBytes > VALUES_BYTES_MAX)
        throw new CodedError({
          code: "directory-value-too-long",
          message: `the value of ${write.key} is too long: ${valueBytes} bytes`,
          hint: `a value has at most ${METADATA_VALUE_BYTES_MAX} bytes, those of one transaction at most ${VALUES_BYTES_MAX}`,
        });
    }
  }

  #check(key: string): void {
    this.#checkOpen();
    const isInRange = key.length > 0 && key.length <= DIRECTORY_KEY_LENGTH_MAX;
    assert(isInRange && !isHidden(key), "key length out of range, or a guard");
  }

  #checkOpen(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }
}

function isHidden(key: string): boolean {
  return key.startsWith(GUARD_PREFIX);
}

interface Page {
  readonly records: readonly DirectoryRecord[];
  readonly revision: number;
  readonly hasMore: boolean;
}

function readPage(answer: EtcdFields): Page {
  return {
    records: answer.children("kvs").map(recordOf),
    revision: revisionOf(answer),
    hasMore: answer.flag("more"),
  };
}

function nothing(): void {}
