/**
 * Reads of whole requests and of the edges of partial ones, from the nearest leg (or, where one
 * client reads much in a row, from all of them), and from the next where that one has a bad block
 * or cannot be reached. The blocks are locked by the caller.
 */
import { assert, assertDefined, BLOCK_SIZE_BYTES } from "../base/index.ts";
import { LEGS_MAX } from "../cluster/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import type { ComponentDone } from "../store/index.ts";
import type { IoRequest, RequestTable } from "./io-request.ts";
import type { Legs } from "./legs.ts";
import { ReadSpread } from "./read-spread.ts";
import { takeScratch } from "./partial-blocks.ts";
import type { ScratchBlocks } from "./scratch-blocks.ts";

/** The most blocks in one read of a component. */
const READ_BLOCKS_MAX = 256;

export interface ReaderEvents {
  /** Monotonic milliseconds. */
  nowMs(): number;
  /** Everything is in the request's target and scratch blocks, or `request.fault` is set. */
  readDone(request: IoRequest): void;
  /** The object was taken over. */
  fenced(): void;
  /** No copy of the blocks can be reached. */
  unreachable(): void;
  /** A copy could not be read, and another one was: the blocks want to be written again. */
  damageFound(firstBlock: number, endBlock: number): void;
  /** Components were given work outside of a caller's turn: they want a `submit`. */
  submitWanted(): void;
}

export class BlockReader {
  readonly #legs: Legs;
  readonly #requests: RequestTable;
  readonly #scratch: ScratchBlocks;
  readonly #events: ReaderEvents;
  readonly #spread: ReadSpread;

  constructor(legs: Legs, requests: RequestTable, scratch: ScratchBlocks, events: ReaderEvents) {
    this.#legs = legs;
    this.#requests = requests;
    this.#scratch = scratch;
    this.#events = events;
    this.#spread = new ReadSpread(LEGS_MAX, () => events.nowMs());
  }

  /** Reads the whole range of the request. */
  read(request: IoRequest): void {
    if (request.place < 0) {
      const { firstBlock, endBlock } = request;
      const legCount = Math.min(this.#legs.count, LEGS_MAX);
      request.place = this.#spread.take(firstBlock, endBlock, legCount);
    }
    request.pendingCount++;
    request.legsGeneration = this.#legs.generation;
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

  /**
   * Reads at once what the nearest copy has in this host's memory. Nobody may be changing the
   * blocks. False: not all of it is there.
   */
  readNow(target: DiskMemory, targetAt: number, first: number, count: number): boolean {
    if (this.#legs.isStriped && this.#legs.runBlocks(first) < count) return false;
    const leg = this.#legs.readableLeg(first, 0);
    if (leg === undefined) return false;
    const { isHollow, component } = leg.memberAt(first);
    if (isHollow || component?.readNow === undefined) return false;
    return component.readNow(target, targetAt, leg.layout.componentBlockOf(first), count);
  }

  /** Reads the blocks that a change covers in part. */
  readEdges(request: IoRequest): void {
    request.pendingCount++;
    request.legsGeneration = this.#legs.generation;
    this.#readEdges(request);
    this.#release(request);
  }

  #readEdges(request: IoRequest): void {
    takeScratch(request, this.#scratch);
    if (request.hasHead) this.#readEdge(request, request.firstBlock, request.headScratch);
    if (request.hasTail) this.#readEdge(request, request.endBlock - 1, request.tailScratch);
  }

  #readEdge(request: IoRequest, block: number, scratchIndex: number): void {
    this.#readRun(request, block, 1, {
      target: this.#scratch.memoryOf(scratchIndex),
      targetAt: this.#scratch.offsetOf(scratchIndex),
    });
  }

  /** Blocks that lie in one component in every leg. */
  #readRun(
    request: IoRequest,
    block: number,
    count: number,
    into: { readonly target: DiskMemory; readonly targetAt: number },
  ): void {
    const leg = this.#legs.readableLeg(block, request.attempt, Math.max(0, request.place));
    if (leg === undefined) {
      request.hasNoCopy = true;
      return;
    }
    const member = leg.memberAt(block);
    if (member.isHollow) {
      request.hasUnreachable = true;
      return;
    }
    const component = assertDefined(member.component, "an active member is there");
    const componentBlock = leg.layout.componentBlockOf(block);
    request.pendingCount++;
    component.read(
      into.target,
      into.targetAt,
      componentBlock,
      count,
      this.#blocksRead,
      request.slot,
    );
  }

  #readBody(request: IoRequest, first: number, end: number, targetAt: number): void {
    const target = assertDefined(request.target, "a read has a target");
    let block = first;
    let at = targetAt;
    while (block < end) {
      let count = Math.min(end - block, READ_BLOCKS_MAX);
      if (this.#legs.isStriped) count = Math.min(count, this.#legs.runBlocks(block));
      this.#readRun(request, block, count, { target, targetAt: at });
      block += count;
      at += count * BLOCK_SIZE_BYTES;
    }
  }

  readonly #blocksRead: ComponentDone = (slot, fault) => {
    const request = this.#requests.get(slot);
    if (fault === "fenced") {
      request.fault ??= "not-owner";
      this.#events.fenced();
    } else if (fault === "unreachable") {
      request.hasUnreachable = true;
    } else if (fault !== undefined) {
      request.hasReadError = true;
    }
    this.#release(request);
  };

  #release(request: IoRequest): void {
    assert(request.pendingCount > 0, "an answer too many");
    if (--request.pendingCount > 0) return;
    const isWhole = !request.hasReadError && !request.hasUnreachable && !request.hasNoCopy;
    if (request.fault !== undefined || isWhole) {
      if (isWhole && request.hadReadError)
        this.#events.damageFound(request.firstBlock, request.endBlock);
      this.#finished(request);
      return;
    }
    const areLegsNew = request.legsGeneration !== this.#legs.generation;
    if (request.hasNoCopy && !areLegsNew) {
      this.#exhausted(request);
      return;
    }
    // Another copy may be good; the target is filled anew, whole.
    request.hadReadError ||= request.hasReadError;
    request.hadUnreachable ||= request.hasUnreachable;
    request.hasReadError = false;
    request.hasUnreachable = false;
    request.hasNoCopy = false;
    request.attempt = areLegsNew ? 0 : request.attempt + 1;
    if (request.kind === "read") this.read(request);
    else this.readEdges(request);
    this.#events.submitWanted();
  }

  #finished(request: IoRequest): void {
    const { place, firstBlock, endBlock } = request;
    if (place >= 0) this.#spread.done(place, endBlock - firstBlock);
    this.#events.readDone(request);
  }

  #exhausted(request: IoRequest): void {
    const isAway = request.hadUnreachable || (request.attempt === 0 && !request.hadReadError);
    request.fault = isAway ? "unreachable" : "io-error";
    this.#finished(request);
    if (isAway) this.#events.unreachable();
  }
}
