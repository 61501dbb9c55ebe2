/**
 * Memory of another process, and the events by which two processes wake each other: what arrives
 * as file descriptors over a unix socket.
 */
import type { DiskMemory } from "./disk.ts";

/** Offsets and lengths of mappings are multiples of this. */
export const SHARED_PAGE_BYTES = 4096;

/**
 * A file whose bytes another process sees too. Its size never shrinks: adapters refuse files of
 * which that is not certain, since a mapping of bytes that are gone kills whoever touches them.
 */
export interface SharedFile {
  readonly sizeBytes: number;
  /** `offset + lengthBytes` lies within the file. Fails with `memory-not-mappable`. */
  map(offset: number, lengthBytes: number): SharedMapping;
  /** Mappings live on. */
  close(): void;
}

export interface SharedMapping {
  /** The other process may change these bytes at any moment: look at each of them once. */
  readonly memory: DiskMemory;
  /** Nobody uses `memory` any more. */
  release(): void;
  /**
   * As `release`, if somebody may still have a view: it reads as zeroes, as long as it is there.
   */
  retire(): void;
}

/** Wakes the other process, or is how it wakes this one: a counter that both can add to. */
export interface RemoteEvent {
  /** Calls back, from the event loop, after the other process has signalled. Called once. */
  watch(onSignal: () => void): void;
  /** Never waits, whatever the other process does. */
  signal(): void;
  /** No callback comes after the call. */
  close(): void;
}

/** What came with a message: the receiver says what it takes it for, once, or closes it. */
export interface ReceivedDescriptor {
  /** Fails with `memory-not-mappable`; the descriptor is closed then. */
  asFile(): SharedFile;
  /** Fails with `event-invalid`; the descriptor is closed then. */
  asEvent(): RemoteEvent;
  /** Fails with `stream-invalid`; the descriptor is closed then. */
  asStream(): DescriptorStream;
  close(): void;
}

/** A connection that carries descriptors beside bytes. */
export interface DescriptorStream {
  /** Called once; `readable` comes, from the event loop, while there is anything to receive. */
  start(handler: DescriptorStreamHandler): void;
  /** Stops and restarts the callbacks. */
  pause(): void;
  resume(): void;
  /**
   * Takes at most `lengthBytes` of what has arrived; the number of bytes, 0 if nothing is there
   * now, -1 after the end. Descriptors that were sent with the first of these bytes are added to
   * `descriptors`. Fails with `descriptors-invalid` if there were more than a message may have.
   */
  receive(
    target: Uint8Array,
    targetAt: number,
    lengthBytes: number,
    descriptors: ReceivedDescriptor[],
  ): number;
  /**
   * Files and events must come from the same adapter. False if the other end does not take what it
   * was sent: messages are short, so it is not waited for.
   */
  send(bytes: Uint8Array, carried: readonly (SharedFile | RemoteEvent)[]): boolean;
  /** No callback comes after the call. */
  close(): void;
}

export interface DescriptorStreamHandler {
  readable(): void;
}

export interface SocketOwner {
  readonly userId: number;
  readonly groupId: number;
}

/** Memory and events that processes of one machine share. */
export interface SharedMemory {
  /** A new file of zeroes. */
  createFile(name: string, sizeBytes: number): SharedFile;
  createEvent(): RemoteEvent;
  /**
   * At the path of a unix socket, for the owner of the process and its group, or for another one.
   * Fails as `Network.listen`.
   */
  listen(
    path: string,
    accept: (stream: DescriptorStream) => void,
    owner?: SocketOwner,
  ): Promise<DescriptorListener>;
  /** Fails as `Network.connect`. */
  connect(path: string): Promise<DescriptorStream>;
}

export interface DescriptorListener {
  /** No new streams; those that exist live on. */
  close(): Promise<void>;
}
