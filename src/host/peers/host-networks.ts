/** What the host that answers makes of another one, from what it sees of it on each network. */
import type { ManagementPeer } from "../../plane/index.ts";
import type { PeerView } from "../data/data-plane-port.ts";
import type { HostView } from "../api/views.ts";

type Seen = Pick<HostView, "state" | "reason" | "storage" | "management" | "lease">;

/** `management` is undefined for the host that answers, which reaches itself. */
export function seenOf(peer: PeerView, management: ManagementPeer | undefined): Seen {
  const { isUp, lease, storageAddress, managementLinkAddress } = peer;
  if (storageAddress === "") return { state: isUp ? "up" : "down" };
  const second = managementLinkAddress === "" ? undefined : (management ?? peer);
  return {
    ...stateOf(peer, second),
    storage: isUp ? "up" : "down",
    ...(second === undefined ? {} : { management: second.isUp ? "up" : "down" }),
    lease,
  };
}

function stateOf(
  storage: PeerView,
  management: Pick<ManagementPeer, "isUp" | "reason"> | undefined,
): Pick<HostView, "state" | "reason"> {
  const because = (reason: string | undefined): { readonly reason?: string } =>
    reason === undefined ? {} : { reason };
  if (!storage.isUp) {
    const state = management?.isUp === true ? "storage-unreachable" : "down";
    return { state, ...because(storage.reason) };
  }
  if (management?.isUp !== false) return { state: "up" };
  return { state: "management-unreachable", ...because(management.reason) };
}
