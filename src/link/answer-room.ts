/**
 * Calls of the other end, and room for their answers until those have left. A call begins once
 * there is room for the longest answer to it; those beyond that wait as what they are, while other
 * messages are heard: heartbeats and answers to our own calls are among them, and two ends that
 * stopped reading would wait for each other for ever.
 *
 * Short answers have room of their own, so that a call which only asks for a moment's state, or
 * waits for somebody, is never behind those that move data.
 */
import { assert } from "../base/index.ts";
import { LINK_BODY_BYTES_MAX } from "../format/index.ts";
import type { Clock } from "../ports/index.ts";

export type AnswerLength = "short" | "long";

/** Reserved for an answer that is not known yet; a longer one counts as what it is once it is. */
const RESERVED_BYTES = { short: 1024, long: LINK_BODY_BYTES_MAX } as const;
const ROOM_BYTES = { short: 8 << 20, long: 24 << 20 } as const;
/**
 * A call that is under way for so long has room reserved no more: a disk that hangs must not stop
 * what is asked of the others.
 */
const RESERVED_MS_MAX = 60_000;
/** What calls that wait may hold: more than the other end has under way, and has given up. */
const WAITING_BYTES_MAX: number = 96 << 20;
/** What a call that waits takes beside its argument, at least. */
const WAITING_BYTES = 256;

/** All answers of one link that wait to leave: a last one may come where there was little room. */
export const ANSWER_BYTES_MAX: number = ROOM_BYTES.short + ROOM_BYTES.long + LINK_BODY_BYTES_MAX;

/** A call that has begun and has no answer. */
export interface BegunCall {
  readonly length: AnswerLength;
  readonly sinceMs: number;
  reservedBytes: number;
}

interface WaitingCall {
  readonly bytes: number;
  readonly begin: (call: BegunCall) => void;
}

/**
 * Answers up to that place among all bytes of the link have left when the link has sent so many.
 */
interface QueuedAnswer {
  readonly end: number;
  readonly bytes: number;
}

class Lane {
  readonly #length: AnswerLength;
  readonly #waiting: WaitingCall[] = [];
  /** Those with room reserved, the longest under way first. */
  readonly #begun = new Set<BegunCall>();
  readonly #queued: QueuedAnswer[] = [];
  #usedBytes = 0;

  constructor(length: AnswerLength) {
    this.#length = length;
  }

  /** With room reserved for its answer; undefined if there is none, or others wait for it. */
  begin(nowMs: number): BegunCall | undefined {
    return this.#waiting.length > 0 ? undefined : this.#reserve(nowMs);
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  wait(call: WaitingCall): void {
    this.#waiting.push(call);
  }

  /** The next of those that wait, if there is room for its answer. */
  next(nowMs: number): (WaitingCall & { readonly begun: BegunCall }) | undefined {
    const begun = this.#waiting.length === 0 ? undefined : this.#reserve(nowMs);
    const waiting = begun && this.#waiting.shift();
    return waiting && { ...waiting, begun };
  }

  #reserve(nowMs: number): BegunCall | undefined {
    const reservedBytes = RESERVED_BYTES[this.#length];
    if (!this.#hasRoom(reservedBytes)) this.#lapse(nowMs);
    if (!this.#hasRoom(reservedBytes)) return undefined;
    const call = { length: this.#length, sinceMs: nowMs, reservedBytes };
    this.#begun.add(call);
    this.#usedBytes += reservedBytes;
    return call;
  }

  #hasRoom(bytes: number): boolean {
    return this.#usedBytes + bytes <= ROOM_BYTES[this.#length];
  }

  #lapse(nowMs: number): void {
    for (const call of this.#begun) {
      if (nowMs - call.sinceMs < RESERVED_MS_MAX) return;
      this.#release(call);
    }
  }

  #release(call: BegunCall): void {
    this.#begun.delete(call);
    this.#usedBytes -= call.reservedBytes;
    call.reservedBytes = 0;
  }

  /** What was reserved is an answer now, of so many bytes. */
  queue(call: BegunCall, bytes: number, end: number): void {
    this.#release(call);
    this.#usedBytes += bytes;
    if (bytes > 0) this.#queued.push({ end, bytes });
  }

  left(sentBytes: number): void {
    let count = 0;
    for (; count < this.#queued.length && this.#queued[count]!.end <= sentBytes; count++)
      this.#usedBytes -= this.#queued[count]!.bytes;
    if (count > 0) this.#queued.splice(0, count);
    assert(this.#usedBytes >= 0, "an answer leaves once");
  }

  clear(): void {
    this.#waiting.length = 0;
  }
}

export class AnswerRoom {
  readonly #clock: Clock;
  readonly #lanes = { short: new Lane("short"), long: new Lane("long") } as const;
  #waitingBytes = 0;
  #count = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Calls that are not answered yet. */
  get count(): number {
    return this.#count;
  }

  /** For a call that may begin at once; `answered` has to follow. */
  begin(length: AnswerLength): BegunCall | undefined {
    const call = this.#lanes[length].begin(this.#clock.nowMs());
    if (call !== undefined) this.#count++;
    return call;
  }

  /** Calls `begin` when there is room. False if too much waits already. */
  wait(length: AnswerLength, argumentBytes: number, begin: (call: BegunCall) => void): boolean {
    const bytes = WAITING_BYTES + argumentBytes;
    if (this.#waitingBytes + bytes > WAITING_BYTES_MAX) return false;
    this.#count++;
    this.#waitingBytes += bytes;
    this.#lanes[length].wait({ bytes, begin });
    return true;
  }

  /** The answer takes so many bytes, up to that place among all of the link. */
  answered(call: BegunCall, bytes: number, end: number): void {
    this.#count--;
    this.#lanes[call.length].queue(call, bytes, end);
    this.#beginWaiting(call.length);
  }

  /** Of all bytes of the link so many have left. */
  left(sentBytes: number): void {
    for (const length of ["short", "long"] as const) {
      this.#lanes[length].left(sentBytes);
      this.#beginWaiting(length);
    }
  }

  /** Nobody waits any more. */
  clear(): void {
    for (const lane of Object.values(this.#lanes)) lane.clear();
  }

  #beginWaiting(length: AnswerLength): void {
    if (!this.#lanes[length].hasWaiting) return;
    const nowMs = this.#clock.nowMs();
    for (let call = this.#lanes[length].next(nowMs); call; call = this.#lanes[length].next(nowMs)) {
      this.#waitingBytes -= call.bytes;
      call.begin(call.begun);
    }
  }
}
