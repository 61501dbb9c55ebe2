/**
 * What a metadata store has committed to its log and not brought to its tree yet: one generation
 * that takes what comes, and one before it that is on its way to the tree. A tree writes a page for
 * each key that lies by itself; gathered, keys share pages, and what changes twice is written once.
 *
 * Until a generation is in the tree, durably, the log has it and it is read from here. At a start
 * everything that the log has goes to the tree first; doing that again changes nothing.
 */
import { CodedError, errorText } from "../../base/index.ts";
import { randomInt } from "node:crypto";
import { existsSync } from "node:fs";
import { damaged } from "./lmdb-file.ts";
import { decodeMetadataLogMark, encodeMetadataLogMark } from "./metadata-log-format.ts";
import type { MetadataLogMark } from "./metadata-log-format.ts";
import { GENERATIONS_MAX, loggedBytesMax, MetadataLog } from "./metadata-log.ts";
import type { PendingEntry } from "./pending-entries.ts";
import { mergeEntries } from "./pending-entries.ts";
import { RECENT_ENTRIES_MAX, RecentEntries } from "./recent-entries.ts";
import { systemErrorCode } from "../sys.ts";

/** Longer than any key of a user, so that none sees it. */
export const LOG_MARK_KEY: Uint8Array = new Uint8Array(65).fill(255);
/** Goes to the tree in one transaction, which copies each page that it changes. */
const ENTRIES_AT_ONCE = 2048;
/** Of what a table may take: what an empty one may take that is kept. */
const SPARE_SHARE_MAX = 3 / 4;
/** After so long without a batch what is there goes to the tree. */
const IDLE_MS = 5000;
const STORE_TAG_MAX = 2 ** 47;
/** The longest batches of a device fit into half of it. */
const LOG_BYTES_MIN = 8 << 20;
const LOG_DEFAULT = { bytes: LOG_BYTES_MIN, tableBytes: 4 << 20 } as const;
/** A file system that is full, or that cannot set room aside. */
const NO_ROOM: ReadonlySet<string> = new Set(["ENOSPC", "EDQUOT", "EOPNOTSUPP"]);

export interface Tree {
  readonly mark: Uint8Array | undefined;
  /** Resolves when all of it is durable. */
  write(entries: readonly PendingEntry[]): Promise<void>;
}

export interface MetadataLogOptions {
  /** Of the log as a whole. */
  readonly bytes: number;
  /** As in `LogSizes`. */
  readonly tableBytes: number;
  /** Whether a store that has had no log before gets one. */
  readonly mayBegin: boolean;
}

export interface LogSizes {
  /** Of each half of the log, if it has to be made. */
  readonly halfBytes: number;
  /** What one generation may take in memory; there may be two. */
  readonly tableBytes: number;
}

/** Undefined if there is to be no log. One that holds something is used in any case. */
export function logSizesOf(
  mark: Uint8Array | undefined,
  wanted: MetadataLogOptions | undefined,
): LogSizes | undefined {
  if (mark === undefined && wanted?.mayBegin !== true) return undefined;
  const holdsNothing = mark === undefined || decodeMetadataLogMark(mark)?.isEmpty === true;
  if (wanted === undefined && holdsNothing) return undefined;
  const { bytes, tableBytes } = wanted ?? LOG_DEFAULT;
  const halfBytes = Math.ceil(Math.max(bytes, LOG_BYTES_MIN) / 2 ** 21) * 2 ** 20;
  return { halfBytes, tableBytes };
}

export class LoggedEntries {
  readonly #tree: Tree;
  readonly #log: MetadataLog;
  readonly #tableBytes: number;
  #active = new RecentEntries();
  #sealed: RecentEntries | undefined;
  /** The one before that, empty, with all its room. */
  #spare: RecentEntries | undefined;
  #from = this.#active;
  #merging: Promise<void> | undefined;
  #tail: Promise<unknown> = Promise.resolve();
  #isClosed = false;
  readonly #idle: NodeJS.Timeout;

  /**
   * Undefined if there is no room for a log. Fails with `metadata-damaged`, `metadata-foreign`,
   * `metadata-failed`, or as the tree does.
   */
  static async open(path: string, tree: Tree, sizes: LogSizes): Promise<LoggedEntries | undefined> {
    try {
      return await openLog(path, tree, sizes);
    } catch (error) {
      if (error instanceof CodedError || systemErrorCode(error) === undefined) throw error;
      const message = `the metadata log ${path} cannot be opened: ${errorText(error)}`;
      const hint = "Check that its file system is mounted and writable";
      throw new CodedError(
        { code: "metadata-failed", message, hint, details: { path } },
        { cause: error },
      );
    }
  }

  constructor(tree: Tree, log: MetadataLog, tableBytes: number) {
    this.#tree = tree;
    this.#log = log;
    this.#tableBytes = tableBytes;
    this.#idle = setTimeout(() => this.#mergeIfIdle(), IDLE_MS).unref();
  }

  /** Whether something was put or deleted under this key, which `found` tells then. */
  find(key: Uint8Array): boolean {
    if (this.#active.find(key)) this.#from = this.#active;
    else if (this.#sealed?.find(key) === true) this.#from = this.#sealed;
    else return false;
    return true;
  }

  /** Undefined if it was deleted. Valid until the next call. */
  get found(): Uint8Array | undefined {
    return this.#from.found;
  }

  /** In key order, the newest of each key. */
  range(from: Uint8Array, to: Uint8Array): readonly PendingEntry[] {
    const newer = this.#active.range(from, to);
    return this.#sealed === undefined ? newer : mergeEntries(this.#sealed.range(from, to), newer);
  }

  get bytes(): number {
    return this.#active.bytes + (this.#sealed?.bytes ?? 0);
  }

  /** Resolves when it is durable, and read from here or from the tree. Copies all of it. */
  async commit(entries: readonly PendingEntry[]): Promise<void> {
    this.#idle.refresh();
    await this.#inTurn(() => this.#commit(entries));
  }

  async #commit(entries: readonly PendingEntry[]): Promise<void> {
    const bytes = loggedBytesMax(entries);
    if (!this.#log.takes(bytes) || entries.length > RECENT_ENTRIES_MAX) {
      await this.#rotate();
      await this.#mergeSealed();
      return await this.#tree.write(entries);
    }
    const isFull =
      this.#active.bytes > this.#tableBytes ||
      this.#active.size + entries.length > RECENT_ENTRIES_MAX;
    if (isFull || !this.#log.hasRoom(bytes)) await this.#rotate();
    await this.#log.append(entries);
    for (const { key, value } of entries) this.#active.put(key, value);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => {});
    return done;
  }

  /** Lets what is here go to the tree, and makes room; waits while the generation before does. */
  async #rotate(): Promise<void> {
    await this.#mergeSealed();
    this.#sealed = this.#active;
    this.#active = this.#spare ?? new RecentEntries();
    this.#spare = undefined;
    const generation = this.#log.generation;
    this.#log.begin(generation + 1);
    // Who needs room next waits for it, and is told if it fails.
    this.#mergeSealed().catch(() => {});
  }

  #mergeSealed(): Promise<void> {
    const sealed = this.#sealed;
    if (sealed === undefined) return Promise.resolve();
    const merged = this.#log.generation - 1;
    this.#merging ??= this.#merge(sealed, { merged, isEmpty: false }).finally(() => {
      this.#merging = undefined;
    });
    return this.#merging;
  }

  async #merge(sealed: RecentEntries, is: Omit<MetadataLogMark, "storeTag">): Promise<void> {
    await mergeInto(this.#tree, sealed, { ...is, storeTag: this.#log.storeTag });
    this.#sealed = undefined;
    sealed.release();
    // One that has grown so far would count as full with its first entries, for ever.
    if (sealed.bytes < this.#tableBytes * SPARE_SHARE_MAX) this.#spare = sealed;
  }

  #mergeIfIdle(): void {
    if (this.#isClosed || this.#active.size === 0) return;
    // The next batch that finds no room waits for it again, and is told if it fails.
    this.#inTurn(() => this.#rotate()).catch(() => {});
  }

  /** Everything goes to the tree. Nothing is committed any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#idle);
    try {
      await this.#inTurn(async () => {
        await this.#mergeSealed();
        this.#sealed = this.#active;
        await this.#merge(this.#active, { merged: this.#log.generation, isEmpty: true });
      });
    } catch {
      // The log has it: the next start brings it to the tree, or says why that cannot be done.
    }
    this.#log.close();
  }
}

async function openLog(
  path: string,
  tree: Tree,
  sizes: LogSizes,
): Promise<LoggedEntries | undefined> {
  const mark = tree.mark === undefined ? undefined : decodeMetadataLogMark(tree.mark);
  if (tree.mark !== undefined && mark === undefined)
    throw damaged(path, "what the tree says of it is damaged");
  if (mark === undefined || mark.isEmpty) return await beginLog(path, tree, { ...sizes, mark });
  if (!existsSync(path)) throw damaged(path, "it is missing, and the tree is not whole without it");
  const log = MetadataLog.open(path);
  try {
    if (log.storeTag !== mark.storeTag) throw damaged(path, "it belongs to another tree");
    const recent = new RecentEntries();
    log.replay(mark.merged, (key, value) => recent.put(key, value));
    // Numbers of what may lie there in part: another generation must not be completed by it.
    const merged = mark.merged + GENERATIONS_MAX;
    await mergeInto(tree, recent, { ...mark, merged });
    recent.release();
    log.begin(merged + 1);
    return new LoggedEntries(tree, log, sizes.tableBytes);
  } catch (error) {
    log.close();
    throw error;
  }
}

/** Nothing is logged: whatever lies there is not looked at, and written over. */
async function beginLog(
  path: string,
  tree: Tree,
  is: LogSizes & { readonly mark: MetadataLogMark | undefined },
): Promise<LoggedEntries | undefined> {
  const { storeTag, merged } = is.mark ?? { storeTag: randomInt(STORE_TAG_MAX), merged: 0 };
  let log: MetadataLog;
  try {
    log = MetadataLog.create(path, storeTag, is.halfBytes);
  } catch (error) {
    if (NO_ROOM.has(systemErrorCode(error) ?? "")) return undefined;
    throw error;
  }
  try {
    await tree.write([markEntry({ storeTag, merged, isEmpty: false })]);
  } catch (error) {
    log.close();
    throw error;
  }
  log.begin(merged + 1);
  return new LoggedEntries(tree, log, is.tableBytes);
}

async function mergeInto(tree: Tree, recent: RecentEntries, mark: MetadataLogMark): Promise<void> {
  let before: PendingEntry[] = [];
  for (const some of recent.inOrder(ENTRIES_AT_ONCE)) {
    if (before.length > 0) await tree.write(before);
    before = some;
  }
  // With the last ones, so that the mark is not there before them.
  await tree.write([...before, markEntry(mark)]);
}

function markEntry(mark: MetadataLogMark): PendingEntry {
  return { key: LOG_MARK_KEY, value: encodeMetadataLogMark(mark) };
}
