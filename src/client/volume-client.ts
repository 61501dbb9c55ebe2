/**
 * A volume in another process than the host's: requests and data go through memory that both see,
 * and the host is woken by an event. No system call and no copy of ours per request while the host
 * is awake.
 *
 * When the host process goes, the client connects again for some time; requests under way are then
 * carried out by the next host process, and their promises are none the wiser.
 */
import { assert, CodedError, getU32, setU32 } from "../base/index.ts";
import { VhostProtocolBit, VirtioBit, VirtioBlkStatus, VirtioBlkType } from "../format/index.ts";
import { MemfdSharedMemory, NodeClock } from "../platform/index.ts";
import type { RemoteEvent, SharedFile, SharedMapping } from "../ports/index.ts";
import { DriverQueue, queuePlaces } from "./driver-queue.ts";
import { FrontEnd } from "./front-end.ts";
import type { DiskFacts, InflightMemory } from "./front-end.ts";
import { SharedArena } from "./shared-arena.ts";
import type { SharedBuffer } from "./shared-arena.ts";

const SECTOR_BYTES = 512;
/** What the host calls the first byte of the memory; any address does. */
const ADDRESS = 2 ** 30;
const MEMORY_BYTES = 64 << 20;
const DEPTH = 128;
const DEPTH_MAX = 1024;
const RECONNECT_MS = 100;
const SET_UP_MS_MAX = 5000;
const RECONNECT_MS_MAX = 120_000;
const KEEP_ALIVE_MS = 2 ** 30;
const REQUEST_BYTES_MAX = 16 << 20;

export interface OpenOptions {
  /** Shared memory for buffers. */
  readonly memoryBytes?: number;
  /** Requests under way at once, a power of two; more wait here. */
  readonly depth?: number;
  /** How long the client tries to connect again after the host has gone. */
  readonly reconnectMsMax?: number;
}

/** Called once per request, never from inside the call that made it. */
export type RequestDone = (token: number, fault: "io-error" | "unsupported" | undefined) => void;

interface Waiting {
  readonly type: number;
  readonly sector: number;
  readonly dataAt: number;
  readonly dataBytes: number;
  readonly done: RequestDone;
  readonly token: number;
}

export class VolumeClient {
  readonly #path: string;
  readonly #shared = new MemfdSharedMemory();
  readonly #clock = new NodeClock();
  readonly #reconnectMsMax: number;
  readonly #file: SharedFile;
  readonly #mapping: SharedMapping;
  readonly #queue: DriverQueue;
  readonly #arena: SharedArena;
  readonly #kick: RemoteEvent;
  readonly #call: RemoteEvent;
  readonly #dones: (RequestDone | undefined)[] = [];
  readonly #tokens: number[] = [];
  readonly #waiting: Waiting[] = [];
  /** A watched descriptor keeps no process alive; an open volume does. */
  readonly #keepAlive: NodeJS.Timeout;
  #front: FrontEnd | undefined;
  #inflight: InflightMemory | undefined;
  /** The host notes requests under way for whoever serves the ring next. */
  #isKept = false;
  #facts: DiskFacts = { sizeBytes: 0, queueCount: 0 };
  #isTellDue = false;
  #isClosing = false;
  #failure: CodedError | undefined;
  #whenIdle: (() => void) | undefined;

  private constructor(path: string, options: OpenOptions) {
    const { memoryBytes = MEMORY_BYTES, depth = DEPTH } = options;
    const isPower = Number.isInteger(Math.log2(depth));
    assert(isPower && depth >= 1 && depth <= DEPTH_MAX, "the depth is a power of two up to 1024");
    const { data } = queuePlaces(depth);
    const fileBytes = data + Math.ceil(memoryBytes / 4096) * 4096;
    this.#path = path;
    this.#reconnectMsMax = options.reconnectMsMax ?? RECONNECT_MS_MAX;
    this.#file = this.#shared.createFile("drystone-client", fileBytes);
    this.#mapping = this.#file.map(0, fileBytes);
    const { bytes } = this.#mapping.memory;
    this.#queue = new DriverQueue(bytes, depth, ADDRESS);
    this.#arena = new SharedArena(bytes, data);
    this.#kick = this.#shared.createEvent();
    this.#call = this.#shared.createEvent();
    this.#call.watch(() => this.#collect());
    this.#keepAlive = setInterval(() => undefined, KEEP_ALIVE_MS);
  }

  /** Fails as `Network.connect`, with `connection-broken`, or with `memory-exhausted`. */
  static async open(path: string, options: OpenOptions = {}): Promise<VolumeClient> {
    const client = new VolumeClient(path, options);
    try {
      await client.#connect();
      return client;
    } catch (error) {
      client.#release();
      throw error;
    }
  }

  /** As of the last `refresh`. */
  get sizeBytes(): number {
    return this.#facts.sizeBytes;
  }

  get isConnected(): boolean {
    return this.#front !== undefined;
  }

  get underWayCount(): number {
    return this.#queue.underWayCount + this.#waiting.length;
  }

  /** Memory for data. Fails with `memory-exhausted`. */
  allocate(lengthBytes: number): SharedBuffer {
    return this.#arena.allocate(lengthBytes);
  }

  release(buffer: SharedBuffer): void {
    this.#arena.release(buffer);
  }

  /** Asks for the volume's size anew. */
  async refresh(): Promise<void> {
    const front = this.#front;
    if (front === undefined) return;
    this.#facts = await front.facts();
  }

  /** Fills the buffer from the volume. Fails with `io-error`. */
  read(buffer: SharedBuffer, offset: number): Promise<void> {
    return this.#promise("read", (done) => this.startRead(buffer, offset, done, 0));
  }

  /** Durable when it resolves. */
  write(buffer: SharedBuffer, offset: number): Promise<void> {
    return this.#promise("write", (done) => this.startWrite(buffer, offset, done, 0));
  }

  flush(): Promise<void> {
    return this.#promise("flush", (done) => this.#start(VirtioBlkType.flush, 0, 0, 0, done, 0));
  }

  /** As `read`, without a promise: for those who count allocations. */
  startRead(buffer: SharedBuffer, offset: number, done: RequestDone, token: number): void {
    this.#startTransfer(VirtioBlkType.read, buffer, offset, done, token);
  }

  startWrite(buffer: SharedBuffer, offset: number, done: RequestDone, token: number): void {
    this.#startTransfer(VirtioBlkType.write, buffer, offset, done, token);
  }

  /** Waits for what is under way, then lets go of the volume. */
  async close(): Promise<void> {
    this.#isClosing = true;
    if (this.underWayCount > 0 && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    const front = this.#front;
    this.#front = undefined;
    await front?.stopRing().catch(ignoreBroken);
    front?.close();
    this.#release();
  }

  #startTransfer(
    type: number,
    buffer: SharedBuffer,
    offset: number,
    done: RequestDone,
    token: number,
  ): void {
    const { length } = buffer.bytes;
    assert(
      length % SECTOR_BYTES === 0 && offset % SECTOR_BYTES === 0,
      "requests are whole sectors",
    );
    assert(length > 0 && length <= REQUEST_BYTES_MAX, "a request has up to 16 MiB");
    assert(offset >= 0 && offset + length <= this.sizeBytes, "a request lies within the volume");
    this.#start(type, offset / SECTOR_BYTES, buffer.at, length, done, token);
  }

  #start(
    type: number,
    sector: number,
    dataAt: number,
    dataBytes: number,
    done: RequestDone,
    token: number,
  ): void {
    assert(!this.#isClosing, "a volume that is being closed takes no requests");
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#queue.freeCount === 0) {
      this.#waiting.push({ type, sector, dataAt, dataBytes, done, token });
      return;
    }
    const deviceWrites = type === VirtioBlkType.read;
    const slot = this.#queue.add(type, sector, dataAt, dataBytes, deviceWrites);
    this.#dones[slot] = done;
    this.#tokens[slot] = token;
    this.#tellLater();
  }

  /** Everything of one turn is shown to the host together. */
  #tellLater(): void {
    if (this.#isTellDue) return;
    this.#isTellDue = true;
    void Promise.resolve().then(this.#tell);
  }

  readonly #tell = (): void => {
    this.#isTellDue = false;
    if (this.#queue.tell()) this.#kick.signal();
  };

  #collect(): void {
    this.#queue.collect(this.#answered);
    while (this.#waiting.length > 0 && this.#queue.freeCount > 0) {
      const { type, sector, dataAt, dataBytes, done, token } = this.#waiting.shift()!;
      const deviceWrites = type === VirtioBlkType.read;
      const slot = this.#queue.add(type, sector, dataAt, dataBytes, deviceWrites);
      this.#dones[slot] = done;
      this.#tokens[slot] = token;
    }
    // What the callbacks have asked for as well.
    this.#tell();
    if (this.underWayCount === 0) this.#whenIdle?.();
  }

  readonly #answered = (slot: number, status: number): void => {
    const done = this.#dones[slot];
    assert(done !== undefined, "a request is answered once");
    this.#dones[slot] = undefined;
    if (status === VirtioBlkStatus.ok) done(this.#tokens[slot]!, undefined);
    else
      done(
        this.#tokens[slot]!,
        status === VirtioBlkStatus.unsupported ? "unsupported" : "io-error",
      );
  };

  #promise(what: string, start: (done: RequestDone) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      start((_token, fault) => {
        const message = `the ${what} was refused or failed`;
        if (fault === undefined) resolve();
        else reject(new CodedError({ code: fault, message }));
      });
    });
  }

  async #connect(): Promise<void> {
    const stream = await this.#shared.connect(this.#path);
    let isLost = false;
    const front = new FrontEnd(stream, () => {
      isLost = true;
      this.#lost(front);
    });
    // A host that is killed in the middle of it may leave an answer out without saying so.
    const timer = this.#clock.after(SET_UP_MS_MAX, () => front.close());
    try {
      await this.#setUp(front);
      if (isLost) throw lostFor(this.#path);
      this.#front = front;
    } catch (error) {
      front.close();
      throw error;
    } finally {
      timer.cancel();
    }
  }

  async #setUp(front: FrontEnd): Promise<void> {
    const features = choose(await front.features(), [
      VirtioBit.version1,
      VirtioBit.protocolFeatures,
      VirtioBit.ringIndirect,
      VirtioBit.ringEventIndex,
      VirtioBit.blkFlush,
    ]);
    const offered = await front.protocolFeatures();
    // Others than Drystone may keep no requests under way.
    this.#isKept = isOffered(offered, VhostProtocolBit.inflight);
    const protocol = choose(offered, [
      VhostProtocolBit.replyAck,
      VhostProtocolBit.config,
      ...(this.#isKept ? [VhostProtocolBit.inflight] : []),
    ]);
    front.agree(features, protocol);
    this.#facts = await front.facts();
    const { entryCount } = this.#queue;
    if (this.#isKept) {
      this.#inflight ??= await front.makeInflight(entryCount);
      front.useInflight(this.#inflight);
    }
    front.share(this.#file, ADDRESS);
    const { descriptors, available, used } = queuePlaces(entryCount);
    await front.startRing({
      entryCount,
      base: this.#queue.usedIndex,
      descriptors: ADDRESS + descriptors,
      available: ADDRESS + available,
      used: ADDRESS + used,
      kick: this.#kick,
      call: this.#call,
    });
    // What was added while nobody served the ring.
    this.#queue.tell();
    this.#kick.signal();
  }

  #lost(front: FrontEnd): void {
    if (this.#front !== front) return;
    this.#front = undefined;
    if (!this.#isKept) return this.#giveUp(lostFor(this.#path));
    const deadlineMs = this.#clock.nowMs() + this.#reconnectMsMax;
    void this.#reconnect(deadlineMs);
  }

  async #reconnect(deadlineMs: number): Promise<void> {
    for (;;) {
      if (this.#failure !== undefined) return;
      try {
        await this.#connect();
        return;
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
        if (this.#clock.nowMs() > deadlineMs) return this.#giveUp(error);
      }
      await new Promise<void>((resolve) => void this.#clock.after(RECONNECT_MS, resolve));
    }
  }

  /** Nothing is known about what is under way: it may be done or not. */
  #giveUp(failure: CodedError): void {
    this.#failure = failure;
    for (const [slot, done] of this.#dones.entries()) {
      this.#dones[slot] = undefined;
      done?.(this.#tokens[slot]!, "io-error");
    }
    for (const { done, token } of this.#waiting.splice(0)) done(token, "io-error");
    this.#whenIdle?.();
  }

  #release(): void {
    clearInterval(this.#keepAlive);
    this.#failure ??= new CodedError({ code: "closed", message: "the volume was closed" });
    this.#kick.close();
    this.#call.close();
    this.#mapping.retire();
    this.#file.close();
    this.#inflight?.file.close();
    this.#inflight = undefined;
  }
}

function ignoreBroken(error: unknown): void {
  if (!(error instanceof CodedError)) throw error;
}

function lostFor(socket: string): CodedError {
  const message = `the connection to ${socket} is lost, and with it what was under way`;
  return new CodedError({ code: "connection-broken", message });
}

function isOffered(offered: Uint8Array, bit: number): boolean {
  return Math.floor(getU32(offered, bit < 32 ? 0 : 4) / 2 ** (bit % 32)) % 2 === 1;
}

/** The wanted bits; all of them must be offered. */
function choose(offered: Uint8Array, bits: readonly number[]): Uint8Array {
  const chosen = new Uint8Array(8);
  for (const bit of bits) {
    const at = bit < 32 ? 0 : 4;
    const mask = 2 ** (bit % 32);
    if (!isOffered(offered, bit)) {
      const message = `the host does not offer feature ${bit}`;
      throw new CodedError({ code: "connection-broken", message });
    }
    setU32(chosen, at, getU32(chosen, at) + mask);
  }
  return chosen;
}
