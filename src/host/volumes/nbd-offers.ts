/**
 * The NBD listeners of attached volumes: in the clear on unix sockets and on this machine, under
 * TLS for everybody else, unless the operator has said otherwise.
 */
import { CodedError } from "../../base/index.ts";
import { NbdServer, SingleExport } from "../../frontend/index.ts";
import type { ReadMemoryPool } from "../../frontend/index.ts";
import type { VolumeIo } from "../../object/index.ts";
import { StartTlsNetwork } from "../../platform/index.ts";
import type { NetworkAddress } from "../../ports/index.ts";
import type { AttachmentRecord } from "./attachment-records.ts";
import { KnownClients } from "./known-clients.ts";
import { parseAddress } from "../names.ts";
import type { PlaneWorld } from "../data/plane-world.ts";
import type { VolumeAttachRequest } from "../api/views.ts";

export class NbdOffers {
  readonly #world: PlaneWorld;
  readonly #clients: KnownClients;
  readonly #secure: StartTlsNetwork;
  /** Those whose clients have names. */
  readonly #servers: () => Iterable<NbdServer>;
  readonly #memory: ReadMemoryPool;

  constructor(world: PlaneWorld, memory: ReadMemoryPool, servers: () => Iterable<NbdServer>) {
    this.#world = world;
    this.#memory = memory;
    this.#servers = servers;
    const { directory, clock, log, identity, credentials } = world;
    const { clusterId } = identity;
    const changed = (): void => this.#cutOff();
    this.#clients = new KnownClients({ directory, clusterId, clock, log }, changed);
    const clients = (): Promise<KnownClients> => this.#clients.ready();
    this.#secure = new StartTlsNetwork({ credentials, clients, log });
  }

  /** Fails as `Network.listen`. */
  listen(record: AttachmentRecord, volume: VolumeIo): Promise<NbdServer> {
    const { clientNetwork, clock, log } = this.#world;
    const address = parseAddress(record.nbd);
    const options = { address, memory: this.#memory };
    const description = `Drystone volume ${record.volume}`;
    if (!record.tls) {
      const catalog = new SingleExport(volume, description);
      return NbdServer.listen({ network: clientNetwork, clock, log }, catalog, options);
    }
    const catalog = new SingleExport(volume, description, (client) =>
      this.#mayUse(client.name, record.volume),
    );
    const ports = { network: this.#secure, clock, log };
    return NbdServer.listen(ports, catalog, { ...options, requiresTls: true });
  }

  close(): void {
    this.#clients.close();
  }

  #mayUse(client: string | undefined, volume: string): boolean {
    return client !== undefined && this.#clients.mayUse(client, volume);
  }

  #cutOff(): void {
    for (const server of this.#servers())
      server.cutOff((client, volume) => !this.#clients.mayUse(client, volume));
  }
}

/** Fails with `request-invalid`. */
export function isUnderTls({ tls, plain }: VolumeAttachRequest, address: NetworkAddress): boolean {
  if (tls === true && plain === true)
    throw invalid("a volume is offered in the clear or under TLS");
  if (address.kind === "unix") {
    if (tls === true) throw invalid("a unix socket is guarded by its mode and has no TLS");
    return false;
  }
  return tls === true || (plain !== true && !isLoopback(address.host));
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

function invalid(message: string): CodedError {
  return new CodedError({
    code: "request-invalid",
    message,
    hint: "Leave out --plain and --tls: TCP to other machines is under TLS by itself",
  });
}
