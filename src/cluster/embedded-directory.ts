/**
 * The directory of a cluster with a single host, and of the development cluster: etcd's model over
 * one metadata store. Transactions run one after the other; each is durable before anybody can see
 * it, so what was read can never be taken back by a crash. Leases outlive a restart with a fresh
 * time to live: the clock that measured them is gone.
 */
import { assert, CodedError } from "../base/index.ts";
import type {
  Clock,
  Directory,
  DirectoryCondition,
  DirectoryEvent,
  DirectoryOutcome,
  DirectoryRecord,
  DirectoryStamp,
  DirectoryWatch,
  DirectoryWrite,
  LeaseId,
  MetadataStore,
} from "../ports/index.ts";
import {
  DIRECTORY_CONDITIONS_MAX,
  DIRECTORY_KEY_LENGTH_MAX,
  DIRECTORY_WRITES_MAX,
  LEASE_TTL_MS_MAX,
  LEASE_TTL_MS_MIN,
  MetadataBatch,
} from "../ports/index.ts";
import { stampOf } from "./directory-stamp.ts";
import { DirectoryRows } from "./directory-rows.ts";
import type { DirectoryRow, LeaseRow } from "./directory-rows.ts";
import { LeasedKeys } from "./leased-keys.ts";
import { LeaseTable } from "./lease-table.ts";
import { WatchHistory } from "./watch-history.ts";

const HISTORY_EVENTS_MAX = 4096;

export class EmbeddedDirectory implements Directory {
  readonly #rows: DirectoryRows;
  readonly #store: MetadataStore;
  readonly #leases: LeaseTable;
  readonly #leased = new LeasedKeys();
  readonly #history: WatchHistory;
  readonly #records = new Map<string, DirectoryRow>();
  /** Keys in order, rebuilt when a listing finds that keys came or went. */
  #sortedKeys: readonly string[] | undefined;
  #revision: number;
  /** The end of the queue of transactions. */
  #tail: Promise<void> = Promise.resolve();
  #ended: CodedError | undefined;

  private constructor(store: MetadataStore, clock: Clock, rows: DirectoryRows) {
    this.#store = store;
    this.#rows = rows;
    this.#revision = rows.revision;
    for (const row of rows.records) {
      this.#records.set(row.key, row);
      this.#leased.changed(undefined, row);
    }
    this.#history = new WatchHistory(rows.revision, HISTORY_EVENTS_MAX);
    this.#leases = new LeaseTable(clock, (lease) => this.#endLease(lease));
    for (const lease of rows.leases) this.#leases.add(lease);
  }

  /**
   * Opens what the store holds, or starts empty. The directory uses keys that start with `dir/` and
   * does not close the store. Fails with `record-format-unknown` or `record-invalid`.
   */
  static async open(store: MetadataStore, clock: Clock): Promise<EmbeddedDirectory> {
    return new EmbeddedDirectory(store, clock, DirectoryRows.load(store));
  }

  async get(key: string): Promise<DirectoryRecord | undefined> {
    this.#checkOpen();
    const row = this.#records.get(key);
    return row && toRecord(row);
  }

  async list(prefix: string): Promise<{
    readonly records: readonly DirectoryRecord[];
    readonly revision: number;
  }> {
    this.#checkOpen();
    return { records: this.#rowsOf(prefix).map(toRecord), revision: this.#revision };
  }

  async stamp(prefix: string): Promise<DirectoryStamp> {
    this.#checkOpen();
    return stampOf(this.#rowsOf(prefix));
  }

  /** In key order. */
  #rowsOf(prefix: string): readonly DirectoryRow[] {
    this.#sortedKeys ??= [...this.#records.keys()].sort(compareKeys);
    const keys = this.#sortedKeys;
    let from = 0;
    for (let end = keys.length; from < end;) {
      const middle = (from + end) >>> 1;
      if (keys[middle]! < prefix) from = middle + 1;
      else end = middle;
    }
    const rows: DirectoryRow[] = [];
    for (let at = from; at < keys.length && keys[at]!.startsWith(prefix); at++)
      rows.push(this.#records.get(keys[at]!)!);
    return rows;
  }

  async transact(
    conditions: readonly DirectoryCondition[],
    writes: readonly DirectoryWrite[],
  ): Promise<DirectoryOutcome> {
    this.#checkOpen();
    assert(conditions.length <= DIRECTORY_CONDITIONS_MAX, "too many conditions");
    checkWrites(writes);
    return this.#inTurn(async () => {
      for (const condition of conditions) {
        const revision = this.#records.get(condition.key)?.revision ?? 0;
        if (revision !== condition.revision) return { succeeded: false, revision: this.#revision };
      }
      this.#leased.requireRoom(writes);
      await this.#apply(writes, new MetadataBatch());
      return { succeeded: true, revision: this.#revision };
    });
  }

  watch(
    prefix: string,
    fromRevision: number,
    onEvent: (event: DirectoryEvent) => void,
    onLost: () => void,
  ): DirectoryWatch {
    this.#checkOpen();
    return this.#history.watch(prefix, fromRevision, onEvent, onLost);
  }

  async grantLease(ttlMs: number): Promise<LeaseId> {
    this.#checkOpen();
    if (!Number.isFinite(ttlMs) || ttlMs < LEASE_TTL_MS_MIN || ttlMs > LEASE_TTL_MS_MAX)
      throw new CodedError({
        code: "lease-ttl-invalid",
        message: `a lease cannot last ${ttlMs} ms: from ${LEASE_TTL_MS_MIN} to ${LEASE_TTL_MS_MAX}`,
      });
    return this.#inTurn(async () => {
      const lease: LeaseRow = { leaseId: this.#rows.takeId(), ttlMs };
      const batch = new MetadataBatch();
      this.#rows.putLease(batch, lease);
      this.#rows.putState(batch, this.#revision);
      await this.#commit(batch);
      this.#leases.add(lease);
      return String(lease.leaseId);
    });
  }

  async keepAlive(lease: LeaseId): Promise<number> {
    this.#checkOpen();
    return this.#leases.keepAlive(lease);
  }

  async revokeLease(lease: LeaseId): Promise<void> {
    this.#checkOpen();
    const row = this.#leases.end(lease);
    if (row !== undefined) await this.#endLease(row);
  }

  /** Waits for transactions under way. The store stays open: it is the caller's. */
  async close(): Promise<void> {
    this.#ended ??= new CodedError({
      code: "directory-closed",
      message: "the directory is closed",
    });
    this.#leases.close();
    this.#history.close();
    await this.#tail;
  }

  /** Deletes the lease and the keys that were written with it. */
  async #endLease(lease: LeaseRow): Promise<void> {
    if (this.#ended !== undefined) return;
    await this.#inTurn(async () => {
      const keys = [...this.#leased.of(lease.leaseId)];
      const writes = keys.map((key): DirectoryWrite => ({ kind: "delete", key }));
      const batch = new MetadataBatch();
      this.#rows.deleteLease(batch, lease);
      await this.#apply(writes, batch);
    });
  }

  /** Makes the writes durable, then visible, then known to watchers. */
  async #apply(writes: readonly DirectoryWrite[], batch: MetadataBatch): Promise<void> {
    const revision = this.#revision + 1;
    const events: DirectoryEvent[] = [];
    const puts: DirectoryRow[] = [];
    for (const write of writes) {
      const previous = this.#records.get(write.key);
      if (write.kind === "put") {
        const row = this.#nextRow(write, previous, revision);
        this.#rows.putRecord(batch, row);
        puts.push(row);
        events.push({ kind: "put", record: toRecord(row) });
      } else if (previous !== undefined) {
        this.#rows.deleteRecord(batch, previous);
        events.push({ kind: "delete", key: write.key, revision });
      }
    }
    if (events.length > 0) this.#rows.putState(batch, revision);
    if (batch.size > 0) await this.#commit(batch);
    if (events.length === 0) return;
    for (const event of events) if (event.kind === "delete") this.#keep(event.key, undefined);
    for (const row of puts) this.#keep(row.key, row);
    this.#sortedKeys = undefined;
    this.#revision = revision;
    this.#history.append(events);
  }

  #keep(key: string, row: DirectoryRow | undefined): void {
    this.#leased.changed(this.#records.get(key), row);
    if (row === undefined) this.#records.delete(key);
    else this.#records.set(key, row);
  }

  #nextRow(
    write: Extract<DirectoryWrite, { kind: "put" }>,
    previous: DirectoryRow | undefined,
    revision: number,
  ): DirectoryRow {
    const lease = write.lease === undefined ? undefined : this.#leases.find(write.lease);
    if (write.lease !== undefined && lease === undefined)
      throw new CodedError({
        code: "lease-ended",
        message: `${write.key} was to be written with the lease ${write.lease}, which has ended`,
      });
    return {
      rowId: previous?.rowId ?? this.#rows.takeId(),
      key: write.key,
      value: write.value,
      revision,
      leaseId: lease?.leaseId,
    };
  }

  async #commit(batch: MetadataBatch): Promise<void> {
    try {
      await this.#store.commit(batch);
    } catch (error) {
      // A full store has not taken anything of the batch.
      if (error instanceof CodedError && error.code === "no-space") throw error;
      // Whether the batch is on the disk is unknown: only a restart can tell.
      this.#ended = new CodedError(
        {
          code: "directory-failed",
          message: "the directory could not be written and has stopped",
          hint: "check the disk that holds it, then restart the host",
        },
        { cause: error },
      );
      this.#leases.close();
      throw this.#ended;
    }
  }

  /** Runs `step` after everything that was called before has settled. */
  #inTurn<T>(step: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(() => {
      if (this.#ended?.code === "directory-failed") throw this.#ended;
      return step();
    });
    this.#tail = result.then(ignore, ignore);
    return result;
  }

  #checkOpen(): void {
    if (this.#ended !== undefined) throw this.#ended;
  }
}

/** The queue goes on after a failure: the one who called hears of it. */
function ignore(): void {}

function toRecord(row: DirectoryRow): DirectoryRecord {
  return { key: row.key, value: row.value, revision: row.revision };
}

function compareKeys(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function checkWrites(writes: readonly DirectoryWrite[]): void {
  assert(writes.length <= DIRECTORY_WRITES_MAX, "too many writes in one transaction");
  const seen = new Set<string>();
  for (const write of writes) {
    assert(!seen.has(write.key), `${write.key} is written twice in one transaction`);
    seen.add(write.key);
    const isInRange = write.key.length > 0 && write.key.length <= DIRECTORY_KEY_LENGTH_MAX;
    assert(isInRange, "key length out of range");
  }
}
