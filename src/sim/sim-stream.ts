import { assert, equalBytes } from "../base/index.ts";
import type { ByteStream, ByteStreamHandler } from "../ports/index.ts";
import type { FabricStream, NetworkFabric } from "./network-fabric.ts";
import type { SimMachine } from "./sim-machine.ts";

const HIGH_WATER_BYTES = 256 * 1024;
const PIECE_BYTES_MAX = 64 * 1024;
const POISON = 0xe7;
/**
 * How often what could be done at once happens as an event of its own, with others in between: each
 * costs as much as the work itself, so it is not always.
 */
const LATER_SHARE = 0.15;
const ONE_TURN: Promise<void> = Promise.resolve();

interface Queued {
  readonly bytes: Uint8Array;
  /** As the bytes were when they were queued. */
  readonly copy: Uint8Array;
  readonly token: number;
  sent: number;
}

type Frame =
  | { readonly kind: "data"; readonly timeMs: number; readonly bytes: Uint8Array }
  | { readonly kind: "end"; readonly timeMs: number }
  | { readonly kind: "reset"; readonly timeMs: number };

export interface SimStreamOptions {
  readonly machine: SimMachine;
  readonly fabric: NetworkFabric;
  readonly localAddress: string;
  readonly remoteAddress: string;
}

/**
 * One end of a connection. Bytes go from `write` into the queue, from there (as the window allows)
 * onto the way, from there into the other end's inbox, and from there in pieces of random size to
 * its handler.
 */
export class SimStream implements ByteStream, FabricStream {
  readonly remote: string;
  readonly localAddress: string;
  readonly remoteAddress: string;
  readonly #machine: SimMachine;
  readonly #fabric: NetworkFabric;
  #peer: SimStream | undefined;
  #handler: ByteStreamHandler | undefined;
  readonly #queue: Queued[] = [];
  #queuedBytes = 0;
  readonly #way: Frame[] = [];
  #wayBytes = 0;
  #lastArrivalMs = 0;
  readonly #inbox: Uint8Array[] = [];
  #inboxBytes = 0;
  #isPaused = false;
  #wantsDrain = false;
  #isEnding = false;
  #endSent = false;
  #endReceived = false;
  #endReported = false;
  #isClosed = false;
  #closedBecause: string | undefined;
  #pumpDue = false;
  #deliveryDue = false;

  constructor(options: SimStreamOptions) {
    this.#machine = options.machine;
    this.#fabric = options.fabric;
    this.localAddress = options.localAddress;
    this.remoteAddress = options.remoteAddress;
    this.remote = options.remoteAddress;
    this.#fabric.track(this);
  }

  static join(a: SimStream, b: SimStream): void {
    a.#peer = b;
    b.#peer = a;
  }

  start(handler: ByteStreamHandler): void {
    assert(this.#handler === undefined, "a stream is started once");
    this.#handler = handler;
    if (this.#isClosed) this.#machine.schedule(0, () => handler.closed(this.#closedBecause));
    else this.#deliverSoon();
  }

  write(bytes: Uint8Array, token: number): boolean {
    assert(!this.#isEnding, "nothing may be written after end");
    if (this.#isClosed) return false;
    const copy = this.#fabric.piece(bytes.length);
    copy.set(bytes);
    this.#queue.push({ bytes, copy, token, sent: 0 });
    this.#queuedBytes += bytes.length;
    this.#pumpSoon();
    if (this.#queuedBytes <= HIGH_WATER_BYTES) return true;
    this.#wantsDrain = true;
    return false;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#deliverSoon();
  }

  end(): void {
    if (this.#isEnding || this.#isClosed) return;
    this.#isEnding = true;
    this.#pumpSoon();
  }

  destroy(): void {
    if (this.#isClosed) return;
    const isClean = this.#queue.length === 0 && this.#fabric.prng.chance(0.5);
    this.#send(isClean ? "end" : "reset");
    this.#close(undefined);
  }

  /** Fault: this end and the other see a reset. */
  reset(): void {
    const peer = this.#peer;
    if (peer !== undefined) peer.#close("connection reset");
    this.#close("connection reset");
  }

  /**
   * The process is gone and its kernel says so to the other end; no callback comes here any more.
   */
  abandon(last: "reset" | "end"): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#send(last);
  }

  pathChanged(): void {
    this.#arrive();
  }

  #pumpSoon(): void {
    if (this.#pumpDue || this.#isClosed) return;
    this.#pumpDue = true;
    if (this.#fabric.prng.chance(LATER_SHARE)) this.#machine.schedule(0, this.#pumpNow);
    else void ONE_TURN.then(this.#pumpAfterTurn);
  }

  readonly #pumpNow = (): void => {
    this.#pumpDue = false;
    this.#pump(true);
  };

  readonly #pumpAfterTurn = (): void => {
    if (!this.#machine.isRunning) return this.#machine.schedule(0, this.#pumpNow);
    this.#pumpDue = false;
    this.#pump(false);
  };

  /** Hands queued bytes to the way as far as the window allows, then tells the handler. */
  #pump(wasLater: boolean): void {
    if (this.#isClosed) return;
    const written: number[] = [];
    // Taken out of the queue at once: from a long one each by itself would take as long as all.
    let sentWhole = 0;
    for (let room = this.#room(); sentWhole < this.#queue.length; room = this.#room()) {
      const head = this.#queue[sentWhole]!;
      const count = Math.min(room, head.copy.length - head.sent);
      if (count === 0 && head.copy.length > 0) break;
      const part = head.copy.subarray(head.sent, head.sent + count);
      const isAsWritten = (): boolean =>
        equalBytes(head.bytes.subarray(head.sent, head.sent + count), part);
      assert(!wasLater || isAsWritten(), "bytes changed before they were written");
      if (count > 0) this.#sendData(part);
      head.sent += count;
      this.#queuedBytes -= count;
      if (head.sent < head.copy.length) break;
      sentWhole++;
      if (head.token >= 0) written.push(head.token);
    }
    this.#queue.splice(0, sentWhole);
    for (const token of written) this.#handler?.written(token);
    if (this.#wantsDrain && this.#queuedBytes === 0) {
      this.#wantsDrain = false;
      this.#handler?.drained();
    }
    if (this.#isEnding && this.#queue.length === 0 && !this.#endSent) {
      this.#endSent = true;
      this.#send("end");
      this.#closeIfBothEnded();
    }
  }

  #room(): number {
    const unread = this.#peer === undefined ? 0 : this.#peer.#inboxBytes;
    return Math.max(0, this.#fabric.windowBytes - this.#wayBytes - unread);
  }

  #sendData(bytes: Uint8Array): void {
    this.#wayBytes += bytes.length;
    this.#way.push({ kind: "data", timeMs: this.#arrivalMs(), bytes });
  }

  #send(kind: "end" | "reset"): void {
    this.#way.push({ kind, timeMs: this.#arrivalMs() });
  }

  /**
   * In order: never before what was sent earlier. What is on its way arrives even if the sender
   * dies.
   */
  #arrivalMs(): number {
    const simulation = this.#fabric.simulation;
    const timeMs = simulation.nowMs + this.#fabric.drawLatencyMs();
    this.#lastArrivalMs = Math.max(this.#lastArrivalMs, timeMs);
    simulation.schedule(this.#lastArrivalMs - simulation.nowMs, this.#arriveNow);
    return this.#lastArrivalMs;
  }

  readonly #arriveNow = (): void => this.#arrive();

  #arrive(): void {
    const peer = this.#peer;
    if (peer === undefined) return;
    const nowMs = this.#fabric.simulation.nowMs;
    while (this.#way.length > 0 && this.#way[0]!.timeMs <= nowMs) {
      if (this.#fabric.isBlocked(this.localAddress, this.remoteAddress)) return;
      const frame = this.#way.shift()!;
      if (frame.kind === "data") this.#wayBytes -= frame.bytes.length;
      peer.#receive(frame);
    }
    this.#forgetIfOver();
  }

  #receive(frame: Frame): void {
    if (!this.#machine.isOn && !this.#fabric.isAlive(this.localAddress)) return;
    if (!this.#machine.isOn || this.#isClosed) {
      // Nobody is here any more, and the kernel says so.
      if (frame.kind === "data") this.#send("reset");
      return;
    }
    if (frame.kind === "reset") {
      this.#close("connection reset");
      return;
    }
    if (frame.kind === "end") this.#endReceived = true;
    else {
      this.#inbox.push(frame.bytes);
      this.#inboxBytes += frame.bytes.length;
    }
    if (this.#deliveryDue || !this.#machine.isRunning || this.#fabric.prng.chance(LATER_SHARE))
      this.#deliverSoon();
    else this.#deliver();
  }

  #deliverSoon(): void {
    if (this.#deliveryDue || this.#isClosed || this.#isPaused) return;
    if (this.#handler === undefined) return;
    if (this.#inboxBytes === 0 && (!this.#endReceived || this.#endReported)) return;
    this.#deliveryDue = true;
    this.#machine.schedule(0, this.#deliverNow);
  }

  readonly #deliverNow = (): void => {
    this.#deliveryDue = false;
    this.#deliver();
  };

  #deliver(): void {
    if (this.#isClosed || this.#isPaused || this.#handler === undefined) return;
    if (this.#inboxBytes > 0) {
      const piece = this.#takePiece();
      this.#handler.data(piece);
      piece.fill(POISON);
      const peer = this.#peer;
      if (peer !== undefined && peer.#queue.length > 0) peer.#pumpSoon();
      this.#deliverSoon();
    } else if (this.#endReceived && !this.#endReported) {
      this.#endReported = true;
      this.#handler.ended();
      this.#closeIfBothEnded();
    }
  }

  /** Of any size, across the borders of what was written. */
  #takePiece(): Uint8Array {
    const { prng, smallPieceShare } = this.#fabric;
    const limit = prng.chance(smallPieceShare)
      ? prng.between(1, 64)
      : prng.between(1, PIECE_BYTES_MAX);
    const first = this.#inbox[0]!;
    const isAlone = this.#inbox.length === 1 || prng.chance(0.5);
    if (first.length <= limit && isAlone) {
      this.#inboxBytes -= first.length;
      return this.#inbox.shift()!;
    }
    const piece = this.#fabric.piece(Math.min(limit, this.#inboxBytes));
    let filled = 0;
    while (filled < piece.length) {
      const head = this.#inbox[0]!;
      const count = Math.min(head.length, piece.length - filled);
      piece.set(head.subarray(0, count), filled);
      filled += count;
      if (count === head.length) this.#inbox.shift();
      else this.#inbox[0] = head.subarray(count);
    }
    this.#inboxBytes -= piece.length;
    return piece;
  }

  /** A closed end may still have bytes on the way that a healing path must move on. */
  #forgetIfOver(): void {
    if (this.#isClosed && this.#way.length === 0) this.#fabric.forget(this);
  }

  #closeIfBothEnded(): void {
    if (this.#endSent && this.#endReported) this.#close(undefined);
  }

  #close(reason: string | undefined): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#closedBecause = reason;
    this.#forgetIfOver();
    this.#inbox.length = 0;
    this.#inboxBytes = 0;
    const unsent = this.#queue.splice(0);
    this.#machine.schedule(0, () => {
      for (const { token } of unsent) if (token >= 0) this.#handler?.written(token);
      this.#handler?.closed(reason);
    });
  }
}
