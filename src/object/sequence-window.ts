/**
 * Numbers of transactions under way, and the watermark: the highest sequence such that everything
 * up to it is decided. Transactions are decided in any order; the window bounds how far they run
 * ahead.
 */
import { assert } from "../base/index.ts";

export class SequenceWindow {
  readonly #mask: number;
  readonly #decided: Uint8Array;
  #last: number;
  #watermark: number;

  /** `capacity` is a power of two. */
  constructor(lastSequence: number, capacity: number) {
    assert(Number.isSafeInteger(lastSequence) && lastSequence >= 0, "not a sequence");
    assert(capacity >= 1 && (capacity & (capacity - 1)) === 0, "capacity is a power of two");
    this.#decided = new Uint8Array(capacity);
    this.#mask = capacity - 1;
    this.#last = lastSequence;
    this.#watermark = lastSequence;
  }

  get watermark(): number {
    return this.#watermark;
  }

  /** The newest sequence that was taken. */
  get last(): number {
    return this.#last;
  }

  get isFull(): boolean {
    return this.#last - this.#watermark > this.#mask;
  }

  /** The next sequence, which is under way from now on. */
  take(): number {
    assert(!this.isFull, "too many transactions under way");
    return ++this.#last;
  }

  /**
   * Numbers up to this one are never taken. False, and nothing has changed, if some are under way.
   */
  skipTo(sequence: number): boolean {
    if (this.#last !== this.#watermark) return false;
    this.#last = Math.max(this.#last, sequence);
    this.#watermark = this.#last;
    return true;
  }

  /** Returns whether the watermark moved. */
  decide(sequence: number): boolean {
    assert(sequence > this.#watermark && sequence <= this.#last, "sequence is not under way");
    // Bitwise operations keep the low bits of any safe integer.
    assert(this.#decided[sequence & this.#mask] === 0, "sequence is decided twice");
    this.#decided[sequence & this.#mask] = 1;
    if (sequence !== this.#watermark + 1) return false;
    let next = sequence;
    while (this.#decided[next & this.#mask] === 1) {
      this.#decided[next & this.#mask] = 0;
      next++;
    }
    this.#watermark = next - 1;
    return true;
  }
}
