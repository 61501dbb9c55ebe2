/**
 * The transmission phase of one connection: requests in, replies out, in any order.
 *
 * What is known about requests lives in slots; nothing is allocated per request. Everything a
 * client can make grow has a limit: requests in flight, memory for replies, bytes of writes. At a
 * limit `consume` stops, and the rest stays in the socket.
 */
import { assert, bugStack, CodedError, errorText } from "../../base/index.ts";
import type { Extent, IoFault, VolumeIo } from "../../object/index.ts";
import type { ByteStream } from "../../ports/index.ts";
import { faultErrno, requestErrno } from "./command-rules.ts";
import type { NbdRequest } from "./command-rules.ts";
import { LongRead } from "./long-read.ts";
import { READ_PIECE_BYTES_MAX } from "./read-memory.ts";
import type { ReadMemory } from "./read-memory.ts";
import { EXTENTS_DATA_BYTES, EXTENTS_MAX, ReplyWriter } from "./reply-writer.ts";
import { RequestParser } from "./request-parser.ts";
import type { Admission, RequestHandler } from "./request-parser.ts";
import { REQUESTS_IN_FLIGHT_MAX, RequestSlots } from "./request-slots.ts";
import { StatusQueue } from "./status-queue.ts";
import type { StatusOwner } from "./status-queue.ts";
import { Command, CommandFlag, Errno } from "./wire.ts";

/** Writes handed to the volume and not answered, per connection; one may always go. */
export const WRITE_BYTES_IN_FLIGHT_MAX: number = 16 << 20;

/** What the handshake agreed on. */
export interface Agreement {
  /** The canonical name of the export. */
  readonly exportName: string;
  readonly volume: VolumeIo;
  readonly structured: boolean;
  /** Block status was negotiated. */
  readonly allocationContext: boolean;
}

export interface TransmissionOwner {
  /** There may be room again after `consume` stopped early: hand in the rest. */
  proceed(): void;
  /** Every request is answered, and no more are wanted. */
  finished(): void;
  /** The connection cannot go on. */
  violation(reason: string): void;
}

export class Transmission implements RequestHandler, StatusOwner {
  readonly #owner: TransmissionOwner;
  readonly #memory: ReadMemory;
  readonly #volume: VolumeIo;
  readonly #allocationContext: boolean;
  readonly #slots = new RequestSlots();
  readonly #replies: ReplyWriter;
  readonly #parser: RequestParser;
  readonly #longRead: LongRead;
  readonly #statuses: StatusQueue;
  /** The slot whose payload is arriving. */
  #payloadSlot = 0;
  #unanswered = 0;
  #volumeRequests = 0;
  #writeBytes = 0;
  #requestsTotal = 0;
  #awaitsVolume = false;
  #submitDue = false;
  #turnDue = false;
  #stalled = false;
  #phase: "open" | "shutting-down" | "ending" | "ended" | "gone" = "open";
  #onIdle: (() => void) | undefined;

  constructor(
    stream: ByteStream,
    agreement: Agreement,
    memory: ReadMemory,
    owner: TransmissionOwner,
  ) {
    this.#owner = owner;
    this.#memory = memory;
    this.#volume = agreement.volume;
    this.#allocationContext = agreement.allocationContext;
    this.#replies = new ReplyWriter(stream, this.#slots, memory, agreement.structured);
    this.#parser = new RequestParser(this);
    this.#statuses = new StatusQueue(agreement.volume, this);
    this.#longRead = new LongRead(this.#slots, memory, this.#replies, this.#readPiece);
  }

  get requestsTotal(): number {
    return this.#requestsTotal;
  }

  /** Whether `consume` stopped for want of room. `proceed` will be called. */
  get stalled(): boolean {
    return this.#stalled;
  }

  /** Takes what it can of `bytes[start..end)` and returns where it stopped. */
  consume(bytes: Uint8Array, start: number, end: number): number {
    this.#stalled = false;
    const at = this.#parser.consume(bytes, start, end);
    this.#endTurn();
    return at;
  }

  /** The stream reports what it was given by this connection. */
  written(token: number): void {
    if (this.#phase === "gone") return;
    if (token >= REQUESTS_IN_FLIGHT_MAX) this.#replies.ring.written(token);
    else {
      this.#releaseSlot(token);
      this.#longRead.pump();
    }
    if (this.#stalled || this.#submitDue) this.#scheduleTurn();
  }

  /** The client sends nothing more. A request that has not arrived whole fails. */
  endInput(): void {
    if (this.#parser.isInPayload) {
      this.#slots.errno[this.#payloadSlot] = Errno.invalid;
      this.#partDone(this.#payloadSlot);
    }
    this.#finish();
  }

  /** Answers what is under way and refuses what still arrives, then reports `finished`. */
  shutDown(): void {
    if (this.#phase === "open") this.#phase = "shutting-down";
    this.#scheduleTurn();
  }

  /** Nothing is sent any more: the stream is being destroyed. */
  cutOff(): void {
    this.#phase = "gone";
    this.#statuses.stop();
    this.#parser.stop();
  }

  /** The stream is closed. `onIdle` is called once the volume no longer uses the memory. */
  abandon(onIdle: () => void): void {
    this.cutOff();
    this.#onIdle = onIdle;
    this.#reportIdle();
  }

  request(request: NbdRequest): Admission {
    const { command, lengthBytes } = request;
    if (command === Command.disconnect) {
      this.#finish();
      return "stop";
    }
    if (!this.#hasRoom(command, lengthBytes)) return this.#wait();
    let errno = requestErrno(request, this.#volume);
    if (errno === Errno.none) errno = this.#stateErrno(request);
    const memoryBytes = errno === Errno.none ? memoryBytesNeeded(command, lengthBytes) : 0;
    const page = memoryBytes === 0 ? -1 : this.#memory.take(memoryBytes);
    if (memoryBytes > 0 && page < 0) return this.#wait();
    const slot = this.#openSlot(request, page);
    if (command === Command.write) return this.#startWrite(slot, errno, request);
    if (errno === Errno.none) this.#dispatch(slot, request);
    else this.#answer(slot, errno);
    return "taken";
  }

  readonly payloadPiece = (
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
  ): void => {
    this.#countPart(this.#payloadSlot);
    this.#volume.write(source, sourceAt, lengthBytes, offset, this.#done, this.#payloadSlot);
  };

  payloadEnd(): void {
    this.#partDone(this.#payloadSlot);
  }

  violation(reason: string): void {
    this.#owner.violation(reason);
  }

  /** Answers what is under way, then reports `finished`. */
  #finish(): void {
    this.#parser.stop();
    if (this.#phase === "open" || this.#phase === "shutting-down") this.#phase = "ending";
    this.#scheduleTurn();
  }

  #wait(): Admission {
    this.#stalled = true;
    return "wait";
  }

  #hasRoom(command: number, lengthBytes: number): boolean {
    const used = this.#slots.usedCount;
    if (used === REQUESTS_IN_FLIGHT_MAX || !this.#replies.ring.hasRoom(used + 1)) return false;
    if (this.#longRead.isActive) return false;
    if (command === Command.write) return this.#hasRoomToWrite(lengthBytes);
    // A long read has the connection for itself: everything before it is answered first.
    return (
      command !== Command.read || lengthBytes <= READ_PIECE_BYTES_MAX || this.#unanswered === 0
    );
  }

  #hasRoomToWrite(lengthBytes: number): boolean {
    const inFlight = this.#writeBytes;
    if (inFlight > 0 && inFlight + lengthBytes > WRITE_BYTES_IN_FLIGHT_MAX) return false;
    if (this.#volume.hasRoom()) return true;
    if (!this.#awaitsVolume) {
      this.#awaitsVolume = true;
      this.#volume.onRoom(this.#volumeHasRoom);
    }
    return false;
  }

  readonly #volumeHasRoom = (): void => {
    this.#awaitsVolume = false;
    this.#scheduleTurn();
  };

  /** Refusals that depend on what was agreed on, or on the connection's end. */
  #stateErrno(request: NbdRequest): number {
    if (this.#phase === "shutting-down") return Errno.shutdown;
    if ((request.flags & CommandFlag.dontFragment) !== 0 && !this.#replies.structured) {
      return Errno.invalid;
    }
    if (request.command !== Command.blockStatus) return Errno.none;
    return this.#allocationContext && request.lengthBytes > 0 ? Errno.none : Errno.invalid;
  }

  #openSlot(request: NbdRequest, page: number): number {
    const slots = this.#slots;
    const slot = slots.take();
    slots.command[slot] = request.command;
    slots.cookieHigh[slot] = request.cookieHigh;
    slots.cookieLow[slot] = request.cookieLow;
    slots.offset[slot] = request.offset;
    slots.lengthBytes[slot] = request.lengthBytes;
    slots.dontFragment[slot] = (request.flags & CommandFlag.dontFragment) === 0 ? 0 : 1;
    slots.page[slot] = page;
    this.#unanswered++;
    this.#requestsTotal++;
    return slot;
  }

  #startWrite(slot: number, errno: number, request: NbdRequest): Admission {
    if (request.lengthBytes === 0) {
      this.#answer(slot, errno);
      return "taken";
    }
    this.#slots.errno[slot] = errno;
    this.#slots.parts[slot] = 1;
    this.#payloadSlot = slot;
    this.#writeBytes += request.lengthBytes;
    return errno === Errno.none ? "taken" : "refused";
  }

  #dispatch(slot: number, request: NbdRequest): void {
    const { command, flags, offset, lengthBytes } = request;
    if (command === Command.read) this.#startRead(slot, lengthBytes, offset);
    else if (command === Command.blockStatus) {
      const onlyOne = (flags & CommandFlag.requestOne) !== 0;
      const extentsMax = onlyOne ? 1 : EXTENTS_MAX;
      this.#statuses.add({ slot, offset, lengthBytes, extentsMax });
    } else if (command === Command.flush) {
      this.#countPart(slot);
      this.#volume.flush(this.#done, slot);
    } else if (command === Command.cache || lengthBytes === 0) this.#answer(slot, Errno.none);
    else if (command === Command.trim) {
      this.#countPart(slot);
      this.#volume.discard(offset, lengthBytes, this.#done, slot);
    } else {
      assert(command === Command.writeZeroes, "a command passed the rules and is not known");
      this.#countPart(slot);
      const keepAllocated = (flags & CommandFlag.noHole) !== 0;
      this.#volume.writeZeroes(offset, lengthBytes, keepAllocated, this.#done, slot);
    }
  }

  statusDone(slot: number, extents: readonly Extent[]): void {
    if (this.#phase === "gone") {
      this.#reportIdle();
      return;
    }
    assert(this.#phase !== "ended", "a connection ends after its last answer");
    this.#replies.blockStatus(slot, extents);
    this.#unanswered--;
    this.#scheduleTurn();
  }

  statusFailed(slot: number, error: unknown): void {
    if (this.#phase === "gone") this.#reportIdle();
    else if (error instanceof CodedError) this.#answer(slot, Errno.inputOutput);
    else {
      this.#owner.violation(
        `extents cannot be told, a bug: ${bugStack(error) ?? errorText(error)}`,
      );
    }
  }

  #startRead(slot: number, lengthBytes: number, offset: number): void {
    if (lengthBytes === 0) {
      this.#replies.emptyRead(slot);
      this.#unanswered--;
      this.#slots.release(slot);
    } else if (lengthBytes <= READ_PIECE_BYTES_MAX) {
      if (this.#readNow(slot, lengthBytes, offset)) this.#sendData(slot);
      else this.#readPiece(slot, lengthBytes, offset);
    } else if (this.#slots.dontFragment[slot] === 1) this.#answer(slot, Errno.overflow);
    else this.#longRead.start(slot);
  }

  /** From memory, within the turn that the request arrived in. */
  #readNow(slot: number, lengthBytes: number, offset: number): boolean {
    const dataAt = this.#memory.dataAt(this.#slots.page[slot]!);
    return this.#volume.readNow(this.#memory.memory, dataAt, lengthBytes, offset);
  }

  readonly #readPiece = (slot: number, lengthBytes: number, offset: number): void => {
    this.#countPart(slot);
    const dataAt = this.#memory.dataAt(this.#slots.page[slot]!);
    this.#volume.read(this.#memory.memory, dataAt, lengthBytes, offset, this.#done, slot);
  };

  #countPart(slot: number): void {
    this.#slots.parts[slot] = this.#slots.parts[slot]! + 1;
    this.#volumeRequests++;
    this.#submitDue = true;
  }

  readonly #done = (slot: number, fault: IoFault | undefined): void => {
    this.#volumeRequests--;
    if (this.#phase === "gone") {
      this.#reportIdle();
      return;
    }
    if (fault === "not-owner" || fault === "unreachable") {
      // Whether it was done is unknown, and it may be done elsewhere: an error would be a lie. A
      // client that connects again finds out.
      this.#owner.violation("the volume is not served here any more");
      return;
    }
    if (fault !== undefined && this.#slots.errno[slot] === Errno.none) {
      this.#slots.errno[slot] = faultErrno(fault);
    }
    this.#partDone(slot);
  };

  #partDone(slot: number): void {
    const parts = this.#slots.parts[slot]! - 1;
    this.#slots.parts[slot] = parts;
    if (parts > 0) return;
    const command = this.#slots.command[slot]!;
    const errno = this.#slots.errno[slot]!;
    if (command === Command.read) this.#readDone(slot, errno);
    else {
      if (command === Command.write) this.#writeBytes -= this.#slots.lengthBytes[slot]!;
      this.#answer(slot, errno);
    }
  }

  #readDone(slot: number, errno: number): void {
    if (this.#longRead.isActive) this.#longPieceDone(slot, errno);
    else if (errno !== Errno.none) this.#answer(slot, errno);
    else {
      this.#sendData(slot);
      if (!this.#replies.ring.isFlushed || this.#phase !== "open") this.#scheduleTurn();
    }
  }

  #sendData(slot: number): void {
    this.#unanswered--;
    if (!this.#replies.data(slot)) this.#releaseSlot(slot);
  }

  #longPieceDone(slot: number, errno: number): void {
    const parent = this.#longRead.parent;
    const state = this.#longRead.pieceDone(slot, errno);
    this.#longRead.pump();
    if (state === "broken") this.#owner.violation("a read failed after its reply had begun");
    else if (state === "answered") {
      this.#unanswered--;
      this.#slots.release(parent);
    }
    this.#scheduleTurn();
  }

  /** Ends a request with a short reply. */
  #answer(slot: number, errno: number): void {
    const command = this.#slots.command[slot]!;
    if (command === Command.read || command === Command.blockStatus) {
      this.#replies.failure(slot, errno);
    } else this.#replies.status(slot, errno);
    this.#unanswered--;
    this.#releaseSlot(slot);
    this.#scheduleTurn();
  }

  #releaseSlot(slot: number): void {
    const page = this.#slots.page[slot]!;
    if (page >= 0) this.#memory.release(page);
    this.#slots.release(slot);
  }

  /** One turn of the event loop may bring many completions: they are followed up together. */
  #scheduleTurn(): void {
    if (this.#turnDue || this.#phase === "gone") return;
    this.#turnDue = true;
    void Promise.resolve().then(this.#turn);
  }

  readonly #turn = (): void => {
    this.#turnDue = false;
    if (this.#phase === "gone") return;
    if (this.#stalled) this.#owner.proceed();
    this.#endTurn();
  };

  #endTurn(): void {
    if (this.#phase === "gone" || this.#phase === "ended") return;
    if (this.#submitDue) {
      this.#submitDue = false;
      this.#volume.submit();
    }
    this.#replies.flush();
    if (this.#phase === "open" || this.#unanswered > 0) return;
    this.#phase = "ended";
    this.#parser.stop();
    this.#owner.finished();
  }

  #reportIdle(): void {
    const onIdle = this.#onIdle;
    if (onIdle === undefined || this.#volumeRequests > 0 || this.#statuses.isUnderWay) return;
    this.#onIdle = undefined;
    this.#memory.releaseAll();
    onIdle();
  }
}

/** Memory that an answer needs from its start on. A long read takes its memory piece by piece. */
function memoryBytesNeeded(command: number, lengthBytes: number): number {
  if (command === Command.blockStatus) return EXTENTS_DATA_BYTES;
  return command === Command.read && lengthBytes <= READ_PIECE_BYTES_MAX ? lengthBytes : 0;
}
