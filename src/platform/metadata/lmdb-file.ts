/**
 * Checks a metadata file before LMDB maps it. LMDB trusts its file: a page number beyond the end or
 * a damaged header would kill the process, where an operator needs a sentence.
 *
 * Format (LMDB data version 2, as the `lmdb` package writes it): pages of 4096 bytes; pages 0 and 1
 * are the two headers, of which the one with the higher transaction number counts.
 */
import { CodedError, getU16, getU32, getU64 } from "../../base/index.ts";
import { fstatSync, readSync } from "node:fs";

export const LMDB_PAGE_BYTES = 4096;
const HEADER_PAGES = 2;
const MAGIC = 0xbeefc0de;
const DATA_VERSION = 2;
const PAGE_FLAG_META = 0x08;
const DEPTH_MAX = 32;
/** Root of an empty tree: all bits set. */
const NO_ROOT_HIGH = 0xffffffff;

/** Offsets within a header page. */
const AT_PAGE_FLAGS = 18;
const AT_MAGIC = 24;
const AT_VERSION = 28;
const AT_FREE_TREE = 48;
const AT_MAIN_TREE = 96;
const AT_LAST_PAGE = 144;
const AT_TRANSACTION = 152;
/** Offsets within the description of a tree. */
const TREE_DEPTH = 6;
const TREE_ROOT = 40;

export interface LmdbTree {
  readonly depth: number;
  /** Undefined if the tree is empty. */
  readonly rootPage: number | undefined;
}

export interface LmdbHeader {
  readonly transaction: number;
  readonly lastPage: number;
  readonly freeTree: LmdbTree;
  readonly mainTree: LmdbTree;
}

/**
 * The header that counts, or undefined if the file is empty and so a new one. Fails with code
 * `metadata-foreign` if somebody else wrote the file, `metadata-damaged` if it was ours.
 */
export function checkLmdbFile(fd: number, path: string): LmdbHeader | undefined {
  const { size } = fstatSync(fd);
  if (size === 0) return undefined;
  const pages = new Uint8Array(HEADER_PAGES * LMDB_PAGE_BYTES);
  const readBytes = readSync(fd, pages, 0, pages.length, 0);
  const isOurs = [0, 1].map((page) => getU32(pages, page * LMDB_PAGE_BYTES + AT_MAGIC) === MAGIC);
  if (!isOurs.includes(true)) {
    if (pages.every((byte) => byte === 0)) throw damaged(path, "it holds zeroes only");
    throw foreign(path, "it was not written by Drystone");
  }
  if (readBytes < pages.length) throw damaged(path, "it ends within its headers");
  if (isOurs.includes(false)) throw damaged(path, "one of its two headers is overwritten");
  const first = parseHeader(path, pages.subarray(0, LMDB_PAGE_BYTES));
  const second = parseHeader(path, pages.subarray(LMDB_PAGE_BYTES));
  return first.transaction > second.transaction ? first : second;
}

function parseHeader(path: string, page: Uint8Array): LmdbHeader {
  const version = getU32(page, AT_VERSION);
  if (version !== DATA_VERSION) throw foreignVersion(path, version, DATA_VERSION);
  const pageBytes = getU32(page, AT_FREE_TREE);
  const isMeta = (getU16(page, AT_PAGE_FLAGS) & PAGE_FLAG_META) !== 0;
  if (!isMeta || pageBytes !== LMDB_PAGE_BYTES) throw damaged(path, "a header is damaged");
  const lastPage = pageNumber(path, page, AT_LAST_PAGE);
  const header: LmdbHeader = {
    transaction: pageNumber(path, page, AT_TRANSACTION),
    lastPage,
    freeTree: parseTree(path, page, AT_FREE_TREE, lastPage),
    mainTree: parseTree(path, page, AT_MAIN_TREE, lastPage),
  };
  return header;
}

function parseTree(path: string, page: Uint8Array, at: number, lastPage: number): LmdbTree {
  const depth = getU16(page, at + TREE_DEPTH);
  if (depth > DEPTH_MAX) throw damaged(path, "a header is damaged");
  if (getU32(page, at + TREE_ROOT + 4) === NO_ROOT_HIGH) return { depth: 0, rootPage: undefined };
  const rootPage = pageNumber(path, page, at + TREE_ROOT);
  if (depth === 0 || rootPage < HEADER_PAGES || rootPage > lastPage) {
    throw damaged(path, "a header names a page that does not exist");
  }
  return { depth, rootPage };
}

function pageNumber(path: string, page: Uint8Array, at: number): number {
  if (getU32(page, at + 4) >= 2 ** 16) throw damaged(path, "a header is damaged");
  return getU64(page, at);
}

export function damaged(path: string, reason: string, cause?: unknown): CodedError {
  return new CodedError(
    {
      code: "metadata-damaged",
      message: `the metadata in ${path} is damaged: ${reason}`,
      hint: "Keep the file for inspection, remove the device, and rebuild from the other copies",
      details: { path },
    },
    { cause },
  );
}

export function foreignVersion(path: string, version: number, read: number): CodedError {
  return foreign(path, `its format version is ${version}, this release reads ${read}`);
}

function foreign(path: string, reason: string): CodedError {
  return new CodedError({
    code: "metadata-foreign",
    message: `${path} is not metadata of this release: ${reason}`,
    hint: "Check the path of the device, and which release wrote it",
    details: { path },
  });
}
