/**
 * A volume that is served elsewhere over NBD and may move: `connect` finds out where it is now.
 * When a connection breaks, everything that was not answered is sent again over the next one, in
 * the order of the calls. That changes nothing: a server lets overlapping requests take effect in
 * the order in which they arrive, and answers in order what overlaps; so when a later overlapping
 * write was answered, the earlier one was, too, and is not sent again.
 *
 * Clients see latency instead of errors, up to a deadline.
 */
import { assert, CodedError, errorText } from "../../base/index.ts";
import type { Extent, IoDone, IoFault, VolumeIo } from "../../object/index.ts";
import type { ByteStream, Clock, DiskMemory, Log, Timer } from "../../ports/index.ts";
import { NbdClientStream } from "./nbd-client-stream.ts";
import type { ClientRequest } from "./nbd-client-stream.ts";
import { Command, CommandFlag, Errno } from "./wire.ts";

const RETRY_MS_MIN = 20;
const RETRY_MS_MAX = 500;
const DEADLINE_MS = 60_000;
const ATTEMPT_MS = 5000;
const COPY_BYTES_HIGH = 32 << 20;
const COPY_BYTES_LOW = 16 << 20;

export interface RelayWorld {
  readonly clock: Clock;
  readonly log: Log;
  /** A new connection to whoever serves the volume now. May take its time, and may fail. */
  readonly connect: () => Promise<ByteStream>;
}

interface Held extends ClientRequest {
  readonly done: IoDone;
  readonly token: number;
  readonly calledMs: number;
  readonly target: DiskMemory | undefined;
  readonly targetAt: number;
}

export class RelayVolume implements VolumeIo {
  readonly name: string;
  readonly readOnly: boolean = false;
  readonly #world: RelayWorld;
  /** Called and not answered, in order. */
  readonly #held = new Map<number, Held>();
  readonly #roomCallbacks: (() => void)[] = [];
  #nextCookie = 1;
  #copyBytes = 0;
  #client: NbdClientStream | undefined;
  #sizeBytes = 0;
  #delayMs = RETRY_MS_MIN;
  #timer: Timer | undefined;
  #isConnecting = false;
  #isClosed = false;
  /** Connections that were lost so far. */
  moves = 0;

  private constructor(name: string, world: RelayWorld) {
    this.name = name;
    this.#world = world;
  }

  /** Resolves when the first connection stands. Fails as that does. */
  static async open(name: string, world: RelayWorld): Promise<RelayVolume> {
    const volume = new RelayVolume(name, world);
    await volume.#connect();
    return volume;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  close(): void {
    this.#isClosed = true;
    this.#timer?.cancel();
    this.#client?.close();
    for (const cookie of [...this.#held.keys()]) this.#answer(cookie, "shutting-down");
  }

  allocate(lengthBytes: number): DiskMemory {
    return { bytes: new Uint8Array(lengthBytes), handle: { address: 0, lengthBytes } };
  }

  read(
    target: DiskMemory,
    targetAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    const request = { command: Command.read, flags: 0, offset, lengthBytes, payload: undefined };
    this.#hold({ ...request, done, token, target, targetAt });
  }

  write(
    source: Uint8Array,
    sourceAt: number,
    lengthBytes: number,
    offset: number,
    done: IoDone,
    token: number,
  ): void {
    const payload = source.slice(sourceAt, sourceAt + lengthBytes);
    this.#copyBytes += lengthBytes;
    const request = { command: Command.write, flags: 0, offset, lengthBytes, payload };
    this.#hold({ ...request, done, token, target: undefined, targetAt: 0 });
  }

  discard(offset: number, lengthBytes: number, done: IoDone, token: number): void {
    this.#change(Command.trim, 0, offset, lengthBytes, done, token);
  }

  writeZeroes(
    offset: number,
    lengthBytes: number,
    keepAllocated: boolean,
    done: IoDone,
    token: number,
  ): void {
    const flags = keepAllocated ? CommandFlag.noHole : 0;
    this.#change(Command.writeZeroes, flags, offset, lengthBytes, done, token);
  }

  flush(done: IoDone, token: number): void {
    this.#change(Command.flush, 0, 0, 0, done, token);
  }

  /** What is a hole is known elsewhere; all of it may be data. */
  async extents(offset: number, lengthBytes: number): Promise<readonly Extent[]> {
    return [{ kind: "data", offset, lengthBytes }];
  }

  hasRoom(): boolean {
    return this.#copyBytes <= COPY_BYTES_HIGH;
  }

  onRoom(callback: () => void): void {
    this.#roomCallbacks.push(callback);
    if (this.#copyBytes <= COPY_BYTES_LOW) void Promise.resolve().then(this.#wake);
  }

  submit(): void {
    this.#client?.flush();
  }

  readonly #wake = (): void => {
    for (const callback of this.#roomCallbacks.splice(0)) callback();
  };

  #change(
    command: number,
    flags: number,
    offset: number,
    lengthBytes: number,
    done: IoDone,
    token: number,
  ): void {
    const request = { command, flags, offset, lengthBytes, payload: undefined };
    this.#hold({ ...request, done, token, target: undefined, targetAt: 0 });
  }

  #hold(request: Omit<Held, "calledMs">): void {
    const cookie = this.#nextCookie++;
    this.#held.set(cookie, { ...request, calledMs: this.#world.clock.nowMs() });
    this.#client?.send(cookie, request);
  }

  #answer(cookie: number, fault: IoFault | undefined): void {
    const held = this.#held.get(cookie);
    assert(held !== undefined, "a request is answered once");
    this.#held.delete(cookie);
    if (held.payload !== undefined) this.#copyBytes -= held.payload.length;
    held.done(held.token, fault);
    if (this.#roomCallbacks.length > 0 && this.#copyBytes <= COPY_BYTES_LOW) this.#wake();
  }

  async #connect(): Promise<void> {
    const stream = await this.#world.connect();
    const client = new NbdClientStream(stream, this.name, this.#world.clock, {
      replied: (cookie, errno) => this.#replied(cookie, errno),
      targetOf: (cookie) => {
        const held = this.#held.get(cookie);
        if (held?.target === undefined) return undefined;
        return { bytes: held.target.bytes, at: held.targetAt, lengthBytes: held.lengthBytes };
      },
      lost: (reason) => this.#lost(client, reason),
    });
    this.#sizeBytes = await client.negotiate(ATTEMPT_MS);
    if (this.#isClosed) {
      client.close();
      return;
    }
    this.#client = client;
    this.#delayMs = RETRY_MS_MIN;
    for (const [cookie, held] of this.#held) client.send(cookie, held);
    client.flush();
  }

  #replied(cookie: number, errno: number): void {
    if (!this.#held.has(cookie)) return;
    // The server is going away: somebody else will answer.
    if (errno === Errno.shutdown) return;
    const isFull = errno === Errno.noSpace;
    this.#answer(cookie, errno === Errno.none ? undefined : isFull ? "no-space" : "io-error");
  }

  #lost(client: NbdClientStream, reason: string): void {
    if (this.#isClosed || (this.#client !== client && this.#client !== undefined)) return;
    if (this.#client === client) this.moves++;
    this.#client = undefined;
    const { name } = this;
    this.#world.log.write("info", `the way to volume ${name} is gone: ${reason}`, {
      waiting: this.#held.size,
    });
    this.#retry(0);
  }

  #retry(delayMs: number): void {
    if (this.#isClosed || this.#isConnecting) return;
    this.#timer?.cancel();
    this.#timer = this.#world.clock.after(delayMs, () => {
      this.#isConnecting = true;
      this.#connect()
        .catch((error: unknown) => {
          if (!(error instanceof CodedError))
            this.#world.log.write("error", `a relay failed: ${errorText(error)}`);
          this.#expire();
        })
        .finally(() => {
          this.#isConnecting = false;
          if (this.#client !== undefined) return;
          this.#retry(this.#delayMs);
          this.#delayMs = Math.min(2 * this.#delayMs, RETRY_MS_MAX);
        });
    });
  }

  /** What has waited for too long fails; the rest goes on waiting. */
  #expire(): void {
    const limitMs = this.#world.clock.nowMs() - DEADLINE_MS;
    for (const [cookie, { calledMs }] of this.#held)
      if (calledMs < limitMs) this.#answer(cookie, "io-error");
  }
}
