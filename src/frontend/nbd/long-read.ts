/**
 * A read that is too long for one block of memory: it is read and sent piece by piece, a few pieces
 * ahead. While it runs its connection does nothing else, because without structured replies no
 * other reply may come between its pieces.
 */
import { assert } from "../../base/index.ts";
import { READ_PIECE_BYTES_MAX } from "./read-memory.ts";
import type { ReadMemory } from "./read-memory.ts";
import type { ReplyWriter } from "./reply-writer.ts";
import { REQUESTS_IN_FLIGHT_MAX } from "./request-slots.ts";
import type { RequestSlots } from "./request-slots.ts";
import { ChunkFlag, Command, Errno } from "./wire.ts";

const PIECES_MAX = 3;

/**
 * `broken`: a failure that the protocol cannot report any more; only a cut connection tells.
 */
export type LongReadState = "running" | "answered" | "broken";

export class LongRead {
  readonly #slots: RequestSlots;
  readonly #memory: ReadMemory;
  readonly #replies: ReplyWriter;
  readonly #read: (slot: number, lengthBytes: number, offset: number) => void;
  /** The slot of the client's request; its pieces have slots of their own. */
  #parent = -1;
  /** Slots of pieces that were read or are being read and were not sent, in order. */
  readonly #pieces: { readonly slot: number; ready: boolean }[] = [];
  #readBytes = 0;
  #sentBytes = 0;
  #errno: number = Errno.none;

  constructor(
    slots: RequestSlots,
    memory: ReadMemory,
    replies: ReplyWriter,
    read: (slot: number, lengthBytes: number, offset: number) => void,
  ) {
    this.#slots = slots;
    this.#memory = memory;
    this.#replies = replies;
    this.#read = read;
  }

  get isActive(): boolean {
    return this.#parent >= 0;
  }

  get parent(): number {
    return this.#parent;
  }

  start(slot: number): void {
    assert(!this.isActive, "one long read at a time");
    this.#parent = slot;
    this.#readBytes = 0;
    this.#sentBytes = 0;
    this.#errno = Errno.none;
    this.#replies.flush();
    this.pump();
  }

  /** Starts pieces while there is room for them. Call it when memory or slots were released. */
  pump(): void {
    if (!this.isActive) return;
    const lengthBytes = this.#slots.lengthBytes[this.#parent]!;
    while (this.#pieces.length < PIECES_MAX && this.#readBytes < lengthBytes) {
      if (this.#errno !== Errno.none || this.#slots.usedCount === REQUESTS_IN_FLIGHT_MAX) return;
      const pieceBytes = Math.min(READ_PIECE_BYTES_MAX, lengthBytes - this.#readBytes);
      const page = this.#memory.take(pieceBytes);
      if (page < 0) return;
      this.#startPiece(page, pieceBytes);
    }
  }

  /** A piece was read, or could not be. */
  pieceDone(slot: number, errno: number): LongReadState {
    const piece = this.#pieces.find((candidate) => candidate.slot === slot);
    assert(piece !== undefined, "a piece of another read");
    piece.ready = true;
    if (this.#errno === Errno.none) this.#errno = errno;
    while (this.#pieces[0]?.ready === true) this.#sendPiece(this.#pieces.shift()!.slot);
    if (this.#errno !== Errno.none && this.#pieces.length === 0) return this.#fail();
    if (this.#sentBytes < this.#slots.lengthBytes[this.#parent]!) return "running";
    this.#parent = -1;
    return "answered";
  }

  #startPiece(page: number, pieceBytes: number): void {
    const slots = this.#slots;
    const slot = slots.take();
    slots.command[slot] = Command.read;
    slots.cookieHigh[slot] = slots.cookieHigh[this.#parent]!;
    slots.cookieLow[slot] = slots.cookieLow[this.#parent]!;
    slots.offset[slot] = slots.offset[this.#parent]! + this.#readBytes;
    slots.lengthBytes[slot] = pieceBytes;
    slots.dontFragment[slot] = 0;
    slots.page[slot] = page;
    this.#pieces.push({ slot, ready: false });
    this.#readBytes += pieceBytes;
    this.#read(slot, pieceBytes, slots.offset[slot]);
  }

  #sendPiece(slot: number): void {
    if (this.#errno !== Errno.none || !this.#send(slot)) {
      this.#memory.release(this.#slots.page[slot]!);
      this.#slots.release(slot);
    }
  }

  /** False if the piece's memory is not needed any more. */
  #send(slot: number): boolean {
    const isFirst = this.#sentBytes === 0;
    this.#sentBytes += this.#slots.lengthBytes[slot]!;
    if (!this.#replies.structured) {
      if (isFirst) this.#replies.data(slot);
      else this.#replies.rawData(slot);
      return true;
    }
    const isLast = this.#sentBytes === this.#slots.lengthBytes[this.#parent]!;
    const inUse = this.#replies.dataChunks(slot, false, isLast ? ChunkFlag.done : 0);
    // The last chunk must not overtake a hole that waits for the end of the turn.
    this.#replies.flush();
    return inUse;
  }

  #fail(): LongReadState {
    const isReportable = this.#replies.structured || this.#sentBytes === 0;
    if (isReportable) this.#replies.failure(this.#parent, this.#errno);
    this.#parent = -1;
    return isReportable ? "answered" : "broken";
  }
}
