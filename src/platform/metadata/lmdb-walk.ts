/**
 * Walks the trees of a metadata file and checks their structure: every page that is reached is
 * there, is what its parent says, is reached once, and its entries lie within it.
 *
 * LMDB has no checksums and follows whatever it finds, so that a damaged page would crash the
 * process or a write would land on pages in use. What values hold is not checked here.
 *
 * Page: number u64, transaction u64, pad u16, flags u16, lower u16, upper u16 (or, of an overflow
 * page, its page count u32), then offsets u16 of the entries, counted from the end of this header
 * of 24 bytes. Entry: u16, u16, u16, key length u16, key, data. In a branch the first three are the
 * child's page number; in a leaf the data's length in two parts, and flags.
 */
import { CodedError, errorText, getU16, getU32, getU64 } from "../../base/index.ts";
import { fstatSync, readSync } from "node:fs";
import { LMDB_PAGE_BYTES, checkLmdbFile, damaged } from "./lmdb-file.ts";
import type { LmdbTree } from "./lmdb-file.ts";
import { systemErrorCode } from "../sys.ts";

const PAGE_HEADER_BYTES = 24;
const PAGE_BODY_BYTES = LMDB_PAGE_BYTES - PAGE_HEADER_BYTES;
const ENTRY_HEADER_BYTES = 8;
const FLAG_BRANCH = 1;
const FLAG_LEAF = 2;
const FLAG_OVERFLOW = 4;
/**
 * Of an entry whose data lies on pages of its own: page number u64, transaction u64, page count
 * u64.
 */
const ENTRY_FLAG_OVERFLOW = 1;
const OVERFLOW_REFERENCE_BYTES = 24;
const PAGE_NUMBER_HIGH_MAX = 2 ** 16;

/**
 * Whether the file holds a database; if not it is empty, and so a new one. Reads every page that is
 * in use: who touches a mapped page that the disk cannot read is killed. Fails with
 * `metadata-damaged`, `metadata-failed` if it cannot be read, or `metadata-foreign`.
 */
export function checkMetadataFile(fd: number, path: string): boolean {
  try {
    const header = checkLmdbFile(fd, path);
    if (header === undefined) return false;
    const walk = new LmdbWalk(fd, header.lastPage);
    walk.tree(header.freeTree);
    walk.tree(header.mainTree);
    return true;
  } catch (error) {
    if (error instanceof BadPage) throw damaged(path, `page ${error.page} ${error.reason}`);
    if (error instanceof CodedError || systemErrorCode(error) === undefined) throw error;
    const message = `the metadata at ${path} cannot be read: ${errorText(error)}`;
    const hint = "Check the disk that holds it (dmesg, smartctl)";
    const fault = { code: "metadata-failed", message, hint, details: { path } };
    throw new CodedError(fault, { cause: error });
  }
}

class BadPage extends Error {
  readonly page: number;
  readonly reason: string;

  constructor(page: number, reason: string) {
    super(reason);
    this.page = page;
    this.reason = reason;
  }
}

class LmdbWalk {
  readonly #fd: number;
  readonly #pageCount: number;
  readonly #seen: Uint8Array;
  readonly #overflowHead = new Uint8Array(PAGE_HEADER_BYTES);
  readonly #rest = new Uint8Array(1);
  /** One page per level of the tree. */
  readonly #pages: Uint8Array[] = [];

  constructor(fd: number, lastPage: number) {
    this.#fd = fd;
    this.#pageCount = Math.min(lastPage + 1, Math.floor(fstatSync(fd).size / LMDB_PAGE_BYTES));
    this.#seen = new Uint8Array(Math.ceil(this.#pageCount / 8));
  }

  tree(tree: LmdbTree): void {
    if (tree.rootPage !== undefined) this.#subtree(tree.rootPage, tree.depth);
  }

  #subtree(number: number, depth: number): void {
    this.#reach(number, 1);
    const page = (this.#pages[depth] ??= new Uint8Array(LMDB_PAGE_BYTES));
    readSync(this.#fd, page, 0, LMDB_PAGE_BYTES, number * LMDB_PAGE_BYTES);
    const count = entryCount(page, number, depth === 1 ? FLAG_LEAF : FLAG_BRANCH);
    const upper = getU16(page, 22);
    for (let i = 0; i < count; i++) {
      const offset = getU16(page, PAGE_HEADER_BYTES + 2 * i);
      if (offset < upper || offset + ENTRY_HEADER_BYTES > PAGE_BODY_BYTES) {
        throw new BadPage(number, "has an entry outside of it");
      }
      const at = PAGE_HEADER_BYTES + offset;
      if (depth === 1) this.#leafEntry(page, number, at);
      else this.#branchEntry(page, number, at, depth);
    }
  }

  #branchEntry(page: Uint8Array, number: number, at: number, depth: number): void {
    if (at + ENTRY_HEADER_BYTES + getU16(page, at + 6) > LMDB_PAGE_BYTES) {
      throw new BadPage(number, "has an entry that leaves it");
    }
    const child = getU32(page, at) + getU16(page, at + 4) * 2 ** 32;
    this.#subtree(child, depth - 1);
  }

  #leafEntry(page: Uint8Array, number: number, at: number): void {
    const dataBytes = getU32(page, at);
    const dataAt = at + ENTRY_HEADER_BYTES + getU16(page, at + 6);
    const isElsewhere = (getU16(page, at + 4) & ENTRY_FLAG_OVERFLOW) !== 0;
    const inlineBytes = isElsewhere ? OVERFLOW_REFERENCE_BYTES : dataBytes;
    if (dataAt + inlineBytes > LMDB_PAGE_BYTES) {
      throw new BadPage(number, "has an entry that leaves it");
    }
    if (isElsewhere) this.#overflow(page, number, dataAt, dataBytes);
  }

  #overflow(page: Uint8Array, number: number, at: number, dataBytes: number): void {
    const isNumber = getU32(page, at + 4) < PAGE_NUMBER_HIGH_MAX && getU32(page, at + 20) === 0;
    if (!isNumber) throw new BadPage(number, "refers to a page that does not exist");
    const first = getU64(page, at);
    const count = getU32(page, at + 16);
    this.#reach(first, count);
    const head = this.#overflowHead;
    readSync(this.#fd, head, 0, PAGE_HEADER_BYTES, first * LMDB_PAGE_BYTES);
    if (!isPage(head, first, FLAG_OVERFLOW)) throw new BadPage(first, "is not what it should be");
    const hasRoom = PAGE_HEADER_BYTES + dataBytes <= count * LMDB_PAGE_BYTES;
    if (!hasRoom || getU32(head, 20) !== count) throw new BadPage(first, "has the wrong length");
    // The rest has nothing to check: whether it can be read.
    const { length } = this.#rest;
    for (let page = first + 1; page < first + count; page++)
      readSync(this.#fd, this.#rest, 0, length, page * LMDB_PAGE_BYTES);
  }

  #reach(first: number, count: number): void {
    if (first < 2 || count < 1 || first + count > this.#pageCount) {
      throw new BadPage(first, "does not exist");
    }
    for (let page = first; page < first + count; page++) {
      const mask = 1 << (page & 7);
      if ((this.#seen[page >>> 3]! & mask) !== 0) throw new BadPage(page, "is used twice");
      this.#seen[page >>> 3]! |= mask;
    }
  }
}

function isPage(page: Uint8Array, number: number, flag: number): boolean {
  if (getU32(page, 4) >= PAGE_NUMBER_HIGH_MAX || getU64(page, 0) !== number) return false;
  return (getU16(page, 18) & (FLAG_BRANCH | FLAG_LEAF | FLAG_OVERFLOW)) === flag;
}

function entryCount(page: Uint8Array, number: number, flag: number): number {
  if (!isPage(page, number, flag)) throw new BadPage(number, "is not what it should be");
  const lower = getU16(page, 20);
  const upper = getU16(page, 22);
  if (lower < 2 || lower % 2 !== 0 || lower > upper || upper > PAGE_BODY_BYTES) {
    throw new BadPage(number, "is damaged");
  }
  return lower / 2;
}
