/**
 * Reads of whole requests and of the edges of partial ones, from one leg, and from the next where
 * that one has a bad block. The blocks are locked by the caller.
 */
import { assert, assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import type { ComponentDone } from "../store/index.ts";
import type { ActiveLegs } from "./active-legs.ts";
import type { IoRequest, RequestTable } from "./io-request.ts";
import { takeScratch } from "./partial-blocks.ts";
import type { ScratchBlocks } from "./scratch-blocks.ts";

/** The most blocks in one read of a component. */
const READ_BLOCKS_MAX = 256;

export interface ReaderEvents {
  /** Everything is in the request's target and scratch blocks, or `request.fault` is set. */
  readDone(request: IoRequest): void;
  /** The object was taken over. */
  fenced(): void;
  /** Components were given work outside of a caller's turn: they want a `submit`. */
  submitWanted(): void;
}

export class BlockReader {
  readonly #legs: ActiveLegs;
  readonly #requests: RequestTable;
  readonly #scratch: ScratchBlocks;
  readonly #events: ReaderEvents;

  constructor(
    legs: ActiveLegs,
    requests: RequestTable,
    scratch: ScratchBlocks,
    events: ReaderEvents,
  ) {
    this.#legs = legs;
    this.#requests = requests;
    this.#scratch = scratch;
    this.#events = events;
  }

  /** Reads the whole range of the request. */
  read(request: IoRequest): void {
    request.pendingCount++;
    if (request.isAligned) {
      this.#readBody(request, request.firstBlock, request.endBlock, request.targetAt);
    } else {
      this.#readEdges(request);
      const first = request.firstBlock + (request.hasHead ? 1 : 0);
      const end = request.endBlock - (request.hasTail ? 1 : 0);
      // Disks want aligned memory: the whole blocks move to their place when all is there.
      if (first < end) this.#readBody(request, first, end, request.targetAt);
    }
    this.#release(request);
  }

  /** Reads the blocks that a change covers in part. */
  readEdges(request: IoRequest): void {
    request.pendingCount++;
    this.#readEdges(request);
    this.#release(request);
  }

  #readEdges(request: IoRequest): void {
    takeScratch(request, this.#scratch);
    if (request.hasHead) this.#readEdge(request, request.firstBlock, request.headScratch);
    if (request.hasTail) this.#readEdge(request, request.endBlock - 1, request.tailScratch);
  }

  #readEdge(request: IoRequest, block: number, scratchIndex: number): void {
    const leg = assertDefined(this.#legs.legs[request.leg], "no such leg");
    request.pendingCount++;
    leg
      .componentAt(block)
      .read(
        this.#scratch.memoryOf(scratchIndex),
        this.#scratch.offsetOf(scratchIndex),
        leg.layout.componentBlockOf(block),
        1,
        this.#blocksRead,
        request.slot,
      );
  }

  #readBody(request: IoRequest, first: number, end: number, targetAt: number): void {
    const leg = assertDefined(this.#legs.legs[request.leg], "no such leg");
    const target = assertDefined(request.target, "a read has a target");
    const isStriped = leg.layout.columnCount > 1;
    let block = first;
    let at = targetAt;
    while (block < end) {
      let count = Math.min(end - block, READ_BLOCKS_MAX);
      if (isStriped) count = Math.min(count, leg.layout.runBlocks(block));
      const component = leg.componentAt(block);
      const componentBlock = leg.layout.componentBlockOf(block);
      request.pendingCount++;
      component.read(target, at, componentBlock, count, this.#blocksRead, request.slot);
      block += count;
      at += count * BLOCK_SIZE_BYTES;
    }
  }

  readonly #blocksRead: ComponentDone = (slot, fault) => {
    const request = this.#requests.get(slot);
    if (fault === "fenced") {
      request.fault ??= "not-owner";
      this.#events.fenced();
    } else if (fault !== undefined) {
      request.hasReadError = true;
    }
    this.#release(request);
  };

  #release(request: IoRequest): void {
    assert(request.pendingCount > 0, "an answer too many");
    if (--request.pendingCount > 0) return;
    if (!request.hasReadError || request.fault !== undefined) {
      this.#events.readDone(request);
      return;
    }
    // Another copy may be good; the target is filled anew, whole.
    request.hasReadError = false;
    if (++request.leg < this.#legs.count) {
      if (request.kind === "read") this.read(request);
      else this.readEdges(request);
      this.#events.submitWanted();
      return;
    }
    request.fault = "io-error";
    this.#events.readDone(request);
  }
}
