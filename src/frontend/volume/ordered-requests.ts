/**
 * What volumes of this floor have in common: requests in slots that are used again, their order,
 * flushes, room, and answers that never come from inside a call. No promise and no closure per
 * request.
 *
 * The order: a request is started when no earlier one that overlaps with it is unanswered, reads
 * among themselves excepted. So requests under way never depend on each other: they may be carried
 * out, and carried out again, in any order.
 */
import { assert, assertDefined, SECTOR_SIZE_BYTES } from "../../base/index.ts";
import type { IoDone, IoFault } from "../../object/index.ts";
import type { DiskMemory } from "../../ports/index.ts";
import { PayloadBuffers } from "./payload-buffers.ts";
import type { Payload } from "./payload-buffers.ts";

/** `zero` keeps its range allocated, `discard` need not. */
export type RequestKind = "read" | "write" | "zero" | "discard";

const SLOTS_MIN = 64;
/** Above this much in copies of writes, front ends are asked to hold back. */
const COPY_BYTES_HIGH = 32 << 20;
const COPY_BYTES_LOW = 16 << 20;
const NONE = -1;

export class VolumeRequest {
  readonly slot: number;
  kind: RequestKind = "read";
  offset = 0;
  lengthBytes = 0;
  /** For reads. */
  target: DiskMemory | undefined = undefined;
  targetAt = 0;
  /** For writes: a copy, until the slot is released. */
  payload: Payload | undefined = undefined;
  done: IoDone | undefined = undefined;
  token = 0;
  /** Order of the calls. */
  arrival = 0;
  /** Earlier requests that this one waits for, and whether a later one waits for it. */
  blockerCount = 0;
  hasDependents = false;
  /** Among the unanswered ones. */
  position: number = NONE;

  constructor(slot: number) {
    this.slot = slot;
  }
}

export interface RequestOwner<R extends VolumeRequest> {
  makeRequest(slot: number): R;
  /** No unanswered earlier request overlaps with this one. */
  start(request: R): void;
  /** What a flush is answered whose changes are answered. */
  flushFault(): IoFault | undefined;
  /** Whether more writes are wanted, apart from the copies held here. */
  mayTakeMore(): boolean;
  /** After the answers of a turn were given. */
  turnEnded(): void;
}

interface WaitingFlush {
  readonly arrival: number;
  readonly done: IoDone;
  readonly token: number;
  waitCount: number;
}

export class OrderedRequests<R extends VolumeRequest> {
  readonly #owner: RequestOwner<R>;
  readonly #requests: R[] = [];
  readonly #free: R[] = [];
  readonly #payloads = new PayloadBuffers();
  /** The unanswered ones, in no order, side by side. */
  #slots = new Int32Array(SLOTS_MIN);
  #starts = new Float64Array(SLOTS_MIN);
  #ends = new Float64Array(SLOTS_MIN);
  #changes = new Uint8Array(SLOTS_MIN);
  #count = 0;
  #changeCount = 0;
  #arrivals = 0;
  /** Nobody blocks these any more, and whether somebody is starting them. */
  readonly #ready: R[] = [];
  #isStarting = false;
  #flushes: WaitingFlush[] = [];
  readonly #roomCallbacks: (() => void)[] = [];
  /** A caller is inside one of our calls: nobody may be answered. */
  #isInCall = false;
  #dones: IoDone[] = [];
  #tokens: number[] = [];
  #faults: (IoFault | undefined)[] = [];
  #isTurnScheduled = false;

  constructor(owner: RequestOwner<R>) {
    this.#owner = owner;
  }

  /** Requests that are not answered. */
  get unansweredCount(): number {
    return this.#count;
  }

  get slotCount(): number {
    return this.#requests.length;
  }

  get isInCall(): boolean {
    return this.#isInCall;
  }

  get isRoomWanted(): boolean {
    return this.#roomCallbacks.length > 0;
  }

  get(slot: number): R {
    return assertDefined(this.#requests[slot], "no such request");
  }

  has(slot: number): boolean {
    return slot < this.#requests.length;
  }

  /** A slot for a new request; the caller fills it in and calls `enter`. */
  take(kind: RequestKind, offset: number, lengthBytes: number, done: IoDone, token: number): R {
    if (this.#free.length === 0) this.#grow();
    const request = assertDefined(this.#free.pop(), "no free request");
    request.kind = kind;
    request.offset = offset;
    request.lengthBytes = lengthBytes;
    request.done = done;
    request.token = token;
    return request;
  }

  copyPayload(request: R, source: Uint8Array, sourceAt: number): void {
    assert(sourceAt + request.lengthBytes <= source.length, "the source is too short");
    this.takePayload(request).copyFrom(source, sourceAt, request.lengthBytes);
  }

  /** For a payload that the caller makes itself. */
  takePayload(request: R): Payload {
    const payload = this.#payloads.take(request.lengthBytes);
    request.payload = payload;
    return payload;
  }

  /** Before the request is released. */
  dropPayload(request: R): void {
    if (request.payload === undefined) return;
    this.#payloads.give(request.payload);
    request.payload = undefined;
  }

  /** Inside a caller's call: starts the request, now or when its turn has come. */
  enter(request: R): void {
    const start = request.offset;
    const end = start + request.lengthBytes;
    const change = request.kind === "read" ? 0 : 1;
    const count = this.#count;
    request.arrival = ++this.#arrivals;
    request.hasDependents = false;
    let blockers = 0;
    for (let i = 0; i < count; i++) {
      if (this.#starts[i]! >= end || this.#ends[i]! <= start) continue;
      if ((change | this.#changes[i]!) === 0) continue;
      this.#requests[this.#slots[i]!]!.hasDependents = true;
      blockers++;
    }
    request.blockerCount = blockers;
    request.position = count;
    this.#slots[count] = request.slot;
    this.#starts[count] = start;
    this.#ends[count] = end;
    this.#changes[count] = change;
    this.#count = count + 1;
    this.#changeCount += change;
    if (blockers > 0) return;
    this.#isInCall = true;
    this.#owner.start(request);
    this.#isInCall = false;
  }

  /** Whether an unanswered change touches some of these bytes. */
  isChanging(start: number, end: number): boolean {
    if (this.#changeCount === 0) return false;
    for (let i = 0; i < this.#count; i++) {
      if (this.#changes[i] === 0) continue;
      if (this.#starts[i]! < end && this.#ends[i]! > start) return true;
    }
    return false;
  }

  /** Answers the request and starts who waited for it. The slot is taken until `release`. */
  finish(request: R, fault: IoFault | undefined): void {
    const { done, token, position, arrival } = request;
    assert(done !== undefined && position !== NONE, "a request is answered once");
    assert(request.blockerCount === 0, "only what was started is answered");
    request.done = undefined;
    const isChange = request.kind !== "read";
    this.#remove(position);
    request.position = NONE;
    if (request.hasDependents) this.#unblock(request);
    if (this.#ready.length > 0) this.#startReady();
    this.#answer(done, token, fault);
    if (isChange) {
      this.#changeCount--;
      if (this.#flushes.length > 0) this.#countForFlushes(arrival);
    }
  }

  /** The slot and its payload may be used again. */
  release(request: R): void {
    assert(request.position === NONE, "only what was answered is released");
    request.target = undefined;
    this.dropPayload(request);
    this.#free.push(request);
    if (this.#roomCallbacks.length > 0) this.scheduleTurnEnd();
  }

  /** Answered when the changes called before are. */
  flush(done: IoDone, token: number): void {
    if (this.#changeCount === 0) this.answerLater(done, token, this.#owner.flushFault());
    else {
      const waitCount = this.#changeCount;
      this.#flushes.push({ arrival: this.#arrivals, done, token, waitCount });
    }
  }

  hasRoom(): boolean {
    return this.#payloads.heldBytes <= COPY_BYTES_HIGH && this.#owner.mayTakeMore();
  }

  onRoom(callback: () => void): void {
    this.#roomCallbacks.push(callback);
    this.scheduleTurnEnd();
  }

  answerLater(done: IoDone, token: number, fault: IoFault | undefined): void {
    this.#dones.push(done);
    this.#tokens.push(token);
    this.#faults.push(fault);
    this.scheduleTurnEnd();
  }

  /** One microtask per turn, however many answers. */
  scheduleTurnEnd(): void {
    if (this.#isTurnScheduled) return;
    this.#isTurnScheduled = true;
    void Promise.resolve().then(this.#endTurn);
  }

  readonly #endTurn = (): void => {
    this.#isTurnScheduled = false;
    const dones = this.#dones;
    const tokens = this.#tokens;
    const faults = this.#faults;
    if (dones.length > 0) {
      this.#dones = [];
      this.#tokens = [];
      this.#faults = [];
    }
    for (let i = 0; i < dones.length; i++) dones[i]!(tokens[i]!, faults[i]);
    this.#owner.turnEnded();
    if (this.#roomCallbacks.length === 0) return;
    if (this.#payloads.heldBytes > COPY_BYTES_LOW || !this.#owner.mayTakeMore()) return;
    for (const callback of this.#roomCallbacks.splice(0)) callback();
  };

  #answer(done: IoDone, token: number, fault: IoFault | undefined): void {
    if (this.#isInCall) this.answerLater(done, token, fault);
    else done(token, fault);
  }

  #remove(position: number): void {
    const last = --this.#count;
    if (position === last) return;
    const moved = this.#slots[last]!;
    this.#slots[position] = moved;
    this.#starts[position] = this.#starts[last]!;
    this.#ends[position] = this.#ends[last]!;
    this.#changes[position] = this.#changes[last]!;
    this.#requests[moved]!.position = position;
  }

  /**
   * Who waited for this one is who came later and overlaps with it: nobody else need be remembered.
   * Those that become ready together do not overlap, so their order does not matter.
   */
  #unblock(request: R): void {
    const start = request.offset;
    const end = start + request.lengthBytes;
    const change = request.kind === "read" ? 0 : 1;
    for (let i = 0; i < this.#count; i++) {
      if (this.#starts[i]! >= end || this.#ends[i]! <= start) continue;
      if ((change | this.#changes[i]!) === 0) continue;
      const other = this.#requests[this.#slots[i]!]!;
      if (other.arrival < request.arrival) continue;
      assert(other.blockerCount > 0, "a later request waits for an earlier one");
      if (--other.blockerCount === 0) this.#ready.push(other);
    }
  }

  /** In a loop, not by recursion: a long chain of overlapping requests may finish at once. */
  #startReady(): void {
    if (this.#isStarting) return;
    this.#isStarting = true;
    for (let i = 0; i < this.#ready.length; i++) this.#owner.start(this.#ready[i]!);
    this.#ready.length = 0;
    this.#isStarting = false;
  }

  #countForFlushes(arrival: number): void {
    const finished: WaitingFlush[] = [];
    for (const flush of this.#flushes) {
      if (arrival <= flush.arrival) flush.waitCount--;
      if (flush.waitCount === 0) finished.push(flush);
    }
    if (finished.length === 0) return;
    this.#flushes = this.#flushes.filter(({ waitCount }) => waitCount > 0);
    for (const { done, token } of finished) this.#answer(done, token, this.#owner.flushFault());
  }

  #grow(): void {
    const first = this.#requests.length;
    const slotCount = first === 0 ? SLOTS_MIN : 2 * first;
    for (let slot = first; slot < slotCount; slot++)
      this.#requests.push(this.#owner.makeRequest(slot));
    for (let slot = slotCount - 1; slot >= first; slot--) this.#free.push(this.#requests[slot]!);
    if (slotCount === this.#slots.length) return;
    this.#slots = copyInto(new Int32Array(slotCount), this.#slots);
    this.#starts = copyInto(new Float64Array(slotCount), this.#starts);
    this.#ends = copyInto(new Float64Array(slotCount), this.#ends);
    this.#changes = copyInto(new Uint8Array(slotCount), this.#changes);
  }
}

/** Why a request is a caller's bug, if it is. */
export function checkRange(offset: number, lengthBytes: number, sizeBytes: number): void {
  assert(
    offset >= 0 && lengthBytes >= 0 && offset + lengthBytes <= sizeBytes,
    "a request lies within the volume",
  );
  assert(
    offset % SECTOR_SIZE_BYTES === 0 && lengthBytes % SECTOR_SIZE_BYTES === 0,
    "a request is a whole number of sectors",
  );
}

function copyInto<T extends { set(source: T): void }>(target: T, source: T): T {
  target.set(source);
  return target;
}
