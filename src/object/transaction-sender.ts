/**
 * Turns changes into numbered transactions and brings each to every active leg. A transaction
 * counts when all legs answered; the watermark of decided ones follows to the components. One
 * queue, served in order: when a component has no room or the window is full, everything behind
 * waits, so that sequences only grow.
 */
import { assert, assertDefined, marks } from "../base/index.ts";
import type { ComponentDone, ComponentFault, Transaction } from "../store/index.ts";
import type { IoRequest } from "./io-request.ts";
import { LANES_MAX } from "./legs.ts";
import type { LegMember, Legs } from "./legs.ts";
import type { ScratchBlocks } from "./scratch-blocks.ts";
import type { SenderEvents } from "./sender-events.ts";
import { SequenceWindow } from "./sequence-window.ts";
import { cutPiece } from "./transaction-piece.ts";
import type { IoFault } from "./volume-io.ts";

export const TRANSACTIONS_MAX = 1024;
const NONE = -1;
/** Answers name the use of a slot, too: one that comes late must not count for the next use. */
const USES = 2 ** 18;

assert(USES * TRANSACTIONS_MAX * LANES_MAX <= 2 ** 31, "a token is a small integer");

/** As many as any list here has. Made once: to make each anew would be a good part of opening. */
const EMPTY_SLOTS: readonly undefined[] = Array.from({ length: TRANSACTIONS_MAX * LANES_MAX });

function emptySlots<T>(count: number): (T | undefined)[] {
  return EMPTY_SLOTS.slice(0, count);
}

export class TransactionSender {
  readonly #legs: Legs;
  readonly #scratch: ScratchBlocks;
  readonly #events: SenderEvents;
  readonly #window: SequenceWindow;
  /** The one object that components see; they copy what they keep. */
  readonly #transaction: Transaction;
  /** Transactions under way, by slot. */
  readonly #requests: (IoRequest | undefined)[] = emptySlots(TRANSACTIONS_MAX);
  readonly #sequences = new Float64Array(TRANSACTIONS_MAX);
  /** Answers outstanding, and one while the transaction is being handed out. */
  readonly #pendingCounts = new Uint8Array(TRANSACTIONS_MAX);
  readonly #askedCounts = new Uint8Array(TRANSACTIONS_MAX);
  readonly #failedCounts = new Uint8Array(TRANSACTIONS_MAX);
  readonly #fullCounts = new Uint8Array(TRANSACTIONS_MAX);
  readonly #lostCounts = new Uint8Array(TRANSACTIONS_MAX);
  readonly #uses = new Int32Array(TRANSACTIONS_MAX);
  readonly #ticks = new Float64Array(TRANSACTIONS_MAX);
  /** By slot and leg: who was asked, and who has failed. */
  readonly #waitingFor: (LegMember | undefined)[] = emptySlots(TRANSACTIONS_MAX * LANES_MAX);
  readonly #failed: (LegMember | undefined)[] = emptySlots(TRANSACTIONS_MAX * LANES_MAX);
  /** Slots whose answer waits until a member is known to be stale. */
  readonly #held = new Set<number>();
  readonly #free: number[] = [];
  #tick = 0;
  /** How many want nothing to be sent. */
  #pauses = 0;
  #quietCallbacks: (() => void)[] = [];
  #head: IoRequest | undefined = undefined;
  #last: IoRequest | undefined = undefined;
  /** The transaction that not all legs have accepted yet, and the first leg that has not. */
  #openSlot = NONE;
  #openLeg = 0;
  #isSending = false;
  #roomOf: LegMember | undefined = undefined;
  #stopFault: IoFault | undefined = undefined;

  constructor(
    legs: Legs,
    scratch: ScratchBlocks,
    numbering: { readonly epoch: number; readonly lastSequence: number },
    events: SenderEvents,
  ) {
    assert(legs.count <= LANES_MAX, "too many legs");
    this.#legs = legs;
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

  /** The newest sequence that was taken. */
  get lastSequence(): number {
    return this.#window.last;
  }

  /** Whether a request would be sent at once, without waiting for others. */
  get isIdle(): boolean {
    return (
      this.#head === undefined && !this.#isSending && !this.isPaused && this.#roomOf === undefined
    );
  }

  get isPaused(): boolean {
    return this.#pauses > 0;
  }

  /** Resolves when everything sent so far is decided, or the sender has stopped. */
  quiet(): Promise<void> {
    const target = this.#window.last;
    return new Promise((resolve) => {
      const check = (): void => {
        if (this.#window.watermark >= target || this.#stopFault !== undefined) resolve();
        else this.#quietCallbacks.push(check);
      };
      check();
    });
  }

  /**
   * Nothing new is sent until as many calls of `resume` have followed; resolves when nothing is
   * under way.
   */
  pause(): Promise<void> {
    this.#pauses++;
    return this.quiet();
  }

  resume(): void {
    assert(this.#pauses > 0, "resumed more often than paused");
    if (--this.#pauses > 0) return;
    this.#sendQueue();
    this.#events.submitWanted();
  }

  /** A sequence for what is sent while the sender is paused. */
  takeSequence(): number {
    assert(this.isPaused, "only between transactions of clients");
    return this.#window.take();
  }

  decideSequence(sequence: number): void {
    this.#window.decide(sequence);
    this.#tellQuiet();
  }

  /** As `SequenceWindow.skipTo`. */
  skipTo(sequence: number): boolean {
    return this.#window.skipTo(sequence);
  }

  /**
   * Time passes: to be called at regular intervals. Members that have not answered within
   * `ticksMax` of them, while another one has, are told of as failed. Who catches up and has no
   * room for as long begins anew: nobody waits for it.
   */
  tick(ticksMax: number): void {
    this.#tick++;
    this.#endWaitForFollower(ticksMax);
    for (let slot = 0; slot < TRANSACTIONS_MAX; slot++) {
      if (this.#requests[slot] === undefined || slot === this.#openSlot) continue;
      if (this.#tick - this.#ticks[slot]! < ticksMax) continue;
      const pendingCount = this.#pendingCounts[slot]!;
      if (pendingCount === 0 || pendingCount === this.#askedCounts[slot]) continue;
      for (let leg = 0; leg < this.#legs.count; leg++) {
        const member = this.#waitingFor[slot * LANES_MAX + leg];
        if (member !== undefined) this.#events.memberFailed(member, "hung");
      }
    }
  }

  #endWaitForFollower(ticksMax: number): void {
    const isOpen = this.#openSlot !== NONE && this.#roomOf?.role === "catching-up";
    if (!isOpen || this.#tick - this.#ticks[this.#openSlot]! < ticksMax) return;
    marks.hit("a copy that catches up had no room for long");
    this.#dropFollowers();
  }

  /** The member is absent from now on, and the directory says so. */
  memberDropped(member: LegMember): void {
    assert(member.role === "absent", "a member is dropped after its role has ended");
    if (this.#roomOf === member) this.#roomOf = undefined;
    for (let slot = 0; slot < TRANSACTIONS_MAX; slot++) {
      if (this.#requests[slot] === undefined) continue;
      for (let leg = 0; leg < this.#legs.count; leg++) {
        if (this.#waitingFor[slot * LANES_MAX + leg] !== member) continue;
        this.#waitingFor[slot * LANES_MAX + leg] = undefined;
        this.#noteFault(slot, leg, member, "unreachable");
        this.#answered(slot);
      }
    }
    for (const slot of [...this.#held]) this.#decideHeld(slot);
    this.#sendQueue();
    this.#events.submitWanted();
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
    for (const slot of [...this.#held]) this.#decideHeld(slot);
    this.#tellQuiet();
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
    if (this.#isSending || this.#stopFault !== undefined) return;
    this.#isSending = true;
    while (this.#head !== undefined) {
      const request: IoRequest = this.#head;
      if (!this.#sendRest(request)) {
        // Room may have come while it was asked for.
        if (this.#isBlocked) break;
        continue;
      }
      this.#head = request.nextInQueue;
      request.nextInQueue = undefined;
      if (this.#head === undefined) this.#last = undefined;
      this.#release(request);
    }
    this.#isSending = false;
  }

  get #isBlocked(): boolean {
    if (this.#roomOf !== undefined) return true;
    return this.#openSlot === NONE && (this.isPaused || this.#window.isFull);
  }

  /** True once nothing of the request is left to send. */
  #sendRest(request: IoRequest): boolean {
    for (;;) {
      if (this.#openSlot === NONE) {
        if (request.cursor >= request.endBlock || request.fault !== undefined) return true;
        if (this.#isBlocked) return false;
        this.#open(request);
      }
      if (this.#roomOf !== undefined || !this.#prepareOpen(request)) return false;
    }
  }

  #open(request: IoRequest): void {
    const slot = assertDefined(this.#free.pop(), "no free transaction");
    this.#requests[slot] = request;
    this.#sequences[slot] = this.#window.take();
    this.#pendingCounts[slot] = 1;
    this.#askedCounts[slot] = 0;
    this.#failedCounts[slot] = 0;
    this.#fullCounts[slot] = 0;
    this.#lostCounts[slot] = 0;
    this.#uses[slot] = (this.#uses[slot]! + 1) % USES;
    this.#ticks[slot] = this.#tick;
    request.pendingCount++;
    this.#openSlot = slot;
    this.#openLeg = 0;
  }

  /** Hands the open transaction to the members that have not accepted it. */
  #prepareOpen(request: IoRequest): boolean {
    const slot = this.#openSlot;
    const block = request.cursor;
    const transaction = this.#transaction;
    cutPiece(request, transaction, this.#scratch, this.#legs.runBlocks(block));
    transaction.sequence = this.#sequences[slot]!;
    const use = this.#uses[slot]! * TRANSACTIONS_MAX + slot;
    while (this.#openLeg < this.#legs.count) {
      const leg = this.#legs.legs[this.#openLeg]!;
      const member = leg.memberAt(block);
      const index = this.#openLeg;
      if (member.role === "absent") {
        this.#openLeg++;
        continue;
      }
      const component = assertDefined(member.component, "who takes part can be reached");
      const done = member.role === "active" ? this.#prepared : this.#followed;
      transaction.blockIndex = leg.layout.componentBlockOf(block);
      if (!component.prepare(transaction, done, use * LANES_MAX + index)) {
        this.#roomOf = member;
        component.onRoom(this.#roomCame);
        return false;
      }
      if (member.role === "active") {
        this.#waitingFor[slot * LANES_MAX + index] = member;
        this.#pendingCounts[slot]!++;
        this.#askedCounts[slot]!++;
      }
      this.#openLeg++;
    }
    request.cursor = block + transaction.blockCount;
    this.#openSlot = NONE;
    this.#answered(slot);
    return true;
  }

  readonly #roomCame = (): void => {
    this.#roomOf = undefined;
    if (this.#head === undefined) return;
    this.#sendQueue();
    this.#events.submitWanted();
  };

  readonly #prepared: ComponentDone = (token, fault) => {
    const leg = token % LANES_MAX;
    const use = (token - leg) / LANES_MAX;
    const slot = use % TRANSACTIONS_MAX;
    const member = this.#waitingFor[slot * LANES_MAX + leg];
    // A member that was given up may still answer.
    if (member === undefined || (use - slot) / TRANSACTIONS_MAX !== this.#uses[slot]) return;
    this.#waitingFor[slot * LANES_MAX + leg] = undefined;
    if (fault !== undefined) this.#noteFault(slot, leg, member, fault);
    else member.durableSequence = Math.max(member.durableSequence, this.#sequences[slot]!);
    this.#answered(slot);
  };

  /** Whoever is catching up does not count; but what it lacks, it must not seem to have. */
  readonly #followed: ComponentDone = (_token, fault) => {
    if (fault === undefined) return;
    if (fault === "fenced") this.#fail("not-owner", "another host has taken the object over");
    this.#dropFollowers();
  };

  /**
   * A write failed at those that are catching up only, or everywhere but there: they begin anew
   * with what is decided so far.
   */
  #dropFollowers(): void {
    for (const member of this.#legs.members)
      if (member.role === "catching-up") member.role = "absent";
    this.#legs.rolesChanged();
    if (this.#roomOf?.role === "absent") this.#roomCame();
  }

  #noteFault(slot: number, leg: number, member: LegMember, fault: ComponentFault): void {
    this.#failedCounts[slot]!++;
    if (fault === "no-space") this.#fullCounts[slot]!++;
    if (fault === "unreachable") this.#lostCounts[slot]!++;
    this.#failed[slot * LANES_MAX + leg] = member;
    if (fault === "fenced") {
      assertDefined(this.#requests[slot], "no such transaction").fault = "not-owner";
      this.#fail("not-owner", "another host has taken the object over");
    } else if (fault !== "no-space") {
      // Nobody need wait for the others to know that this one has to be given up.
      if (this.#legs.copyCount > 1 && member.role === "active")
        this.#events.memberFailed(member, fault);
    }
  }

  #answered(slot: number): void {
    if (--this.#pendingCounts[slot]! === 0) this.#decide(slot);
  }

  /** All members have answered, or never will. */
  #decide(slot: number): void {
    const request = assertDefined(this.#requests[slot], "no such transaction");
    const failedCount = this.#failedCounts[slot]!;
    const askedCount = this.#askedCounts[slot]!;
    if (failedCount === 0 && askedCount > 0) return this.#conclude(slot);
    if (failedCount < askedCount) {
      this.#held.add(slot);
      this.#decideHeld(slot);
      return;
    }
    if (askedCount > 0 && this.#fullCounts[slot] === askedCount) {
      request.fault ??= "no-space";
      this.#dropFollowers();
    } else if (this.#legs.copyCount === 1 && askedCount > 0 && this.#lostCounts[slot] === 0) {
      // There is nothing that it could differ from.
      request.fault ??= "io-error";
      this.#dropFollowers();
    } else {
      // Some of them may hold it: it is settled by whoever owns the object next.
      request.fault ??= "unreachable";
      this.#fail("unreachable", "no copy could be written");
      this.#end(slot);
      return;
    }
    this.#conclude(slot);
  }

  /** Some hold it and others do not: these must be known to be stale before anybody hears of it. */
  #decideHeld(slot: number): void {
    let isWaiting = false;
    for (let leg = 0; leg < this.#legs.count; leg++) {
      const member = this.#failed[slot * LANES_MAX + leg];
      if (member === undefined || member.role !== "active") continue;
      isWaiting = true;
      this.#events.memberFailed(member, "no-space");
    }
    if (isWaiting && this.#stopFault === undefined) return;
    // Whoever was told may have stopped everything, this transaction included.
    if (!this.#held.delete(slot)) return;
    const request = assertDefined(this.#requests[slot], "no such transaction");
    if (isWaiting) {
      request.fault ??= "unreachable";
      this.#end(slot);
    } else {
      this.#conclude(slot);
    }
  }

  /** The transaction is decided. */
  #conclude(slot: number): void {
    const isWatermarkMoved = this.#window.decide(this.#sequences[slot]!);
    if (isWatermarkMoved && this.#stopFault === undefined)
      this.#legs.commit(this.#transaction.epoch, this.#window.watermark);
    this.#end(slot);
  }

  #end(slot: number): void {
    const request = assertDefined(this.#requests[slot], "no such transaction");
    this.#requests[slot] = undefined;
    for (let leg = 0; leg < this.#legs.count; leg++)
      this.#failed[slot * LANES_MAX + leg] = undefined;
    this.#free.push(slot);
    this.#tellQuiet();
    this.#release(request);
    if (this.#head === undefined || this.#roomOf !== undefined) return;
    this.#sendQueue();
    this.#events.submitWanted();
  }

  #tellQuiet(): void {
    if (this.#quietCallbacks.length > 0)
      for (const callback of this.#quietCallbacks.splice(0)) callback();
  }

  #release(request: IoRequest): void {
    if (--request.pendingCount === 0) this.#events.requestDone(request);
  }

  #fail(fault: IoFault, reason: string): void {
    if (this.#stopFault !== undefined) return;
    this.stop(fault);
    this.#events.failed(fault, reason);
  }

  /** Members that have not accepted the open transaction never see it. */
  #abandonOpen(fault: IoFault): void {
    const slot = this.#openSlot;
    if (slot === NONE) return;
    assertDefined(this.#requests[slot], "no such transaction").fault ??= fault;
    this.#openSlot = NONE;
    this.#roomOf = undefined;
    this.#askedCounts[slot]!++;
    this.#failedCounts[slot]!++;
    this.#answered(slot);
  }
}
