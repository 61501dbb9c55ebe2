/**
 * What clients asked of one volume and what they were told. Contents are numbers: a written sector
 * is filled with the number of its content, 0 stands for zeroes, and what no client can have
 * written reads as `FOREIGN`.
 */
import { assert, assertDefined, SECTOR_SIZE_BYTES } from "../base/index.ts";
import { BLOCK_SECTORS, checkBlock } from "./linearizability.ts";
import type { BlockOperation } from "./linearizability.ts";
import type { TimedWrite } from "./snapshot-moment.ts";

const FOREIGN = -1;
const WORDS = SECTOR_SIZE_BYTES / 4;

export interface Request {
  readonly kind: "read" | "write";
  readonly firstSector: number;
  readonly sectorCount: number;
  /** Of a write, in every sector. */
  readonly content: number;
  readonly calledAt: number;
  /** Of a read that was answered, by sector. */
  seen: readonly number[];
  answeredAt: number;
}

export interface Violation {
  readonly block: number;
  /** What cannot be explained. */
  readonly operation: BlockOperation;
  /** Everything about the block, in the order of the calls. */
  readonly operations: readonly BlockOperation[];
}

/** What a volume held before anything was asked of it, by sector; undefined: nobody knows. */
export type InitialContents = (sector: number) => number | undefined;

export class VolumeHistory {
  readonly initial: InitialContents;
  readonly #requests: Request[] = [];
  #now = 0;

  constructor(initial: InitialContents = () => 0) {
    this.initial = initial;
  }

  get requestCount(): number {
    return this.#requests.length;
  }

  call(kind: "read" | "write", firstSector: number, sectorCount: number, content: number): Request {
    const calledAt = this.#now++;
    const request = { kind, firstSector, sectorCount, content, calledAt };
    const called: Request = { ...request, seen: [], answeredAt: Infinity };
    this.#requests.push(called);
    return called;
  }

  /** The request was done. Requests that are never answered may have been done or not. */
  answer(request: Request, seen: readonly number[] = []): void {
    assert(request.answeredAt === Infinity, "a request is answered once");
    assert(
      seen.length === (request.kind === "read" ? request.sectorCount : 0),
      "a read sees each sector",
    );
    request.seen = seen;
    request.answeredAt = this.#now++;
  }

  /** A moment between all calls and answers so far and all that follow. */
  moment(): number {
    return this.#now++;
  }

  /** What a snapshot held that was taken between two moments: as a read of everything then. */
  observe(seen: readonly number[], from: number, until: number): void {
    const times = { calledAt: from, answeredAt: until };
    const whole = { firstSector: 0, sectorCount: seen.length, content: 0 };
    this.#requests.push({ kind: "read", ...whole, ...times, seen });
  }

  writes(): readonly TimedWrite[] {
    return this.#requests.filter(({ kind }) => kind === "write");
  }

  /** The first block of which the answers contradict each other, and how many were not decided. */
  check(): { readonly violation: Violation | undefined; readonly undecided: number } {
    let undecided = 0;
    for (const [block, asked] of this.#byBlock()) {
      const before = this.#before(block);
      if (before === undefined) continue;
      const operations = [...before, ...asked];
      const verdict = checkBlock(operations);
      if (verdict.kind === "undecided") undecided++;
      if (verdict.kind !== "violated") continue;
      return { violation: { block, operation: verdict.operation, operations }, undecided };
    }
    return { violation: undefined, undecided };
  }

  /**
   * A write before all others, if the block did not begin with zeroes; undefined if nobody knows.
   */
  #before(block: number): readonly BlockOperation[] | undefined {
    const first = block * BLOCK_SECTORS;
    const held: number[] = [];
    for (let i = 0; i < BLOCK_SECTORS; i++) {
      const content = this.initial(first + i);
      if (content === undefined) return undefined;
      held.push(content);
    }
    if (held.every((content) => content === 0)) return [];
    const times = { calledAt: -2, answeredAt: -1 };
    return [{ kind: "write", firstSector: 0, endSector: BLOCK_SECTORS, contents: held, ...times }];
  }

  #byBlock(): Map<number, BlockOperation[]> {
    const blocks = new Map<number, BlockOperation[]>();
    for (const request of this.#requests) {
      const end = request.firstSector + request.sectorCount;
      for (let at = request.firstSector; at < end;) {
        const block = Math.floor(at / BLOCK_SECTORS);
        const next = Math.min((block + 1) * BLOCK_SECTORS, end);
        const operations = blocks.get(block) ?? [];
        blocks.set(block, operations);
        operations.push(partOf(request, block, at, next));
        at = next;
      }
    }
    return blocks;
  }
}

function partOf(request: Request, block: number, from: number, to: number): BlockOperation {
  const { kind, firstSector, content, seen, calledAt, answeredAt } = request;
  const contents =
    kind === "read" && answeredAt !== Infinity
      ? seen.slice(from - firstSector, to - firstSector)
      : Array.from({ length: to - from }, () => content);
  const first = block * BLOCK_SECTORS;
  return {
    kind,
    firstSector: from - first,
    endSector: to - first,
    contents,
    calledAt,
    answeredAt,
  };
}

/** Fills bytes with a content, in whole sectors. */
export function fillContent(bytes: Uint8Array, content: number): void {
  wordsOf(bytes).fill(content);
}

/** The content of each sector. */
export function readContents(bytes: Uint8Array): number[] {
  const words = wordsOf(bytes);
  const contents: number[] = [];
  for (let at = 0; at < words.length; at += WORDS) {
    const content = assertDefined(words[at], "a sector has words");
    let i = at + 1;
    while (i < at + WORDS && words[i] === content) i++;
    contents.push(i === at + WORDS ? content : FOREIGN);
  }
  return contents;
}

function wordsOf(bytes: Uint8Array): Int32Array {
  assert(bytes.length % SECTOR_SIZE_BYTES === 0, "contents are whole sectors");
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
}
