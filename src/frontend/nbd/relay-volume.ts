/**
 * A volume that is served elsewhere over NBD and may move. Its requests are held while it does, as
 * those of any held volume; its sources are connections to whoever serves it.
 */
import type { ByteStream, Clock, Log } from "../../ports/index.ts";
import { HeldVolume } from "../volume/held-volume.ts";
import { plainMemory, RemoteExport } from "./remote-export.ts";

export interface RelayWorld {
  readonly clock: Clock;
  readonly log: Log;
  /**
   * Who serves the volume now, as a text that tells servers apart. While it resolves with the same
   * one, that one serves; once it resolves with another, the one before changes nothing any more.
   */
  readonly locate: () => Promise<string>;
  /** A new connection to that one. May take its time, and may fail. */
  readonly connect: (server: string) => Promise<ByteStream>;
}

export class RelayVolume {
  readonly volume: HeldVolume;
  readonly #connections: Connections;

  private constructor(
    world: RelayWorld,
    name: string,
    connections: Connections,
    source: RemoteExport,
  ) {
    this.#connections = connections;
    this.volume = new HeldVolume(world, {
      name,
      sizeBytes: source.sizeBytes,
      readOnly: false,
      allocate: plainMemory,
      volume: source,
      reopen: () => connections.open(),
    });
    connections.onStopped = (volume, reason) => this.volume.sourceStopped(volume, reason);
  }

  /** Resolves when the first connection stands. Fails as that does. */
  static async open(name: string, world: RelayWorld): Promise<RelayVolume> {
    const connections = new Connections(name, world);
    return new RelayVolume(world, name, connections, await connections.open());
  }

  async close(): Promise<void> {
    const closed = this.volume.close();
    this.#connections.current?.close();
    await closed;
  }
}

/** One connection after the other, each to whoever serves the volume then. */
class Connections {
  current: RemoteExport | undefined;
  onStopped: (volume: RemoteExport, reason: string) => void = () => {};
  readonly #name: string;
  readonly #world: RelayWorld;
  /** Who was found to serve the volume instead of the current one. */
  #successor: string | undefined;

  constructor(name: string, world: RelayWorld) {
    this.#name = name;
    this.#world = world;
  }

  async open(): Promise<RemoteExport> {
    // It was asked for a moment ago; if the connection fails it is asked for anew.
    const known = this.#successor;
    this.#successor = undefined;
    const server = known ?? (await this.#world.locate());
    const stream = await this.#world.connect(server);
    const world = { clock: this.#world.clock, isCurrent: () => this.#isCurrent(server) };
    const opened = await RemoteExport.open(stream, this.#name, world, {
      stopped: (volume, reason) => this.onStopped(volume, reason),
    });
    this.current = opened;
    return opened;
  }

  async #isCurrent(server: string): Promise<boolean> {
    const now = await this.#world.locate();
    if (now === server) return true;
    this.#successor = now;
    return false;
  }
}
