/**
 * The clients that may use volumes over NBD under TLS, as the directory has them now. It is read
 * when the first of them comes and followed from then on. While the directory is away those that
 * were known stay known; a host that has never read them knows nobody.
 */
import { errorText } from "../../base/index.ts";
import { DirectoryFollower, directoryKeys, listNbdClients } from "../../cluster/index.ts";
import { mayUseVolume } from "../../cluster/index.ts";
import type { NbdClientRecord } from "../../cluster/index.ts";
import type { ClientProofs } from "../../platform/index.ts";
import type { Clock, Directory, Log } from "../../ports/index.ts";

const REREAD_MS = 5000;

export interface KnownClientsWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly clock: Clock;
  readonly log: Log;
}

export class KnownClients implements ClientProofs {
  readonly #world: KnownClientsWorld;
  readonly #changed: () => void;
  #clients: readonly NbdClientRecord[] = [];
  readonly #follower: DirectoryFollower;
  #reading: Promise<void> | undefined;

  /** `changed` is called when somebody may do less or more than before. */
  constructor(world: KnownClientsWorld, changed: () => void) {
    const { directory, clock, clusterId, log } = world;
    this.#world = world;
    this.#changed = changed;
    this.#follower = new DirectoryFollower({
      ...{ directory, clock, prefix: directoryKeys.nbdClients(clusterId), retryMs: REREAD_MS },
      read: () => this.#read(),
      failed: (error) => log.write("debug", "clients were not read", { cause: errorText(error) }),
    });
  }

  /** Fails, as the directory does, as long as they could not be read. */
  async ready(): Promise<this> {
    this.#reading ??= this.#follower.open();
    try {
      await this.#reading;
      return this;
    } catch (error) {
      // Whoever comes next tries again.
      this.#reading = undefined;
      throw error;
    }
  }

  keyOf(name: string): Uint8Array | undefined {
    const client = this.#find((one) => one.proof === "key" && one.name === name);
    return client && Buffer.from(client.secret, "hex");
  }

  nameOf(fingerprint: string): string | undefined {
    return this.#find((one) => one.proof === "certificate" && one.secret === fingerprint)?.name;
  }

  mayUse(name: string, volume: string): boolean {
    const client = this.#find((one) => one.name === name);
    return client !== undefined && mayUseVolume(client, volume);
  }

  close(): void {
    this.#follower.close();
  }

  #find(isMeant: (client: NbdClientRecord) => boolean): NbdClientRecord | undefined {
    const nowMs = this.#world.clock.wallMs();
    return this.#clients.find((one) => one.expiresMs > nowMs && isMeant(one));
  }

  async #read(): Promise<void> {
    const { directory, clusterId } = this.#world;
    this.#clients = await listNbdClients(directory, clusterId);
    this.#changed();
  }
}
