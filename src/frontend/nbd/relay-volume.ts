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
  #source: RemoteExport | undefined;

  private constructor(world: RelayWorld, name: string, source: RemoteExport) {
    this.#source = source;
    this.volume = new HeldVolume(world, {
      name,
      sizeBytes: source.sizeBytes,
      readOnly: false,
      allocate: plainMemory,
      volume: source,
      reopen: async () => {
        this.#source = await connect(name, world, this.#stopped);
        return this.#source;
      },
    });
  }

  /** Resolves when the first connection stands. Fails as that does. */
  static async open(name: string, world: RelayWorld): Promise<RelayVolume> {
    const relays: RelayVolume[] = [];
    const source = await connect(name, world, (volume, reason) => {
      for (const relay of relays) relay.#stopped(volume, reason);
    });
    const relay = new RelayVolume(world, name, source);
    relays.push(relay);
    return relay;
  }

  async close(): Promise<void> {
    const closed = this.volume.close();
    this.#source?.close();
    await closed;
  }

  readonly #stopped = (volume: RemoteExport, reason: string): void => {
    this.volume.sourceStopped(volume, reason);
  };
}

async function connect(
  name: string,
  world: RelayWorld,
  stopped: (volume: RemoteExport, reason: string) => void,
): Promise<RemoteExport> {
  const server = await world.locate();
  const stream = await world.connect(server);
  const isCurrent = async (): Promise<boolean> => (await world.locate()) === server;
  return await RemoteExport.open(stream, name, { clock: world.clock, isCurrent }, { stopped });
}
