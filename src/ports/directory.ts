/**
 * The strongly consistent key-value store of a cluster, after etcd's model: one revision counter
 * for the whole store; a key's record carries the revision that last changed it.
 */
export interface Directory {
  /** Fails, as all calls do, with `directory-unavailable` while the directory is out of reach. */
  get(key: string): Promise<DirectoryRecord | undefined>;
  /** Records whose key starts with `prefix`, in key order, and the revision they were read at. */
  list(
    prefix: string,
  ): Promise<{ readonly records: readonly DirectoryRecord[]; readonly revision: number }>;
  /**
   * What tells cheaply whether anything under a prefix has changed: as long as stamps are equal, so
   * are the records. A put makes a revision that is newer than all; without one keys can only go.
   */
  stamp(prefix: string): Promise<DirectoryStamp>;
  /**
   * All writes or none: they happen iff every condition holds. `revision` 0 in a condition means
   * that the key does not exist. Resolves once durable. Fails with `directory-unavailable` if
   * nothing has happened or will, and with `directory-outcome-unknown` if that cannot be told: the
   * writes may have happened or may happen later, once. Fails with `lease-ended` and does nothing
   * if the lease of a write has ended.
   */
  transact(
    conditions: readonly DirectoryCondition[],
    writes: readonly DirectoryWrite[],
  ): Promise<DirectoryOutcome>;
  /**
   * Every change of keys with this prefix from `fromRevision` on, in order, without gaps. `onLost`
   * is called if the gap can no longer be filled (compaction): list again.
   */
  watch(
    prefix: string,
    fromRevision: number,
    onEvent: (event: DirectoryEvent) => void,
    onLost: () => void,
  ): DirectoryWatch;
  /** A lease: keys written with it are deleted when it is not kept alive for `ttlMs`. */
  grantLease(ttlMs: number): Promise<LeaseId>;
  /** Resolves with the remaining milliseconds, or 0 if the lease has ended. */
  keepAlive(lease: LeaseId): Promise<number>;
  revokeLease(lease: LeaseId): Promise<void>;
  close(): Promise<void>;
}

/** Of one transaction. */
export const DIRECTORY_WRITES_MAX = 120;
export const DIRECTORY_CONDITIONS_MAX = 120;
export const DIRECTORY_KEY_LENGTH_MAX = 512;
/** A lease lasts at least and at most so long. What is asked for may be rounded up to seconds. */
export const LEASE_TTL_MS_MIN = 10;
export const LEASE_TTL_MS_MAX: number = 24 * 60 * 60 * 1000;

export type LeaseId = string;

export interface DirectoryRecord {
  readonly key: string;
  readonly value: string;
  readonly revision: number;
}

export interface DirectoryStamp {
  /** Records with that prefix. */
  readonly count: number;
  /** The newest revision of one of them; 0 where there is none. */
  readonly newestRevision: number;
}

export interface DirectoryCondition {
  readonly key: string;
  readonly revision: number;
}

export type DirectoryWrite =
  | { readonly kind: "put"; readonly key: string; readonly value: string; readonly lease?: LeaseId }
  | { readonly kind: "delete"; readonly key: string };

export interface DirectoryOutcome {
  readonly succeeded: boolean;
  /** Of this transaction if it succeeded, otherwise of the store at the time of the check. */
  readonly revision: number;
}

export type DirectoryEvent =
  | { readonly kind: "put"; readonly record: DirectoryRecord }
  | { readonly kind: "delete"; readonly key: string; readonly revision: number };

export interface DirectoryWatch {
  cancel(): void;
}
