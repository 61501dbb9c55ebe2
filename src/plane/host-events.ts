/** What an operator is told of a host's lease and of the hosts that it reaches. */
import type { HostEvent } from "./host-plane-world.ts";

export function leaseEvent(
  hostId: string,
  isAlive: boolean,
  reason: string | undefined,
): HostEvent {
  const why = reason === undefined ? "" : `: ${reason}`;
  return {
    kind: isAlive ? "lease-held" : "lease-lost",
    level: isAlive ? "info" : "error",
    message: isAlive
      ? "this host holds its lease in the directory"
      : `this host has lost its lease in the directory${why}; until it is back nothing is read`,
    details: { hostId },
  };
}

/** Over the storage network. */
export function reachedEvent(
  hostId: string,
  name: string,
  isUp: boolean,
  reason: string | undefined,
): HostEvent {
  return {
    kind: isUp ? "host-up" : "host-down",
    level: isUp ? "info" : "warning",
    message: isUp
      ? `host ${name} is reachable over the storage network`
      : `host ${name} cannot be reached over the storage network: ${reason ?? "unknown"}`,
    details: { hostId },
  };
}
