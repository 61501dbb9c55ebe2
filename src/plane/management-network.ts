/**
 * A host's links on the management network, where that is another one than the storage network.
 * They carry no data: they tell a host whose storage cable is pulled from one that is gone, and
 * reach it when the storage network does not.
 */
import type { LatencyView } from "../base/index.ts";
import type { HostRecord } from "../cluster/index.ts";
import { Links } from "../link/index.ts";
import type { Clock, Directory, Log, Network, NetworkAddress } from "../ports/index.ts";
import { ClusterHosts } from "./cluster-hosts.ts";
import { reachedEvent } from "./host-events.ts";
import type { HostEvent } from "./host-plane-world.ts";

export interface ManagementNetworkWorld {
  readonly clock: Clock;
  readonly log: Log;
  readonly network: Network;
  readonly directory: Directory;
  readonly clusterId: string;
  readonly hostId: string;
  readonly incarnation: number;
  readonly parseAddress: (text: string) => NetworkAddress;
  readonly formatAddress: (address: NetworkAddress) => string;
  readonly addEvent: (event: HostEvent) => void;
}

export interface ManagementPeer {
  readonly isUp: boolean;
  /** Why it cannot be reached, if it cannot. */
  readonly reason?: string | undefined;
  /** Of pings there. */
  readonly roundTrips?: LatencyView;
}

export class ManagementNetwork {
  readonly links: Links;
  readonly #world: ManagementNetworkWorld;
  readonly #hosts: ClusterHosts;

  constructor(world: ManagementNetworkWorld) {
    this.#world = world;
    const { network, clock, log, clusterId, hostId, incarnation } = world;
    const identity = { clusterId, hostId, incarnation, network: "management" } as const;
    this.links = new Links({ network, clock, log }, identity);
    const { links } = this;
    const addressOf = (record: HostRecord): string => record.managementLinkAddress;
    this.#hosts = new ClusterHosts({ ...world, links, addressOf });
    links.onChange((other, isUp, reason) => this.#changed(other, isUp, reason));
  }

  /** Resolves with the address for the host's record. Fails as `Network.listen`. */
  async listen(address: NetworkAddress): Promise<string> {
    return this.#world.formatAddress(await this.links.listen(address));
  }

  /** Links with the hosts of the cluster from now on. Fails as the directory does. */
  async start(): Promise<void> {
    await this.#hosts.start();
  }

  async close(): Promise<void> {
    this.#hosts.close();
    await this.links.close();
  }

  /** Undefined for this host itself, and for one that has no address on this network. */
  peer(hostId: string): ManagementPeer | undefined {
    const peer = this.links.peer(hostId);
    return peer && { isUp: peer.isUp, reason: peer.reason, roundTrips: peer.roundTrips.view() };
  }

  #changed(hostId: string, isUp: boolean, reason: string | undefined): void {
    const name = this.#hosts.nameOf(hostId);
    this.#world.addEvent(reachedEvent("management", { hostId, name }, isUp, reason));
  }
}
