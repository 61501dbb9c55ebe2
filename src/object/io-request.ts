/** Requests of clients, in slots that are used again: nothing is allocated for one. */
import { assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import type { IoDone, IoFault } from "./volume-io.ts";

export type IoKind = "read" | "data" | "zero" | "discard" | "flush";

const NO_SCRATCH = -1;

export class IoRequest {
  readonly slot: number;
  kind: IoKind = "read";
  offset = 0;
  lengthBytes = 0;
  firstBlock = 0;
  endBlock = 0;
  /** Order of arrival among all requests. */
  arrival = 0;
  /** For reads. */
  target: DiskMemory | undefined = undefined;
  targetAt = 0;
  /** For writes: the caller's payload, during the call only, and what was copied of it. */
  source: Uint8Array | undefined = undefined;
  sourceAt = 0;
  /** Copies by chunk of CHUNK_BLOCKS from the first block on; sparse. */
  readonly chunks: (Uint8Array | undefined)[] = [];
  headScratch: number = NO_SCRATCH;
  tailScratch: number = NO_SCRATCH;
  /** One block, to be written as it is. */
  isRewrite = false;
  /** The edges of a partial request are being read. */
  isReadingEdges = false;
  /** Where in the order of legs the first attempt of a read begins; none was chosen: -1. */
  place = -1;
  /** How many copies were tried before this one. */
  attempt = 0;
  /** Of which legs they are copies: `Legs.generation` at the time. */
  legsGeneration = 0;
  /** Of this attempt: a bad block, a copy out of reach, blocks of which no copy is left to try. */
  hasReadError = false;
  hasUnreachable = false;
  hasNoCopy = false;
  /** Of the attempts before. */
  hadReadError = false;
  hadUnreachable = false;
  /** The next block to send. */
  cursor = 0;
  /** Answers outstanding, and one while the request is being sent. */
  pendingCount = 0;
  /** For flushes: changes called before that are not answered. */
  waitCount = 0;
  nextInQueue: IoRequest | undefined = undefined;
  fault: IoFault | undefined = undefined;
  done: IoDone | undefined = undefined;
  token = 0;

  constructor(slot: number) {
    this.slot = slot;
  }

  setRange(offset: number, lengthBytes: number): void {
    this.offset = offset;
    this.lengthBytes = lengthBytes;
    this.firstBlock = Math.floor(offset / BLOCK_SIZE_BYTES);
    this.endBlock = Math.ceil((offset + lengthBytes) / BLOCK_SIZE_BYTES);
    this.cursor = this.firstBlock;
  }

  /** Bytes of the first block before the range. */
  get headSkip(): number {
    return this.offset - this.firstBlock * BLOCK_SIZE_BYTES;
  }

  /** Bytes of the last block after the range. */
  get tailSkip(): number {
    return this.endBlock * BLOCK_SIZE_BYTES - this.offset - this.lengthBytes;
  }

  get isAligned(): boolean {
    return this.headSkip === 0 && this.tailSkip === 0;
  }

  /** A request within one block has a head only. */
  get hasHead(): boolean {
    if (this.isRewrite) return true;
    return this.headSkip > 0 || (this.tailSkip > 0 && this.endBlock - this.firstBlock === 1);
  }

  get hasTail(): boolean {
    return this.tailSkip > 0 && this.endBlock - this.firstBlock > 1;
  }
}

export class RequestTable {
  readonly #requests: IoRequest[] = [];
  readonly #free: IoRequest[] = [];
  /** Who waits for the requests that were under way at some moment. */
  #waiting: { readonly lastArrival: number; rest: number; readonly resolve: () => void }[] = [];
  #arrivals = 0;

  get slotCount(): number {
    return this.#requests.length;
  }

  get usedCount(): number {
    return this.#requests.length - this.#free.length;
  }

  get isExhausted(): boolean {
    return this.#free.length === 0;
  }

  grow(slotCount: number): void {
    const first = this.#requests.length;
    for (let slot = first; slot < slotCount; slot++) this.#requests.push(new IoRequest(slot));
    for (let slot = slotCount - 1; slot >= first; slot--) this.#free.push(this.#requests[slot]!);
  }

  get(slot: number): IoRequest {
    return assertDefined(this.#requests[slot], "no such request");
  }

  take(kind: IoKind, done: IoDone, token: number): IoRequest {
    const request = assertDefined(this.#free.pop(), "no free request");
    request.kind = kind;
    request.done = done;
    request.token = token;
    request.arrival = ++this.#arrivals;
    request.fault = undefined;
    request.pendingCount = 0;
    request.isReadingEdges = false;
    request.isRewrite = false;
    request.hasReadError = false;
    request.hasUnreachable = false;
    request.hasNoCopy = false;
    request.hadReadError = false;
    request.hadUnreachable = false;
    request.attempt = 0;
    request.place = -1;
    return request;
  }

  /** The caller has given back the request's buffers. */
  give(request: IoRequest): void {
    request.done = undefined;
    request.target = undefined;
    request.source = undefined;
    request.nextInQueue = undefined;
    this.#free.push(request);
    if (this.#waiting.length > 0) this.#count(request.arrival);
  }

  /** Resolves when every request that is under way now is answered. */
  answered(): Promise<void> {
    const rest = this.usedCount;
    if (rest === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting.push({ lastArrival: this.#arrivals, rest, resolve });
    });
  }

  #count(arrival: number): void {
    for (const one of this.#waiting) {
      if (arrival > one.lastArrival) continue;
      if (--one.rest === 0) one.resolve();
    }
    this.#waiting = this.#waiting.filter(({ rest }) => rest > 0);
  }
}
