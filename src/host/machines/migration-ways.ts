/**
 * The memory of machines from host to host: over the management network where that is a second
 * one, under TLS where hosts have certificates, so that only a host of the cluster can send a
 * machine, and only the host that is meant receives it. QEMU itself speaks to unix sockets alone.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { CodedError, errorText } from "../../base/index.ts";
import type { MigrationWays } from "../../ha/index.ts";
import { StreamNetwork } from "../../platform/index.ts";
import type { ByteStream, Listener, Log, Network } from "../../ports/index.ts";
import { formatAddress, parseAddress } from "../names.ts";

export interface MigrationWaysWorld {
  /** Between hosts. */
  readonly network: Network;
  /** Of this host on that network, with any port; undefined: it is on none. */
  readonly address: string | undefined;
  readonly socketsPath: string;
  readonly log: Log;
}

interface Way {
  readonly listener: Listener;
  readonly streams: ByteStream[];
}

export class HostMigrationWays implements MigrationWays {
  readonly #world: MigrationWaysWorld;
  readonly #local = new StreamNetwork();
  readonly #ways = new Map<string, Way>();

  constructor(world: MigrationWaysWorld) {
    this.#world = world;
  }

  async offer(vm: string, socket: string): Promise<string> {
    const { address, network } = this.#world;
    const own = address === undefined ? undefined : parseAddress(address);
    if (own?.kind !== "tcp")
      throw new CodedError({
        code: "vm-migration-failed",
        message: "this host is on no network with others",
      });
    const { address: chosen } = await this.#listen(vm, network, { ...own, port: 0 }, () =>
      this.#local.connect({ kind: "unix", path: socket }),
    );
    return formatAddress(chosen);
  }

  async reach(vm: string, hostId: string, address: string): Promise<string> {
    const path = join(this.#world.socketsPath, `${vm}.migration`);
    rmSync(path, { force: true });
    await this.#listen(vm, this.#local, { kind: "unix", path }, async () => {
      const stream = await this.#world.network.connect(parseAddress(address));
      if (stream.peer === undefined || stream.peer.hostId === hostId) return stream;
      stream.destroy();
      throw new CodedError({
        code: "certificate-refused",
        message: `another host than the one that is meant answers at ${address}`,
      });
    });
    return path;
  }

  close(vm: string): void {
    const way = this.#ways.get(vm);
    if (way === undefined) return;
    this.#ways.delete(vm);
    for (const stream of way.streams) stream.destroy();
    way.listener.close().catch((error: unknown) => {
      this.#world.log.write("warning", `a migration's socket stays open: ${errorText(error)}`);
    });
  }

  /** For one connection: whoever comes later is turned away. */
  async #listen(
    vm: string,
    network: Network,
    address: Parameters<Network["listen"]>[0],
    connect: () => Promise<ByteStream>,
  ): Promise<Listener> {
    this.close(vm);
    const streams: ByteStream[] = [];
    const accept = (near: ByteStream): void => {
      if (streams.length > 0) return near.destroy();
      streams.push(near);
      connect().then(
        (far) => {
          streams.push(far);
          connectStreams(near, far);
        },
        (error: unknown) => {
          near.destroy();
          this.#world.log.write("warning", `a machine cannot be sent: ${errorText(error)}`, { vm });
        },
      );
    };
    const listener = await network.listen(address, accept);
    this.#ways.set(vm, { listener, streams });
    return listener;
  }
}

/** What one sends the other gets, both ways; when one ends so does the other. */
function connectStreams(a: ByteStream, b: ByteStream): void {
  forward(a, b);
  forward(b, a);
}

function forward(from: ByteStream, to: ByteStream): void {
  from.start({
    data: (bytes) => {
      if (!to.write(bytes.slice(), -1)) from.pause();
    },
    written: () => {},
    drained: () => to.resume(),
    ended: () => to.end(),
    closed: () => to.destroy(),
  });
}
