/**
 * A connection with descriptors within one process: two ends, and callbacks when a test says so.
 */
import assert from "node:assert/strict";
import { CodedError } from "../../src/base/index.ts";
import type {
  DescriptorStream,
  DescriptorStreamHandler,
  ReceivedDescriptor,
  RemoteEvent,
  SharedFile,
} from "../../src/ports/index.ts";
import { MemoryEvent, MemoryFile } from "./memory-file.ts";

type Carried = SharedFile | RemoteEvent | MemoryStream;

/** Descriptors that were received and neither taken nor closed. */
class MemoryDescriptor implements ReceivedDescriptor {
  readonly #carried: Carried;
  readonly #open: Set<MemoryDescriptor>;

  constructor(carried: Carried, open: Set<MemoryDescriptor>) {
    this.#carried = carried;
    this.#open = open;
    open.add(this);
  }

  asFile(): SharedFile {
    this.close();
    if (this.#carried instanceof MemoryFile) return this.#carried.another();
    throw new CodedError({ code: "memory-not-mappable", message: "it is no file in memory" });
  }

  asEvent(): RemoteEvent {
    this.close();
    if (this.#carried instanceof MemoryEvent) return this.#carried.another();
    throw new CodedError({ code: "event-invalid", message: "it is no event" });
  }

  asStream(): DescriptorStream {
    this.close();
    if (this.#carried instanceof MemoryStream) return this.#carried;
    throw new CodedError({ code: "stream-invalid", message: "it is no socket" });
  }

  close(): void {
    assert(this.#open.delete(this), "a descriptor is taken or closed once");
  }
}

interface Piece {
  readonly bytes: Uint8Array;
  readonly carried: readonly Carried[];
}

export class MemoryStream implements DescriptorStream {
  readonly openDescriptors: Set<MemoryDescriptor> = new Set<MemoryDescriptor>();
  isClosed = false;
  isPaused = false;
  /** Takes no more messages: as a socket whose buffer is full. */
  isFull = false;
  other: MemoryStream | undefined;
  readonly #pieces: Piece[] = [];
  #handler: DescriptorStreamHandler | undefined;

  static pair(): [MemoryStream, MemoryStream] {
    const one = new MemoryStream();
    const other = new MemoryStream();
    one.other = other;
    other.other = one;
    return [one, other];
  }

  start(handler: DescriptorStreamHandler): void {
    this.#handler = handler;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  receive(
    target: Uint8Array,
    targetAt: number,
    lengthBytes: number,
    descriptors: ReceivedDescriptor[],
  ): number {
    assert(!this.isClosed, "a closed stream receives nothing");
    const piece = this.#pieces.shift();
    if (piece === undefined) return this.other?.isClosed === true ? -1 : 0;
    const count = Math.min(lengthBytes, piece.bytes.length);
    target.set(piece.bytes.subarray(0, count), targetAt);
    for (const carried of piece.carried)
      descriptors.push(new MemoryDescriptor(carried, this.openDescriptors));
    if (count < piece.bytes.length)
      this.#pieces.unshift({ bytes: piece.bytes.subarray(count), carried: [] });
    return count;
  }

  send(bytes: Uint8Array, carried: readonly Carried[]): boolean {
    assert(!this.isClosed, "a closed stream sends nothing");
    const { other } = this;
    if (other === undefined || other.isClosed || this.isFull) return false;
    other.#pieces.push({ bytes: bytes.slice(), carried });
    return true;
  }

  close(): void {
    this.isClosed = true;
  }

  /** What the event loop does. False if there is nothing to tell. */
  deliver(): boolean {
    const hasNews = this.#pieces.length > 0 || this.other?.isClosed === true;
    if (this.isClosed || this.isPaused || this.#handler === undefined || !hasNews) return false;
    this.#handler.readable();
    return true;
  }
}
