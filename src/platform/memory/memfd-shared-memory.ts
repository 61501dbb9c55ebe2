/**
 * A unix socket that carries descriptors, and what makes such sockets. Node's own sockets lose
 * descriptors, so they only listen and connect; the connection then goes on without them.
 */
import { chownSync, readlinkSync } from "node:fs";
import type { Socket } from "node:net";
import { assert, CodedError, errorText } from "../../base/index.ts";
import type {
  DescriptorListener,
  DescriptorStream,
  DescriptorStreamHandler,
  Log,
  NetworkAddress,
  ReceivedDescriptor,
  RemoteEvent,
  SharedFile,
  SharedMemory,
  SocketOwner,
} from "../../ports/index.ts";
import { EventCounter } from "./event-counter.ts";
import { MemoryFile } from "./memory-file.ts";
import { PollWatcher } from "./poll-watcher.ts";
import {
  DESCRIPTORS_MAX,
  duplicate,
  MESSAGE_PIECE_BYTES_MAX,
  receiveMessage,
  sendMessage,
} from "./shared-sys.ts";
import { descriptorOf } from "../network/socket-stream.ts";
import { listenForSockets, openSocket } from "../network/stream-network.ts";
import { closeDescriptor, SystemCallError } from "../sys.ts";

export class MemfdSharedMemory implements SharedMemory {
  readonly #log: Log | undefined;

  constructor(log?: Log) {
    this.#log = log;
  }

  createFile(name: string, sizeBytes: number): SharedFile {
    return MemoryFile.create(name, sizeBytes);
  }

  createEvent(): RemoteEvent {
    return EventCounter.create();
  }

  async listen(
    path: string,
    accept: (stream: DescriptorStream) => void,
    owner?: SocketOwner,
  ): Promise<DescriptorListener> {
    const address: NetworkAddress = { kind: "unix", path };
    const take = (socket: Socket): void => {
      const stream = this.#tryTakeOver(socket, path);
      if (stream !== undefined) accept(stream);
    };
    const listener = await listenForSockets(address, take, this.#log);
    try {
      if (owner !== undefined) chownSync(path, owner.userId, owner.groupId);
    } catch (error) {
      await listener.close();
      throw ownerFault(path, error);
    }
    return { close: () => listener.close() };
  }

  /** Where descriptors have run out a client goes away, and the listener stays. */
  #tryTakeOver(socket: Socket, path: string): DescriptorStream | undefined {
    try {
      return takeOver(socket);
    } catch (error) {
      const fields = { address: path, cause: errorText(error) };
      this.#log?.write("warning", "a connection could not be accepted", fields);
      return undefined;
    }
  }

  async connect(path: string): Promise<DescriptorStream> {
    return takeOver(await openSocket({ kind: "unix", path }));
  }
}

function ownerFault(path: string, cause: unknown): CodedError {
  const fault = {
    code: "permission-denied",
    message: `the socket ${path} cannot be given to another owner`,
    hint: "Run the host with the rights it needs, or leave the owner out",
  };
  return new CodedError(fault, { cause });
}

function takeOver(socket: Socket): DescriptorStream {
  try {
    return new SocketDescriptorStream(duplicate(descriptorOf(socket)));
  } finally {
    socket.destroy();
  }
}

class SocketDescriptorStream implements DescriptorStream {
  readonly #fd: number;
  #handler: DescriptorStreamHandler | undefined;
  #watcher: PollWatcher | undefined;
  #isClosed = false;

  constructor(fd: number) {
    this.#fd = fd;
  }

  start(handler: DescriptorStreamHandler): void {
    assert(this.#handler === undefined, "a stream is started once");
    this.#handler = handler;
    this.resume();
  }

  pause(): void {
    void this.#watcher?.close();
    this.#watcher = undefined;
  }

  resume(): void {
    const handler = this.#handler;
    assert(handler !== undefined && !this.#isClosed, "an open stream is resumed");
    this.#watcher ??= new PollWatcher(
      this.#fd,
      () => handler.readable(),
      () => undefined,
    );
  }

  receive(
    target: Uint8Array,
    targetAt: number,
    lengthBytes: number,
    descriptors: ReceivedDescriptor[],
  ): number {
    assert(!this.#isClosed, "a closed stream receives nothing");
    const wanted = Math.min(lengthBytes, MESSAGE_PIECE_BYTES_MAX);
    const fds: number[] = [];
    try {
      const { receivedBytes, truncated } = receiveMessage(this.#fd, target, targetAt, wanted, fds);
      for (const fd of fds) descriptors.push(new SocketDescriptor(fd));
      if (truncated) throw tooMany();
      return receivedBytes === 0 ? -1 : Math.max(receivedBytes, 0);
    } catch (error) {
      // As good as an end: the other side is gone.
      if (error instanceof SystemCallError && error.code === "ECONNRESET") return -1;
      throw error;
    }
  }

  send(bytes: Uint8Array, carried: readonly (SharedFile | RemoteEvent)[]): boolean {
    assert(!this.#isClosed, "a closed stream sends nothing");
    try {
      sendMessage(this.#fd, bytes, carried.map(fdOf));
      return true;
    } catch (error) {
      if (error instanceof SystemCallError) return false;
      throw error;
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.pause();
    closeDescriptor(this.#fd);
  }
}

function fdOf(carried: SharedFile | RemoteEvent): number {
  const isOurs = carried instanceof MemoryFile || carried instanceof EventCounter;
  assert(isOurs, "what is sent comes from this adapter");
  return carried.fd;
}

function tooMany(): CodedError {
  return new CodedError({
    code: "descriptors-invalid",
    message: `a client sent more than ${DESCRIPTORS_MAX} descriptors with a message`,
  });
}

function noSocket(link: string): CodedError {
  return new CodedError({
    code: "stream-invalid",
    message: `a client sent something else where a socket is expected: ${link}`,
  });
}

class SocketDescriptor implements ReceivedDescriptor {
  #fd: number;

  constructor(fd: number) {
    this.#fd = fd;
  }

  asFile(): SharedFile {
    return MemoryFile.receive(this.#take());
  }

  asEvent(): RemoteEvent {
    return EventCounter.receive(this.#take());
  }

  asStream(): DescriptorStream {
    const fd = this.#take();
    try {
      const link = readlinkSync(`/proc/self/fd/${fd}`);
      if (!link.startsWith("socket:")) throw noSocket(link);
      return new SocketDescriptorStream(fd);
    } catch (error) {
      closeDescriptor(fd);
      throw error;
    }
  }

  close(): void {
    closeDescriptor(this.#take());
  }

  #take(): number {
    const fd = this.#fd;
    assert(fd >= 0, "a descriptor is taken once");
    this.#fd = -1;
    return fd;
  }
}
