/** What a host keeps in memory for other hosts and of them, as `stats` tells it. */
import type { Links } from "../link/index.ts";
import type { TransferMemory } from "../object/index.ts";
import type { ComponentServer } from "./component-server.ts";
import type { RemoteComponents } from "./remote-component.ts";

export class KeptMemory {
  readonly #links: Links;
  readonly #remote: RemoteComponents;
  readonly #server: ComponentServer;
  readonly #transfer: TransferMemory;

  constructor(
    links: Links,
    remote: RemoteComponents,
    server: ComponentServer,
    transfer: TransferMemory,
  ) {
    this.#links = links;
    this.#remote = remote;
    this.#server = server;
    this.#transfer = transfer;
  }

  /** Counters of blocks that were read from other hosts. */
  get farCache(): Readonly<Record<string, number>> {
    return this.#remote.far.view;
  }

  /** Bytes, whether they are in use or wait for it. Of links only what waits. */
  get bytes(): Readonly<Record<string, number>> {
    return {
      farBytes: this.#remote.far.bytes,
      linkBytes: this.#links.keptBytes,
      servedBytes: this.#server.memoryBytes,
      transferBytes: this.#transfer.bytes,
    };
  }
}
