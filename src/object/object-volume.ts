/**
 * The data path of one object at its owner. A request is an event, its effects are calls on
 * components: no promise and no closure per block. Life of a change: it locks its blocks (arrival
 * decides), reads the blocks it covers in part, is sent as numbered transactions to all active
 * legs, and is answered when all of them hold it durably. A read locks too, so it never sees a
 * write under way.
 */
import { assert, BLOCK_SIZE_BYTES, CodedError, SECTOR_SIZE_BYTES } from "../base/index.ts";
import type { DiskMemory } from "../ports/index.ts";
import { AnswerQueue } from "./answer-queue.ts";
import { BlockReader } from "./block-reader.ts";
import { RequestTable } from "./io-request.ts";
import type { IoKind, IoRequest } from "./io-request.ts";
import type { LegMember, Legs } from "./legs.ts";
import { collectExtents } from "./object-extents.ts";
import {
  completeRead,
  copyPayload,
  dropPayload,
  dropScratch,
  keepBlock,
} from "./partial-blocks.ts";
import { mergeEdges, zeroEdges } from "./partial-blocks.ts";
import { PayloadPool } from "./payload-pool.ts";
import { RangeLock } from "./range-lock.ts";
import { ScratchBlocks } from "./scratch-blocks.ts";
import { TransactionSender } from "./transaction-sender.ts";
import type { Extent, IoDone, IoFault, VolumeIo } from "./volume-io.ts";
import type { VolumeOptions } from "./volume-options.ts";

const REQUEST_SLOTS_MIN = 64;
/** Above this much in copies of waiting writes, front ends are asked to hold back. */
const COPY_BYTES_HIGH = 32 << 20;
const COPY_BYTES_LOW = 16 << 20;

export class ObjectVolume implements VolumeIo {
  readonly name: string;
  readonly readOnly: boolean;
  readonly #options: VolumeOptions;
  readonly #legs: Legs;
  readonly #requests = new RequestTable();
  readonly #lock = new RangeLock(REQUEST_SLOTS_MIN);
  readonly #payloads = new PayloadPool();
  readonly #scratch: ScratchBlocks;
  readonly #reader: BlockReader;
  readonly #sender: TransactionSender;
  readonly #answers: AnswerQueue;
  readonly #flushes: IoRequest[] = [];
  readonly #roomCallbacks: (() => void)[] = [];
  /** Slots whose blocks have become free, and whether somebody is starting them. */
  readonly #ready: number[] = [];
  #isStarting = false;
  #sizeBytes: number;
  #changesUnanswered = 0;
  /** A caller is inside one of our calls: nobody may be answered. */
  #isInCall = false;
  #isSubmitWanted = false;
  #isClosing = false;
  #stopFault: IoFault | undefined = undefined;
  #drained: (() => void) | undefined = undefined;

  constructor(options: VolumeOptions) {
    assert(options.sizeBytes % SECTOR_SIZE_BYTES === 0, "a volume is a whole number of sectors");
    this.name = options.name;
    this.readOnly = options.readOnly;
    this.#options = options;
    this.#sizeBytes = options.sizeBytes;
    this.#legs = options.legs;
    this.#requests.grow(REQUEST_SLOTS_MIN);
    this.#scratch = options.scratch ?? new ScratchBlocks(options.allocate);
    this.#answers = new AnswerQueue(() => this.#endTurn());
    this.#reader = new BlockReader(this.#legs, this.#requests, this.#scratch, {
      nowMs: options.nowMs,
      readDone: (request) => this.#readDone(request),
      fenced: () => this.#fail("not-owner", "another host has taken the object over"),
      unreachable: () => this.#fail("unreachable", "no copy can be reached"),
      damageFound: options.onDamage,
      submitWanted: () => this.#wantSubmit(),
    });
    this.#sender = new TransactionSender(this.#legs, this.#scratch, options, {
      requestDone: (request) => this.#finish(request),
      failed: (fault, reason) => this.#fail(fault, reason),
      submitWanted: () => this.#wantSubmit(),
      memberFailed: options.onMemberFailed,
    });
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Everything up to this sequence is decided. */
  get watermark(): number {
    return this.#sender.watermark;
  }

  get epoch(): number {
    return this.#options.epoch;
  }

  get isPaused(): boolean {
    return this.#sender.isPaused;
  }

  /** The newest sequence that was given to a transaction. */
  get lastSequence(): number {
    return this.#sender.lastSequence;
  }

  get isStopped(): boolean {
    return this.#stopFault !== undefined;
  }

  get isIdle(): boolean {
    return this.#requests.usedCount === 0;
  }

  allocate(lengthBytes: number): DiskMemory {
    return this.#options.allocate(lengthBytes);
  }

  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    const request = this.#accept("read", lengthBytes, offset, done, token);
    if (request === undefined) return;
    assert(targetAt % BLOCK_SIZE_BYTES === 0, "the target is aligned to a block");
    assert(targetAt + lengthBytes <= target.bytes.length, "the target is too short");
    request.target = target;
    request.targetAt = targetAt;
    this.#isInCall = true;
    if (this.#lock.enter(request.slot, request.firstBlock, request.endBlock, false))
      this.#start(request);
    this.#isInCall = false;
  }

  readNow(target: DiskMemory, targetAt: number, lengthBytes: number, offset: number): boolean {
    if (this.#stopFault !== undefined || this.#isClosing) return false;
    this.#checkRange(offset, lengthBytes);
    if (((offset | lengthBytes) & (BLOCK_SIZE_BYTES - 1)) !== 0) return false;
    const first = offset / BLOCK_SIZE_BYTES;
    const count = lengthBytes / BLOCK_SIZE_BYTES;
    if (this.#lock.isChanging(first, first + count) || !this.#options.isLeaseAlive()) return false;
    return this.#reader.readNow(target, targetAt, first, count);
  }

  write(
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    assert(!this.readOnly, "a read-only volume is not written to");
    const request = this.#accept("data", lengthBytes, offset, done, token);
    if (request === undefined) return;
    assert(sourceAt + lengthBytes <= source.length, "the source is too short");
    request.source = source;
    request.sourceAt = sourceAt;
    this.#changesUnanswered++;
    this.#isInCall = true;
    const isFree = this.#lock.enter(request.slot, request.firstBlock, request.endBlock, true);
    if (isFree && request.isAligned && this.#sender.isIdle) {
      if (!this.#sender.sendNow(request)) copyPayload(request, this.#payloads);
    } else {
      copyPayload(request, this.#payloads);
      if (isFree) this.#start(request);
    }
    this.#isInCall = false;
    // Whatever is left is in chunks; a finished request was given back without it.
    request.source = undefined;
  }

  discard(offset: number, lengthBytes: number, done: IoDone, token: number): void {
    this.#zero("discard", offset, lengthBytes, done, token);
  }

  writeZeroes(
    offset: number,
    lengthBytes: number,
    keepAllocated: boolean,
    done: IoDone,
    token: number,
  ): void {
    this.#zero(keepAllocated ? "zero" : "discard", offset, lengthBytes, done, token);
  }

  flush(done: IoDone, token: number): void {
    const refusal = this.#stopFault ?? (this.#isClosing ? "shutting-down" : undefined);
    if (refusal !== undefined || this.#changesUnanswered === 0) {
      this.#answers.add(done, token, refusal);
      return;
    }
    const request = this.#takeRequest("flush", done, token);
    request.waitCount = this.#changesUnanswered;
    this.#flushes.push(request);
  }

  async extents(
    offset: number,
    lengthBytes: number,
    extentsMax: number,
  ): Promise<readonly Extent[]> {
    this.#checkRange(offset, lengthBytes);
    const refusal = this.#stopFault ?? (this.#isClosing ? "shutting-down" : undefined);
    if (refusal !== undefined)
      throw new CodedError({ code: refusal, message: "the volume is not served here" });
    return await collectExtents(this.#legs, offset, lengthBytes, extentsMax);
  }

  hasRoom(): boolean {
    return this.#payloads.heldBytes <= COPY_BYTES_HIGH;
  }

  onRoom(callback: () => void): void {
    this.#roomCallbacks.push(callback);
    if (this.#payloads.heldBytes <= COPY_BYTES_LOW) this.#answers.scheduleTurnEnd();
  }

  submit(): void {
    this.#isSubmitWanted = false;
    this.#legs.submit();
  }

  /** The components have grown already. */
  grow(sizeBytes: number): void {
    assert(sizeBytes >= this.#sizeBytes, "a volume does not shrink");
    this.#sizeBytes = sizeBytes;
  }

  /** Refuses everything new, and resolves when everything under way was answered. */
  close(): Promise<void> {
    this.#isClosing = true;
    if (this.isIdle) return Promise.resolve();
    this.submit();
    return new Promise((resolve) => {
      const previous = this.#drained;
      this.#drained = () => {
        previous?.();
        resolve();
      };
    });
  }

  /** Refuses everything, what waits included; components still answer for what they hold. */
  stop(fault: IoFault): void {
    if (this.#stopFault !== undefined) return;
    this.#stopFault = fault;
    this.#sender.stop(fault);
  }

  // For the owner, while members come and go.

  /**
   * Writes a block again as it is, to every leg. Resolves when that is answered, whatever the
   * answer: what could not be read stays as it was.
   */
  rewrite(block: number): Promise<void> {
    const offset = block * BLOCK_SIZE_BYTES;
    if (offset >= this.#sizeBytes || this.#stopFault !== undefined || this.#isClosing)
      return Promise.resolve();
    return new Promise((resolve) => {
      const request = this.#takeRequest("data", () => resolve(), 0);
      request.setRange(offset, BLOCK_SIZE_BYTES);
      request.isRewrite = true;
      this.#changesUnanswered++;
      if (this.#lock.enter(request.slot, block, block + 1, true)) this.#start(request);
    });
  }

  /** Resolves when everything sent by now is decided. */
  quiet(): Promise<void> {
    this.submit();
    return this.#sender.quiet();
  }

  /** Resolves when every request that is under way now is answered, reads among them. */
  answered(): Promise<void> {
    return this.#requests.answered();
  }

  /** Holds changes back, and resolves when none is under way. Reads go on. */
  pause(): Promise<void> {
    const paused = this.#sender.pause();
    this.submit();
    return paused;
  }

  resume(): void {
    this.#sender.resume();
  }

  takeSequence(): number {
    return this.#sender.takeSequence();
  }

  decideSequence(sequence: number): void {
    this.#sender.decideSequence(sequence);
  }

  /** Resolves when no change will have a number up to this one any more. */
  async numberAbove(sequence: number): Promise<void> {
    if (sequence <= this.lastSequence) return;
    await this.pause();
    // Others that hold changes back may have taken a number meanwhile.
    while (!this.isStopped && !this.#sender.skipTo(sequence)) await this.quiet();
    this.resume();
  }

  /** The member's role is "absent" and the directory says that it is stale. */
  memberDropped(member: LegMember): void {
    this.#sender.memberDropped(member);
  }

  tick(ticksMax: number): void {
    this.#sender.tick(ticksMax);
  }

  #fail(fault: IoFault, reason: string): void {
    if (this.#stopFault !== undefined) return;
    this.stop(fault);
    this.#options.onStopped(fault, reason);
  }

  #zero(
    kind: "zero" | "discard",
    offset: number,
    lengthBytes: number,
    done: IoDone,
    token: number,
  ): void {
    assert(!this.readOnly, "a read-only volume is not written to");
    const request = this.#accept(kind, lengthBytes, offset, done, token);
    if (request === undefined) return;
    this.#changesUnanswered++;
    this.#isInCall = true;
    if (this.#lock.enter(request.slot, request.firstBlock, request.endBlock, true))
      this.#start(request);
    this.#isInCall = false;
  }

  /** A request to go on with, or undefined if it has been answered. */
  #accept(
    kind: IoKind,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): IoRequest | undefined {
    this.#checkRange(offset, lengthBytes);
    const refusal = this.#stopFault ?? (this.#isClosing ? "shutting-down" : undefined);
    if (refusal !== undefined || lengthBytes === 0) {
      this.#answers.add(done, token, refusal);
      return undefined;
    }
    const request = this.#takeRequest(kind, done, token);
    request.setRange(offset, lengthBytes);
    return request;
  }

  #checkRange(offset: number, lengthBytes: number): void {
    assert(
      offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= this.#sizeBytes,
      "a request lies within the volume",
    );
    assert(
      offset % SECTOR_SIZE_BYTES === 0 && lengthBytes % SECTOR_SIZE_BYTES === 0,
      "a request is a whole number of sectors",
    );
  }

  #takeRequest(kind: IoKind, done: IoDone, token: number): IoRequest {
    if (this.#requests.isExhausted) {
      const slotCount = 2 * this.#requests.slotCount;
      this.#requests.grow(slotCount);
      this.#lock.grow(slotCount);
    }
    return this.#requests.take(kind, done, token);
  }

  /** The request's blocks are its own from now on. */
  #start(request: IoRequest): void {
    if (this.#stopFault !== undefined) {
      request.fault = this.#stopFault;
      this.#finish(request);
    } else if (request.kind === "read") {
      if (this.#options.isLeaseAlive()) this.#reader.read(request);
      else this.#refuseRead(request);
    } else if (request.isAligned && !request.isRewrite) {
      this.#sender.enqueue(request);
    } else {
      request.isReadingEdges = true;
      this.#reader.readEdges(request);
    }
  }

  /** Another host may own the object by now, and its writes are not here. */
  #refuseRead(request: IoRequest): void {
    this.#fail("not-owner", "this host's lease has ended");
    request.fault = "not-owner";
    this.#finish(request);
  }

  #readDone(request: IoRequest): void {
    if (!request.isReadingEdges) {
      if (request.fault === undefined && !request.isAligned) completeRead(request, this.#scratch);
      this.#finish(request);
      return;
    }
    request.isReadingEdges = false;
    request.fault ??= this.#stopFault;
    if (request.fault !== undefined) {
      this.#finish(request);
      return;
    }
    if (request.isRewrite) keepBlock(request, this.#payloads, this.#scratch);
    else if (request.kind === "data") mergeEdges(request, this.#scratch);
    else zeroEdges(request, this.#scratch);
    this.#sender.enqueue(request);
    this.#wantSubmit();
  }

  /** Gives back what the request held, starts who waited for it, and answers. */
  #finish(request: IoRequest): void {
    const { done, token, fault } = request;
    assert(done !== undefined, "a request is answered once");
    const changesData = request.kind !== "read";
    const arrival = request.arrival;
    this.#lock.leave(request.slot, this.#ready);
    dropPayload(request, this.#payloads);
    dropScratch(request, this.#scratch);
    this.#requests.give(request);
    if (this.#ready.length > 0) this.#startReady();
    this.#answer(done, token, fault);
    if (changesData) {
      this.#changesUnanswered--;
      if (this.#flushes.length > 0) this.#countForFlushes(arrival);
    }
    if (this.#roomCallbacks.length > 0 && this.#payloads.heldBytes <= COPY_BYTES_LOW)
      this.#answers.scheduleTurnEnd();
    if (this.#isClosing && this.isIdle) this.#answers.scheduleTurnEnd();
  }

  /** In a loop, not by recursion: a long chain of overlapping requests may finish at once. */
  #startReady(): void {
    if (this.#isStarting) return;
    this.#isStarting = true;
    for (let i = 0; i < this.#ready.length; i++) this.#start(this.#requests.get(this.#ready[i]!));
    this.#ready.length = 0;
    this.#isStarting = false;
    this.#wantSubmit();
  }

  #countForFlushes(arrival: number): void {
    let kept = 0;
    const finished: IoRequest[] = [];
    for (const flush of this.#flushes) {
      if (arrival < flush.arrival) flush.waitCount--;
      if (flush.waitCount === 0) finished.push(flush);
      else this.#flushes[kept++] = flush;
    }
    this.#flushes.length = kept;
    for (const flush of finished) {
      const { done, token } = flush;
      assert(done !== undefined, "a flush is answered once");
      this.#requests.give(flush);
      this.#answer(done, token, this.#stopFault);
    }
  }

  #answer(done: IoDone, token: number, fault: IoFault | undefined): void {
    if (this.#isInCall) this.#answers.add(done, token, fault);
    else done(token, fault);
  }

  /** Work was given to components outside of a caller's turn. */
  #wantSubmit(): void {
    this.#isSubmitWanted = true;
    if (!this.#isInCall) this.#answers.scheduleTurnEnd();
  }

  #endTurn(): void {
    if (this.#isSubmitWanted) this.submit();
    if (this.#payloads.heldBytes <= COPY_BYTES_LOW)
      for (const callback of this.#roomCallbacks.splice(0)) callback();
    if (!this.#isClosing || !this.isIdle) return;
    const drained = this.#drained;
    this.#drained = undefined;
    drained?.();
  }
}
