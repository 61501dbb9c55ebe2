/**
 * One connection to an NBD server as a volume. When it ends everything that was not answered is
 * `unreachable`, and so is everything later. A server that says nothing although something is asked
 * of it makes the connection end only once `isCurrent` says that it is not the one to ask any more:
 * before that it may be at work, and what it was sent may yet take effect.
 */
import { assert, CodedError } from "../../base/index.ts";
import type { Extent, IoDone, IoFault, VolumeIo } from "../../object/index.ts";
import type { ByteStream, Clock, DiskMemory, Timer } from "../../ports/index.ts";
import { NbdClientStream } from "./nbd-client-stream.ts";
import { Command, CommandFlag, Errno } from "./wire.ts";

const HANDSHAKE_MS_MAX = 5000;
const SILENCE_MS = 500;

export interface RemoteExportWorld {
  readonly clock: Clock;
  /** Whether the server at the other end is still the one that serves the volume. */
  readonly isCurrent: () => Promise<boolean>;
}

export interface RemoteExportEvents {
  /** Called once, when the connection has ended. */
  stopped(volume: RemoteExport, reason: string): void;
}

interface Asked {
  readonly done: IoDone;
  readonly token: number;
  readonly target: DiskMemory | undefined;
  readonly targetAt: number;
  readonly lengthBytes: number;
}

export class RemoteExport implements VolumeIo {
  readonly name: string;
  readonly readOnly: boolean = false;
  readonly #world: RemoteExportWorld;
  readonly #client: NbdClientStream;
  readonly #events: RemoteExportEvents;
  readonly #asked = new Map<number, Asked>();
  #nextCookie = 1;
  #heardMs = 0;
  #timer: Timer | undefined;
  #isOver = false;
  #sizeBytes = 0;

  private constructor(
    name: string,
    stream: ByteStream,
    world: RemoteExportWorld,
    events: RemoteExportEvents,
  ) {
    this.name = name;
    this.#world = world;
    this.#events = events;
    this.#client = new NbdClientStream(stream, name, world.clock, {
      replied: (cookie, errno) => this.#replied(cookie, errno),
      targetOf: (cookie) => this.#targetOf(cookie),
      lost: (reason) => this.#end(reason),
    });
  }

  /** Fails with `nbd-refused`. */
  static async open(
    stream: ByteStream,
    name: string,
    world: RemoteExportWorld,
    events: RemoteExportEvents,
  ): Promise<RemoteExport> {
    const volume = new RemoteExport(name, stream, world, events);
    volume.#sizeBytes = await volume.#client.negotiate(HANDSHAKE_MS_MAX);
    if (volume.#isOver)
      throw new CodedError({ code: "nbd-refused", message: "the connection was closed at once" });
    return volume;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  close(): void {
    if (this.#isOver) return;
    this.#client.close();
    this.#end("it was closed here");
  }

  allocate(lengthBytes: number): DiskMemory {
    return plainMemory(lengthBytes);
  }

  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    const cookie = this.#ask({ done, token, target, targetAt, lengthBytes });
    this.#send(cookie, Command.read, 0, offset, lengthBytes);
  }

  /** Nothing of it is in this host's memory. */
  readNow(): boolean {
    return false;
  }

  /** The bytes must not change before the answer. */
  write(
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    const payload = source.subarray(sourceAt, sourceAt + lengthBytes);
    const cookie = this.#ask({ done, token, target: undefined, targetAt: 0, lengthBytes });
    this.#send(cookie, Command.write, 0, offset, lengthBytes, payload);
  }

  discard(offset: number, lengthBytes: number, done: IoDone, token: number): void {
    const cookie = this.#ask({ done, token, target: undefined, targetAt: 0, lengthBytes });
    this.#send(cookie, Command.trim, 0, offset, lengthBytes);
  }

  writeZeroes(
    offset: number,
    lengthBytes: number,
    keepAllocated: boolean,
    done: IoDone,
    token: number,
  ): void {
    const cookie = this.#ask({ done, token, target: undefined, targetAt: 0, lengthBytes });
    const flags = keepAllocated ? CommandFlag.noHole : 0;
    this.#send(cookie, Command.writeZeroes, flags, offset, lengthBytes);
  }

  flush(done: IoDone, token: number): void {
    const cookie = this.#ask({ done, token, target: undefined, targetAt: 0, lengthBytes: 0 });
    this.#send(cookie, Command.flush, 0, 0, 0);
  }

  /** What is a hole is known elsewhere; all of it may be data. */
  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    return [{ kind: "data", offset, lengthBytes }];
  }

  /** Whoever asks bounds what it asks. */
  hasRoom(): boolean {
    return true;
  }

  onRoom(callback: () => void): void {
    this.#world.clock.after(0, callback);
  }

  submit(): void {
    this.#client.flush();
  }

  #ask(asked: Asked): number {
    const cookie = this.#nextCookie++;
    if (this.#asked.size === 0) this.#heardMs = this.#world.clock.nowMs();
    this.#asked.set(cookie, asked);
    if (this.#isOver) void Promise.resolve().then(() => this.#answer(cookie, "unreachable"));
    else this.#timer ??= this.#listenOn();
    return cookie;
  }

  #send(
    cookie: number,
    command: number,
    flags: number,
    offset: number,
    lengthBytes: number,
    payload?: Uint8Array,
  ): void {
    if (!this.#isOver) this.#client.send(cookie, { command, flags, offset, lengthBytes, payload });
  }

  #targetOf(cookie: number): { bytes: Uint8Array; at: number; lengthBytes: number } | undefined {
    const asked = this.#asked.get(cookie);
    if (asked?.target === undefined) return undefined;
    return { bytes: asked.target.bytes, at: asked.targetAt, lengthBytes: asked.lengthBytes };
  }

  #replied(cookie: number, errno: number): void {
    this.#heardMs = this.#world.clock.nowMs();
    if (this.#asked.has(cookie)) this.#answer(cookie, faultOf(errno));
  }

  #answer(cookie: number, fault: IoFault | undefined): void {
    const asked = this.#asked.get(cookie);
    assert(asked !== undefined, "a request is answered once");
    this.#asked.delete(cookie);
    asked.done(asked.token, fault);
  }

  #end(reason: string): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#timer?.cancel();
    this.#events.stopped(this, reason);
    for (const cookie of [...this.#asked.keys()]) this.#answer(cookie, "unreachable");
  }

  #listenOn(): Timer {
    return this.#world.clock.after(SILENCE_MS, () => void this.#checkSilence());
  }

  async #checkSilence(): Promise<void> {
    const isSilent =
      this.#asked.size > 0 && this.#world.clock.nowMs() - this.#heardMs >= SILENCE_MS;
    if (isSilent && !(await this.#isCurrent()) && !this.#isOver) {
      this.#client.close();
      this.#end("the server says nothing, and another one serves the volume");
    }
    if (!this.#isOver) this.#timer = this.#asked.size > 0 ? this.#listenOn() : undefined;
  }

  /** Not to know where the volume is is no reason to leave. */
  async #isCurrent(): Promise<boolean> {
    try {
      return await this.#world.isCurrent();
    } catch (error) {
      if (error instanceof CodedError) return true;
      throw error;
    }
  }
}

/** Memory that is read into by copying. */
export function plainMemory(lengthBytes: number): DiskMemory {
  return { bytes: new Uint8Array(lengthBytes), handle: { address: 0, lengthBytes } };
}

function faultOf(errno: number): IoFault | undefined {
  if (errno === Errno.none) return undefined;
  // The server is going away: another one will answer.
  if (errno === Errno.shutdown) return "not-owner";
  return errno === Errno.noSpace ? "no-space" : "io-error";
}
