/**
 * The clients that may use volumes over NBD under TLS, as the directory has them now. It is read
 * when the first of them comes and followed from then on. While the directory is away those that
 * were known stay known; a host that has never read them knows nobody.
 */
import { errorText } from "../base/index.ts";
import { directoryKeys, listNbdClients, mayUseVolume } from "../cluster/index.ts";
import type { NbdClientRecord } from "../cluster/index.ts";
import type { ClientProofs } from "../platform/index.ts";
import type { Clock, Directory, DirectoryWatch, Log, Timer } from "../ports/index.ts";

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
  #reading: Promise<void> | undefined;
  #watch: DirectoryWatch | undefined;
  #rereadTimer: Timer | undefined;
  #isClosed = false;

  /** `changed` is called when somebody may do less or more than before. */
  constructor(world: KnownClientsWorld, changed: () => void) {
    this.#world = world;
    this.#changed = changed;
  }

  /** Fails, as the directory does, as long as they could not be read. */
  async ready(): Promise<this> {
    this.#reading ??= this.#follow();
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
    this.#isClosed = true;
    this.#watch?.cancel();
    this.#rereadTimer?.cancel();
  }

  #find(isMeant: (client: NbdClientRecord) => boolean): NbdClientRecord | undefined {
    const nowMs = this.#world.clock.wallMs();
    return this.#clients.find((one) => one.expiresMs > nowMs && isMeant(one));
  }

  async #follow(): Promise<void> {
    const { directory, clusterId } = this.#world;
    const revision = await this.#read();
    if (this.#isClosed) return;
    this.#watch = directory.watch(
      directoryKeys.nbdClients(clusterId),
      revision + 1,
      () => void this.#read().catch((error: unknown) => this.#followLater(error)),
      () => this.#followLater("the directory has lost the thread"),
    );
  }

  async #read(): Promise<number> {
    const { directory, clusterId } = this.#world;
    const { clients, revision } = await listNbdClients(directory, clusterId);
    this.#clients = clients;
    this.#changed();
    return revision;
  }

  #followLater(cause: unknown): void {
    this.#watch?.cancel();
    if (this.#isClosed) return;
    const { clock, log } = this.#world;
    log.write("debug", "clients were not read", { cause: errorText(cause) });
    this.#rereadTimer?.cancel();
    this.#rereadTimer = clock.after(REREAD_MS, () => {
      void this.#follow().catch((error: unknown) => this.#followLater(error));
    });
  }
}
