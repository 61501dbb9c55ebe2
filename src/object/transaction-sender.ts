/**
 * Turns changes into numbered transactions and brings each to every active leg. A transaction
 * counts when all legs answered; the watermark of decided ones follows to the components. One
 * queue, served in order: when a component has no room or the window is full, everything behind
 * waits, so that sequences only grow.
 */
import { assert, assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import { LEGS_MAX } from "../cluster/index.ts";
import type { ComponentDone, ComponentFault, Transaction } from "../store/index.ts";
import type { ActiveLegs } from "./active-legs.ts";
import type { IoRequest } from "./io-request.ts";
import { PAYLOAD_BYTES_MAX } from "./payload-pool.ts";
import type { ScratchBlocks } from "./scratch-blocks.ts";
import { SequenceWindow } from "./sequence-window.ts";
import type { IoFault } from "./volume-io.ts";

/** The most data in one transaction; copies of payloads are cut at the same places. */
export const CHUNK_BLOCKS = 256;
/** The longest range that one transaction zeroes or discards: 256 MiB. */
const ZERO_BLOCKS_MAX = 65_536;
const TRANSACTIONS_MAX = 1024;
const NONE = -1;

assert(CHUNK_BLOCKS * BLOCK_SIZE_BYTES === PAYLOAD_BYTES_MAX, "a chunk fits into a payload buffer");

export interface SenderEvents {
  /** Everything of the request was answered, or will never be sent; `request.fault` tells. */
  requestDone(request: IoRequest): void;
  /** Nothing may be sent any more. Called at most once. */
  failed(fault: IoFault, reason: string): void;
  /** Components were given work outside of a caller's turn: they want a `submit`. */
  submitWanted(): void;
}

export class TransactionSender {
  readonly #legs: ActiveLegs;
  readonly #legCount: number;
  readonly #scratch: ScratchBlocks;
  readonly #events: SenderEvents;
  readonly #window: SequenceWindow;
  /** The one object that components see; they copy what they keep. */
  readonly #transaction: Transaction;
  /** Transactions under way, by slot. */
  readonly #requests: (IoRequest | undefined)[] = Array.from({ length: TRANSACTIONS_MAX });
  readonly #sequences = new Float64Array(TRANSACTIONS_MAX);
  readonly #pendingCounts = new Uint8Array(TRANSACTIONS_MAX);
  readonly #failedCounts = new Uint8Array(TRANSACTIONS_MAX);
  readonly #fullCounts = new Uint8Array(TRANSACTIONS_MAX);
  readonly #free: number[] = [];
  #head: IoRequest | undefined = undefined;
  #last: IoRequest | undefined = undefined;
  /** The transaction that not all legs have accepted yet, and the first leg that has not. */
  #openSlot = NONE;
  #openLeg = 0;
  #isSending = false;
  #waitsForRoom = false;
  #stopFault: IoFault | undefined = undefined;

  constructor(
    legs: ActiveLegs,
    scratch: ScratchBlocks,
    numbering: { readonly epoch: number; readonly lastSequence: number },
    events: SenderEvents,
  ) {
    assert(legs.count <= LEGS_MAX, "too many legs");
    this.#legs = legs;
    this.#legCount = legs.count;
    this.#scratch = scratch;
    this.#events = events;
    this.#window = new SequenceWindow(numbering.lastSequence, TRANSACTIONS_MAX);
    this.#transaction = {
      epoch: numbering.epoch,
      sequence: 0,
      kind: "data",
      blockIndex: 0,
      blockCount: 0,
      source: new Uint8Array(0),
      sourceAt: 0,
    };
    for (let slot = TRANSACTIONS_MAX - 1; slot >= 0; slot--) this.#free.push(slot);
  }

  /** Everything up to this sequence is decided. */
  get watermark(): number {
    return this.#window.watermark;
  }

  /** Whether a request would be sent at once, without waiting for others. */
  get isIdle(): boolean {
    return this.#head === undefined && !this.#isSending && !this.#waitsForRoom;
  }

  /**
   * Sends as much as is possible now. False if a rest waits: the caller copies its payload from
   * `request.cursor` on before it returns to its own caller.
   */
  sendNow(request: IoRequest): boolean {
    assert(this.isIdle, "others wait");
    request.pendingCount++;
    this.#isSending = true;
    const isSent = this.#sendRest(request);
    if (!isSent) this.#append(request);
    this.#isSending = false;
    if (isSent) this.#release(request);
    if (isSent && this.#head !== undefined) this.#sendQueue();
    return isSent;
  }

  /** The request's payload is complete in its chunks. */
  enqueue(request: IoRequest): void {
    request.pendingCount++;
    if (this.#stopFault !== undefined) {
      request.fault ??= this.#stopFault;
      this.#release(request);
      return;
    }
    this.#append(request);
    this.#sendQueue();
  }

  /** What was prepared is still answered; what waits is failed. */
  stop(fault: IoFault): void {
    if (this.#stopFault !== undefined) return;
    this.#stopFault = fault;
    this.#abandonOpen(fault);
    let request = this.#head;
    this.#head = undefined;
    this.#last = undefined;
    while (request !== undefined) {
      const next: IoRequest | undefined = request.nextInQueue;
      request.nextInQueue = undefined;
      request.fault ??= fault;
      this.#release(request);
      request = next;
    }
  }

  #append(request: IoRequest): void {
    if (this.#last === undefined) this.#head = request;
    else this.#last.nextInQueue = request;
    this.#last = request;
  }

  #sendQueue(): void {
    if (this.#isSending) return;
    this.#isSending = true;
    while (this.#head !== undefined) {
      const request: IoRequest = this.#head;
      if (!this.#sendRest(request)) {
        // Room may have come while it was asked for.
        if (this.#waitsForRoom || this.#window.isFull) break;
        continue;
      }
      this.#head = request.nextInQueue;
      request.nextInQueue = undefined;
      if (this.#head === undefined) this.#last = undefined;
      this.#release(request);
    }
    this.#isSending = false;
  }

  /** True once nothing of the request is left to send. */
  #sendRest(request: IoRequest): boolean {
    for (;;) {
      if (this.#openSlot === NONE) {
        if (request.cursor >= request.endBlock || request.fault !== undefined) return true;
        if (this.#waitsForRoom || this.#window.isFull) return false;
        this.#open(request);
      }
      if (this.#waitsForRoom || !this.#prepareOpen(request)) return false;
    }
  }

  #open(request: IoRequest): void {
    const slot = assertDefined(this.#free.pop(), "no free transaction");
    this.#requests[slot] = request;
    this.#sequences[slot] = this.#window.take();
    this.#pendingCounts[slot] = this.#legCount;
    this.#failedCounts[slot] = 0;
    this.#fullCounts[slot] = 0;
    request.pendingCount++;
    this.#openSlot = slot;
    this.#openLeg = 0;
  }

  /** Hands the open transaction to the legs that have not accepted it. */
  #prepareOpen(request: IoRequest): boolean {
    const slot = this.#openSlot;
    const block = request.cursor;
    const transaction = this.#transaction;
    this.#cutPiece(request);
    transaction.sequence = this.#sequences[slot]!;
    while (this.#openLeg < this.#legCount) {
      const leg = this.#legs.legs[this.#openLeg]!;
      const component = leg.componentAt(block);
      transaction.blockIndex = leg.layout.componentBlockOf(block);
      if (!component.prepare(transaction, this.#prepared, slot * LEGS_MAX + this.#openLeg)) {
        this.#waitsForRoom = true;
        component.onRoom(this.#roomCame);
        return false;
      }
      this.#openLeg++;
    }
    request.cursor = block + transaction.blockCount;
    this.#openSlot = NONE;
    return true;
  }

  /** Sets kind, count and payload of the piece at the request's cursor. */
  #cutPiece(request: IoRequest): void {
    const piece = this.#transaction;
    const block = request.cursor;
    const rest = request.endBlock - block;
    if (request.kind === "data") {
      const at = block - request.firstBlock;
      const inChunk = at % CHUNK_BLOCKS;
      const chunk = request.chunks[(at - inChunk) / CHUNK_BLOCKS];
      piece.kind = "data";
      piece.blockCount = Math.min(rest, CHUNK_BLOCKS - inChunk);
      if (chunk === undefined) {
        piece.source = assertDefined(request.source, "the payload was not copied");
        piece.sourceAt = request.sourceAt + at * BLOCK_SIZE_BYTES;
      } else {
        piece.source = chunk;
        piece.sourceAt = inChunk * BLOCK_SIZE_BYTES;
      }
    } else if (block === request.firstBlock && request.hasHead) {
      this.#cutEdge(request.headScratch);
    } else if (rest === 1 && request.hasTail) {
      this.#cutEdge(request.tailScratch);
    } else {
      assert(request.kind === "zero" || request.kind === "discard", "only changes are sent");
      piece.kind = request.kind;
      piece.blockCount = Math.min(rest - (request.hasTail ? 1 : 0), ZERO_BLOCKS_MAX);
    }
    if (this.#legs.isStriped)
      piece.blockCount = Math.min(piece.blockCount, this.#legs.runBlocks(block));
  }

  /** A block of which a part was zeroed in scratch memory. */
  #cutEdge(scratchIndex: number): void {
    this.#transaction.kind = "data";
    this.#transaction.blockCount = 1;
    this.#transaction.source = this.#scratch.memoryOf(scratchIndex).bytes;
    this.#transaction.sourceAt = this.#scratch.offsetOf(scratchIndex);
  }

  readonly #roomCame = (): void => {
    this.#waitsForRoom = false;
    if (this.#head === undefined) return;
    this.#sendQueue();
    this.#events.submitWanted();
  };

  readonly #prepared: ComponentDone = (token, fault) => {
    const leg = token % LEGS_MAX;
    const slot = (token - leg) / LEGS_MAX;
    if (fault !== undefined) this.#noteFault(slot, fault);
    if (--this.#pendingCounts[slot]! > 0) return;
    this.#decide(slot);
  };

  #noteFault(slot: number, fault: ComponentFault): void {
    this.#failedCounts[slot]!++;
    if (fault === "no-space") this.#fullCounts[slot]!++;
    if (fault !== "fenced") return;
    assertDefined(this.#requests[slot], "no such transaction").fault = "not-owner";
    this.#fail("not-owner", "another host has taken the object over");
  }

  /** All legs have answered, or never will. */
  #decide(slot: number): void {
    const request = assertDefined(this.#requests[slot], "no such transaction");
    const failedCount = this.#failedCounts[slot]!;
    if (failedCount > 0) {
      const isFull = this.#fullCounts[slot] === this.#legCount;
      request.fault ??= isFull ? "no-space" : "io-error";
      // Legs that differ may not be served: ownership is taken anew, which settles the tail.
      if (failedCount < this.#legCount)
        this.#fail("io-error", "some copies could not be written and others could");
    }
    this.#requests[slot] = undefined;
    this.#free.push(slot);
    const isWatermarkMoved = this.#window.decide(this.#sequences[slot]!);
    if (isWatermarkMoved && this.#stopFault === undefined)
      this.#legs.commit(this.#transaction.epoch, this.#window.watermark);
    this.#release(request);
    if (this.#head === undefined || this.#waitsForRoom) return;
    this.#sendQueue();
    this.#events.submitWanted();
  }

  #release(request: IoRequest): void {
    if (--request.pendingCount === 0) this.#events.requestDone(request);
  }

  #fail(fault: IoFault, reason: string): void {
    if (this.#stopFault !== undefined) return;
    this.stop(fault);
    this.#events.failed(fault, reason);
  }

  /** Legs that have not accepted the open transaction never see it. */
  #abandonOpen(fault: IoFault): void {
    const slot = this.#openSlot;
    if (slot === NONE) return;
    assertDefined(this.#requests[slot], "no such transaction").fault ??= fault;
    this.#openSlot = NONE;
    const missing = this.#legCount - this.#openLeg;
    assert(missing > 0, "a transaction that all legs accepted is not open");
    this.#failedCounts[slot] = this.#failedCounts[slot]! + missing;
    this.#pendingCounts[slot] = this.#pendingCounts[slot]! - missing;
    if (this.#pendingCounts[slot] === 0) this.#decide(slot);
  }
}
