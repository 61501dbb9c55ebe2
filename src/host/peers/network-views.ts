/**
 * Which host reaches which, on both networks, as each of them sees it. Others are asked over the
 * storage network and, where that does not reach them, over the management network: a partition is
 * best told by those on both of its sides.
 */
import { CodedError } from "../../base/index.ts";
import type { ManagementPeer } from "../../plane/index.ts";
import type { DataPlaneMethods, PeerView } from "../data/data-plane-port.ts";
import type { RpcPeer } from "../data/rpc.ts";
import type { NetworkView, SeenHostView } from "../api/views.ts";

export interface NetworkViewsWorld {
  readonly hostId: string;
  readonly plane: Pick<RpcPeer<object, DataPlaneMethods>, "call">;
  readonly managementPeer: (hostId: string) => ManagementPeer | undefined;
  /** What another host sees, asked over the management network. Fails as `Links.call`. */
  readonly askOverManagement: (hostId: string) => Promise<readonly SeenHostView[]>;
}

export class NetworkViews {
  readonly #world: NetworkViewsWorld;

  constructor(world: NetworkViewsWorld) {
    this.#world = world;
  }

  /** What this host sees of the others. */
  async seen(): Promise<readonly SeenHostView[]> {
    return this.#seenOf(await this.#world.plane.call("listHosts", undefined));
  }

  async view(): Promise<NetworkView> {
    const { hostId, plane } = this.#world;
    const peers = await plane.call("listHosts", undefined);
    const hosts = peers.map(async (peer) => {
      const sees = peer.hostId === hostId ? this.#seenOf(peers) : await this.#ask(peer);
      const { name, storageAddress, managementLinkAddress } = peer;
      return {
        name,
        ...(storageAddress === "" ? {} : { storageAddress }),
        ...(managementLinkAddress === "" ? {} : { managementAddress: managementLinkAddress }),
        ...(sees === undefined ? {} : { sees }),
      };
    });
    return { hosts: await Promise.all(hosts) };
  }

  #seenOf(peers: readonly PeerView[]): readonly SeenHostView[] {
    const { hostId, managementPeer } = this.#world;
    const others = peers.filter((peer) => peer.hostId !== hostId);
    return others.map(({ name, isUp, reason, ...peer }) => {
      const management = managementPeer(peer.hostId);
      return {
        host: name,
        storage: isUp ? "up" : "down",
        ...(reason === undefined ? {} : { reason }),
        ...(management === undefined ? {} : { management: management.isUp ? "up" : "down" }),
      };
    });
  }

  /** Undefined if it does not answer on any network. */
  async #ask({ hostId }: PeerView): Promise<readonly SeenHostView[] | undefined> {
    const ways = [
      () => this.#world.plane.call("askSeen", hostId),
      () => this.#world.askOverManagement(hostId),
    ];
    for (const way of ways) {
      try {
        return await way();
      } catch (error) {
        if (!(error instanceof CodedError)) throw error;
      }
    }
    return undefined;
  }
}
