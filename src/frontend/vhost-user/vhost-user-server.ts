/**
 * Offers a volume to one virtual machine at a unix socket. Several front ends may be connected, as
 * both ends of a migration are, but the rings of one alone run: two machines on one disk would
 * destroy it.
 *
 * Promises: a client can only harm its own connection; `close` answers what is under way, within a
 * deadline, and resolves when nothing of a client's memory is in use.
 */
import { errorText } from "../../base/index.ts";
import type { VolumeIo } from "../../object/index.ts";
import type {
  Clock,
  DescriptorListener,
  DescriptorStream,
  Log,
  SharedMemory,
  SocketOwner,
} from "../../ports/index.ts";
import { ReadMemoryPool } from "../nbd/read-memory.ts";
import type { SectionCache } from "../shared-memory/section-cache.ts";
import { BlockDevice } from "./block-device.ts";
import type { ShortPoll } from "./short-poll.ts";
import { VhostSession } from "./vhost-session.ts";

export interface VhostUserPorts {
  readonly shared: SharedMemory;
  readonly clock: Clock;
  readonly log: Log;
}

export interface VhostUserOptions {
  readonly path: string;
  readonly owner?: SocketOwner;
  readonly queueCount?: number;
  readonly sections: SectionCache;
  /** For all volumes of a thread; without it, queues are looked at when they are kicked alone. */
  readonly shortPoll?: ShortPoll;
  /** Shared with other servers, whose volumes come and go; otherwise it has its own. */
  readonly memory?: ReadMemoryPool;
  /** A client was cut off for what it did, or, where `isOurs`, for a fault of this host. */
  readonly onViolation?: (reason: string, isOurs: boolean) => void;
}

export interface VhostUserStatus {
  readonly isConnected: boolean;
  readonly runningRings: number;
  readonly requestsUnderWay: number;
}

const QUEUES_DEFAULT = 4;
const CONNECTIONS_MAX = 4;

export class VhostUserServer {
  readonly path: string;
  readonly #ports: VhostUserPorts;
  readonly #options: VhostUserOptions;
  readonly #volume: VolumeIo;
  readonly #device: BlockDevice;
  readonly #memory: ReadMemoryPool;
  readonly #connected = new Set<VhostSession>();
  /** Not connected any more, with requests that the volume has not answered. */
  readonly #leaving = new Set<VhostSession>();
  /** Connected, and not listened to yet. */
  readonly #starting: VhostSession[] = [];
  #listener: DescriptorListener | undefined;
  #isClosing = false;
  #whenEmpty: (() => void) | undefined;

  private constructor(ports: VhostUserPorts, volume: VolumeIo, options: VhostUserOptions) {
    this.path = options.path;
    this.#ports = ports;
    this.#options = options;
    this.#volume = volume;
    this.#memory = options.memory ?? new ReadMemoryPool();
    const queueCount = options.queueCount ?? QUEUES_DEFAULT;
    this.#device = new BlockDevice(volume, { queueCount, serial: volume.name });
  }

  /** Fails as `SharedMemory.listen`. */
  static async listen(
    ports: VhostUserPorts,
    volume: VolumeIo,
    options: VhostUserOptions,
  ): Promise<VhostUserServer> {
    const server = new VhostUserServer(ports, volume, options);
    const accept = (stream: DescriptorStream): void => server.#accept(stream);
    server.#listener = await ports.shared.listen(options.path, accept, options.owner);
    return server;
  }

  get queueCount(): number {
    return this.#device.queueCount;
  }

  get status(): VhostUserStatus {
    const sessions = [...this.#connected];
    return {
      isConnected: sessions.length > 0,
      runningRings: sessions.reduce((count, session) => count + session.runningRings, 0),
      requestsUnderWay: sessions.reduce((count, session) => count + session.requests, 0),
    };
  }

  /** The volume has grown: the guest is told. */
  resized(): void {
    for (const session of this.#connected) session.configChanged();
  }

  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true;
    const emptied = new Promise<void>((resolve) => {
      this.#whenEmpty = resolve;
    });
    const timer = this.#ports.clock.after(deadlineMs, () => {
      for (const session of this.#connected) session.end("requests were not answered in time");
    });
    const stopped = this.#listener?.close();
    for (const session of this.#connected) session.shutDown();
    this.#reportEmpty();
    await Promise.all([emptied, stopped]);
    timer.cancel();
  }

  /** Throws nothing: it is the listener that calls, for everybody. */
  #accept(stream: DescriptorStream): void {
    if (this.#isClosing || this.#connected.size === CONNECTIONS_MAX) {
      stream.close();
      this.#ports.log.write("warning", "vhost-user client turned away", {
        volume: this.#volume.name,
      });
      return;
    }
    try {
      this.#serve(stream);
    } catch (error) {
      stream.close();
      this.#cutOff(`a fault of this host: ${errorText(error)}`, error);
    }
  }

  #serve(stream: DescriptorStream): void {
    const session = new VhostSession(stream, {
      device: this.#device,
      sections: this.#options.sections,
      shared: this.#ports.shared,
      shortPoll: this.#options.shortPoll,
      takeMemory: () => this.#memory.take(this.#volume),
      giveMemory: (memory) => this.#memory.giveBack(memory),
      mayRun: () => [...this.#connected].every((it) => it === session || it.runningRings === 0),
      ended: (which, reason, fault) => this.#ended(which, reason, fault),
      drained: (which) => {
        this.#leaving.delete(which);
        this.#startNew();
        this.#reportEmpty();
      },
    });
    this.#connected.add(session);
    this.#ports.log.write("info", "vhost-user client connected", { volume: this.#volume.name });
    this.#starting.push(session);
    this.#startNew();
  }

  /**
   * Not before the volume has answered what an earlier connection asked for: data that it reads
   * goes to memory of the machine, which may be connected again and use it for something else.
   */
  #startNew(): void {
    if (this.#leaving.size > 0) return;
    for (const session of this.#starting.splice(0)) session.start();
  }

  #ended(session: VhostSession, reason: string | undefined, fault: unknown): void {
    this.#connected.delete(session);
    const index = this.#starting.indexOf(session);
    if (index >= 0) this.#starting.splice(index, 1);
    this.#leaving.add(session);
    if (reason === undefined)
      this.#ports.log.write("info", "vhost-user client gone", { volume: this.#volume.name });
    else this.#cutOff(reason, fault);
  }

  /** `fault`: what of ours has failed, if it was that. */
  #cutOff(reason: string, fault: unknown): void {
    const isOurs = fault !== undefined;
    const stack = fault instanceof Error ? { stack: fault.stack } : {};
    const fields = { volume: this.#volume.name, reason, ...stack };
    this.#ports.log.write(isOurs ? "error" : "warning", "vhost-user client cut off", fields);
    this.#options.onViolation?.(reason, isOurs);
  }

  #reportEmpty(): void {
    const isEmpty = this.#connected.size === 0 && this.#leaving.size === 0;
    if (this.#isClosing && isEmpty) this.#whenEmpty?.();
  }
}
