/**
 * The hosts of the cluster as this one sees them on one network: records and leases from the
 * directory, links from here. Links follow the records.
 */
import { errorText } from "../base/index.ts";
import { DirectoryFollower, directoryKeys, listHosts } from "../cluster/index.ts";
import type { HostRecord } from "../cluster/index.ts";
import type { HostVerdict, Links } from "../link/index.ts";
import type { Clock, Directory, Log, NetworkAddress } from "../ports/index.ts";

const RETRY_MS = 1000;

export interface ClusterHostsWorld {
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  readonly clock: Clock;
  readonly log: Log;
  readonly links: Links;
  /** Where a host is on this network; empty if it is not on it. */
  readonly addressOf: (record: HostRecord) => string;
  readonly parseAddress: (text: string) => NetworkAddress;
  /** What another network tells of a host, if there is one. */
  readonly elsewhere?: ((hostId: string) => Promise<HostVerdict>) | undefined;
}

export class ClusterHosts {
  readonly #world: ClusterHostsWorld;
  readonly #follower: DirectoryFollower;
  #records: readonly HostRecord[] = [];
  #isClosed = false;

  constructor(world: ClusterHostsWorld) {
    const { directory, clock, clusterId, log } = world;
    this.#world = world;
    this.#follower = new DirectoryFollower({
      ...{ directory, clock, prefix: directoryKeys.hosts(clusterId), retryMs: RETRY_MS },
      read: () => this.#read(),
      failed: (error) => log.write("warning", `hosts cannot be read: ${errorText(error)}`),
    });
  }

  /** Resolves when the records were read once. Fails as the directory does. */
  start(): Promise<void> {
    return this.#follower.open();
  }

  close(): void {
    this.#isClosed = true;
    this.#follower.close();
  }

  get records(): readonly HostRecord[] {
    return this.#records;
  }

  nameOf(hostId: string): string {
    return this.#records.find((one) => one.hostId === hostId)?.name ?? hostId;
  }

  /** By name or id. */
  find(name: string): HostRecord | undefined {
    return this.#records.find((one) => one.name === name || one.hostId === name);
  }

  /** Whether it can be spoken to from here. */
  isReachable(hostId: string): boolean {
    return hostId === this.#world.hostId || this.#world.links.peer(hostId)?.isUp === true;
  }

  /**
   * Whether the host may still be at work: its lease lives, and its machine has not said, after the
   * lease was read, that the process is gone. Before that would not do: the process that holds the
   * lease may have started in between. What a firewall says in its place counts as little, as far
   * as the host is heard over another network. Fails as the directory does.
   */
  async isAlive(hostId: string): Promise<boolean> {
    const { directory, clusterId, links } = this.#world;
    const lease = await directory.get(directoryKeys.alive(clusterId, hostId));
    if (lease === undefined) return false;
    const verdicts = [await links.verdictOn(hostId), await this.#world.elsewhere?.(hostId)];
    return verdicts.includes("heard") || !verdicts.includes("gone");
  }

  /** Those whose leases live, which they keep up over the management network. */
  async withLeases(): Promise<ReadonlySet<string>> {
    const { directory, clusterId } = this.#world;
    const prefix = directoryKeys.alives(clusterId);
    const { records } = await directory.list(prefix);
    return new Set(records.map(({ key }) => key.slice(prefix.length)));
  }

  async #read(): Promise<void> {
    const { directory, clusterId, links, addressOf, parseAddress } = this.#world;
    const records = await listHosts(directory, clusterId);
    if (this.#isClosed) return;
    this.#records = records;
    links.setPeers(
      records
        .filter((record) => addressOf(record) !== "")
        .map((record) => ({ hostId: record.hostId, address: parseAddress(addressOf(record)) })),
    );
  }
}
