/**
 * A metadata store on LMDB.
 *
 * Durability: the database is opened without `overlappingSync`, so that its writing thread runs
 * LMDB's own commit: write the pages, fdatasync, then write the header through a descriptor opened
 * with O_DSYNC. Only after that does the promise of a batch resolve. (With the package's default a
 * commit is visible, and its promise resolved, before the data is on disk.) LMDB never overwrites
 * pages that the last durable header refers to: after a crash the database is the one of some
 * commit, whole.
 *
 * Reads have to see a batch at once, and the writing thread takes its time. So what was committed
 * and is not in the database yet is kept in memory and laid over it. One transaction is under way
 * at a time; batches that arrive meanwhile share the next one. If it fails, every batch that was
 * called for until then fails: later ones may build on earlier ones.
 *
 * With a log, batches become durable there, and go to the database many at a time: a database pays
 * for each page that it changes, and keys of contents are each on another one. See
 * `LoggedEntries`.
 *
 * Scale: a key and a value of 32 bytes cost about 1 us of the calling thread and 2 us of the
 * writing one; a look-up 1 to 2 us. LMDB maps its file: `ResidentLimit` keeps that from counting as
 * memory.
 */
import { CodedError, assert, compareBytes, errorText } from "../../base/index.ts";
import { closeSync, constants, openSync, rmSync, statfsSync } from "node:fs";
import { open } from "lmdb";
import type { RootDatabase } from "lmdb";
import { dirname } from "node:path";
import { METADATA_KEY_BYTES_MAX, METADATA_VALUE_BYTES_MAX } from "../../ports/index.ts";
import type { MetadataBatch, MetadataStore } from "../../ports/index.ts";
import { lockExclusively, syncFolder } from "../file-lock.ts";
import { FileReserve } from "../disk/file-reserve.ts";
import { LMDB_PAGE_BYTES, damaged } from "./lmdb-file.ts";
import { checkMetadataFile } from "./lmdb-walk.ts";
import { LOG_MARK_KEY, LoggedEntries, logSizesOf } from "./logged-entries.ts";
import type { MetadataLogOptions } from "./logged-entries.ts";
import { PendingEntries, mergeEntries } from "./pending-entries.ts";
import type { PendingEntry } from "./pending-entries.ts";
import { ResidentLimit } from "./resident-limit.ts";
import { systemErrorCode, trimNativeHeap } from "../sys.ts";

/** Address space only: neither memory nor disk is taken before it is needed. */
const MAP_BYTES_DEFAULT = 256 * 2 ** 30;
/** A start, and the deletions that make room, have to work on a full file system. */
const RESERVE_BYTES = 4 << 20;
const FIRST_KEY = new Uint8Array([0]);
/** Random reads map up to sixteen pages of 4 KiB each: 32 MiB between two looks. */
const READS_PER_CHECK = 512;
const LIMITING_INTERVAL_MS = 5;
/**
 * What a large transaction takes before anybody looks: pages that it copies, and those that are
 * mapped around each one that it reads.
 */
const TRANSACTION_BYTES = 32 * 2 ** 20;
/** Smaller transactions take little and leave little behind. */
const LARGE_ENTRIES_MIN = 2048;
/** Distinct lengths of values for which a view of the read buffer is kept. */
const VIEWS_MAX = 64;
/** Stored entries that a scan takes at once, at first and later. */
const SCANNED_FIRST = 8;
const SCANNED_MAX = 128;

export interface MetadataOptions {
  /** Refuse with `metadata-missing` instead of making an empty store. */
  readonly mustExist?: boolean;
  /** The largest size the file may grow to. */
  readonly mapBytesMax?: number;
  /** Of the whole process: above it the file's pages go. Default: what the kernel lets it have. */
  readonly residentBytesMax?: number;
  /**
   * Commit to a log first, and to the database many batches at a time. A log that holds something
   * is used in any case.
   */
  readonly log?: MetadataLogOptions;
}

type Visit = (key: Uint8Array, value: Uint8Array) => boolean;

interface StoredEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: CodedError) => void;
}

/** Batches that go into one transaction. */
class Group {
  readonly pending: PendingEntries = new PendingEntries();
  readonly waiters: Waiter[] = [];
}

export class LmdbMetadataStore implements MetadataStore {
  readonly #path: string;
  readonly #lockFd: number;
  readonly #database: RootDatabase<Uint8Array, Uint8Array>;
  readonly #resident: ResidentLimit | undefined;
  readonly #reserve: FileReserve;
  #logged: LoggedEntries | undefined;
  readonly #views = new Map<number, Uint8Array>();
  #gathering = new Group();
  #underWay: Group | undefined;
  /** Since resident memory was last looked at: each may have touched a page. */
  #reads = 0;
  #visits = 0;
  #closing = false;
  #idle: (() => void) | undefined;
  #closed: Promise<void> | undefined;

  /**
   * Fails with code `metadata-missing`, `metadata-foreign`, `metadata-damaged`, `metadata-failed`,
   * `device-in-use` or `no-space`.
   */
  static async open(path: string, options: MetadataOptions = {}): Promise<LmdbMetadataStore> {
    const fd = openFile(path, options.mustExist === true);
    try {
      lockExclusively(fd, path);
      const isNew = !checkMetadataFile(fd, path);
      // Locks of processes that are gone; nobody else has the database open.
      rmSync(`${path}-lock`, { force: true });
      const database = openDatabase(path, options.mapBytesMax ?? MAP_BYTES_DEFAULT);
      if (isNew) syncFolder(dirname(path));
      const { residentBytesMax = Infinity } = options;
      const resident = ResidentLimit.of(path, residentBytesMax);
      const store = new LmdbMetadataStore(path, fd, database, resident);
      try {
        await store.#openLog(options.log);
      } catch (error) {
        await database.close();
        resident?.close();
        throw error;
      }
      return store;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  private constructor(
    path: string,
    lockFd: number,
    database: RootDatabase<Uint8Array, Uint8Array>,
    resident: ResidentLimit | undefined,
  ) {
    this.#path = path;
    this.#lockFd = lockFd;
    this.#database = database;
    this.#resident = resident;
    this.#reserve = new FileReserve(lockFd, RESERVE_BYTES);
  }

  async #openLog(wanted: MetadataLogOptions | undefined): Promise<void> {
    const mark = this.#database.getBinary(LOG_MARK_KEY);
    const sizes = logSizesOf(mark, wanted);
    if (sizes === undefined) return;
    const tree = { mark, write: (entries: readonly PendingEntry[]) => this.#writeTree(entries) };
    this.#logged = await LoggedEntries.open(`${this.#path}.log`, tree, sizes);
  }

  get(key: Uint8Array): Uint8Array | undefined {
    assert(!this.#closing, "the store is closed");
    const pending = this.#gathering.pending.find(key) ?? this.#underWay?.pending.find(key);
    if (pending !== undefined) return pending.value;
    if (this.#logged?.find(key) === true) return this.#logged.found;
    if (++this.#reads >= READS_PER_CHECK) this.#limitMemory();
    try {
      const found = this.#database.getBinaryFast(key);
      return found === undefined ? undefined : this.#view(found);
    } catch (error) {
      throw this.#readingFault(error);
    }
  }

  #limitMemory(): void {
    this.#reads = 0;
    this.#resident?.enforce();
  }

  scan(
    from: Uint8Array,
    to: Uint8Array,
    visit: (key: Uint8Array, value: Uint8Array) => boolean,
  ): void {
    assert(!this.#closing, "the store is closed");
    const start = from.length === 0 ? FIRST_KEY : from;
    if (compareBytes(start, to) >= 0) return;
    this.#visits++;
    try {
      this.#scanPieces(start, to, visit);
    } finally {
      this.#visits--;
    }
  }

  /** Piece by piece: who looks at a few entries must not pay for all that is not stored yet. */
  #scanPieces(from: Uint8Array, to: Uint8Array, visit: Visit): void {
    const stored = this.#stored(from, to);
    let start = from;
    for (let count = SCANNED_FIRST; ; count = Math.min(2 * count, SCANNED_MAX)) {
      const piece: StoredEntry[] = [];
      for (let left = count; left > 0; left--) {
        const next = stored.next();
        if (next.done === true) break;
        piece.push(next.value);
      }
      const isLast = piece.length < count;
      const end = isLast ? to : keyAfter(piece.at(-1)!.key);
      if (!scanOver(piece, this.#overlay(start, end), visit) || isLast) break;
      start = end;
    }
    stored.return(undefined);
  }

  /** What is committed and not stored yet, in key order. */
  #overlay(from: Uint8Array, to: Uint8Array): readonly PendingEntry[] {
    const logged = this.#logged?.range(from, to) ?? [];
    const underWay = this.#underWay?.pending.range(from, to) ?? [];
    const gathering = this.#gathering.pending.range(from, to);
    return mergeEntries(mergeEntries(logged, underWay), gathering);
  }

  async commit(batch: MetadataBatch): Promise<void> {
    assert(!this.#closing, "the store is closed");
    assert(this.#visits === 0, "a visitor must not write to the store");
    for (const { key, value } of batch.operations) {
      assert(key.length > 0 && key.length <= METADATA_KEY_BYTES_MAX, "a key has 1 to 64 bytes");
      assert((value?.length ?? 0) <= METADATA_VALUE_BYTES_MAX, "a value has at most 64 KiB");
    }
    const group = this.#gathering;
    group.pending.add(batch.operations);
    const durable = new Promise<void>((resolve, reject) => {
      group.waiters.push({ resolve, reject });
    });
    if (this.#underWay === undefined) this.#start();
    await durable;
  }

  usedBytes(): number {
    const stats = this.#database.getStats() as {
      pageSize: number;
      treeBranchPageCount: number;
      treeLeafPageCount: number;
      overflowPages: number;
    };
    const { treeBranchPageCount, treeLeafPageCount, overflowPages } = stats;
    const treeBytes = stats.pageSize * (treeBranchPageCount + treeLeafPageCount + overflowPages);
    return treeBytes + (this.#logged?.bytes ?? 0);
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing = true;
    if (this.#underWay !== undefined) await new Promise<void>((done) => (this.#idle = done));
    await this.#logged?.close();
    await this.#database.close();
    this.#resident?.close();
    closeSync(this.#lockFd);
  }

  /** Hands what was gathered to the writing thread as one transaction. */
  #start(): void {
    const group = this.#gathering;
    this.#gathering = new Group();
    this.#underWay = group;
    void this.#write(group.pending.entries).then(
      () => this.#finish(group),
      (error: unknown) => this.#fail(group, error),
    );
  }

  async #write(entries: readonly PendingEntry[]): Promise<void> {
    if (entries.length === 0) return;
    if (this.#logged !== undefined) await this.#logged.commit(entries);
    else await this.#writeTree(entries);
  }

  async #writeTree(entries: readonly PendingEntry[]): Promise<void> {
    const isLarge = entries.length >= LARGE_ENTRIES_MIN;
    // The writing thread reads every page that it changes.
    if (isLarge) this.#resident?.enforce(TRANSACTION_BYTES);
    const limiter = setInterval(() => this.#limitMemory(), LIMITING_INTERVAL_MS).unref();
    try {
      await this.#database.batch(() => {
        for (const { key, value } of entries) {
          if (value === undefined) void this.#database.remove(key);
          else void this.#database.put(key, value);
        }
      });
    } catch (error) {
      throw await this.#writingFault(entries.length, error);
    } finally {
      clearInterval(limiter);
    }
    this.#limitMemory();
    this.#reserve.keep();
    // LMDB keeps its copies of the pages that it changed for the next transaction, and frees what
    // else it needed for so many entries.
    if (isLarge) trimNativeHeap();
  }

  #finish(group: Group): void {
    this.#underWay = undefined;
    for (const waiter of group.waiters) waiter.resolve();
    if (this.#gathering.waiters.length > 0) this.#start();
    else this.#idle?.();
  }

  #fail(group: Group, error: unknown): void {
    const fault = error instanceof CodedError ? error : this.#failed(error);
    const later = this.#gathering;
    this.#gathering = new Group();
    this.#underWay = undefined;
    for (const waiter of [...group.waiters, ...later.waiters]) waiter.reject(fault);
    this.#idle?.();
  }

  *#stored(from: Uint8Array, to: Uint8Array): Generator<StoredEntry, undefined> {
    try {
      yield* this.#database.getRange({ start: from, end: to });
    } catch (error) {
      throw this.#readingFault(error);
    }
  }

  /** The read buffer of LMDB is longer than the value, whatever its `length` says. */
  #view(found: Uint8Array): Uint8Array {
    const lengthBytes = found.length;
    let view = this.#views.get(lengthBytes);
    if (
      view === undefined ||
      view.buffer !== found.buffer ||
      view.byteOffset !== found.byteOffset
    ) {
      if (this.#views.size >= VIEWS_MAX) this.#views.clear();
      view = new Uint8Array(found.buffer, found.byteOffset, lengthBytes);
      this.#views.set(lengthBytes, view);
    }
    return view;
  }

  #readingFault(error: unknown): unknown {
    if (!(error instanceof Error) || lmdbCode(error) === undefined) return error;
    return damaged(this.#path, `it cannot be read: ${errorText(error)}`, error);
  }

  /**
   * LMDB says EIO when the file system took a part of what was to be written: ask how full it is.
   */
  #saysFull(code: number | undefined, entryCount: number): boolean {
    if (code === undefined || code !== EIO) return code !== undefined && FULL_CODES.has(code);
    const { bavail, bsize } = statfsSync(this.#path);
    return bavail * bsize < FREE_BYTES_PER_ENTRY * (entryCount + 1);
  }

  async #writingFault(entryCount: number, error: unknown): Promise<CodedError> {
    const cause = await commitCause(error);
    const details = { path: this.#path };
    if (this.#saysFull(lmdbCode(cause), entryCount)) {
      const message = `no room for metadata in ${this.#path}`;
      const hint = "Delete data, or give its file system more space";
      return new CodedError({ code: "no-space", message, hint, details }, { cause });
    }
    return this.#failed(cause);
  }

  #failed(cause: unknown): CodedError {
    const message = `metadata cannot be written to ${this.#path}: ${errorText(cause)}`;
    const hint = "Check the disk that holds it; what was committed before is still there";
    const details = { path: this.#path };
    return new CodedError({ code: "metadata-failed", message, hint, details }, { cause });
  }
}

const ENOSPC = 28;
const EDQUOT = 122;
const EIO = 5;
/** Each entry may touch a page of its own, and some of those above it. */
const FREE_BYTES_PER_ENTRY = 4 * LMDB_PAGE_BYTES;
const MDB_MAP_FULL = -30792;
const FULL_CODES: ReadonlySet<number> = new Set([ENOSPC, EDQUOT, MDB_MAP_FULL]);

/** LMDB's errors carry an errno or one of its own negative numbers. */
function lmdbCode(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "number" ? error.code : undefined;
}

/** A failed commit says why in a promise of its own, which is rejected in the same turn. */
async function commitCause(error: unknown): Promise<unknown> {
  if (!(error instanceof Error) || !("commitError" in error)) return error;
  const reason = Promise.resolve(error.commitError).then(
    () => error,
    (cause: unknown) => cause,
  );
  const nextTurn = new Promise((resolve) => setImmediate(resolve, error));
  return await Promise.race([reason, nextTurn]);
}

function openFile(path: string, mustExist: boolean): number {
  try {
    return openSync(path, constants.O_RDWR | (mustExist ? 0 : constants.O_CREAT), 0o600);
  } catch (error) {
    const code = systemErrorCode(error);
    const isMissing = code === "ENOENT";
    throw new CodedError(
      {
        code: isMissing ? "metadata-missing" : code === "ENOSPC" ? "no-space" : "metadata-failed",
        message: isMissing
          ? `there is no metadata at ${path}`
          : `the metadata at ${path} cannot be opened: ${errorText(error)}`,
        hint: "Check the path of the device, and that its file system is mounted and writable",
        details: { path },
      },
      { cause: error },
    );
  }
}

function openDatabase(path: string, mapBytes: number): RootDatabase<Uint8Array, Uint8Array> {
  // `noReadAhead` is known to the package, not to its types.
  const options = {
    path,
    noSubdir: true,
    mapSize: mapBytes,
    maxDbs: 1,
    encoding: "binary",
    keyEncoding: "binary",
    cache: false,
    overlappingSync: false,
    eventTurnBatching: false,
    commitDelay: 0,
    noReadAhead: true,
  } as const;
  try {
    return open<Uint8Array, Uint8Array>(options);
  } catch (error) {
    const code = lmdbCode(error);
    if (code === undefined || !FULL_CODES.has(code)) throw damaged(path, errorText(error), error);
    throw new CodedError(
      {
        code: "no-space",
        message: `no room for metadata at ${path}`,
        hint: "Free space on its file system",
        details: { path },
      },
      { cause: error },
    );
  }
}

/** Visits stored entries with the pending ones laid over them, in key order; false ends it. */
function scanOver(
  stored: readonly StoredEntry[],
  overlay: readonly PendingEntry[],
  visit: Visit,
): boolean {
  let at = 0;
  for (const { key, value } of stored) {
    let isReplaced = false;
    while (at < overlay.length) {
      const pending = overlay[at]!;
      const order = compareBytes(pending.key, key);
      if (order > 0) break;
      at++;
      if (order === 0) isReplaced = true;
      if (pending.value !== undefined && !visit(pending.key, pending.value)) return false;
    }
    if (!isReplaced && !visit(key, value)) return false;
  }
  for (; at < overlay.length; at++) {
    const { key, value } = overlay[at]!;
    if (value !== undefined && !visit(key, value)) return false;
  }
  return true;
}

/** The least key that is greater. */
function keyAfter(key: Uint8Array): Uint8Array {
  const after = new Uint8Array(key.length + 1);
  after.set(key);
  return after;
}
